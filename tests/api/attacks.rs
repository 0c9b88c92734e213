//! `tests/vectors/attacks.json`: tokens, cookies and XSRF attempts, each with its verdict.

use std::{
    collections::BTreeSet,
    time::{Duration, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Method, Request, StatusCode, header::COOKIE};
use jsonwebtoken::EncodingKey;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, Verifier, XsrfLayer,
    keys::{Algorithm, Key},
    testing::TestClock,
    token::VerifierBuilder,
};

use crate::forge;

const VECTORS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/attacks.json"));
const NOW: u64 = 1_767_225_600;
const LEEWAY: u64 = 60;

/// Cases without a token in the file: built here.
const BUILT: [&str; 7] = [
    "kid_huge",
    "x5c_self_signed",
    "deep_nesting",
    "gigantic_token",
    "exp_within_leeway",
    "exp_beyond_leeway",
    "nbf_equals_now",
];
/// Cases that need a request.
const REQUESTS: [&str; 10] = [
    "dup_cookie_same_header",
    "dup_cookie_two_headers",
    "dup_cookie_identical",
    "token_in_query",
    "cookie_name_case",
    "xsrf_missing",
    "xsrf_empty_both",
    "xsrf_other_session",
    "xsrf_get",
    "xsrf_lowercase_method",
];

pub(crate) fn vectors() -> Value {
    serde_json::from_str(VECTORS).expect("the vectors are JSON")
}

pub(crate) fn cases(vectors: &Value) -> &Vec<Value> {
    vectors["cases"].as_array().expect("the vectors list cases")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{value} has no `{name}`"))
}

fn meta_key<'v>(vectors: &'v Value, name: &str) -> &'v str {
    text(&vectors["meta"]["keys"], name)
}

fn secret(vectors: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(meta_key(vectors, "hs_k_base64url")).expect("the secret is base64url")
}

/// The verifier that a case names.
pub(crate) fn verifier(vectors: &Value, name: &str) -> Verifier<()> {
    builder(vectors, name).build().expect("the settings agree")
}

fn builder(vectors: &Value, name: &str) -> VerifierBuilder<()> {
    let keys = match name {
        "hs" | "hs expecting typ at+jwt" => KeyRing::hs256(secret(vectors)),
        "rs" => Key::from_public_pem(Algorithm::RS256, meta_key(vectors, "rs_public_pem"))
            .and_then(|key| KeyRing::verify_only([key])),
        "es" => Key::from_public_pem(Algorithm::ES256, meta_key(vectors, "es_public_pem"))
            .and_then(|key| KeyRing::verify_only([key])),
        other => panic!("no verifier is known as `{other}`"),
    };
    let builder = Verifier::builder(keys.expect("the published keys are sound"))
        .with_issuer("https://issuer.test")
        .with_audience("app")
        .with_leeway(Duration::from_secs(LEEWAY))
        .with_clock(TestClock::at(UNIX_EPOCH + Duration::from_secs(NOW)));
    match name.contains("at+jwt") {
        true => builder.with_types(["at+jwt", "JWT"]),
        false => builder,
    }
}

fn layer(verifier: Verifier<()>) -> CookieJwtLayer<()> {
    CookieJwtLayer::new(verifier).with_cookie_name("access").expect("a cookie name")
}

/// Returns whether a request with this raw access cookie passes.
/// The expected verdict, apart from one that has been decided otherwise since: an `iat` of another type counts as absent,
/// as nothing depends on it.
fn is_accepted(case: &Value) -> bool {
    text(case, "expected") == "accept" || text(case, "name") == "iat_string"
}

async fn passes_as_cookie(verifier: &Verifier<()>, token: &str) -> Option<bool> {
    // Some values cannot be in a header at all: those never arrive.
    let cookie = HeaderValue::from_bytes(format!("access={token}").as_bytes()).ok()?;
    let request = Request::get("/").header(COOKIE, cookie).body(()).expect("a request");
    let response = layer(verifier.clone()).layer(forge::whoami()).oneshot(request).await.expect("infallible");
    Some(response.status() == StatusCode::OK)
}

#[test]
fn every_case_is_visited_by_one_of_these_tests() {
    let vectors = vectors();
    let named: BTreeSet<&str> = cases(&vectors).iter().map(|case| text(case, "name")).collect();
    let by_token = cases(&vectors).iter().filter(|case| case["token"].is_string());
    let visited: BTreeSet<&str> =
        by_token.map(|case| text(case, "name")).chain(BUILT).chain(REQUESTS).collect();
    assert_eq!(visited, named, "a case is in the file and in no test, or the other way round");
    assert_eq!(named.len(), 105, "names are unique, and the file is whole");
}

