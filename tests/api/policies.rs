//! What a verifier demands beyond a signature: issuers, audiences, lifetimes, required claims; and what it tells the
//! developer whose claims type does not fit.

use std::time::Duration;

#[cfg(feature = "tracing")]
use serde::Deserialize;
use serde_json::{Value, json};
use tower_cookie_jwt::{
    KeyRing, Verifier,
    keys::Key,
    testing::TestClock,
    token::{TokenErrorKind, VerifierBuilder},
};

use crate::forge;
#[cfg(feature = "tracing")]
use crate::kit::log::Log;

/// 2026-01-01T00:00:00Z, where a `TestClock` begins.
const NOW: u64 = 1_767_225_600;

fn builder() -> VerifierBuilder<()> {
    Verifier::builder(forge::ring()).with_clock(TestClock::new())
}

fn verdict(verifier: &Verifier<()>, claims: Value) -> Result<(), TokenErrorKind> {
    let mut all = json!({ "sub": "ada", "iat": NOW - 60, "exp": NOW + 840 });
    for (name, value) in claims.as_object().expect("claims are an object") {
        all[name] = value.clone();
    }
    verifier.verify(&forge::token(all.to_string())).map(drop).map_err(|error| error.kind())
}

#[test]
fn one_of_several_audiences_is_enough() {
    let verifier = builder().with_audiences(["shop", "https://shop.example"]).build().unwrap();
    for (audience, accepted) in [
        (json!("shop"), true),
        (json!("https://shop.example"), true),
        (json!(["other", "shop"]), true),
        (json!("other"), false),
        (json!("shop https://shop.example"), false),
        (json!([]), false),
        (json!(null), false),
    ] {
        assert_eq!(verdict(&verifier, json!({ "aud": audience })).is_ok(), accepted, "{audience}");
    }
}

