//! How refused requests are answered.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    reject::{DefaultReject, GrpcStatus, ProblemJson, Refusal, Reject, reject_fn},
    testing::TestClock,
    token::{TokenError, TokenErrorKind},
};
#[cfg(feature = "tracing")]
use tower_cookie_jwt::{
    keys::Key,
    token::{Issuer, NewToken},
};

use crate::{
    handler::{CountingHandler, XSRF, forged_token, issue, keys, new_token, parts, token},
    jar::cookies_of,
    store::TestStore,
};

/// One refused request after another: the expected code, and all that the request carried in secret.
struct Refused {
    code: &'static str,
    response: Response<Bytes>,
    secrets: Vec<String>,
}

/// Every refusal that the layers can give, answered by `reject`.
async fn refusals<R: Reject<Bytes> + Clone + Send + Sync + 'static>(reject: R) -> Vec<Refused> {
    let clock = TestClock::new();
    let store = TestStore::new(&clock);
    let builder =
        Sessions::<()>::builder(keys(), store.clone()).with_audience("shop").with_clock(clock.clone());
    let sessions = builder.with_session_check().build().expect("valid");
    let handler = CountingHandler::<Bytes>::new();
    let service = sessions.layer().with_rejection(reject.clone()).layer(handler.clone());
    let login = || parts(Request::post("https://shop.example/login"));
    let mut headers = HeaderMap::new();
    let signed_in = sessions.sign_in(&login(), "ada", ()).await.expect("signed in");
    signed_in.append_to(&mut headers);
    let cookies = cookies_of(&headers);
    let mut other = HeaderMap::new();
    sessions.sign_in(&login(), "ada", ()).await.expect("signed in").append_to(&mut other);
    let other = cookies_of(&other);
    let access = |cookies: &str| {
        let access = cookies.split("; ").find(|pair| pair.starts_with("__Host-access"));
        access.expect("the access cookie").to_owned()
    };

    let get = |cookies: &str| Request::get("https://shop.example/").header("cookie", cookies);
    let post = |cookies: &str| Request::post("https://shop.example/").header("cookie", cookies);
    let bearer = |token: &str| Request::get("/").header("authorization", format!("Bearer {token}"));
    let mut all = Vec::new();
    let mut note = async |code, request: request::Builder| {
        let request = request.body(()).expect("valid");
        let sent =
            ["cookie", "authorization", "x-xsrf-token"].map(|name| request.headers().get(name).cloned());
        let sent = sent.into_iter().flatten();
        let text =
            sent.map(|value| value.to_str().unwrap_or_default().to_owned()).collect::<Vec<_>>().join("; ");
        let words =
            text.split([' ', ';', '=', '.']).filter(|word| word.len() > 9 && !word.starts_with("__Host"));
        let secrets = words.filter(|word| *word != "XSRF-TOKEN").map(str::to_owned).collect();
        let response = service.clone().oneshot(request).await.expect("infallible");
        all.push(Refused { code, response, secrets });
    };
    note("token_missing", Request::get("https://shop.example/")).await;
    note("token_invalid", bearer(&forged_token())).await;
    note("token_invalid", bearer("garbage-of-some-length")).await;
    note("token_ambiguous", get(&format!("{}; {}", access(&cookies), access(&other)))).await;
    note("xsrf_missing", post(&cookies)).await;
    note("xsrf_mismatch", post(&cookies).header("x-xsrf-token", XSRF)).await;
    note("origin_refused", post(&cookies).header("origin", "https://evil.example")).await;
    store.set_down(true);
    note("unavailable", get(&cookies)).await;
    store.set_down(false);
    sessions.sign_out_everywhere("ada").await.expect("signed out");
    note("session_revoked", get(&cookies)).await;
    clock.advance(Duration::from_secs(3600));
    note("token_expired", get(&access(&cookies))).await;
    assert_eq!(handler.calls(), 0, "no refused request reaches the handler");

    let claims: Claims<()> = Verifier::new(keys()).verify(&token()).expect("good");
    let refusal = Refusal::from(claims.require_scope("orders:write").expect_err("not granted"));
    let mut response = reject.reject(&refusal, &login());
    response.extensions_mut().insert(refusal);
    all.push(Refused { code: "insufficient_scope", response, secrets: Vec::new() });
    all
}

