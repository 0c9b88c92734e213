//! The key ring: which key is tried for a token, and how keys are changed while serving.

use std::{thread, time::Duration};

use http::{Request, header::COOKIE};
use tower::{Layer, ServiceExt};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    keys::{Algorithm, Key},
    testing::TestClock,
    token::{IssueErrorKind, Issuer, NewToken, TokenErrorKind},
};

use crate::{
    cookies::builder,
    forge,
    jar::{Jar, headers_of},
};

fn key(id: Option<&str>) -> Key {
    let key = Key::generate(Algorithm::HS256).expect("a secret");
    match id {
        Some(id) => key.with_id(id),
        None => key,
    }
}

fn token() -> NewToken {
    NewToken::access("ada", Duration::from_secs(60))
}

fn signed_by(key: &Key) -> String {
    Issuer::new(KeyRing::new(key.clone()).expect("a secret")).issue(&token(), &()).expect("it signs")
}

fn verdict(ring: &KeyRing, token: &str) -> Result<(), TokenErrorKind> {
    Verifier::<()>::new(ring.clone()).verify(token).map(drop).map_err(|error| error.kind())
}

/// Returns the same key under another id, or without one.
fn renamed(secret: [u8; 32], id: Option<&str>) -> Key {
    let key = Key::hs256(secret).expect("a secret");
    match id {
        Some(id) => key.with_id(id),
        None => key,
    }
}

#[test]
fn a_kid_selects_the_key_with_that_id_and_an_unknown_kid_only_keys_without_one() {
    use TokenErrorKind::{BadSignature, UnknownKey};
    let (own, other) = ([1; 32], [2; 32]);
    // The id in the token, the ids of the ring's two keys of which the first signed, the verdict.
    let table = [
        ("its id", Some("a"), (Some("a"), Some("b")), Ok(())),
        ("the other's id", Some("b"), (Some("a"), Some("b")), Err(BadSignature)),
        ("an unknown id", Some("c"), (Some("a"), Some("b")), Err(UnknownKey)),
        ("an id in other case", Some("A"), (Some("a"), Some("b")), Err(UnknownKey)),
        ("an empty id", Some(""), (Some("a"), Some("b")), Err(UnknownKey)),
        ("no id", None, (Some("a"), Some("b")), Ok(())),
        ("no id in token or ring", None, (None, None), Ok(())),
        ("an unknown id, key without", Some("c"), (None, Some("b")), Ok(())),
        ("the other's id, key without", Some("b"), (None, Some("b")), Ok(())),
        ("its id, other without", Some("a"), (Some("a"), None), Ok(())),
        ("an unknown id, other without", Some("c"), (Some("a"), None), Err(BadSignature)),
    ];
    for (name, kid, (first, second), expected) in table {
        let text = signed_by(&renamed(own, kid));
        for reversed in [false, true] {
            let mut keys = vec![renamed(own, first), renamed(other, second)];
            if reversed {
                keys.reverse();
            }
            let ring = KeyRing::verify_only(keys).expect("a ring");
            assert_eq!(verdict(&ring, &text), expected, "{name}, reversed: {reversed}");
        }
    }
}

#[test]
fn a_kid_does_not_make_a_key_usable_with_another_algorithm() {
    let ring = KeyRing::new(Key::generate(Algorithm::ES256).expect("a key").with_id("a")).expect("a ring");
    assert_eq!(verdict(&ring, &signed_by(&key(Some("a")))), Err(TokenErrorKind::UnknownKey));
}

#[test]
fn two_keys_of_one_id_and_algorithm_are_refused() {
    let rings = [
        ("verify only", KeyRing::verify_only([key(Some("a")), key(Some("a"))])),
        (
            "active and accepted",
            KeyRing::new(key(Some("a"))).and_then(|ring| ring.with_accepted(key(Some("a")))),
        ),
    ];
    for (name, ring) in rings {
        assert!(ring.expect_err(name).to_string().contains("with_id"), "{name}");
    }
    assert!(KeyRing::verify_only([key(None), key(None)]).is_ok(), "keys without ids are no conflict");
    let other = Key::generate(Algorithm::EdDSA).expect("a key").with_id("a");
    assert!(KeyRing::verify_only([key(Some("a")), other]).is_ok(), "the algorithm tells them apart");
    assert!(KeyRing::verify_only([]).is_err(), "no key at all");
}

