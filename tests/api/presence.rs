//! Where a request's token is looked for, and which requests need one.

use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer,
    testing::TestClock,
    token::{MAX_TOKEN_LEN, Source},
};

use crate::{
    refusals::Switch,
    shop::{Shop, XSRF, access_cookie, cookies_of, forged_token, issue, keys, new_token, parts, token},
};

fn verifier() -> Verifier<()> {
    Verifier::new(keys())
}

async fn ask<S>(service: &S, request: request::Builder) -> (StatusCode, String)
where
    S: Service<Request<()>, Response = Response<String>> + Clone,
    S::Error: std::fmt::Debug,
{
    let request = request.body(()).expect("the request is in order");
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
async fn bearer_comes_before_x_access_token_and_that_before_the_cookie() {
    let (bearer, plain) = (format!("Bearer {}", token()), token());
    let cookie = access_cookie(&plain);
    let [bearer, header, cookie] =
        [("authorization", &*bearer), ("x-access-token", &*plain), ("cookie", &*cookie)];
    let service = CookieJwtLayer::new(verifier()).layer(Shop::new());
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
async fn the_order_of_sources_is_configurable_and_those_left_out_are_not_looked_at() {
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
        let shop = Shop::new();
        let service = CookieJwtLayer::new(verifier()).with_sources(order).layer(shop.clone());
        assert_eq!(ask(&service, get(&headers)).await, answer, "{case}");
        assert_eq!(shop.calls(), usize::from(answer.0.is_success()), "{case}");
    }
}

#[tokio::test]
async fn the_first_candidate_decides_and_does_not_fall_through_when_invalid() {
    let (bearer, plain) = (format!("Bearer {}", token()), token());
    let cookie = access_cookie(&plain);
    let (forged, large) =
        (format!("Bearer {}", forged_token()), format!("Bearer {}", "a".repeat(MAX_TOKEN_LEN + 1)));
    let cookie = ("cookie", &*cookie);
    let shop = Shop::new();
    let service = CookieJwtLayer::new(verifier()).layer(shop.clone());
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
        ("an empty one beside a good one", vec![("authorization", "Bearer"), ("authorization", &bearer)]),
    ] {
        assert_eq!(ask(&service, get(&headers)).await.0, StatusCode::UNAUTHORIZED, "{case}");
    }
    assert_eq!(shop.calls(), 0, "no refused request reaches the handler");
}

#[tokio::test]
async fn the_bearer_scheme_is_compared_without_case_and_equal_headers_are_one() {
    let service = CookieJwtLayer::new(verifier()).layer(Shop::new());
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
    let shop = Shop::new();
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(verifier()))
        .layer(XsrfLayer::new())
        .service(shop.clone());
    let cookie = access_cookie(&token());
    for scheme in ["Basic YWRhOnNlY3JldA==", "Digest username=\"ada\"", "Negotiate YWRh", "Bearers x", ""] {
        let with = |method| {
            let request = Request::builder().method(method).uri("https://shop.example/orders");
            request.header("authorization", scheme).header("cookie", &cookie)
        };
        assert_eq!(ask(&service, with(Method::GET)).await, ok("ada by Cookie"), "{scheme}");
        let before = shop.calls();
        assert_eq!(
            ask(&service, with(Method::POST)).await.0,
            StatusCode::FORBIDDEN,
            "{scheme}: no XSRF header"
        );
        assert_eq!(shop.calls(), before, "{scheme}");
        let honest = with(Method::POST).header("x-xsrf-token", XSRF);
        assert_eq!(ask(&service, honest).await, ok("ada by Cookie"), "{scheme}");
    }
}

