//! Tokens that have been verified before: what is remembered never outlives a reason to refuse.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize};
use tower_cookie_jwt::{
    Claims, Clock, CookieJwtLayer, KeyRing, Verifier,
    keys::{Algorithm, Key},
    testing::TestClock,
    token::{Issuer, NewToken, Source, TokenErrorKind},
};

use crate::{
    forge,
    handler::{self, access_cookie},
};

const SECOND: Duration = Duration::from_secs(1);

fn verdict<C: serde::de::DeserializeOwned>(
    verifier: &Verifier<C>,
    token: &str,
) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(drop).map_err(|error| error.kind())
}

/// A token of `key`, issued at the present time of `clock` for an hour.
fn token_of(key: &Key, clock: &TestClock) -> String {
    let ring = KeyRing::new(key.clone()).expect("the key signs");
    let new = NewToken::access("ada", Duration::from_secs(3600));
    Issuer::new(ring).with_clock(clock.clone()).issue(&new, &()).expect("it is small")
}

fn key(id: &str) -> Key {
    Key::generate(Algorithm::HS256).expect("not RSA").with_id(id)
}

#[test]
fn a_cached_token_expires_at_the_same_second_as_an_uncached_one() {
    let clock = TestClock::new();
    let token = token_of(&key("one"), &clock);
    let signer = key("one");
    let token_of_signer = token_of(&signer, &clock);
    let ring = KeyRing::new(signer).expect("it signs");
    let seen =
        Verifier::<()>::builder(ring.clone()).with_clock(clock.clone()).build().expect("the settings agree");
    let unseen = Verifier::<()>::builder(ring)
        .with_clock(clock.clone())
        .with_cache_bytes(0)
        .build()
        .expect("the settings agree");
    assert_eq!(verdict(&seen, &token), Err(TokenErrorKind::BadSignature));
    assert_eq!(verdict(&seen, &token_of_signer), Ok(()));
    let issued = clock.now();
    for (name, after, expected) in [
        ("immediately", Duration::ZERO, Ok(())),
        ("at its expiry", 3600 * SECOND, Ok(())),
        ("within the leeway", 3629 * SECOND, Ok(())),
        ("a moment before the end of the leeway", 3630 * SECOND - Duration::from_millis(1), Ok(())),
        ("at the end of the leeway", 3630 * SECOND, Err(TokenErrorKind::Expired)),
        ("a day later", 86_400 * SECOND, Err(TokenErrorKind::Expired)),
        ("after the clock was set back", Duration::ZERO, Ok(())),
    ] {
        clock.set(issued + after);
        assert_eq!(verdict(&seen, &token_of_signer), expected, "{name}");
        assert_eq!(verdict(&unseen, &token_of_signer), expected, "{name}, unseen");
    }
}