#[test]
fn a_ring_without_an_active_key_signs_nothing() {
    let public = Key::from_public_pem(Algorithm::EdDSA, include_str!("keys/ed25519.pub.pem")).expect("a key");
    assert!(KeyRing::new(public.clone()).is_err(), "a public key cannot be active");

    // Not even with a secret that could.
    for ring in [KeyRing::verify_only([public]), KeyRing::verify_only([key(None)])] {
        let ring = ring.expect("a ring");
        assert!(!ring.can_sign());
        let error = Issuer::new(ring.clone()).issue(&token(), &()).unwrap_err();
        assert_eq!(*error.kind(), IssueErrorKind::CannotSign);
        let error = Sessions::<()>::builder(ring, MemoryStore::new())
            .with_audience("shop")
            .build()
            .unwrap_err()
            .to_string();
        assert!(error.contains("KeyRing::new") && error.contains("CookieJwtLayer"), "{error}");
    }
}

#[test]
fn accepting_a_key_does_not_affect_clones_of_the_previous_ring() {
    let (old, new) = (key(None), key(None));
    let ring = KeyRing::new(old).expect("a ring");
    let both = ring.clone().with_accepted(new.clone()).expect("a ring");
    assert_eq!(verdict(&both, &signed_by(&new)), Ok(()));
    assert_eq!(verdict(&ring, &signed_by(&new)), Err(TokenErrorKind::BadSignature));
}

#[test]
fn a_key_goes_from_accepted_to_active_to_accepted_to_removed() {
    let (old, new) = (key(Some("old")), key(Some("new")));
    let ring = KeyRing::new(old.clone()).expect("a ring");
    let (issuer, verifier) = (Issuer::new(ring.clone()), Verifier::<()>::new(ring.clone()));
    let issue = || issuer.issue(&token(), &()).expect("it signs");
    let fits = |text: &str| verifier.verify(text).is_ok();

    let first = issue();
    assert!(fits(&first) && !fits(&signed_by(&new)), "before");
    ring.replace(KeyRing::new(old.clone()).and_then(|ring| ring.with_accepted(new.clone())).expect("a ring"));
    assert!(fits(&first) && fits(&signed_by(&new)), "the new one is accepted");
    ring.replace(KeyRing::new(new.clone()).and_then(|ring| ring.with_accepted(old)).expect("a ring"));
    let second = issue();
    assert!(
        fits(&first)
            && fits(&second)
            && verdict(&KeyRing::new(new.clone()).expect("a ring"), &second).is_ok()
    );
    ring.replace(KeyRing::new(new).expect("a ring"));
    assert!(!fits(&first) && fits(&second), "the old one is removed");
    ring.replace(ring.clone());
    assert!(fits(&second), "replaced by the same keys");
}

#[test]
fn replacing_keys_while_serving_refuses_no_valid_token() {
    let (one, two) = (key(Some("one")), key(Some("two")));
    let ring_of = |active: &Key, accepted: &Key| {
        KeyRing::new(active.clone()).and_then(|ring| ring.with_accepted(accepted.clone())).expect("a ring")
    };
    let ring = ring_of(&one, &two);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let (issuer, verifier) = (Issuer::new(ring.clone()), Verifier::<()>::new(ring.clone()));
                for round in 0..300 {
                    let text = issuer.issue(&token(), &()).expect("there is an active key");
                    assert!(verifier.verify(&text).is_ok(), "round {round}");
                }
            });
        }
        for round in 0..300 {
            let (active, accepted) = if round % 2 == 0 { (&two, &one) } else { (&one, &two) };
            ring.replace(ring_of(active, accepted));
        }
    });
}

#[test]
fn a_token_is_checked_against_at_most_four_keys() {
    // Tokens without a `kid` are tried with the keys in turn, whether or not these have ids.
    let secrets: [[u8; 32]; 5] = std::array::from_fn(|index| [index as u8; 32]);
    let named = secrets.iter().enumerate().map(|(index, secret)| renamed(*secret, Some(&index.to_string())));
    let ring = KeyRing::verify_only(named).expect("a ring");
    for (index, secret) in secrets.into_iter().enumerate() {
        let expected = if index < 4 { Ok(()) } else { Err(TokenErrorKind::BadSignature) };
        assert_eq!(verdict(&ring, &signed_by(&renamed(secret, None))), expected, "key {index}, no kid");
        let with_kid = signed_by(&renamed(secret, Some(&index.to_string())));
        assert_eq!(verdict(&ring, &with_kid), Ok(()), "key {index}");
    }
}

