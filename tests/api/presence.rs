//! Where a request's token is looked for, and which requests need one.

use std::time::Duration;

use http::{Method, Request, Response, StatusCode, request};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer,
    testing::TestClock,
    token::{MAX_TOKEN_LEN, Source},
};

use crate::{
    handler::{CountingHandler, XSRF, access_cookie, forged_token, issue, keys, new_token, token},
    jar::Jar,
    store::TestStore,
};

fn verifier() -> Verifier<()> {
    Verifier::new(keys())
}

async fn ask<S>(service: &S, request: request::Builder) -> (StatusCode, String)
where
    S: Service<Request<()>, Response = Response<String>> + Clone,
    S::Error: std::fmt::Debug,
{
    let request = request.body(()).expect("a valid request");
    let response = service.clone().oneshot(request).await.expect("the service answers");
    (response.status(), response.into_body())
}

fn get(headers: &[(&str, &str)]) -> request::Builder {
    let request = Request::get("https://shop.example/orders");
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

fn ok(body: &str) -> (StatusCode, String) {
    (StatusCode::OK, body.to_owned())
}

#[tokio::test]
async fn bearer_precedes_x_access_token_which_precedes_the_cookie() {
    let (bearer, plain) = (format!("Bearer {}", token()), token());
    let cookie = access_cookie(&plain);
    let [bearer, header, cookie] =
        [("authorization", &*bearer), ("x-access-token", &*plain), ("cookie", &*cookie)];
    let service = CookieJwtLayer::new(verifier()).layer(CountingHandler::new());
    for (case, headers, answer) in [
        ("all three", vec![cookie, header, bearer], "ada by Bearer"),
        ("bearer and header", vec![header, bearer], "ada by Bearer"),
        ("bearer and cookie", vec![cookie, bearer], "ada by Bearer"),
        ("header and cookie", vec![cookie, header], "ada by AccessTokenHeader"),
        ("bearer", vec![bearer], "ada by Bearer"),
        ("header", vec![header], "ada by AccessTokenHeader"),
        ("cookie", vec![cookie], "ada by Cookie"),
    ] {
        assert_eq!(ask(&service, get(&headers)).await, ok(answer), "{case}");
    }
}

#[tokio::test]
async fn the_order_of_sources_is_configurable_and_omitted_sources_are_ignored() {
    let (bearer, plain) = (format!("Bearer {}", token()), token());
    let cookie = access_cookie(&plain);
    let all = [("authorization", &*bearer), ("x-access-token", &*plain), ("cookie", &*cookie)];
    let garbage = [("authorization", "Bearer garbage"), ("x-access-token", "garbage"), ("cookie", &*cookie)];
    let refused = (StatusCode::UNAUTHORIZED, String::new());
    for (case, order, headers, answer) in [
        ("cookie first", vec![Source::Cookie, Source::Bearer], all, ok("ada by Cookie")),
        (
            "header first",
            vec![Source::AccessTokenHeader, Source::Bearer],
            all,
            ok("ada by AccessTokenHeader"),
        ),
        ("cookie only", vec![Source::Cookie], garbage, ok("ada by Cookie")),
        ("header only", vec![Source::AccessTokenHeader], garbage, refused.clone()),
        ("none at all", vec![], all, refused),
    ] {
        let handler = CountingHandler::new();
        let service = CookieJwtLayer::new(verifier()).with_sources(order).layer(handler.clone());
        assert_eq!(ask(&service, get(&headers)).await, answer, "{case}");
        assert_eq!(handler.calls(), usize::from(answer.0.is_success()), "{case}");
    }
}

#[tokio::test]
async fn the_first_candidate_decides_and_does_not_fall_through_when_invalid() {
    let (bearer, plain) = (format!("Bearer {}", token()), token());
    let cookie = access_cookie(&plain);
    let (forged, large) =
        (format!("Bearer {}", forged_token()), format!("Bearer {}", "a".repeat(MAX_TOKEN_LEN + 1)));
    let cookie = ("cookie", &*cookie);
    let handler = CountingHandler::new();
    let service = CookieJwtLayer::new(verifier()).layer(handler.clone());
    for (case, headers) in [
        ("garbage bearer", vec![("authorization", "Bearer garbage"), ("x-access-token", &plain), cookie]),
        ("forged bearer", vec![("authorization", &*forged), ("x-access-token", &plain), cookie]),
        ("huge bearer", vec![("authorization", &*large), ("x-access-token", &plain), cookie]),
        ("empty bearer", vec![("authorization", "Bearer"), ("x-access-token", &plain), cookie]),
        ("blank bearer", vec![("authorization", "Bearer  "), ("x-access-token", &plain), cookie]),
        ("garbage header", vec![("x-access-token", "garbage"), cookie]),
        ("empty header", vec![("x-access-token", ""), cookie]),
        ("differing bearers", vec![("authorization", &*bearer), ("authorization", "Bearer other"), cookie]),
        (
            "differing bearers, the good one last",
            vec![("authorization", "bearer x"), ("authorization", &bearer)],
        ),
        ("differing headers", vec![("x-access-token", &*plain), ("x-access-token", "other"), cookie]),
        ("an empty one and a valid one", vec![("authorization", "Bearer"), ("authorization", &bearer)]),
    ] {
        assert_eq!(ask(&service, get(&headers)).await.0, StatusCode::UNAUTHORIZED, "{case}");
    }
    assert_eq!(handler.calls(), 0, "no refused request reaches the handler");
}

#[tokio::test]
async fn the_bearer_scheme_is_compared_without_case_and_equal_headers_are_one() {
    let service = CookieJwtLayer::new(verifier()).layer(CountingHandler::new());
    let token = token();
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer   "] {
        let value = format!("{scheme}{token}");
        let once = [("authorization", &*value)];
        assert_eq!(ask(&service, get(&once)).await, ok("ada by Bearer"), "{scheme:?}");
        let twice = [("authorization", &*value), ("authorization", &*value)];
        assert_eq!(ask(&service, get(&twice)).await, ok("ada by Bearer"), "{scheme:?} twice");
    }
    for scheme in ["Bearers ", "Bearer=", "Bearer", "XBearer ", "Token ", ""] {
        let value = format!("{scheme}{token}");
        let answer = ask(&service, get(&[("authorization", &*value)])).await;
        assert_eq!(answer.0, StatusCode::UNAUTHORIZED, "{scheme:?}");
    }
}

