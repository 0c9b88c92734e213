//! The layers call the very instance of the inner service that said it was ready.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_cookie_jwt::{CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer, testing::TestClock};
use tower_test::mock::{self, Handle, Mock};

use crate::handler::{access_cookie, keys, parts, token};
use crate::jar::{Jar, cookies_of};

type Inner = Mock<Request<()>, Response<String>>;
type Driver = Handle<Request<()>, Response<String>>;

fn poll_ready<S: Service<Request<()>>>(service: &mut S) -> Poll<Result<(), S::Error>> {
    service.poll_ready(&mut Context::from_waker(Waker::noop()))
}

/// Ada's session an hour after sign-in: the access token has expired, so a request asks the store first.
async fn expired() -> (Sessions<()>, String) {
    let clock = TestClock::new();
    let store = MemoryStore::new().with_clock(clock.clone());
    let sessions = Sessions::<()>::builder(keys(), store)
        .with_audience("shop")
        .with_clock(clock.clone())
        .build()
        .expect("valid");
    let jar = Jar::signed_in(&sessions, ()).await;
    clock.advance(Duration::from_secs(3600));
    (sessions, jar.header())
}

/// Drives a layered mock from "pending" over one call to an error of readiness. The mock panics when
/// an instance is called that has not been polled ready.
async fn drive<S>(case: &str, layer: impl Fn(Inner) -> S, cookies: &str)
where
    S: Service<Request<()>, Response = Response<String>> + Clone,
    S::Error: std::fmt::Debug + ToString,
{
    let (inner, mut driver): (Inner, Driver) = mock::pair();
    driver.allow(0);
    let mut service = layer(inner);
    assert!(poll_ready(&mut service).is_pending(), "{case}: pending passes through");
    driver.allow(1);
    assert!(matches!(poll_ready(&mut service), Poll::Ready(Ok(()))), "{case}: ready passes through");

    let request = Request::get("https://shop.example/").header("cookie", cookies).body(()).expect("valid");
    let call = service.call(request);
    let answer = async {
        let (_, send) = driver.next_request().await.expect("the inner service is called");
        send.send_response(Response::new("fine".to_owned()));
    };
    let (response, ()) = tokio::join!(call, answer);
    assert_eq!(response.expect("an answer").body(), "fine", "{case}");
    assert!(poll_ready(&mut service).is_pending(), "{case}: what was ready has been used up");

    driver.allow(1);
    assert!(poll_ready(&mut service).is_ready(), "{case}: ready again");
    let request = Request::get("https://shop.example/").header("cookie", cookies).body(()).expect("valid");
    let call = service.call(request);
    let fail = async {
        let (_, send) = driver.next_request().await.expect("the inner service is called");
        send.send_error("the handler broke");
    };
    let (response, ()) = tokio::join!(call, fail);
    assert_eq!(response.expect_err(case).to_string(), "the handler broke", "{case}: the error passes");

    driver.send_error("the connection broke");
    match poll_ready(&mut service) {
        Poll::Ready(Err(error)) => assert_eq!(error.to_string(), "the connection broke", "{case}"),
        _ => panic!("{case}: an error of readiness passes through"),
    }
}

#[tokio::test]
async fn each_layer_calls_the_instance_that_was_polled_ready() {
    let (sessions, cookies) = expired().await;
    let good = access_cookie(&token());
    drive("CookieJwtLayer", |inner| CookieJwtLayer::new(Verifier::<()>::new(keys())).layer(inner), &good)
        .await;
    drive("XsrfLayer", |inner| XsrfLayer::new().layer(inner), &good).await;
    drive("RefreshLayer, nothing to do", |inner| sessions.refresh_layer().layer(inner), "theme=dark").await;
    drive("RefreshLayer, refreshing", |inner| sessions.refresh_layer().layer(inner), &cookies).await;
    drive("SessionLayer, refreshing", |inner| sessions.layer().layer(inner), &cookies).await;
    let optional = |inner| sessions.layer().optional().layer(inner);
    drive("SessionLayer, anonymous", optional, "theme=dark").await;
    let login = parts(Request::post("https://shop.example/login"));
    let clock = TestClock::new();
    let store = MemoryStore::new().with_clock(clock.clone());
    let checking =
        Sessions::<()>::builder(keys(), store).with_audience("shop").with_clock(clock).with_session_check();
    let checking = checking.build().expect("valid");
    let mut headers = HeaderMap::new();
    checking.sign_in(&login, "ada", ()).await.expect("signed in").append_to(&mut headers);
    drive("SessionLayer, session check", |inner| checking.layer().layer(inner), &cookies_of(&headers)).await;
}

#[tokio::test]
async fn a_refused_request_keeps_the_ready_instance_ready() {
    let (sessions, _) = expired().await;
    let (inner, mut driver): (Inner, Driver) = mock::pair();
    driver.allow(1);
    let mut service = sessions.layer().layer(inner);
    assert!(poll_ready(&mut service).is_ready());
    let refused = service.call(Request::get("/").body(()).expect("valid")).await.expect("an answer");
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(poll_ready(&mut service).is_ready(), "the inner service has not been called");
    let next = pin!(driver.next_request());
    assert!(next.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "and has seen no request");
}

#[tokio::test]
async fn a_concurrency_limit_inside_neither_panics_nor_leaks_permits() {
    let (sessions, cookies) = expired().await;
    let inner = service_fn(async |_: Request<()>| {
        tokio::task::yield_now().await;
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let service = sessions.layer().layer(ConcurrencyLimit::new(inner, 2));
    let ask = async |cookies: String| {
        let request =
            Request::get("https://shop.example/").header("cookie", cookies).body(()).expect("valid");
        service.clone().oneshot(request).await.expect("infallible").status()
    };
    let mut asked = Vec::new();
    for round in 0..30 {
        let (cookies, status) = match round % 3 {
            0 => (cookies.clone(), StatusCode::OK),
            1 => ("theme=dark".to_owned(), StatusCode::UNAUTHORIZED),
            _ => ("__Host-access=garbage".to_owned(), StatusCode::UNAUTHORIZED),
        };
        let answer = ask(cookies);
        asked.push(async move { assert_eq!(answer.await, status, "request {round}") });
    }
    let all = futures_util::future::join_all(asked);
    tokio::time::timeout(Duration::from_secs(10), all).await.expect("no permit is lost");
    // One after another on a single instance.
    let mut service = service;
    for (cookies, status) in [("", 401), (&*cookies, 200), ("", 401), (&*cookies, 200), (&*cookies, 200)] {
        let request =
            Request::get("https://shop.example/").header("cookie", cookies).body(()).expect("valid");
        let ready = tokio::time::timeout(Duration::from_secs(10), service.ready()).await;
        let ready = ready.expect("a permit is free").expect("infallible");
        assert_eq!(ready.call(request).await.expect("infallible").status(), status);
    }
}

#[tokio::test]
async fn dropping_a_waiting_request_returns_its_permit() {
    let (sessions, cookies) = expired().await;
    let inner = service_fn(async |_: Request<()>| {
        std::future::pending::<()>().await;
        Ok::<_, std::convert::Infallible>(Response::new(String::new()))
    });
    let mut service = sessions.layer().layer(ConcurrencyLimit::new(inner, 1));
    for _ in 0..3 {
        assert!(poll_ready(&mut service).is_ready());
        let request = Request::get("/").header("cookie", &cookies).body(()).expect("valid");
        let mut call = Box::pin(service.call(request));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(call);
    }
}