#[test]
fn a_cached_token_is_not_valid_before_its_nbf() {
    let clock = TestClock::new();
    let begins = clock.now() + 1000 * SECOND;
    let at = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let payload = format!(r#"{{"sub":"ada","nbf":{},"exp":{}}}"#, at(begins), at(begins) + 3600);
    let token = forge::token(&payload);
    let verifier =
        Verifier::<()>::builder(forge::ring()).with_clock(clock.clone()).build().expect("the settings agree");
    clock.set(begins);
    assert_eq!(verdict(&verifier, &token), Ok(()));
    for (name, time, expected) in [
        ("within the leeway", begins - 30 * SECOND, Ok(())),
        ("before it", begins - 31 * SECOND, Err(TokenErrorKind::NotYetValid)),
        ("in its time again", begins + SECOND, Ok(())),
    ] {
        clock.set(time);
        assert_eq!(verdict(&verifier, &token), expected, "{name}");
    }
}

#[test]
fn replacing_a_key_evicts_the_tokens_that_it_signed() {
    let clock = TestClock::new();
    let (old, new) = (key("old"), key("new"));
    let token = token_of(&old, &clock);
    let ring = KeyRing::new(old.clone()).expect("it signs");
    let verifier =
        Verifier::<()>::builder(ring.clone()).with_clock(clock.clone()).build().expect("the settings agree");
    assert_eq!(verdict(&verifier, &token), Ok(()));
    ring.replace(KeyRing::new(new).expect("it signs"));
    assert_eq!(verdict(&verifier, &token), Err(TokenErrorKind::UnknownKey));
    assert_eq!(verdict(&verifier.clone(), &token), Err(TokenErrorKind::UnknownKey), "a clone");
    // An earlier state that comes back is not the epoch that was remembered.
    let impostor = Key::generate(Algorithm::HS256).expect("not RSA").with_id("old");
    ring.replace(KeyRing::new(impostor).expect("it signs"));
    assert_eq!(verdict(&verifier, &token), Err(TokenErrorKind::BadSignature));
    ring.replace(KeyRing::new(old).expect("it signs"));
    assert_eq!(verdict(&verifier, &token), Ok(()));
}

#[test]
fn removing_a_key_evicts_its_tokens_and_keeps_those_of_other_keys() {
    let clock = TestClock::new();
    let (active, retired) = (key("active"), key("retired"));
    let (kept, gone) = (token_of(&active, &clock), token_of(&retired, &clock));
    let ring = KeyRing::new(active.clone()).and_then(|ring| ring.with_accepted(retired)).expect("two ids");
    let verifier =
        Verifier::<()>::builder(ring.clone()).with_clock(clock.clone()).build().expect("the settings agree");
    assert_eq!((verdict(&verifier, &kept), verdict(&verifier, &gone)), (Ok(()), Ok(())));
    ring.replace(KeyRing::new(active).expect("it signs"));
    assert_eq!(verdict(&verifier, &gone), Err(TokenErrorKind::UnknownKey));
    assert_eq!(verdict(&verifier, &kept), Ok(()));
}

#[test]
fn no_token_is_accepted_once_replace_has_returned() {
    let clock = TestClock::new();
    let (old, new) = (key("old"), key("new"));
    let token = token_of(&old, &clock);
    for _ in 0..200 {
        let ring = KeyRing::new(old.clone()).expect("it signs");
        let verifier = Verifier::<()>::builder(ring.clone())
            .with_clock(clock.clone())
            .build()
            .expect("the settings agree");
        let replaced = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let was_replaced = replaced.load(Ordering::SeqCst);
                        let accepted = verdict(&verifier, &token).is_ok();
                        assert!(!(was_replaced && accepted), "accepted by a key that is gone");
                        if was_replaced {
                            break;
                        }
                    }
                });
            }
            ring.replace(KeyRing::new(new.clone()).expect("it signs"));
            replaced.store(true, Ordering::SeqCst);
        });
        assert_eq!(verdict(&verifier, &token), Err(TokenErrorKind::UnknownKey));
    }
}

#[test]
fn verifiers_do_not_share_cached_tokens() {
    let seen = Verifier::<()>::new(handler::keys());
    let builder = || Verifier::<()>::builder(handler::keys());
    let token = handler::token();
    assert_eq!(verdict(&seen, &token), Ok(()));
    let refusing = [
        (
            "audience",
            builder().with_audience("admin").build().expect("the settings agree"),
            TokenErrorKind::WrongAudience,
        ),
        (
            "issuer",
            builder().with_issuer("https://id.example").build().expect("the settings agree"),
            TokenErrorKind::WrongIssuer,
        ),
        (
            "type",
            builder().with_types(["JWT"]).build().expect("the settings agree"),
            TokenErrorKind::WrongType,
        ),
        (
            "keys",
            Verifier::new(KeyRing::hs256("another secret of more than 32 bytes").expect("it is long")),
            TokenErrorKind::BadSignature,
        ),
    ];
    for (name, other, kind) in refusing {
        assert_eq!(verdict(&other, &token), Err(kind), "{name}");
    }
    // Another XSRF claim, and another type of the application's.
    let renamed = builder().with_xsrf_claim("csrf").build().expect("the settings agree");
    assert_eq!(renamed.verify(&token).expect("it verifies").xsrf_token(), None);
    assert_eq!(seen.verify(&token).expect("it verifies").xsrf_token(), Some(handler::XSRF));
    #[derive(Debug, Deserialize)]
    struct Demanding {
        #[expect(dead_code, reason = "its absence from the token is the test")]
        tenant: u32,
    }
    let demanding = Verifier::<Demanding>::new(handler::keys());
    assert_eq!(verdict(&demanding, &token), Err(TokenErrorKind::ClaimsMismatch));
}