/// Status, challenge and `Retry-After` of each code.
fn expected(code: &str) -> (u16, Option<&'static str>, Option<&'static str>) {
    match code {
        "token_missing" => (401, Some("Bearer"), None),
        "token_expired"
        | "token_invalid"
        | "token_ambiguous"
        | "session_revoked"
        | "device_proof_required" => (401, Some("Bearer error=\"invalid_token\""), None),
        "insufficient_scope" => {
            (403, Some("Bearer error=\"insufficient_scope\", scope=\"orders:write\""), None)
        }
        "xsrf_missing" | "xsrf_mismatch" | "origin_refused" => (403, None, None),
        "unavailable" => (503, None, Some("5")),
        _ => panic!("unknown code {code}"),
    }
}

fn header<'r>(response: &'r Response<Bytes>, name: &str) -> Option<&'r str> {
    response.headers().get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test]
async fn each_refusal_has_its_status_challenge_code_and_extension() {
    for Refused { code, response, .. } in refusals(DefaultReject).await {
        let (status, challenge, retry) = expected(code);
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(header(&response, "www-authenticate"), challenge, "{code}");
        assert_eq!(header(&response, "retry-after"), retry, "{code}");
        assert!(response.body().is_empty(), "{code}");
        let refusal = response.extensions().get::<Refusal>().expect(code);
        assert_eq!(refusal.code(), code);
        assert_eq!(refusal.status(), status, "{code}");
        assert_eq!(refusal.retry_after().map(|wait| wait.as_secs().to_string()).as_deref(), retry, "{code}");
    }
}

#[tokio::test]
async fn problem_json_has_type_title_status_detail_and_a_stable_code() {
    for Refused { code, response, .. } in refusals(ProblemJson).await {
        let (status, challenge, retry) = expected(code);
        assert_eq!(response.status(), status, "{code}");
        assert_eq!(header(&response, "content-type"), Some("application/problem+json"), "{code}");
        assert_eq!(header(&response, "www-authenticate"), challenge, "{code}");
        assert_eq!(header(&response, "retry-after"), retry, "{code}");
        let problem: Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(problem["code"], code);
        assert_eq!(problem["status"], status, "{code}");
        assert_eq!(problem["type"], "about:blank", "{code}");
        let refusal = response.extensions().get::<Refusal>().expect(code);
        assert_eq!(problem["title"], response.status().canonical_reason().expect(code), "{code}");
        assert_eq!(problem["detail"], refusal.to_string(), "{code}");
        assert_eq!(problem.as_object().expect("an object").len(), 5, "{code}: {problem}");
    }
}

#[tokio::test]
async fn grpc_answers_are_trailers_only() {
    for Refused { code, response, .. } in refusals(GrpcStatus).await {
        let status = match expected(code).0 {
            401 => "16",
            403 => "7",
            _ => "14",
        };
        assert_eq!(response.status(), StatusCode::OK, "{code}");
        assert_eq!(header(&response, "grpc-status"), Some(status), "{code}");
        assert_eq!(header(&response, "grpc-message"), Some(code));
        assert_eq!(header(&response, "content-type"), Some("application/grpc"), "{code}");
        assert!(response.body().is_empty(), "{code}");
        assert_eq!(response.extensions().get::<Refusal>().map(Refusal::code), Some(code));
    }
}

#[tokio::test]
async fn no_request_header_turns_a_refusal_into_a_success() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("content-type", "application/grpc+proto"),
        ("content-type", "application/grpc-web-text"),
        ("accept", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "1S"),
        ("x-http-method-override", "OPTIONS"),
        ("x-user-agent", "grpc-web-javascript/0.1"),
    ] {
        for method in ["GET", "POST"] {
            let request = || {
                let request =
                    Request::builder().method(method).uri("https://shop.example/").header(name, value);
                request.body(()).expect("valid")
            };
            let bare = sessions.layer().layer(CountingHandler::<Bytes>::new());
            let bare = bare.oneshot(request()).await.expect("infallible");
            let problem = sessions.layer().with_rejection(ProblemJson).layer(CountingHandler::<Bytes>::new());
            let problem = problem.oneshot(request()).await.expect("infallible");
            for (hook, response) in [("bare", bare), ("problem", problem)] {
                assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{hook}, {method}, {name}: {value}");
                assert!(!response.headers().contains_key("grpc-status"), "{hook}, {method}, {name}: {value}");
            }
        }
    }
}