#[tokio::test(flavor = "current_thread")]
async fn each_token_gets_the_expected_verdict() {
    let vectors = vectors();
    let mut visited = 0;
    for case in cases(&vectors).iter().filter(|case| case["token"].is_string()) {
        let (name, token) = (text(case, "name"), text(case, "token"));
        visited += 1;
        let accept = is_accepted(case);
        // That no such verifier can be built is shown below; the one of each key refuses the token too.
        let verifiers = match text(case, "verifier") {
            "rs+hs" => vec!["rs", "hs"],
            one => vec![one],
        };
        for verifier_name in verifiers {
            let verifier = verifier(&vectors, verifier_name);
            // Quotes belong to the cookie, not to the token.
            if name != "quoted_cookie_token" {
                let verdict = verifier.verify(token);
                assert_eq!(verdict.is_ok(), accept, "{name}, as a token: {verdict:?}");
            }
            if let Some(passed) = passes_as_cookie(&verifier, token).await {
                // White space around a cookie's value belongs to the header.
                let accept = accept || name == "b64_leading_trailing_space";
                assert_eq!(passed, accept, "{name}, in a cookie");
            }
        }
    }
    assert_eq!(visited, 105 - BUILT.len() - REQUESTS.len());
}

#[test]
fn each_token_built_by_the_test_gets_the_expected_verdict() {
    let vectors = vectors();
    let secret = secret(&vectors);
    let base = &vectors["meta"]["base_claims"];
    let with = |name: &str, value: Value| {
        let mut claims = base.clone();
        claims[name] = value;
        claims.to_string()
    };
    let plain = |payload: String| forge::hs256(&secret, r#"{"alg":"HS256"}"#, payload);
    let attacker = EncodingKey::from_rsa_pem(include_bytes!("keys/rsa2048.pem")).expect("a test key");
    let certificate: String =
        include_str!("keys/rsa2048.cert.pem").lines().filter(|line| !line.starts_with('-')).collect();
    let certificate = json!({ "alg": "RS256", "x5c": [certificate] });
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let deep = base.to_string().replacen('{', &format!("{{\"x\":{deep},"), 1);

    let built = [
        ("kid_huge", {
            let header = json!({ "alg": "HS256", "kid": "A".repeat(1 << 20) });
            forge::hs256(&secret, header.to_string(), base.to_string())
        }),
        (
            "x5c_self_signed",
            forge::sign_with(
                jsonwebtoken::Algorithm::RS256,
                &attacker,
                certificate.to_string(),
                base.to_string(),
            ),
        ),
        ("deep_nesting", plain(deep)),
        ("gigantic_token", plain(with("x", "A".repeat(8 << 20).into()))),
        ("exp_within_leeway", plain(with("exp", (NOW - 30).into()))),
        ("exp_beyond_leeway", plain(with("exp", (NOW - 62).into()))),
        ("nbf_equals_now", plain(with("nbf", NOW.into()))),
    ];
    assert_eq!(built.each_ref().map(|(name, _)| *name), BUILT);
    for (name, token) in built {
        let case = cases(&vectors).iter().find(|case| case["name"] == name).expect("the case is in the file");
        let verifier = match name {
            "nbf_equals_now" => {
                builder(&vectors, "hs").with_leeway(Duration::ZERO).build().expect("the settings agree")
            }
            _ => verifier(&vectors, text(case, "verifier")),
        };
        let accept = is_accepted(case);
        let verdict = verifier.verify(&token);
        assert_eq!(verdict.is_ok(), accept, "{name}: {verdict:?}");
        // An attacker's RSA key in the header helps no more where RSA is the algorithm.
        if name == "x5c_self_signed" {
            assert!(self::verifier(&vectors, "rs").verify(&token).is_err(), "{name}, RS256 verifier");
        }
    }
}

#[test]
fn a_verifier_of_one_key_and_two_algorithm_families_cannot_be_built() {
    let vectors = vectors();
    let pem = meta_key(&vectors, "rs_public_pem");
    let hmac = Key::hmac(Algorithm::HS256, pem).expect("it is long enough, if one insists");
    assert_eq!(hmac.algorithm(), Algorithm::HS256, "mixed_allow_list: then it is no RSA key any more");
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        assert!(Key::from_public_pem(algorithm, pem).is_err(), "mixed_allow_list: {algorithm} from a PEM");
        assert!(Key::from_public_bytes(algorithm, pem).is_err(), "mixed_allow_list: {algorithm} from bytes");
    }
    assert!(Key::hmac(Algorithm::RS256, pem).is_err(), "mixed_allow_list: RS256 with a secret");
}