#[test]
fn keys_that_would_never_be_tried_are_a_config_error() {
    let named = |index: usize| key(Some(&index.to_string()));
    let other = |algorithm| Key::generate(algorithm).expect("a key");
    let cases: [(&str, Vec<Key>, bool); 6] = [
        ("four without ids", (0..4).map(|_| key(None)).collect(), true),
        ("five without ids", (0..5).map(|_| key(None)).collect(), false),
        (
            "three without ids, and many with",
            (0..3).map(|_| key(None)).chain((0..9).map(named)).collect(),
            true,
        ),
        ("four without ids, and one with", (0..4).map(|_| key(None)).chain([named(0)]).collect(), false),
        ("many with ids", (0..40).map(named).collect(), true),
        (
            "four of each of two algorithms",
            (0..8).map(|index| other(if index < 4 { Algorithm::HS256 } else { Algorithm::EdDSA })).collect(),
            true,
        ),
    ];
    for (name, keys, fine) in cases {
        let accepted =
            keys[1..].iter().try_fold(KeyRing::new(keys[0].clone()).expect("a ring"), |ring, key| {
                ring.with_accepted(key.clone())
            });
        for (how, ring) in [("verify_only", KeyRing::verify_only(keys)), ("with_accepted", accepted)] {
            assert_eq!(ring.is_ok(), fine, "{name}, {how}");
            let error = ring.err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(error.contains("Key::with_id"), !fine, "{name}, {how}: {error}");
        }
    }
    let x = |_| format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, public_x(&other(Algorithm::EdDSA)));
    let set = |count: usize| format!(r#"{{"keys":[{}]}}"#, (0..count).map(x).collect::<Vec<_>>().join(","));
    assert!(KeyRing::from_jwks(set(4)).is_ok(), "a set of four");
    assert!(KeyRing::from_jwks(set(5)).is_err(), "a set of five");
}

/// Returns the member `x` of a public key.
fn public_x(key: &Key) -> String {
    let set = KeyRing::new(key.clone()).expect("a ring").public_jwks();
    let set: serde_json::Value = serde_json::from_str(&set).expect("JSON");
    set["keys"][0]["x"].as_str().expect("text").to_owned()
}

#[tokio::test(flavor = "current_thread")]
async fn a_request_spends_at_most_four_signature_checks_on_all_its_cookies() {
    let good = signed_by(&Key::hs256(forge::SECRET).expect("a secret"));
    let forged = |count: usize| (0..count).map(|_| signed_by(&key(None)));
    let verifier =
        Verifier::<()>::builder(forge::ring()).with_cache_bytes(0).build().expect("the settings agree");
    let layer = CookieJwtLayer::new(verifier).with_cookie_name("access").expect("a cookie name");
    for (count, expected) in [(0, "ada"), (3, "ada"), (4, "token_ambiguous"), (40, "token_ambiguous")] {
        let cookies: Vec<String> =
            forged(count).chain([good.clone()]).map(|token| format!("access={token}")).collect();
        let request = Request::get("/").header(COOKIE, cookies.join("; ")).body(()).expect("a request");
        let response = layer.layer(forge::whoami()).oneshot(request).await.expect("infallible");
        assert_eq!(forge::outcome(&response), expected, "behind {count} forged ones");
    }
    // What no key fits costs nothing, and neither does one value twice.
    let unknown = signed_by(&Key::generate(Algorithm::HS512).expect("a secret"));
    let twice = signed_by(&key(None));
    let cookies = [&unknown, "x", "", &unknown, &twice, &twice, &twice, &twice, &twice, &good];
    let cookies = cookies.map(|token| format!("access={token}")).join("; ");
    let request = Request::get("/").header(COOKIE, cookies).body(()).expect("a request");
    let response = layer.layer(forge::whoami()).oneshot(request).await.expect("infallible");
    assert_eq!(forge::outcome(&response), "ada");
}

