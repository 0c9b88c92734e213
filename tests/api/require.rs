//! `RequireLayer`: scopes, roles, and a recent sign-in.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::{Method, Request, StatusCode, header::WWW_AUTHENTICATE};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, Clock, CookieJwtLayer, RequireLayer, Verifier,
    reject::{ProblemJson, Refusal},
    testing::TestClock,
    token::{NewToken, Scopes},
};

use crate::{
    handler::{CountingHandler, access_cookie, issue, keys, new_token, token},
    shop::{self, ACCESS_GONE, DAY, GRACE, REFRESH, User, code, get, greet, json, post},
};

/// Returns the response of a requirement to these claims. The handler must run exactly when it passes.
struct Verdict {
    status: StatusCode,
    challenge: Option<String>,
    refusal: Option<Refusal>,
}

async fn ask(demand: RequireLayer<()>, request: http::request::Builder) -> Verdict {
    let handler = CountingHandler::<String>::new();
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())).optional())
        .layer(demand)
        .service(handler.clone());
    let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
    assert_eq!(handler.calls(), usize::from(response.status().is_success()), "refused before the handler");
    let challenge = response.headers().get(WWW_AUTHENTICATE);
    Verdict {
        status: response.status(),
        challenge: challenge.map(|value| value.to_str().unwrap().to_owned()),
        refusal: response.extensions().get().cloned(),
    }
}

fn bearer(token: &NewToken) -> http::request::Builder {
    Request::get("/").header("authorization", format!("Bearer {}", issue(token)))
}

fn scoped(granted: &str) -> NewToken {
    new_token().with_scope(Scopes::new(granted).unwrap())
}

#[tokio::test]
async fn every_required_scope_must_be_granted() {
    for (case, demanded, granted, passes) in [
        ("the one", "orders:read", Some("orders:read"), true),
        ("among others", "orders:read", Some("a orders:read z"), true),
        ("another", "orders:write", Some("orders:read"), false),
        ("a prefix of it", "orders:read", Some("orders"), false),
        ("a longer one", "orders", Some("orders:read"), false),
        ("in capitals", "orders:read", Some("ORDERS:READ"), false),
        ("both", "orders:read orders:write", Some("orders:write orders:read"), true),
        ("one of two", "orders:read orders:write", Some("orders:read"), false),
        ("the other of two", "orders:read orders:write", Some("orders:write"), false),
        ("none granted", "orders:read", Some(""), false),
        ("no such claim", "orders:read", None, false),
    ] {
        let token = granted.map_or_else(new_token, scoped);
        let verdict = ask(RequireLayer::scope(demanded).unwrap(), bearer(&token)).await;
        let expected = if passes { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!(verdict.status, expected, "{case}");
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{demanded}\"");
        assert_eq!(verdict.challenge, (!passes).then_some(challenge), "{case}");
        assert_eq!(matches!(verdict.refusal, Some(Refusal::Scope(_))), !passes, "{case}");
    }
}

#[tokio::test]
async fn the_challenge_stays_one_quoted_string() {
    // All that RFC 6749 allows in a scope can stand between quotes; anything else is not a scope.
    let odd = "!#$%&'()*+,-./:;<=>?@[]^_`{|}~";
    let verdict = ask(RequireLayer::scope(odd).unwrap(), bearer(&new_token())).await;
    assert_eq!(verdict.challenge, Some(format!("Bearer error=\"insufficient_scope\", scope=\"{odd}\"")));
    for (case, scope) in [
        ("a quote", "a\", error=\"none"),
        ("a backslash", "a\\"),
        ("a line feed", "a\nb"),
        ("a tab", "a\tb"),
        ("not ASCII", "bücher"),
    ] {
        assert!(RequireLayer::<()>::scope(scope).is_err(), "{case}");
        assert!(RequireLayer::<()>::new(|_| true).and_scope(scope).is_err(), "{case}");
    }
}