#[tokio::test]
async fn other_authorization_schemes_neither_hide_the_cookie_nor_exempt_from_xsrf() {
    let handler = CountingHandler::new();
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(verifier()))
        .layer(XsrfLayer::new())
        .service(handler.clone());
    let cookie = access_cookie(&token());
    for scheme in ["Basic YWRhOnNlY3JldA==", "Digest username=\"ada\"", "Negotiate YWRh", "Bearers x", ""] {
        let with = |method| {
            let request = Request::builder().method(method).uri("https://shop.example/orders");
            request.header("authorization", scheme).header("cookie", &cookie)
        };
        assert_eq!(ask(&service, with(Method::GET)).await, ok("ada by Cookie"), "{scheme}");
        let before = handler.calls();
        assert_eq!(
            ask(&service, with(Method::POST)).await.0,
            StatusCode::FORBIDDEN,
            "{scheme}: no XSRF header"
        );
        assert_eq!(handler.calls(), before, "{scheme}");
        let genuine = with(Method::POST).header("x-xsrf-token", XSRF);
        assert_eq!(ask(&service, genuine).await, ok("ada by Cookie"), "{scheme}");
    }
}

#[tokio::test]
async fn a_required_token_is_enforced_and_an_optional_one_exposes_its_error() {
    let handler = CountingHandler::new();
    let required = CookieJwtLayer::new(verifier()).layer(handler.clone());
    let optional = CookieJwtLayer::new(verifier()).optional().layer(CountingHandler::new());
    let forged = access_cookie(&forged_token());
    let good = access_cookie(&token());
    for (case, headers, said) in [
        ("nothing", vec![], "anonymous: Missing"),
        ("another cookie", vec![("cookie", "theme=dark")], "anonymous: Missing"),
        ("forged cookie", vec![("cookie", &*forged)], "anonymous: BadSignature"),
        (
            "garbage bearer",
            vec![("authorization", "Bearer garbage"), ("cookie", &good)],
            "anonymous: Malformed",
        ),
    ] {
        assert_eq!(ask(&required, get(&headers)).await, (StatusCode::UNAUTHORIZED, String::new()), "{case}");
        assert_eq!(ask(&optional, get(&headers)).await, ok(said), "{case}");
    }
    assert_eq!(handler.calls(), 0);
    assert_eq!(ask(&required, get(&[("cookie", &good)])).await, ok("ada by Cookie"));
    assert_eq!(ask(&optional, get(&[("cookie", &good)])).await, ok("ada by Cookie"));
}

