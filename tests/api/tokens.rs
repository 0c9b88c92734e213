//! What a verifier accepts, and the kind of each refusal.

use http::{Request, header::COOKIE};
use jsonwebtoken::EncodingKey;
use serde::Deserialize;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_cookie_jwt::{
    CookieJwtLayer, MemoryStore, Sessions, Verifier,
    keys::{Algorithm, Key, KeyRing},
    reject::Refusal,
    testing::TestClock,
    token::{MAX_TOKEN_LEN, TokenErrorKind, VerifierBuilder},
};

use crate::forge;
use crate::jar::Jar;

/// 2026-01-01T00:00:00Z, where a `TestClock` begins.
const NOW: u64 = 1_767_225_600;

fn builder() -> VerifierBuilder<()> {
    Verifier::builder(forge::ring()).with_clock(TestClock::new())
}

fn verifier() -> Verifier<()> {
    builder().build().expect("the settings agree")
}

fn verdict(verifier: &Verifier<()>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(drop).map_err(|error| error.kind())
}

#[test]
fn an_expiry_is_required() {
    assert_eq!(verdict(&verifier(), &forge::token(r#"{"sub":"ada"}"#)), Err(TokenErrorKind::Malformed));
    assert_eq!(verdict(&verifier(), &forge::token("{}")), Err(TokenErrorKind::Malformed));
}

#[test]
fn issuer_and_audience_are_required_where_they_are_configured() {
    use TokenErrorKind::{Malformed, WrongAudience, WrongIssuer};
    let iss = builder().with_issuer("https://shop.example").build().expect("the settings agree");
    let aud = builder().with_audience("shop").build().expect("the settings agree");
    let free = verifier();
    let table = [
        ("the issuer", &iss, json!({ "iss": "https://shop.example" }), Ok(())),
        ("no issuer", &iss, json!({}), Err(WrongIssuer)),
        ("an empty issuer", &iss, json!({ "iss": "" }), Err(WrongIssuer)),
        ("another issuer", &iss, json!({ "iss": "https://evil.example" }), Err(WrongIssuer)),
        ("issuer with a slash", &iss, json!({ "iss": "https://shop.example/" }), Err(WrongIssuer)),
        ("issuer in other case", &iss, json!({ "iss": "https://Shop.example" }), Err(WrongIssuer)),
        ("issuer in an array", &iss, json!({ "iss": ["https://shop.example"] }), Err(Malformed)),
        ("issuer null", &iss, json!({ "iss": null }), Err(Malformed)),
        ("the audience", &aud, json!({ "aud": "shop" }), Ok(())),
        ("only the audience, in an array", &aud, json!({ "aud": ["shop"] }), Ok(())),
        ("the audience among others", &aud, json!({ "aud": ["admin", "shop", ""] }), Ok(())),
        ("no audience", &aud, json!({}), Err(WrongAudience)),
        ("an empty array", &aud, json!({ "aud": [] }), Err(WrongAudience)),
        ("another audience", &aud, json!({ "aud": "admin" }), Err(WrongAudience)),
        ("a longer audience", &aud, json!({ "aud": "shop2" }), Err(WrongAudience)),
        ("audiences in one string", &aud, json!({ "aud": "shop admin" }), Err(WrongAudience)),
        ("audience of a number", &aud, json!({ "aud": 123 }), Err(Malformed)),
        ("audience null", &aud, json!({ "aud": null }), Err(Malformed)),
        ("audience with a null", &aud, json!({ "aud": ["shop", null] }), Err(Malformed)),
        ("audience in two arrays", &aud, json!({ "aud": [["shop"]] }), Err(Malformed)),
        ("audience in an object", &aud, json!({ "aud": { "shop": 1 } }), Err(Malformed)),
        ("any, where none is configured", &free, json!({ "iss": "x", "aud": ["y"] }), Ok(())),
        ("a number, where none is configured", &free, json!({ "aud": 123 }), Ok(())),
    ];
    for (name, verifier, claims, expected) in table {
        assert_eq!(verdict(verifier, &forge::valid_with(claims)), expected, "{name}");
    }
}

/// Values of types that no claim has whose value is a text.
fn not_texts() -> [Value; 6] {
    [json!(1), json!(true), json!(null), json!([]), json!([1]), json!({})]
}

#[test]
fn a_claim_that_decides_about_the_token_is_refused_if_it_is_of_another_type() {
    for name in ["sub", "jti"] {
        for value in not_texts() {
            let text = forge::valid_with(json!({ name: value }));
            assert_eq!(verdict(&verifier(), &text), Err(TokenErrorKind::Malformed), "{name} of {value}");
        }
    }
    for name in ["exp", "nbf"] {
        for value in [json!("1"), json!(-1), json!(true), json!(null), json!([1]), json!({})] {
            let text = forge::valid_with(json!({ name: value }));
            assert_eq!(verdict(&verifier(), &text), Err(TokenErrorKind::Malformed), "{name} of {value}");
        }
    }
    // Whatever the application's type would make of them.
    let text = forge::valid_with(json!({ "sub": 1 }));
    let error = Verifier::<Value>::new(forge::ring()).verify(&text).unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::Malformed);
    // These decide only for those who compare them.
    let issuer = builder().with_issuer("id").build().unwrap();
    let audience = builder().with_audience("shop").build().unwrap();
    for value in [json!(1), json!(true), json!(null), json!({})] {
        let with = |name: &str| forge::valid_with(json!({ name: value }));
        assert_eq!(verdict(&issuer, &with("iss")), Err(TokenErrorKind::Malformed), "iss of {value}");
        assert_eq!(verdict(&audience, &with("aud")), Err(TokenErrorKind::Malformed), "aud of {value}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_claims_of_a_session_are_refused_by_sessions_if_they_are_of_another_type() {
    let sessions = Sessions::<()>::builder(forge::ring(), MemoryStore::new()).with_audience("shop");
    let layer = sessions.build().unwrap().cookie_jwt_layer();
    let cases = [
        ("sid", json!(1)),
        ("sid", json!(null)),
        ("gen", json!("1")),
        ("gen", json!(-1)),
        ("gen", json!(null)),
        ("gen", json!(4_294_967_296_u64)),
    ];
    for (name, value) in cases {
        let claims = json!({ "aud": "shop", "sub": "ada", "exp": 4_102_444_800_u64, name: value });
        let token = forge::hs256(forge::SECRET, r#"{"alg":"HS256","typ":"at+jwt"}"#, claims.to_string());
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let Ok(response) = layer.layer(forge::whoami()).oneshot(request).await;
        assert_eq!(response.status(), 401, "{name} of {value}");
    }
}

#[test]
fn any_other_claim_of_another_type_counts_as_absent() {
    let dates = vec![json!("1"), json!(-1), json!(null), json!(1e300), json!([1])];
    let lists = vec![json!(1), json!(null), json!(["a", 1]), json!({})];
    let numbers = vec![json!("1"), json!(-1), json!(1.5), json!(4_294_967_296_u64), json!(null), json!([1])];
    let cases = [
        ("iss", not_texts().to_vec()),
        ("sid", not_texts().to_vec()),
        ("xsrfToken", not_texts().to_vec()),
        ("aud", lists.clone()),
        ("scope", lists),
        ("iat", dates.clone()),
        ("auth_time", dates),
        ("gen", numbers),
    ];
    for (name, values) in cases {
        for value in values {
            let text = forge::valid_with(json!({ "sub": "ada", name: value }));
            let claims =
                verifier().verify(&text).unwrap_or_else(|error| panic!("{name} of {value}: {error}"));
            let present = match name {
                "iss" => claims.issuer().is_some(),
                "sid" => claims.session_id().is_some(),
                "aud" => claims.audience().next().is_some(),
                "scope" => claims.scope().is_some(),
                "iat" => claims.issued_at().is_some(),
                "auth_time" => claims.authenticated_at().is_some(),
                "gen" => claims.generation().is_some(),
                _ => false,
            };
            assert!(!present, "{name} of {value}");
            assert_eq!(claims.subject(), Some("ada"), "{name} of {value}");
        }
    }
    let text = forge::valid_with(json!({ "scope": 1 }));
    assert!(verifier().verify(&text).unwrap().require_scope("read").is_err(), "what needs it refuses");
}

#[test]
fn scopes_are_a_list_or_an_array_under_the_name_that_the_issuer_gives_them() {
    let scp = builder().with_scope_claim("scp").build().unwrap();
    let table = [
        ("a list", &verifier(), json!({ "scope": "orders openid" }), &["orders", "openid"][..]),
        ("an array", &verifier(), json!({ "scope": ["orders", "openid"] }), &["orders", "openid"]),
        ("an empty array", &verifier(), json!({ "scope": [] }), &[]),
        ("no scope has a space", &verifier(), json!({ "scope": ["admin orders", "openid"] }), &["openid"]),
        ("another name, a list", &scp, json!({ "scp": "orders openid" }), &["orders", "openid"]),
        ("another name, an array", &scp, json!({ "scp": ["orders"], "scope": "admin" }), &["orders"]),
        ("a name that is not looked for", &verifier(), json!({ "scp": "admin" }), &[]),
    ];
    for (name, verifier, claims, expected) in table {
        let claims = verifier.verify(&forge::valid_with(claims)).unwrap();
        for scope in ["orders", "openid", "admin"] {
            assert_eq!(claims.has_scope(scope), expected.contains(&scope), "{name}: {scope}");
        }
    }
    for name in ["", "aud", "xsrfToken"] {
        let error = builder().with_scope_claim(name).build().unwrap_err();
        assert!(error.to_string().contains("with_scope_claim"), "{name}: {error}");
    }
}

#[test]
fn a_registered_claim_or_header_parameter_that_occurs_twice_is_refused() {
    let claims = [
        ("iss", "\"a\""),
        ("sub", "\"a\""),
        ("aud", "\"a\""),
        ("exp", "4102444800"),
        ("nbf", "1"),
        ("iat", "1"),
        ("auth_time", "1"),
        ("jti", "\"a\""),
        ("sid", "\"a\""),
        ("gen", "1"),
        ("scope", "\"a\""),
        ("xsrfToken", "\"a\""),
    ];
    for (name, value) in claims {
        let escaped = format!("\\u{:04x}{}", name.as_bytes()[0], &name[1..]);
        let rest = if name == "exp" { "\"own\":1" } else { "\"exp\":4102444800" };
        let payloads = [
            ("next to each other", format!(r#"{{{rest},"{name}":{value},"{name}":{value}}}"#)),
            ("apart", format!(r#"{{"{name}":{value},{rest},"{name}":{value}}}"#)),
            ("the second escaped", format!(r#"{{"{name}":{value},{rest},"{escaped}":{value}}}"#)),
            ("the first null", format!(r#"{{"{name}":null,{rest},"{name}":{value}}}"#)),
            ("the second null", format!(r#"{{"{name}":{value},{rest},"{name}":null}}"#)),
            ("the first of another type", format!(r#"{{"{name}":[{{}}],{rest},"{name}":{value}}}"#)),
        ];
        for (how, payload) in payloads {
            let text = forge::token(&payload);
            assert_eq!(verdict(&verifier(), &text), Err(TokenErrorKind::Malformed), "{name}, {how}");
            assert!(
                Verifier::<Value>::new(forge::ring()).verify(&text).is_err(),
                "{name}, {how}, as a value"
            );
        }
        let once = forge::token(format!(r#"{{{rest},"{escaped}":{value}}}"#));
        assert_eq!(verdict(&verifier(), &once), Ok(()), "{name}, escaped, once");
    }
    let deeper = r#"{"exp":4102444800,"own":{"sub":1,"sub":2},"mine":1,"mine":2}"#;
    assert_eq!(
        verdict(&verifier(), &forge::token(deeper)),
        Ok(()),
        "only the top level, only the registered"
    );

    let parameters = [
        ("alg", "\"HS256\""),
        ("typ", "\"JWT\""),
        ("kid", "\"a\""),
        ("cty", "\"a\""),
        ("jku", "\"a\""),
        ("jwk", "{}"),
        ("x5u", "\"a\""),
        ("x5c", "[]"),
        ("x5t", "\"a\""),
        ("x5t#S256", "\"a\""),
    ];
    let payload = r#"{"exp":4102444800}"#;
    for (name, value) in parameters {
        let first = if name == "alg" { String::new() } else { "\"alg\":\"HS256\",".into() };
        let header = format!(r#"{{{first}"{name}":{value}}}"#);
        assert_eq!(
            verdict(&verifier(), &forge::hs256(forge::SECRET, header, payload)),
            Ok(()),
            "{name}, once"
        );
        let header = format!(r#"{{{first}"{name}":{value},"{name}":{value}}}"#);
        let text = forge::hs256(forge::SECRET, header, payload);
        assert_eq!(verdict(&verifier(), &text), Err(TokenErrorKind::Malformed), "{name}, twice");
    }
}

#[test]
fn base64url_is_strict() {
    let text = forge::valid_with(json!({ "x": "???>>>~~~" }));
    let [header, payload, signature] = text.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let key = EncodingKey::from_secret(forge::SECRET);
    let signed = |message: String| forge::sign_text(jsonwebtoken::Algorithm::HS256, &key, &message);
    assert_eq!(verdict(&verifier(), &signed(format!("{header}.{payload}"))), Ok(()), "{payload}");
    assert!(payload.contains(['-', '_']), "{payload}");
    // 43 characters carry 256 bits and two that must be zero.
    assert_eq!(signature.len(), 43);
    let last = signature.as_bytes()[42];
    let trailing_bit = format!("{}{}", &signature[..42], (last + 1) as char);
    let table = [
        ("padded signature", format!("{header}.{payload}.{signature}=")),
        ("trailing bits in the signature", format!("{header}.{payload}.{trailing_bit}")),
        ("padded header", signed(format!("{header}=.{payload}"))),
        ("padded payload", signed(format!("{header}.{payload}="))),
        ("white space in the payload", signed(format!("{header}.{payload}\n"))),
        ("the other alphabet", signed(format!("{header}.{}", payload.replace(['-', '_'], "+")))),
        ("a space in front", format!(" {text}")),
        ("a line feed behind", format!("{text}\n")),
        ("a fourth part", signed(format!("{header}.{payload}.{payload}"))),
        ("two parts", format!("{header}.{payload}")),
        ("one part", header.to_owned()),
        ("no header", format!(".{payload}.{signature}")),
    ];
    for (name, text) in table {
        assert_eq!(verdict(&verifier(), &text), Err(TokenErrorKind::Malformed), "{name}");
    }
}

#[test]
fn a_token_over_eight_kibibytes_is_refused_before_anything_else() {
    let of_len = |len: usize| {
        let base = forge::valid_with(json!({ "x": "" })).len();
        (0..4)
            .map(|more| forge::valid_with(json!({ "x": "A".repeat((len - base) * 3 / 4 + more) })))
            .find(|text| text.len() == len)
    };
    assert_eq!(MAX_TOKEN_LEN, 8192);
    // A length that base64 cannot make of these claims says nothing.
    let longest = (8189..=8192).rev().find_map(of_len).expect("one of four lengths can be made");
    assert_eq!(verdict(&verifier(), &longest), Ok(()), "{} bytes", longest.len());
    let shortest = (8193..=8196).find_map(of_len).expect("one of four lengths can be made");
    assert_eq!(verdict(&verifier(), &shortest), Err(TokenErrorKind::TooLarge), "{} bytes", shortest.len());
    assert_eq!(verdict(&verifier(), &"x".repeat(8192)), Err(TokenErrorKind::Malformed));
    assert_eq!(verdict(&verifier(), &"x".repeat(8193)), Err(TokenErrorKind::TooLarge));
}

#[tokio::test(flavor = "current_thread")]
async fn every_kind_of_token_error_is_reported() {
    #[derive(Deserialize)]
    struct User {
        #[allow(dead_code, reason = "its absence is what the test is about")]
        name: String,
    }
    let es256 = KeyRing::new(Key::generate(Algorithm::ES256).expect("a key")).expect("a ring");
    let foreign = forge::hs256(&[7; 32], r#"{"alg":"HS256"}"#, r#"{"exp":4102444800}"#);
    let refresh =
        forge::hs256(forge::SECRET, r#"{"alg":"HS256","typ":"refresh+jwt"}"#, r#"{"exp":4102444800}"#);
    let strict = || builder().with_issuer("https://shop.example");
    let for_shop = strict().with_audience("shop").build().expect("the settings agree");
    let strict = strict().build().expect("the settings agree");
    let own = json!({ "iss": "https://shop.example" });
    let table = [
        (TokenErrorKind::Malformed, verdict(&verifier(), "a.b.c")),
        (TokenErrorKind::TooLarge, verdict(&verifier(), &"a".repeat(9000))),
        (TokenErrorKind::UnknownKey, verdict(&Verifier::new(es256), &forge::valid_with(json!({})))),
        (TokenErrorKind::BadSignature, verdict(&verifier(), &foreign)),
        (TokenErrorKind::WrongType, verdict(&verifier(), &refresh)),
        (TokenErrorKind::Expired, verdict(&verifier(), &forge::valid_with(json!({ "exp": 1 })))),
        (
            TokenErrorKind::NotYetValid,
            verdict(&verifier(), &forge::valid_with(json!({ "nbf": 4_000_000_000_u64 }))),
        ),
        (TokenErrorKind::WrongIssuer, verdict(&strict, &forge::valid_with(json!({})))),
        (TokenErrorKind::WrongAudience, verdict(&for_shop, &forge::valid_with(own))),
        (TokenErrorKind::ClaimsMismatch, {
            let error = Verifier::<User>::new(forge::ring()).verify(&forge::valid_with(json!({})));
            Err(error.map(drop).unwrap_err().kind())
        }),
    ];
    for (kind, verdict) in table {
        assert_eq!(verdict, Err(kind));
    }

    // The others need a request.
    let two = [json!({ "sid": "a" }), json!({ "sid": "b" })].map(forge::valid_with);
    let two = two.map(|text| format!("access={text}")).join("; ");
    let layer = CookieJwtLayer::new(verifier()).with_cookie_name("access").expect("a cookie name");
    let sessions =
        Sessions::<()>::builder(forge::ring(), MemoryStore::new()).with_audience("shop").with_session_check();
    let sessions = sessions.build().expect("sessions");
    let revoked = Jar::signed_in(&sessions, ()).await.value("__Host-access");
    let revoked = format!("__Host-access={revoked}");
    sessions.sign_out_everywhere("ada").await.expect("signed out");
    let request = |cookie: &str| Request::get("/").header(COOKIE, cookie).body(()).expect("a request");
    let table = [
        (TokenErrorKind::Missing, layer.layer(forge::whoami()).oneshot(request("other=1")).await),
        (TokenErrorKind::Ambiguous, layer.layer(forge::whoami()).oneshot(request(&two)).await),
        (TokenErrorKind::Revoked, sessions.layer().layer(forge::whoami()).oneshot(request(&revoked)).await),
    ];
    for (kind, response) in table {
        let response = response.expect("infallible");
        match response.extensions().get::<Refusal>() {
            Some(Refusal::Token(error)) => assert_eq!(error.kind(), kind),
            other => panic!("{kind:?}: {other:?}"),
        }
    }
}

#[test]
fn claims_of_another_type_do_not_mask_other_errors() {
    #[derive(Deserialize)]
    struct User {
        #[allow(dead_code, reason = "its absence is what the test is about")]
        name: String,
    }
    let verifier = Verifier::<User>::builder(forge::ring())
        .with_clock(TestClock::new())
        .with_issuer("https://shop.example")
        .with_audience("shop")
        .build()
        .expect("the settings agree");
    let fits = json!({ "iss": "https://shop.example", "aud": "shop" });
    let with = |name: &str, value: Value| {
        let mut claims = fits.clone();
        claims[name] = value;
        claims
    };
    let table = [
        ("only the claims", fits.clone(), TokenErrorKind::ClaimsMismatch),
        ("a claim of another type", with("name", json!(1)), TokenErrorKind::ClaimsMismatch),
        ("expired too", with("exp", json!(NOW - 31)), TokenErrorKind::Expired),
        ("not yet valid too", with("nbf", json!(NOW + 31)), TokenErrorKind::NotYetValid),
        ("of another issuer too", with("iss", json!("https://evil.example")), TokenErrorKind::WrongIssuer),
        ("for another audience too", with("aud", json!("admin")), TokenErrorKind::WrongAudience),
        ("a registered claim malformed too", with("sub", json!(1)), TokenErrorKind::Malformed),
    ];
    for (name, claims, expected) in table {
        let error = verifier.verify(&forge::valid_with(claims)).map(drop).unwrap_err();
        assert_eq!(error.kind(), expected, "{name}");
    }
}
