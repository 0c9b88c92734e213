use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

use super::{
    super::tickets::{DEFAULT_CHALLENGE_LIFETIME, TicketError, Tickets},
    DAY, Device, Hands, SECOND, id, now, ring, text, tickets, tickets_with,
};
use crate::{
    keys::{Algorithm, Key, KeyRing},
    token::{DEFAULT_LEEWAY, Issuer, NewToken},
};

/// The header and the payload of a token.
fn content(token: &str) -> [Value; 2] {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).expect("base64url"));
    [(); 2].map(|()| serde_json::from_slice(&parts.next().expect("a part")).expect("JSON"))
}

#[test]
fn tickets_come_back_as_they_were_issued() {
    let clock = Hands::new();
    for key in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA] {
        let keys = KeyRing::new(Key::generate(key).expect("a key")).expect("a ring");
        let tickets = tickets(&keys, &clock);
        for device in [Device::es256(), Device::rs256()] {
            let identifier = tickets.identifier(&id(), &device.public(), now() + DAY).expect("it is issued");
            let read = tickets.read_identifier(&identifier).expect("it is good");
            assert!(read.session == id() && read.key == device.public());

            let first = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
            let read = tickets.read_registration(&first).expect("it is good");
            assert_eq!((read.session, read.absolute_expires_at), (id(), now() + DAY));

            let thumbprint = device.public().thumbprint();
            let next = tickets
                .refresh_challenge(&id(), &thumbprint, 7, DEFAULT_CHALLENGE_LIFETIME)
                .expect("it is issued");
            let read = tickets.read_refresh(&next).expect("it is good");
            assert!(read.is_for(&id(), &thumbprint, 7));
            // `refresh_challenge_used_twice`, `refresh_challenge_of_another_session`
            assert!(!read.is_for(&id(), &thumbprint, 8) && !read.is_for(&id(), &thumbprint, 6));
            assert!(!read.is_for(&"other".into(), &thumbprint, 7));
            assert!(!read.is_for(&id(), &Device::es256().public().thumbprint(), 7));

            for token in [identifier, first, next] {
                let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
                assert!(token.bytes().all(is_plain) && token.len() < 1024, "{token}");
            }
        }
    }
}

#[test]
fn tickets_say_what_the_design_says() {
    let (clock, device) = (Hands::new(), Device::es256());
    let tickets = tickets(&ring(), &clock);
    let identifier = tickets.identifier(&id(), &device.public(), now() + DAY).expect("it is issued");
    let [header, payload] = content(&identifier);
    assert_eq!((&header["typ"], &payload["jwk"]), (&"dbsc-session+jwt".into(), &device.jwk));
    let seconds = |time| crate::clock::unix_seconds(time).into();
    assert_eq!((&payload["sid"], &payload["exp"]), (&"session".into(), &seconds(now() + DAY)));

    let [header, payload] =
        content(&tickets.registration_challenge(&id(), now() + DAY).expect("it is issued"));
    assert_eq!((&header["typ"], &payload["for"]), (&"dbsc-challenge+jwt".into(), &"registration".into()));
    assert_eq!((&payload["exp"], &payload["end"]), (&seconds(now() + 300 * SECOND), &seconds(now() + DAY)));
    let [_, payload] = content(&tickets.registration_challenge(&id(), now() + SECOND).expect("it is issued"));
    assert_eq!(payload["exp"], seconds(now() + SECOND), "not later than the session");

    let challenge = tickets.refresh_challenge(&id(), &[7; 32], 3, DEFAULT_CHALLENGE_LIFETIME);
    let [header, payload] = content(&challenge.expect("it is issued"));
    assert_eq!((&header["typ"], &payload["for"]), (&"dbsc-challenge+jwt".into(), &"refresh".into()));
    assert_eq!((&payload["exp"], &payload["n"]), (&seconds(now() + 120 * SECOND), &3.into()));
}

/// `registration_challenge_expired`
#[test]
fn expired_tickets_have_an_error_of_their_own() {
    let (clock, keys, device) = (Hands::new(), ring(), Device::es256());
    for leeway in [Duration::ZERO, DEFAULT_LEEWAY] {
        let tickets = tickets_with(&keys, &clock, leeway, None);
        clock.set(now());
        let thumbprint = device.public().thumbprint();
        let identifier = tickets.identifier(&id(), &device.public(), now() + DAY).expect("it is issued");
        let first = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
        let next = tickets.refresh_challenge(&id(), &thumbprint, 0, 120 * SECOND).expect("it is issued");
        let outcomes = |at: SystemTime| {
            clock.set(at);
            [
                tickets.read_refresh(&next).err(),
                tickets.read_registration(&first).err(),
                tickets.read_identifier(&identifier).err(),
            ]
        };
        let expired = Some(TicketError::Expired);
        let last = |lifetime: Duration| now() + lifetime + leeway;
        assert_eq!(outcomes(last(120 * SECOND) - SECOND), [None; 3]);
        assert_eq!(outcomes(last(120 * SECOND)), [expired, None, None]);
        assert_eq!(outcomes(last(300 * SECOND) - SECOND), [expired, None, None]);
        assert_eq!(outcomes(last(301 * SECOND)), [expired, expired, None]);
        assert_eq!(outcomes(last(DAY) - SECOND), [expired, expired, None]);
        assert_eq!(outcomes(last(DAY)), [expired; 3]);
    }
    let tickets = tickets(&keys, &clock);
    clock.set(now());
    assert!(tickets.identifier(&id(), &device.public(), now()).is_err(), "the session has ended");
}