#[tokio::test]
async fn a_hook_can_be_a_closure_and_sees_the_request() {
    let teapot = reject_fn(|refusal, request| {
        let mut response = Response::new(format!("{} on {}", refusal.code(), request.uri.path()));
        *response.status_mut() = StatusCode::IM_A_TEAPOT;
        response
    });
    let bare = |refusal: &Refusal, request: &request::Parts| {
        let mut response = Response::new(format!("{} on {}", refusal.code(), request.uri.path()));
        *response.status_mut() = refusal.status();
        response
    };
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let request = || Request::get("/orders").body(()).expect("valid");
    let first =
        sessions.layer().with_rejection(teapot).layer(CountingHandler::new()).oneshot(request()).await;
    let jwt = CookieJwtLayer::new(Verifier::<()>::new(keys())).with_rejection(bare);
    let second = jwt.layer(CountingHandler::new()).oneshot(request()).await;
    for (case, answer, status) in [("reject_fn", first, 418), ("bare closure", second, 401)] {
        let response = answer.expect("infallible");
        assert_eq!(response.status(), status, "{case}");
        assert_eq!(response.body(), "token_missing on /orders", "{case}");
        let refusal = response.extensions().get::<Refusal>();
        assert_eq!(refusal.map(Refusal::code), Some("token_missing"), "{case}: the layer leaves it there");
    }
}

#[tokio::test]
async fn errors_of_the_inner_service_pass_through_and_refusals_are_not_errors() {
    #[derive(Debug, PartialEq)]
    struct Broken(u8);

    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let inner = service_fn(async |_: Request<()>| Err::<Response<String>, _>(Broken(7)));
    let service = sessions.layer().layer(inner);
    let mut headers = HeaderMap::new();
    let login = parts(Request::post("https://shop.example/login"));
    sessions.sign_in(&login, "ada", ()).await.expect("signed in").append_to(&mut headers);
    let cookies = cookies_of(&headers);
    let refresh =
        cookies.split("; ").find(|pair| pair.starts_with("__Host-refresh")).expect("the refresh cookie");
    for (case, cookies) in [("verified", &*cookies), ("refreshed", refresh)] {
        let request = Request::get("/").header("cookie", cookies).body(()).expect("valid");
        assert_eq!(service.clone().oneshot(request).await.map(|_| ()), Err(Broken(7)), "{case}");
    }
    let refused = service.oneshot(Request::get("/").body(()).expect("valid")).await.expect("no error");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_refusal_reveals_a_token_a_key_or_a_cookie_value() {
    let claims: Claims<()> = Verifier::new(keys()).verify(&token()).expect("good");
    let mut shown: Vec<(String, Vec<String>)> = Vec::new();
    for Refused { code, response, secrets } in refusals(ProblemJson).await {
        assert!(code == "token_missing" || code == "insufficient_scope" || !secrets.is_empty(), "{code}");
        let refusal = response.extensions().get::<Refusal>().expect(code);
        let body = String::from_utf8_lossy(response.body());
        shown.push((format!("{code} {body} {:?} {refusal} {refusal:?}", response.headers()), secrets));
    }
    let error = claims.verify_xsrf("guessed-value-of-24-char").expect_err("wrong");
    shown.push((format!("{error} {error:?} {claims:?}"), vec!["guessed-value".into()]));
    let token = issue(&new_token().with_token_id("token-id-of-ada"));
    let error = Verifier::<()>::builder(keys())
        .with_audience("shop")
        .build()
        .expect("the settings agree")
        .verify(&token)
        .expect_err("no audience");
    shown.push((format!("{error} {error:?}"), token.split('.').map(str::to_owned).collect()));
    for error in [
        KeyRing::hs256("the short secret").expect_err("too short").to_string(),
        format!("{:?}", KeyRing::hs256("the short secret")),
        format!("{:?}", keys()),
    ] {
        shown.push((error, vec!["short secret".into()]));
    }
    for (text, mut secrets) in shown {
        secrets.extend([crate::handler::SECRET.to_owned(), XSRF.to_owned()]);
        for secret in secrets {
            assert!(!text.contains(&secret), "{secret} shows in {text}");
        }
    }
}

#[test]
fn every_kind_of_token_error_is_a_401_with_a_documented_code() {
    for (kind, code) in [
        (TokenErrorKind::Missing, "token_missing"),
        (TokenErrorKind::Malformed, "token_invalid"),
        (TokenErrorKind::TooLarge, "token_invalid"),
        (TokenErrorKind::UnknownKey, "token_invalid"),
        (TokenErrorKind::BadSignature, "token_invalid"),
        (TokenErrorKind::WrongType, "token_invalid"),
        (TokenErrorKind::Expired, "token_expired"),
        (TokenErrorKind::NotYetValid, "token_invalid"),
        (TokenErrorKind::WrongIssuer, "token_invalid"),
        (TokenErrorKind::WrongAudience, "token_invalid"),
        (TokenErrorKind::ClaimsMismatch, "token_invalid"),
        (TokenErrorKind::Ambiguous, "token_ambiguous"),
        (TokenErrorKind::Revoked, "session_revoked"),
        (TokenErrorKind::ProofRequired, "device_proof_required"),
    ] {
        let refusal = Refusal::from(TokenError::from(kind));
        assert_eq!(refusal.code(), code, "{kind:?}");
        assert_eq!(refusal.status(), StatusCode::UNAUTHORIZED, "{kind:?}");
        let request = parts(Request::get("/"));
        let response: Response<String> = DefaultReject.reject(&refusal, &request);
        assert_eq!(
            response.headers()["www-authenticate"],
            expected(code).1.expect("a challenge"),
            "{kind:?}"
        );
    }
}

/// The words of a text, however its lines are broken.
#[cfg(feature = "tracing")]
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(feature = "tracing")]
static DOCUMENTED: std::sync::LazyLock<String> =
    std::sync::LazyLock::new(|| words(include_str!("../../docs/recipes/troubleshooting.md")));