#[tokio::test(flavor = "current_thread")]
async fn a_cached_token_costs_no_signature_check() {
    let good = signed_by(&Key::hs256(forge::SECRET).expect("a secret"));
    let layer = CookieJwtLayer::new(Verifier::<()>::new(forge::ring()))
        .with_cookie_name("access")
        .expect("a cookie name");
    for (count, expected) in [(0, "ada"), (4, "ada"), (5, "token_ambiguous")] {
        let forged = (0..count).map(|_| signed_by(&key(None)));
        let cookies: Vec<_> = forged.chain([good.clone()]).map(|token| format!("access={token}")).collect();
        let request = Request::get("/").header(COOKIE, cookies.join("; ")).body(()).expect("a request");
        let response = layer.layer(forge::whoami()).oneshot(request).await.expect("infallible");
        assert_eq!(forge::outcome(&response), expected, "behind {count} forged ones");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn nested_verifiers_share_the_four_signature_checks_of_a_request() {
    let keys: Vec<Key> = (0..5).map(|_| key(None)).collect();
    let four = KeyRing::verify_only(keys[..4].to_vec()).expect("a ring");
    let layer = |ring: &KeyRing| {
        let verifier =
            Verifier::<()>::builder(ring.clone()).with_cache_bytes(0).build().expect("the settings agree");
        CookieJwtLayer::new(verifier).with_cookie_name("access").expect("a cookie name").optional()
    };
    let own = KeyRing::new(keys[4].clone()).expect("a ring");
    let text = signed_by(&keys[4]);
    let request = || Request::get("/").header(COOKIE, format!("access={text}")).body(()).expect("a request");

    let alone = layer(&own).layer(forge::whoami());
    let response = alone.clone().oneshot(request()).await.expect("infallible");
    assert_eq!(forge::outcome(&response), "ada", "only the inner one");
    let response = layer(&four).layer(alone.clone()).oneshot(request()).await.expect("infallible");
    assert_eq!(forge::outcome(&response), "anonymous", "the outer one has spent them");

    let exempt = layer(&own).with_exempt(|_| true);
    let between = layer(&four).layer(exempt.layer(alone)).oneshot(request()).await.expect("infallible");
    assert_eq!(forge::outcome(&between), "anonymous", "an exempt layer in between gives none back");
}

#[tokio::test(flavor = "current_thread")]
async fn a_refreshed_request_gets_no_further_signature_checks() {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let cookies = Jar::signed_in(&sessions, ()).await.header();
    clock.advance(Duration::from_secs(3600));

    // Two checks for access and refresh cookie; two are left for an inner router with other keys.
    let keys: Vec<Key> = (0..3).map(|_| key(None)).collect();
    let ring = KeyRing::verify_only(keys.clone()).expect("a ring");
    for (index, expected) in [(1, "ada"), (2, "anonymous")] {
        let inner = CookieJwtLayer::new(Verifier::<()>::new(ring.clone()))
            .with_cookie_name("inner")
            .expect("a cookie name")
            .optional();
        let service = sessions.refresh_layer().layer(inner.layer(forge::whoami()));
        let cookie = format!("{cookies}; inner={}", signed_by(&keys[index]));
        let request = Request::get("/").header(COOKIE, cookie).body(()).expect("a request");
        let response = service.oneshot(request).await.expect("infallible");
        assert_eq!(forge::outcome(&response), expected, "key {index}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn debug_output_never_shows_a_secret() {
    let secret = "an-HMAC-secret-of-more-than-32-bytes";
    let key = Key::hs256(secret).expect("a secret");
    let ring = KeyRing::new(key.clone()).expect("a ring");
    let verifier = Verifier::<()>::new(ring.clone());
    let issuer = Issuer::new(ring.clone());
    let new = token().with_token_id("a-token-id-xyz").with_xsrf_token("the-xsrf-token-value-123");
    let text = issuer.issue(&new, &()).expect("it signs");
    let claims = verifier.verify(&text).expect("it verifies");
    let sessions = Sessions::<()>::builder(ring.clone(), MemoryStore::new()).with_audience("shop");
    let builder = format!("{sessions:?}");
    let sessions = sessions.build().expect("sessions");
    let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
    let signed_in = sessions.sign_in(&parts, "ada", ()).await.expect("signed in");
    let signed_out = sessions.sign_out(&parts).await.expect("signed out");
    let jar = Jar::of(&headers_of(&signed_in));
    let mut secrets: Vec<String> = jar.iter().map(|(_, value)| value.to_owned()).collect();
    let bytes = format!("{:?}", secret.as_bytes());
    secrets.extend([secret, &bytes, signed_in.xsrf_token(), &text, "a-token-id-xyz"].map(str::to_owned));
    secrets.push("the-xsrf-token-value-123".to_owned());

    let shown = [
        ("Key", format!("{key:?}")),
        ("KeyRing", format!("{ring:?}")),
        ("Verifier", format!("{verifier:?}")),
        ("Issuer", format!("{issuer:?}")),
        ("NewToken", format!("{new:?}")),
        ("Claims", format!("{claims:?}")),
        ("SessionsBuilder", builder),
        ("Sessions", format!("{sessions:?}")),
        ("SignedIn", format!("{signed_in:?}")),
        ("SignedOut", format!("{signed_out:?}")),
        ("SessionInfo", format!("{:?}", sessions.list("ada").await.expect("a list"))),
        ("CookieJwtLayer", format!("{:?}", CookieJwtLayer::new(verifier.clone()))),
        ("SessionLayer", format!("{:?}", sessions.layer())),
        ("RefreshLayer", format!("{:?}", sessions.refresh_layer())),
        ("XsrfLayer", format!("{:?}", sessions.xsrf_layer())),
    ];
    for (name, text) in shown {
        assert!(!text.is_empty(), "{name}");
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{name} shows `{secret}`: {text}");
        }
    }
}