#[test]
fn requiring_no_scope_at_all_is_a_config_error() {
    for scope in ["", " ", "   "] {
        assert!(RequireLayer::<()>::scope(scope).is_err(), "{scope:?} would let every request pass");
        assert!(RequireLayer::<()>::new(|_| true).and_scope(scope).is_err(), "{scope:?}");
    }
}

#[tokio::test]
async fn a_predicate_decides_by_the_claims() {
    let ada = || RequireLayer::new(|claims: &Claims<()>| claims.subject() == Some("ada"));
    assert_eq!(ask(ada(), bearer(&new_token())).await.status, StatusCode::OK);
    let other = NewToken::access("not ada", Duration::from_secs(900));
    let verdict = ask(ada(), bearer(&other)).await;
    assert_eq!(verdict.status, StatusCode::FORBIDDEN);
    assert_eq!(
        verdict.challenge.as_deref(),
        Some("Bearer error=\"insufficient_scope\""),
        "a predicate names no scope"
    );
}

#[tokio::test]
async fn roles_of_the_application_are_predicates() {
    let shop = shop::Shop::new();
    let admins = RequireLayer::new(|claims: &Claims<User>| claims.custom().role == "admin");
    let customers = RequireLayer::new(|claims: &Claims<User>| claims.custom().role == "customer");
    for (case, demand, status) in [("admins", admins, 403), ("customers", customers, 200)] {
        let service = demand.with_rejection(ProblemJson).layer(service_fn(greet));
        let browser = shop.browser_over(shop.sessions.layer().with_rejection(ProblemJson).layer(service));
        shop.sign_in(&browser).await;
        assert_eq!(get(&browser, "/me").await.status(), status, "{case}");
    }
}

#[tokio::test]
async fn requirements_are_checked_in_the_order_they_are_written() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let says = |name: &'static str, answer: bool| {
        let asked = asked.clone();
        move |_: &Claims<()>| {
            asked.lock().unwrap().push(name);
            answer
        }
    };
    let second = RequireLayer::new(says("first", true)).and(says("second", false)).and(says("third", true));
    assert_eq!(ask(second, bearer(&new_token())).await.status, StatusCode::FORBIDDEN);
    assert_eq!(*asked.lock().unwrap(), ["first", "second"], "the first refusal decides");
    asked.lock().unwrap().clear();

    let all = RequireLayer::new(says("first", true)).and_scope("a").unwrap().and(says("third", true));
    assert_eq!(ask(all, bearer(&scoped("a"))).await.status, StatusCode::OK);
    assert_eq!(*asked.lock().unwrap(), ["first", "third"]);

    // Whoever may not do it at all is not sent to sign in again.
    let scope_first = RequireLayer::scope("a").unwrap().and_recent_sign_in(Duration::ZERO);
    assert_eq!(ask(scope_first, bearer(&new_token())).await.status, StatusCode::FORBIDDEN);
    let sign_in_first = RequireLayer::recent_sign_in(Duration::ZERO).and_scope("a").unwrap();
    assert_eq!(ask(sign_in_first, bearer(&new_token())).await.status, StatusCode::UNAUTHORIZED);
    for (case, granted, status) in [("both", "a b", 200), ("the first", "a", 403), ("the second", "b", 403)] {
        let demand = RequireLayer::scope("a").unwrap().and_scope("b").unwrap();
        assert_eq!(ask(demand, bearer(&scoped(granted))).await.status, status, "{case}");
    }
}

#[tokio::test]
async fn the_age_of_the_sign_in_is_measured_to_the_second() {
    let clock = TestClock::at(std::time::SystemTime::now());
    let now = clock.now();
    for (case, signed_in, fresh) in [
        ("just now", Some(now), true),
        ("a minute ago", Some(now - Duration::from_secs(60)), true),
        ("almost ten minutes ago", Some(now - Duration::from_secs(598)), true),
        ("more than ten minutes ago", Some(now - Duration::from_secs(602)), false),
        ("by a clock that is ahead", Some(now + Duration::from_secs(20)), true),
        ("at an unknown time", None, false),
    ] {
        let token = signed_in.map_or_else(new_token, |time| new_token().with_authenticated_at(time));
        let demand = RequireLayer::recent_sign_in(Duration::from_secs(600)).with_clock(clock.clone());
        let verdict = ask(demand, bearer(&token)).await;
        assert_eq!(verdict.status, if fresh { 200 } else { 401 }, "{case}");
        let challenge = "Bearer error=\"insufficient_user_authentication\", max_age=\"600\"".to_owned();
        assert_eq!(verdict.challenge, (!fresh).then_some(challenge), "{case}");
    }
}