#[tokio::test]
async fn a_required_token_is_demanded_and_an_optional_one_leaves_its_error_at_hand() {
    let shop = Shop::new();
    let required = CookieJwtLayer::new(verifier()).layer(shop.clone());
    let optional = CookieJwtLayer::new(verifier()).optional().layer(Shop::new());
    let forged = access_cookie(&forged_token());
    let good = access_cookie(&token());
    for (case, headers, said) in [
        ("nothing", vec![], "nobody: Missing"),
        ("another cookie", vec![("cookie", "theme=dark")], "nobody: Missing"),
        ("forged cookie", vec![("cookie", &*forged)], "nobody: BadSignature"),
        ("garbage bearer", vec![("authorization", "Bearer garbage"), ("cookie", &good)], "nobody: Malformed"),
    ] {
        assert_eq!(ask(&required, get(&headers)).await, (StatusCode::UNAUTHORIZED, String::new()), "{case}");
        assert_eq!(ask(&optional, get(&headers)).await, ok(said), "{case}");
    }
    assert_eq!(shop.calls(), 0);
    assert_eq!(ask(&required, get(&[("cookie", &good)])).await, ok("ada by Cookie"));
    assert_eq!(ask(&optional, get(&[("cookie", &good)])).await, ok("ada by Cookie"));
}

#[tokio::test]
async fn ambiguous_cookies_are_refused_in_optional_mode_too() {
    let [one, other] = ["one", "other"].map(|id| access_cookie(&issue(&new_token().with_session_id(id))));
    let shop = Shop::new();
    let service = CookieJwtLayer::new(verifier()).optional().layer(shop.clone());
    let answer = ask(&service, get(&[("cookie", &format!("{one}; {other}"))])).await;
    assert_eq!(answer.0, StatusCode::UNAUTHORIZED);
    assert_eq!(shop.calls(), 0);
}