/// The refusal is logged once, with these parts, and the documentation shows it with the words that are logged.
#[cfg(feature = "tracing")]
fn check_explained(name: &str, text: &str, parts: &[&str]) {
    assert_eq!(text.matches("tower_cookie_jwt::refused: request refused").count(), 1, "{name}: {text}");
    assert!(text.contains(&format!("code=\"{name}\"")), "{name}: {text}");
    for part in parts {
        assert!(text.contains(part), "{name}, {part}: {text}");
    }
    let help = text.split_once("help=").expect("a help").1.lines().next().expect("a line");
    let help = help.replace("https://page.example", "https://www.shop.example");
    let reason = text.split_once("reason=").expect("a reason").1.split_once(" method=").expect("a method").0;
    let shown = format!("code=\"{name}\" reason={reason} help={}", words(&help));
    assert!(DOCUMENTED.contains(&shown), "not documented: {shown}");
}

/// For the developer who wonders why: one event for each refusal, with the reason and what to do about it.
#[cfg(feature = "tracing")]
#[tokio::test(flavor = "current_thread")]
async fn each_refusal_is_explained_once_in_the_log_without_a_secret() {
    use crate::kit::log::Log;

    let clock = TestClock::new();
    let store = TestStore::new(&clock);
    let sessions =
        Sessions::<()>::builder(keys(), store.clone()).with_audience("shop").with_clock(clock.clone());
    let sessions = sessions.build().expect("valid");
    let all = sessions.layer().layer(CountingHandler::<Bytes>::new());
    let verify = sessions.cookie_jwt_layer().layer(CountingHandler::<Bytes>::new());
    let login = parts(Request::post("https://shop.example/login"));
    let mut headers = HeaderMap::new();
    sessions.sign_in(&login, "ada", ()).await.expect("signed in").append_to(&mut headers);
    let cookies = cookies_of(&headers);
    let token = cookies.split_once('=').expect("a pair").1.split(';').next().expect("a value").to_owned();
    let get = || Request::get("https://shop.example/orders?secret=hidden");
    let post = || Request::post("https://shop.example/orders?secret=hidden").header("cookie", &cookies);
    let other_key = KeyRing::new(Key::hs256([9; 32]).expect("a secret").with_id("other")).expect("a ring");
    let other_key = Issuer::new(other_key).with_audience("shop");
    let issue = |issuer: &Issuer| {
        let token = issuer.issue(&NewToken::access("ada", Duration::from_secs(900)), &()).expect("it signs");
        Request::get("https://shop.example/orders").header("authorization", format!("Bearer {token}"))
    };
    let of_desk = Issuer::new(keys()).with_audience("desk").with_clock(clock.clone());
    let other_key = other_key.with_clock(clock.clone());
    let table = [
        (
            "token_missing",
            get(),
            &["no cookie came with the request", "host=shop.example", "method=GET", "path=/orders"][..],
        ),
        ("token_missing", get().header("cookie", "theme=dark"), &["none is named `__Host-access`"]),
        ("token_missing", get().header("authorization", "Basic YWRhOmhpZGRlbg=="), &["has no bearer token"]),
        ("token_invalid", issue(&of_desk), &["compare `aud`", "configured=[\"shop\"]", "found=[\"desk\"]"]),
        ("token_invalid", issue(&other_key), &["the same keys", "kid=Some(\"other\")"]),
        ("xsrf_missing", post(), &["in the header `X-XSRF-TOKEN`", "subject=ada", "session="]),
        (
            "xsrf_mismatch",
            post().header("x-xsrf-token", "hidden-hidden-hidden-hid"),
            &["a stale `XSRF-TOKEN` cookie"],
        ),
        (
            "origin_refused",
            post().header("origin", "https://page.example").header("sec-fetch-site", "cross-site"),
            &[
                "add `with_trusted_origin(\"https://page.example\")`",
                "`with_public_origin`",
                "sec_fetch_site=cross-site",
            ],
        ),
    ];
    let explained = async |name: &str, request: request::Builder, parts: &[&str]| {
        let log = Log::default();
        let capture = log.capture_debug();
        let service =
            if name == "token_expired" { verify.clone().boxed_clone() } else { all.clone().boxed_clone() };
        let response = service.oneshot(request.body(()).expect("valid")).await.expect("infallible");
        assert!(!response.status().is_success(), "{name}");
        drop(capture);
        let text = log.text();
        check_explained(name, &text, parts);
        let secrets = ["hidden", &token[token.len() - 20..], "YWRh"];
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{name}: {text}");
    };
    for (name, request, parts) in table {
        explained(name, request, parts).await;
    }
    clock.advance(Duration::from_secs(3600));
    explained("token_expired", get().header("cookie", &cookies), &["add `RefreshLayer`"]).await;
    store.set_down(true);
    explained(
        "unavailable",
        get().header("cookie", &cookies),
        &[
            "ERROR tower_cookie_jwt: the session store failed",
            "the store is down",
            "an event before this one",
        ],
    )
    .await;

    // A layer that is on the wrong side of the others.
    let log = Log::default();
    let capture = log.capture_debug();
    let outside = tower_cookie_jwt::RequireLayer::<()>::new(|_| true).layer(all.clone());
    let request = get().header("cookie", &cookies).body(()).expect("valid");
    let response = outside.oneshot(request).await.expect("infallible");
    assert_eq!(response.status(), 401);
    drop(capture);
    let text = log.text();
    assert!(text.contains("ERROR tower_cookie_jwt: a RequireLayer requires an outer"), "{text}");
    assert!(text.contains("no layer has looked for a token: put `sessions.layer()`"), "{text}");

    let log = Log::default();
    let capture = log.capture_debug();
    let foreign = parts(Request::post("https://shop.example/login").header("origin", "https://page.example"));
    let _ = sessions.sign_in(&foreign, "ada", ()).await.map(drop).expect_err("another origin");
    drop(capture);
    assert!(log.text().contains("with_trusted_origin(\"https://page.example\")"), "{}", log.text());
}