#[tokio::test]
async fn a_new_sign_in_is_recent_again_and_a_rotation_is_not() {
    let shop = shop::Shop::new();
    let pay = RequireLayer::<User>::recent_sign_in(Duration::from_secs(600))
        .with_clock(shop.clock.clone())
        .with_rejection(ProblemJson)
        .layer(service_fn(greet));
    let browser = shop.browser_over(shop.sessions.layer().with_rejection(ProblemJson).layer(pay));
    shop.sign_in(&browser).await;
    assert_eq!(get(&browser, "/pay").await.status(), StatusCode::OK, "she has just signed in");

    shop.clock.advance(Duration::from_secs(599));
    assert_eq!(get(&browser, "/pay").await.status(), StatusCode::OK, "within the ten minutes");
    shop.clock.advance(Duration::from_secs(2));
    let stale = get(&browser, "/pay").await;
    assert_eq!((stale.status().as_u16(), &*code(&stale)), (401, "insufficient_user_authentication"));

    // Both ways to refresh bring a new access token, with the time of the sign-in as it was.
    shop.clock.advance(ACCESS_GONE);
    let refreshed = get(&browser, "/pay").await;
    assert_eq!(code(&refreshed), "insufficient_user_authentication");
    assert!(refreshed.headers().contains_key("set-cookie"), "it was refreshed on the way");
    assert_eq!(get(&browser, "/pay").await.status(), StatusCode::UNAUTHORIZED);
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(post(&browser, "/refresh").await.status(), StatusCode::OK);
    assert_eq!(code(&get(&browser, "/pay").await), "insufficient_user_authentication");

    shop.sign_in(&browser).await;
    assert_eq!(get(&browser, "/pay").await.status(), StatusCode::OK, "she has signed in again");
}

#[tokio::test]
async fn without_claims_every_requirement_refuses() {
    let demands: [fn() -> RequireLayer<()>; 3] = [
        || RequireLayer::new(|_| true),
        || RequireLayer::scope("a").unwrap(),
        || RequireLayer::recent_sign_in(DAY),
    ];
    for demand in demands {
        let anonymous = ask(demand(), Request::get("/")).await;
        assert_eq!(
            (anonymous.status, anonymous.challenge.as_deref()),
            (StatusCode::UNAUTHORIZED, Some("Bearer"))
        );
        let forged = Request::get("/").header("authorization", "Bearer a.b.c");
        let forged = ask(demand(), forged).await;
        assert_eq!(forged.challenge.as_deref(), Some("Bearer error=\"invalid_token\""), "says why");

        // The layer that finds the claims is missing, whatever the request carries.
        let handler = CountingHandler::<String>::new();
        let request = Request::get("/").header("cookie", access_cookie(&token())).body(()).unwrap();
        let response = demand().layer(handler.clone()).oneshot(request).await.unwrap();
        assert_eq!((response.status(), handler.calls()), (StatusCode::UNAUTHORIZED, 0));

        // And claims of another type are not those that the predicate is about.
        let service = ServiceBuilder::new()
            .layer(CookieJwtLayer::new(Verifier::<serde_json::Value>::new(keys())))
            .layer(demand())
            .service(handler.clone());
        let response = service.oneshot(bearer(&new_token()).body(()).unwrap()).await.unwrap();
        assert_eq!((response.status(), handler.calls()), (StatusCode::UNAUTHORIZED, 0), "another type");
    }
}