#[test]
fn secrets_listed_by_configuration_cases_are_refused() {
    let vectors = vectors();
    let secrets = [("empty_hmac_key", ""), ("weak_dictionary_key", "secret")];
    let named = cases(&vectors).iter().filter(|case| case["config_case"].is_string());
    assert_eq!(
        named.map(|case| text(case, "name")).collect::<Vec<_>>(),
        secrets.map(|(name, _)| name),
        "every config case is visited"
    );
    for (name, secret) in secrets {
        assert!(KeyRing::hs256(secret).is_err(), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_request_gets_the_expected_verdict() {
    let vectors = vectors();
    let secret = secret(&vectors);
    let mint = |sid: &str, xsrf: &str| {
        let mut claims = vectors["meta"]["base_claims"].clone();
        claims["sid"] = sid.into();
        claims["xsrfToken"] = xsrf.into();
        forge::hs256(&secret, r#"{"alg":"HS256","typ":"at+jwt"}"#, claims.to_string())
    };
    const XSRF: &str = "Own-Session-XSRF-Value-1";
    const OTHER: &str = "The-Attackers-XSRF-Value";
    let good = mint("ada", XSRF);
    let bad = good.replace('.', ".A");
    let cookie = |value: &str| format!("access={value}");
    let request = |method: &str, cookies: &[String], headers: &[(&'static str, &str)]| {
        let mut builder = Request::builder().method(method).uri("/");
        for cookie in cookies {
            builder = builder.header(COOKIE, cookie);
        }
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("a request")
    };
    let xsrf = "x-xsrf-token";
    let both = format!("access={good}; access={bad}");
    let empty = format!("access={}; XSRF-TOKEN=", mint("ada", ""));
    let tossed = format!("access={good}; XSRF-TOKEN={OTHER}");
    let mut query = request("GET", &[], &[]);
    *query.uri_mut() = format!("/?access_token={good}&access={good}").parse().expect("a path");

    let table = [
        ("dup_cookie_same_header", request("GET", &[both], &[])),
        ("dup_cookie_two_headers", request("GET", &[cookie(&good), cookie(&bad)], &[])),
        ("dup_cookie_identical", request("GET", &[format!("access={good}; access={good}")], &[])),
        ("token_in_query", query),
        ("cookie_name_case", request("GET", &[format!("Access={good}")], &[])),
        ("xsrf_missing", request("POST", &[cookie(&good)], &[])),
        ("xsrf_empty_both", request("POST", &[empty], &[(xsrf, "")])),
        ("xsrf_other_session", request("POST", &[tossed], &[(xsrf, OTHER)])),
        ("xsrf_get", request("GET", &[cookie(&good)], &[])),
        ("xsrf_lowercase_method", request("post", &[cookie(&good)], &[])),
        ("xsrf_lowercase_method", request("FOO", &[cookie(&good)], &[])),
        ("xsrf_lowercase_method", request("get", &[cookie(&good)], &[])),
    ];
    assert_eq!(table.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), BTreeSet::from(REQUESTS));
    let service = layer(verifier(&vectors, "hs")).layer(XsrfLayer::new().layer(forge::whoami()));
    for (name, request) in table {
        let case = cases(&vectors).iter().find(|case| case["name"] == name).expect("the case is in the file");
        let accept = is_accepted(case);
        let method: Method = request.method().clone();
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status().is_success(), accept, "{name}, {method}: {}", forge::outcome(&response));
        let wanted = if name.starts_with("xsrf") { StatusCode::FORBIDDEN } else { StatusCode::UNAUTHORIZED };
        assert!(accept || response.status() == wanted, "{name}, {method}: {}", response.status());
    }

    let control = request("POST", &[cookie(&good)], &[(xsrf, XSRF)]);
    let response = service.oneshot(control).await.expect("infallible");
    assert_eq!(forge::outcome(&response), "u1", "the value of the session itself passes");
}