#[cfg(feature = "tracing")]
#[tokio::test(flavor = "current_thread")]
async fn what_a_session_lacks_of_a_device_is_explained_in_the_log() {
    use tower_cookie_jwt::{RequireLayer, session::DeviceBinding};

    use crate::kit::{
        device::{DEVICE, Device},
        log::Log,
        shop::{ACCESS_GONE, Shop, User, greet, post},
    };

    let shop = Shop::with(|builder| builder.with_device_binding(DeviceBinding::at(DEVICE)));
    let over = |require: RequireLayer<User>| {
        let require = require.with_clock(shop.clock.clone());
        shop.service_over(shop.sessions.layer().layer(require.layer(service_fn(greet))))
    };
    let explained = async |name: &str, status: u16, browser: &crate::kit::shop::Shopper, part: &str| {
        let log = Log::default();
        let capture = log.capture_debug();
        let response = browser.get("/transfer").send().await.expect("infallible");
        drop(capture);
        assert_eq!(response.status(), status, "{name}");
        check_explained(name, &log.text(), &[part, "path=/transfer"]);
    };
    let browser = shop.browser().with_service(over(RequireLayer::device_bound()));
    let signed_in = post(&browser, "/login").await;
    explained("device_binding_required", 403, &browser, "did not answer the offer").await;

    let mut device = Device::register(&browser, signed_in.headers()).await;
    assert_eq!(device.prove(&browser).await.status(), 200);
    shop.clock.advance(Duration::from_secs(120));
    let recent = over(RequireLayer::recent_device_proof(Duration::from_secs(60)));
    let recent = browser.clone().with_service(recent);
    explained("device_proof_required", 307, &recent, "sends the request again").await;
    shop.clock.advance(ACCESS_GONE);
    explained("device_proof_required", 401, &browser, "mounted at the path").await;
}