#[tokio::test]
async fn ambiguous_cookies_are_refused_even_in_optional_mode() {
    let [one, other] = ["one", "other"].map(|id| access_cookie(&issue(&new_token().with_session_id(id))));
    let handler = CountingHandler::new();
    let service = CookieJwtLayer::new(verifier()).optional().layer(handler.clone());
    let answer = ask(&service, get(&[("cookie", &format!("{one}; {other}"))])).await;
    assert_eq!(answer.0, StatusCode::UNAUTHORIZED);
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn a_store_outage_is_refused_even_in_optional_mode() {
    let (sessions, cookies, store) = expired().await;
    let handler = CountingHandler::new();
    let service = sessions.layer().optional().layer(handler.clone());
    store.set_down(true);
    assert_eq!(ask(&service, get(&[("cookie", &cookies)])).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(handler.calls(), 0);
    store.set_down(false);
    assert_eq!(ask(&service, get(&[("cookie", &cookies)])).await, ok("ada by Cookie"), "refreshed");
}

#[tokio::test]
async fn a_token_in_a_header_switches_refreshing_off() {
    let (sessions, cookies, _) = expired().await;
    let handler = CountingHandler::<String>::new();
    let service = sessions.layer().layer(handler.clone());
    for (name, value) in
        [("authorization", "Bearer garbage"), ("authorization", "bearer"), ("x-access-token", "garbage")]
    {
        let request = get(&[(name, value), ("cookie", &cookies)]).body(()).expect("valid");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}: {value}");
        assert!(!response.headers().contains_key("set-cookie"), "{name}: {value}");
    }
    assert_eq!(handler.calls(), 0);
    let basic = get(&[("authorization", "Basic YWRh"), ("cookie", &cookies)]);
    assert_eq!(ask(&service, basic).await, ok("ada by Cookie"), "Basic is not a candidate");
}

/// A session whose access token has expired.
async fn expired() -> (Sessions<()>, String, TestStore) {
    let clock = TestClock::new();
    let store = TestStore::new(&clock);
    let builder =
        Sessions::<()>::builder(keys(), store.clone()).with_audience("shop").with_clock(clock.clone());
    let sessions = builder.build().expect("valid");
    let jar = Jar::signed_in(&sessions, ()).await;
    clock.advance(Duration::from_secs(3600));
    (sessions, jar.header(), store)
}

#[tokio::test]
async fn cors_preflights_pass_and_any_other_options_request_is_authenticated() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let (origin, asks) = (("origin", "https://evil.example"), ("access-control-request-method", "POST"));
    let cookie = access_cookie(&token());
    for (case, method, headers, status) in [
        ("preflight", "OPTIONS", vec![origin, asks], 200),
        ("preflight with credentials", "OPTIONS", vec![origin, asks, ("cookie", &*cookie)], 200),
        ("preflight with a bad token", "OPTIONS", vec![origin, asks, ("authorization", "Bearer x")], 200),
        ("OPTIONS without its headers", "OPTIONS", vec![], 401),
        ("OPTIONS with only an origin", "OPTIONS", vec![origin], 401),
        ("OPTIONS with only a method", "OPTIONS", vec![asks], 401),
        ("GET with the headers of a preflight", "GET", vec![origin, asks], 401),
        ("POST with the headers of a preflight", "POST", vec![origin, asks], 401),
        ("lower-case options", "options", vec![origin, asks], 401),
    ] {
        let request = || {
            let request = Request::builder().method(method).uri("https://shop.example/orders");
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let handler = CountingHandler::new();
        let answer = ask(&CookieJwtLayer::new(verifier()).layer(handler.clone()), request()).await;
        assert_eq!(answer.0, status, "{case}");
        let answer = ask(&sessions.layer().layer(handler.clone()), request()).await;
        assert_eq!(answer.0, status, "{case}, all layers");
        assert_eq!(handler.calls(), if status == 200 { 2 } else { 0 }, "{case}");
        if status == 200 {
            assert_eq!(answer.1, "anonymous", "{case}: a preflight has no user");
        }
    }
}

#[tokio::test]
async fn an_exempt_request_passes_without_claims_and_others_do_not() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let cookie = access_cookie(&token());
    let request = |path: &str| Request::get(format!("https://shop.example{path}")).header("cookie", &cookie);
    let layer = CookieJwtLayer::new(verifier()).with_exempt(|parts| parts.uri.path() == "/healthz");
    let service = layer.layer(CountingHandler::new());
    assert_eq!(ask(&service, request("/healthz")).await, ok("anonymous"));
    assert_eq!(ask(&service, request("/orders")).await, ok("ada by Cookie"));
    let bare = Request::get("https://shop.example/healthz/../orders");
    assert_eq!(ask(&service, bare).await.0, StatusCode::UNAUTHORIZED);

    let layer = sessions.layer().with_exempt(|parts| parts.uri.path() == "/healthz");
    let service = layer.layer(CountingHandler::new());
    assert_eq!(ask(&service, request("/healthz")).await, ok("anonymous"), "all layers");
    let post = || Request::post("https://shop.example/healthz");
    assert_eq!(ask(&service, post()).await, ok("anonymous"), "an unsafe one too");
    let foreign = post().header("sec-fetch-site", "cross-site");
    assert_eq!(ask(&service, foreign).await.0, StatusCode::FORBIDDEN, "the origin is still checked");
}