#[tokio::test]
async fn exempt_requests_have_no_claims_and_are_refused() {
    let handler = CountingHandler::<String>::new();
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())).with_exempt(|_| true))
        .layer(RequireLayer::<()>::new(|_| true))
        .service(handler.clone());
    let response = service.oneshot(bearer(&new_token()).body(()).unwrap()).await.unwrap();
    assert_eq!((response.status(), handler.calls()), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test]
async fn a_preflight_passes_and_other_options_do_not() {
    let options =
        || Request::builder().method(Method::OPTIONS).uri("/").header("origin", "https://shop.example");
    let preflight = options().header("access-control-request-method", "PUT");
    let demand = || RequireLayer::scope("orders:write").unwrap();
    assert_eq!(ask(demand(), preflight).await.status, StatusCode::OK, "browsers send it without credentials");
    assert_eq!(ask(demand(), options()).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_narrower_token_is_refused_only_on_the_wider_route() {
    let shop = shop::Shop::new();
    let reads = RequireLayer::<User>::scope("read").unwrap().with_rejection(ProblemJson);
    let writes = RequireLayer::<User>::scope("write").unwrap().with_rejection(ProblemJson);
    let (reads, writes) = (reads.layer(service_fn(greet)), writes.layer(service_fn(greet)));
    let routes = service_fn(move |request: Request<String>| {
        let (reads, writes) = (reads.clone(), writes.clone());
        async move {
            match request.uri().path() {
                "/orders/read" => reads.oneshot(request).await,
                _ => writes.oneshot(request).await,
            }
        }
    });
    let browser = shop.browser_over(shop.sessions.layer().with_rejection(ProblemJson).layer(routes));
    shop.sign_in(&browser).await;

    let refresh = browser.cookie(REFRESH);
    let narrowed = narrow(&browser, "scope=read").await;
    assert_eq!(narrowed.status(), StatusCode::OK);
    let answer = json(&narrowed);
    assert_eq!((&answer["token_type"], &answer["scope"]), (&"Bearer".into(), &"read".into()));
    assert!(!narrowed.headers().contains_key("set-cookie"), "it is only in the body");
    assert_eq!(browser.cookie(REFRESH), refresh, "the session stays as it is");

    // A part of the client that holds this token and nothing else.
    let part = browser.separate();
    let authorization = format!("Bearer {}", answer["access_token"].as_str().unwrap());
    for (method, path, status) in [
        (Method::GET, "/orders/read", 200),
        (Method::POST, "/orders/read", 200), // a bearer token needs no XSRF header
        (Method::GET, "/orders/write", 403),
        (Method::POST, "/orders/write", 403),
    ] {
        let request = part.request(method.clone(), path).header("authorization", &authorization);
        let Ok(response) = request.send().await;
        assert_eq!(response.status(), status, "{method} {path}");
        if status == 403 {
            let challenge = &response.headers()[WWW_AUTHENTICATE];
            assert_eq!(challenge, r#"Bearer error="insufficient_scope", scope="write""#, "{method} {path}");
        }
    }
    // The session itself may still do both.
    assert_eq!(get(&browser, "/orders/read").await.status(), StatusCode::OK);
    assert_eq!(post(&browser, "/orders/write").await.status(), StatusCode::OK);

    // It ends as every access token does, and more than was granted is refused.
    shop.clock.advance(ACCESS_GONE + GRACE);
    let Ok(late) = part.get("/orders/read").header("authorization", &authorization).send().await;
    assert_eq!((late.status().as_u16(), &*code(&late)), (401, "token_expired"));
    let more = narrow(&browser, "scope=read+admin").await;
    assert_eq!((more.status().as_u16(), &json(&more)["error"]), (400, &"invalid_scope".into()));
}

async fn narrow(browser: &shop::Shopper, form: &str) -> shop::Answer {
    let request = browser.post("/refresh").header("content-type", "application/x-www-form-urlencoded");
    let Ok(response) = request.body(form).send().await;
    response
}