#[test]
fn the_key_of_one_issuer_never_vouches_for_another() {
    let secret = |byte: u8| [byte; 32];
    let ring = |byte: u8| KeyRing::new(Key::hs256(secret(byte)).unwrap().with_id("same")).unwrap();
    let second = ring(2);
    let verifier = Verifier::<()>::builder(ring(1))
        .with_issuer("https://one.example")
        .with_audience("shop")
        .and_issuer("https://two.example", second.clone(), ["shop", "desk"])
        .build()
        .unwrap();
    let token = |byte: u8, issuer: &str, audience: &str| {
        let claims = json!({ "iss": issuer, "aud": audience, "sub": "ada", "exp": 4_102_444_800_u64 });
        forge::hs256(&secret(byte), r#"{"alg":"HS256","kid":"same"}"#, claims.to_string())
    };
    let verdict = |token: &str| verifier.verify(token).map(drop).map_err(|error| error.kind());
    let table = [
        ("the first", token(1, "https://one.example", "shop"), Ok(())),
        ("the second", token(2, "https://two.example", "shop"), Ok(())),
        ("the second's other audience", token(2, "https://two.example", "desk"), Ok(())),
        ("of the first", token(1, "https://one.example", "desk"), Err(TokenErrorKind::WrongAudience)),
        (
            "the first's key for the second",
            token(1, "https://two.example", "shop"),
            Err(TokenErrorKind::BadSignature),
        ),
        (
            "the second's key for the first",
            token(2, "https://one.example", "shop"),
            Err(TokenErrorKind::BadSignature),
        ),
        ("a third", token(1, "https://three.example", "shop"), Err(TokenErrorKind::WrongIssuer)),
    ];
    for round in ["verified", "remembered"] {
        for (name, token, expected) in &table {
            assert_eq!(verdict(token), *expected, "{name}, {round}");
        }
    }
    let claims = json!({ "aud": "shop", "sub": "ada", "exp": 4_102_444_800_u64 });
    for claims in [claims.to_string(), r#"{"iss":["https://one.example"],"exp":4102444800}"#.to_owned()] {
        let stranger = forge::hs256(&secret(1), r#"{"alg":"HS256","kid":"same"}"#, &claims);
        assert_eq!(verdict(&stranger), Err(TokenErrorKind::WrongIssuer), "{claims}");
    }
    // What has been remembered ends with the keys of its issuer, and only with those.
    second.replace(ring(3));
    assert_eq!(verdict(&table[1].1), Err(TokenErrorKind::BadSignature), "the second has another key");
    assert_eq!(verdict(&table[0].1), Ok(()), "the first has the same");
}

#[test]
fn lifetimes_and_dates_of_issue_are_bounded_where_that_is_asked_for() {
    let plain = builder().build().unwrap();
    let short = builder().with_max_lifetime(Duration::from_secs(900)).build().unwrap();
    let past = builder().with_issued_at_check().build().unwrap();
    use TokenErrorKind::{LifetimeTooLong, NotYetValid};
    let table = [
        ("15 minutes", json!({}), Ok(()), Ok(())),
        ("a second more", json!({ "exp": NOW + 841 }), Err(LifetimeTooLong), Ok(())),
        ("no date of issue", json!({ "iat": null }), Err(LifetimeTooLong), Ok(())),
        (
            "of no time, but far away",
            json!({ "iat": NOW + 9000, "exp": NOW + 9000 }),
            Err(LifetimeTooLong),
            Err(NotYetValid),
        ),
        ("issued within the leeway", json!({ "iat": NOW + 30 }), Ok(()), Ok(())),
        ("issued in the future", json!({ "iat": NOW + 31 }), Ok(()), Err(NotYetValid)),
    ];
    for (name, claims, by_lifetime, by_issue) in table {
        assert_eq!(verdict(&plain, claims.clone()), Ok(()), "{name}: without either");
        assert_eq!(verdict(&short, claims.clone()), by_lifetime, "{name}: at most 15 minutes");
        assert_eq!(verdict(&past, claims), by_issue, "{name}: issued in the past");
    }
}

#[test]
fn required_claims_are_there_and_not_null() {
    let verifier = builder().with_required_claims(["client_id", "jti"]).build().unwrap();
    let table = [
        (json!({ "client_id": "web", "jti": "1" }), Ok(())),
        (json!({ "client_id": 0, "jti": "1" }), Err(TokenErrorKind::MissingClaim)),
        (json!({ "jti": "1" }), Err(TokenErrorKind::MissingClaim)),
        (json!({ "client_id": "web" }), Err(TokenErrorKind::MissingClaim)),
        (json!({ "client_id": null, "jti": "1" }), Err(TokenErrorKind::MissingClaim)),
        (json!({ "nested": { "client_id": "web" }, "jti": "1" }), Err(TokenErrorKind::MissingClaim)),
    ];
    for (claims, expected) in table {
        assert_eq!(verdict(&verifier, claims.clone()), expected, "{claims}");
    }
}

#[test]
fn access_tokens_are_those_of_rfc_9068_where_that_is_asked_for() {
    let verifier =
        builder().with_issuer("https://id.example").with_audience("shop").with_rfc9068().build().unwrap();
    let claims = json!({
        "iss": "https://id.example", "aud": "shop", "sub": "ada", "client_id": "web", "iat": NOW, "jti": "1",
        "exp": NOW + 900,
    });
    let verdict = |typ: &str, without: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(without);
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        let token = forge::hs256(forge::SECRET, header, claims.to_string());
        verifier.verify(&token).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(verdict("at+jwt", ""), Ok(()));
    assert_eq!(verdict("application/at+jwt", ""), Ok(()));
    for typ in ["JWT", "id+jwt", ""] {
        assert_eq!(verdict(typ, ""), Err(TokenErrorKind::WrongType), "{typ}: an ID token");
    }
    for name in ["iss", "aud", "sub", "client_id", "iat", "jti", "exp"] {
        assert!(verdict("at+jwt", name).is_err(), "without {name}");
    }
}

#[test]
fn settings_with_which_too_much_or_nothing_is_accepted_are_config_errors() {
    let other = || KeyRing::hs256([7; 32]).unwrap();
    let named = || builder().with_issuer("https://one.example").with_audience("shop");
    let none: [&str; 0] = [];
    let table = [
        ("no audience listed", builder().with_audiences(none), "the audience is empty"),
        ("an empty audience", builder().with_audiences(["shop", ""]), "the audience is empty"),
        (
            "the first has no name",
            builder().with_audience("shop").and_issuer("b", other(), ["shop"]),
            "each needs a name",
        ),
        (
            "the first has no audience",
            builder().with_issuer("a").and_issuer("b", other(), ["shop"]),
            "and an audience",
        ),
        ("the second has no audience", named().and_issuer("b", other(), none), "the audience is empty"),
        ("the second has no name", named().and_issuer("", other(), ["shop"]), "the issuer is empty"),
        ("one twice", named().and_issuer("https://one.example", other(), ["desk"]), "named twice"),
        ("RFC 9068 without an audience", builder().with_issuer("a").with_rfc9068(), "with_audience"),
        ("RFC 9068 without an issuer", builder().with_audience("shop").with_rfc9068(), "with_issuer"),
    ];
    for (name, builder, message) in table {
        let error = builder.build().err().unwrap_or_else(|| panic!("{name}: it builds")).to_string();
        assert!(error.contains(message), "{name}: {error}");
    }
}

#[cfg(all(feature = "jwks-remote", feature = "tracing"))]
#[test]
fn the_keys_of_a_remote_set_need_an_audience_unless_it_is_waived() {
    use bytes::Bytes;
    use http_body_util::Full;
    use tower_cookie_jwt::layers::jwks::RemoteJwks;

    let client = tower::service_fn(async |_: http::Request<Full<Bytes>>| {
        Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
    });
    let (keys, _follow) = RemoteJwks::discover("https://id.example").unwrap().follow(client);
    let builder = || Verifier::<()>::builder(keys.clone()).with_issuer("https://id.example");
    let error = builder().build().unwrap_err().to_string();
    assert!(error.contains("with_audience") && error.contains("without_audience"), "{error}");
    assert!(builder().with_audience("shop").build().is_ok());
    assert!(builder().without_audience().build().is_ok());
    let log = Log::default();
    let capture = log.capture();
    let _ = Verifier::<()>::new(keys.clone());
    drop(capture);
    assert!(log.text().contains("accepts tokens for any application"), "{}", log.text());
}

#[cfg(feature = "tracing")]
/// A type that was written for another library, where registered claims are fields.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only its shape matters")]
struct Borrowed {
    sub: String,
    exp: u64,
    role: String,
}

#[cfg(feature = "tracing")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
struct Strict {
    level: u8,
}

#[cfg(feature = "tracing")]
#[test]
fn the_developer_is_told_once_why_claims_do_not_fit_and_no_value_is_logged() {
    fn told<C: serde::de::DeserializeOwned>(claims: &Value) -> String {
        let verifier = Verifier::<C>::new(forge::ring());
        let log = Log::default();
        let capture = log.capture();
        for _ in 0..3 {
            let error = verifier.verify(&forge::valid_with(claims.clone())).map(drop).unwrap_err();
            assert_eq!(error.kind(), TokenErrorKind::ClaimsMismatch);
        }
        drop(capture);
        log.text()
    }
    let borrowed = told::<Borrowed>(&json!({ "role": "admin" }));
    for part in ["WARN", "Borrowed", "`sub` is a registered claim", "`Claims::subject`", "remove the field"] {
        assert!(borrowed.contains(part), "{part}: {borrowed}");
    }
    assert_eq!(borrowed.lines().count(), 1, "once: {borrowed}");
    let strict = [
        (json!({}), "`level` is not in the token"),
        (json!({ "level": 1, "secretive": "hidden" }), "it denies the claim `secretive`"),
        (json!({ "level": "hidden" }), "the claim `level` does not fit"),
        (json!({ "level": 987_654_321 }), "the claim `level` does not fit"),
    ];
    for (claims, message) in strict {
        let log = told::<Strict>(&claims);
        assert!(log.contains(message), "{claims}: {log}");
        assert!(!log.contains("hidden") && !log.contains("987654321"), "{claims}: {log}");
        assert_eq!(log.lines().count(), 1, "{claims}: {log}");
    }
    let error = Verifier::<String>::new(forge::ring()).verify(&forge::valid_with(json!({}))).unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::ClaimsMismatch, "no type for an object");
}