#[tokio::test]
async fn a_store_that_is_down_is_refused_in_optional_mode_too() {
    let (sessions, cookies, store) = expired().await;
    let shop = Shop::new();
    let service = sessions.layer().optional().layer(shop.clone());
    store.set_down(true);
    assert_eq!(ask(&service, get(&[("cookie", &cookies)])).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(shop.calls(), 0);
    store.set_down(false);
    assert_eq!(ask(&service, get(&[("cookie", &cookies)])).await, ok("ada by Cookie"), "refreshed");
}

#[tokio::test]
async fn a_candidate_header_switches_refreshing_off() {
    let (sessions, cookies, _) = expired().await;
    let shop = Shop::<String>::new();
    let service = sessions.layer().layer(shop.clone());
    for (name, value) in
        [("authorization", "Bearer garbage"), ("authorization", "bearer"), ("x-access-token", "garbage")]
    {
        let request = get(&[(name, value), ("cookie", &cookies)]).body(()).expect("in order");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{name}: {value}");
        assert!(!response.headers().contains_key("set-cookie"), "{name}: {value}");
    }
    assert_eq!(shop.calls(), 0);
    let basic = get(&[("authorization", "Basic YWRh"), ("cookie", &cookies)]);
    assert_eq!(ask(&service, basic).await, ok("ada by Cookie"), "Basic is no candidate");
}

/// A session whose access token has expired.
async fn expired() -> (Sessions<()>, String, Switch) {
    let clock = TestClock::new();
    let store = Switch::new(&clock);
    let builder = Sessions::<()>::builder(keys(), store.clone()).with_clock(clock.clone());
    let sessions = builder.build().expect("in order");
    let mut headers = HeaderMap::new();
    let login = parts(Request::post("https://shop.example/login"));
    sessions.sign_in(&login, "ada", ()).await.expect("signed in").append_to(&mut headers);
    clock.advance(Duration::from_secs(3600));
    (sessions, cookies_of(&headers), store)
}

#[tokio::test]
async fn cors_preflights_pass_and_any_other_options_request_is_authenticated() {
    let sessions = Sessions::<()>::builder(keys(), MemoryStore::new()).build().expect("in order");
    let (origin, asks) = (("origin", "https://evil.example"), ("access-control-request-method", "POST"));
    let cookie = access_cookie(&token());
    for (case, method, headers, status) in [
        ("preflight", "OPTIONS", vec![origin, asks], 200),
        ("preflight with credentials", "OPTIONS", vec![origin, asks, ("cookie", &*cookie)], 200),
        ("preflight with a bad token", "OPTIONS", vec![origin, asks, ("authorization", "Bearer x")], 200),
        ("OPTIONS without its headers", "OPTIONS", vec![], 401),
        ("OPTIONS with origin alone", "OPTIONS", vec![origin], 401),
        ("OPTIONS with method alone", "OPTIONS", vec![asks], 401),
        ("GET with the headers of a preflight", "GET", vec![origin, asks], 401),
        ("POST with the headers of a preflight", "POST", vec![origin, asks], 401),
        ("lower-case options", "options", vec![origin, asks], 401),
    ] {
        let request = || {
            let request = Request::builder().method(method).uri("https://shop.example/orders");
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        let shop = Shop::new();
        let answer = ask(&CookieJwtLayer::new(verifier()).layer(shop.clone()), request()).await;
        assert_eq!(answer.0, status, "{case}");
        let answer = ask(&sessions.layer().layer(shop.clone()), request()).await;
        assert_eq!(answer.0, status, "{case}, all layers");
        assert_eq!(shop.calls(), if status == 200 { 2 } else { 0 }, "{case}");
        if status == 200 {
            assert_eq!(answer.1, "nobody", "{case}: a preflight has no user");
        }
    }
}

#[tokio::test]
async fn an_exempt_request_passes_without_claims_and_others_do_not() {
    let sessions = Sessions::<()>::builder(keys(), MemoryStore::new()).build().expect("in order");
    let cookie = access_cookie(&token());
    let request = |path: &str| Request::get(format!("https://shop.example{path}")).header("cookie", &cookie);
    let layer = CookieJwtLayer::new(verifier()).with_exempt(|parts| parts.uri.path() == "/healthz");
    let service = layer.layer(Shop::new());
    assert_eq!(ask(&service, request("/healthz")).await, ok("nobody"));
    assert_eq!(ask(&service, request("/orders")).await, ok("ada by Cookie"));
    let bare = Request::get("https://shop.example/healthz/../orders");
    assert_eq!(ask(&service, bare).await.0, StatusCode::UNAUTHORIZED);

    let layer = sessions.layer().with_exempt(|parts| parts.uri.path() == "/healthz");
    let service = layer.layer(Shop::new());
    assert_eq!(ask(&service, request("/healthz")).await, ok("nobody"), "all layers");
    let post = || Request::post("https://shop.example/healthz");
    assert_eq!(ask(&service, post()).await, ok("nobody"), "an unsafe one too");
    let foreign = post().header("sec-fetch-site", "cross-site");
    assert_eq!(ask(&service, foreign).await.0, StatusCode::FORBIDDEN, "the origin is checked all the same");
}

#[tokio::test]
async fn a_token_in_the_query_is_never_accepted() {
    let shop = Shop::new();
    let service = CookieJwtLayer::new(verifier()).layer(shop.clone());
    for name in ["access_token", "token", "jwt", "__Host-access", "authorization", "x-access-token"] {
        let request = Request::get(format!("https://shop.example/orders?{name}={}", token()));
        assert_eq!(ask(&service, request).await.0, StatusCode::UNAUTHORIZED, "{name}");
    }
    assert_eq!(shop.calls(), 0);
}

#[tokio::test]
async fn claims_that_are_not_the_layers_own_are_removed_on_every_path() {
    let foreign = || verifier().verify(&token()).expect("the token is good");
    let layer = CookieJwtLayer::new(verifier()).with_exempt(|parts| parts.uri.path() == "/exempt").optional();
    let shop = Shop::<String>::new();
    for (case, method, path) in
        [("optional", "GET", "/orders"), ("exempt", "GET", "/exempt"), ("preflight", "OPTIONS", "/orders")]
    {
        let request = Request::builder().method(method).uri(path).extension::<Claims<()>>(foreign());
        let request =
            request.header("origin", "https://shop.example").header("access-control-request-method", "GET");
        let answer = ask(&layer.layer(shop.clone()), request).await;
        assert!(answer.0.is_success() && answer.1.starts_with("nobody"), "{case}: {answer:?}");
    }
    let required = CookieJwtLayer::new(verifier()).layer(shop);
    let planted = Request::get("/orders").extension::<Claims<()>>(foreign());
    assert_eq!(ask(&required, planted).await.0, StatusCode::UNAUTHORIZED, "required");
}