#[test]
fn a_token_one_bit_away_from_a_cached_one_is_refused() {
    let token = handler::token();
    let verifier = Verifier::<()>::new(handler::keys());
    assert_eq!(verdict(&verifier, &token), Ok(()));
    for place in 0..token.len() {
        for bit in 0..7 {
            let mut bytes = token.clone().into_bytes();
            bytes[place] ^= 1 << bit;
            let Ok(other) = String::from_utf8(bytes) else {
                continue;
            };
            assert!(verdict(&verifier, &other).is_err(), "bit {bit} of byte {place}");
        }
    }
    for (name, other) in [
        ("shorter", token[..token.len() - 1].to_owned()),
        ("longer", format!("{token}A")),
        ("without its beginning", token[1..].to_owned()),
        ("only its end", token[token.len() - 43..].to_owned()),
        ("with another beginning", format!("A{}", &token[1..])),
    ] {
        assert!(verdict(&verifier, &other).is_err(), "{name}");
    }
    assert_eq!(verdict(&verifier, &token), Ok(()));
}

#[test]
fn the_source_is_where_this_request_carries_the_token() {
    let verifier = Verifier::<()>::new(handler::keys());
    let token = handler::token();
    let layer = CookieJwtLayer::new(verifier);
    for (name, header, value, source) in [
        ("cookie", "cookie", access_cookie(&token), Source::Cookie),
        ("bearer", "authorization", format!("Bearer {token}"), Source::Bearer),
        ("header", "x-access-token", token.clone(), Source::AccessTokenHeader),
        ("cookie again", "cookie", access_cookie(&token), Source::Cookie),
    ] {
        let service = tower::Layer::layer(
            &layer,
            tower::service_fn(|request: http::Request<()>| async move {
                let claims = request.extensions().get::<Claims<()>>().expect("it verifies");
                Ok::<_, std::convert::Infallible>(http::Response::new(format!("{:?}", claims.source())))
            }),
        );
        let request = http::Request::get("/").header(header, value).body(()).expect("a request");
        let answer = futures_util::FutureExt::now_or_never(tower::ServiceExt::oneshot(service, request));
        let answer = answer.expect("nothing to wait for").expect("infallible").into_body();
        assert_eq!(answer, format!("{source:?}"), "{name}");
    }
}

/// Counts how often claims are read.
#[derive(Debug, Serialize)]
struct Counted;

static READ: AtomicUsize = AtomicUsize::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::SeqCst);
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[test]
fn a_cached_token_is_not_parsed_again_unless_the_cache_is_off_or_too_small() {
    let token = handler::token();
    for (name, bytes, reads) in
        [("default", None, 1), ("off", Some(0), 3), ("too small", Some(64), 3), ("large", Some(1 << 30), 1)]
    {
        let mut builder = Verifier::<Counted>::builder(handler::keys());
        if let Some(bytes) = bytes {
            builder = builder.with_cache_bytes(bytes);
        }
        let verifier = builder.build().expect("the settings agree");
        let before = READ.load(Ordering::SeqCst);
        for _ in 0..3 {
            verifier.verify(&token).expect("it verifies");
        }
        assert_eq!(READ.load(Ordering::SeqCst) - before, reads, "{name}");
    }
}

#[test]
fn with_more_keys_than_cached_headers_tokens_are_accepted_and_forgeries_refused() {
    let clock = TestClock::new();
    let keys: Vec<Key> = (0..12).map(|id| key(&id.to_string())).collect();
    let ring = KeyRing::verify_only(keys.clone()).expect("twelve ids");
    let verifier = Verifier::<()>::builder(ring)
        .with_clock(clock.clone())
        .with_cache_bytes(0)
        .build()
        .expect("the settings agree");
    for round in 0..3 {
        for (index, signer) in keys.iter().enumerate() {
            assert_eq!(verdict(&verifier, &token_of(signer, &clock)), Ok(()), "key {index}, round {round}");
            let impostor = key(&index.to_string());
            let forged = token_of(&impostor, &clock);
            assert_eq!(verdict(&verifier, &forged), Err(TokenErrorKind::BadSignature), "key {index}");
        }
    }
}