#[tokio::test]
async fn a_token_in_the_query_is_never_accepted() {
    let handler = CountingHandler::new();
    let service = CookieJwtLayer::new(verifier()).layer(handler.clone());
    for name in ["access_token", "token", "jwt", "__Host-access", "authorization", "x-access-token"] {
        let request = Request::get(format!("https://shop.example/orders?{name}={}", token()));
        assert_eq!(ask(&service, request).await.0, StatusCode::UNAUTHORIZED, "{name}");
    }
    assert_eq!(handler.calls(), 0);
}

#[tokio::test]
async fn foreign_claims_are_removed_on_every_path() {
    let foreign = || verifier().verify(&token()).expect("the token is good");
    let layer = CookieJwtLayer::new(verifier()).with_exempt(|parts| parts.uri.path() == "/exempt").optional();
    let handler = CountingHandler::<String>::new();
    for (case, method, path) in
        [("optional", "GET", "/orders"), ("exempt", "GET", "/exempt"), ("preflight", "OPTIONS", "/orders")]
    {
        let request = Request::builder().method(method).uri(path).extension::<Claims<()>>(foreign());
        let request =
            request.header("origin", "https://shop.example").header("access-control-request-method", "GET");
        let answer = ask(&layer.layer(handler.clone()), request).await;
        assert!(answer.0.is_success() && answer.1.starts_with("anonymous"), "{case}: {answer:?}");
    }
    let required = CookieJwtLayer::new(verifier()).layer(handler);
    let planted = Request::get("/orders").extension::<Claims<()>>(foreign());
    assert_eq!(ask(&required, planted).await.0, StatusCode::UNAUTHORIZED, "required");
}