/// `registration_challenge_of_another_kind`, `refresh_identifier_forged_or_edited`
#[test]
fn each_kind_of_token_is_good_for_its_purpose_alone() {
    let (clock, keys, device) = (Hands::new(), ring(), Device::es256());
    let tickets = tickets(&keys, &clock);
    let issuer = Issuer::new(keys.clone())
        .with_issuer("https://shop.example")
        .with_audience("shop")
        .with_clock(clock.clone());
    let of = |new: NewToken| issuer.issue(&new.with_session_id("session"), &()).expect("it is issued");
    let mut refresh_token = NewToken::access("ada", DAY);
    refresh_token.typ = "refresh+jwt";
    let identifier = tickets.identifier(&id(), &device.public(), now() + DAY).expect("it is issued");
    let first = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
    let next = tickets.refresh_challenge(&id(), &[7; 32], 0, 120 * SECOND).expect("it is issued");
    let others = [
        of(NewToken::access("ada", DAY)),
        of(refresh_token),
        device.proof("c"),
        "x".repeat(10_240),
        String::new(),
    ];
    for token in [&first, &next].into_iter().chain(&others) {
        assert_eq!(tickets.read_identifier(token).err(), Some(TicketError::Refused), "{token}");
    }
    for token in [&identifier, &next].into_iter().chain(&others) {
        assert_eq!(tickets.read_registration(token).err(), Some(TicketError::Refused), "{token}");
    }
    for token in [&identifier, &first].into_iter().chain(&others) {
        assert_eq!(tickets.read_refresh(token).err(), Some(TicketError::Refused), "{token}");
    }
}

#[test]
fn tickets_of_others_and_edited_ones_are_refused() {
    let (clock, keys, device) = (Hands::new(), ring(), Device::es256());
    let ours = tickets(&keys, &clock);
    let identifier =
        |tickets: &Tickets| tickets.identifier(&id(), &device.public(), now() + DAY).expect("issued");
    let refused = |token: &str| ours.read_identifier(token).err() == Some(TicketError::Refused);
    assert!(refused(&identifier(&tickets(&ring(), &clock))), "other keys");
    assert!(refused(&identifier(&tickets_with(&keys, &clock, SECOND, Some("admin")))), "another audience");
    assert!(refused(&identifier(&tickets_with(&keys, &clock, SECOND, None))), "no audience");

    let good = identifier(&ours);
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = String::from_utf8(bytes) {
            assert!(refused(&changed), "{changed}");
        }
    }
    let [_, payload, _] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    for header in
        [r#"{"alg":"none","typ":"dbsc-session+jwt"}"#, r#"{"alg":"HS256","typ":"dbsc-session+jwt"}"#]
    {
        assert!(refused(&format!("{}.{payload}.", text(header))), "unsigned");
    }
}

#[test]
fn tickets_of_a_removed_key_are_refused() {
    let (clock, keys, device) = (Hands::new(), ring(), Device::es256());
    let tickets = tickets(&keys, &clock);
    let identifier = tickets.identifier(&id(), &device.public(), now() + DAY).expect("it is issued");
    let first = tickets.registration_challenge(&id(), now() + DAY).expect("it is issued");
    let next = tickets.refresh_challenge(&id(), &[7; 32], 0, 120 * SECOND).expect("it is issued");
    let outcomes = || {
        [
            tickets.read_identifier(&identifier).err(),
            tickets.read_registration(&first).err(),
            tickets.read_refresh(&next).err(),
        ]
    };
    let old = keys.keys().active().expect("it signs").clone();
    let new = Key::generate(Algorithm::HS256).expect("a key").with_id("2");
    keys.replace(KeyRing::new(new.clone()).and_then(|ring| ring.with_accepted(old)).expect("a ring"));
    assert_eq!(outcomes(), [None; 3], "a retired key is still accepted");
    keys.replace(KeyRing::new(new).expect("a ring"));
    assert_eq!(outcomes(), [Some(TicketError::Refused); 3], "a removed key is not");
}
