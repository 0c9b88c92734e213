//! One rejection hook for all that belongs to an application's sessions.

use ::axum::{
    Router,
    body::Body,
    http::request::Parts,
    routing::{get, post},
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header::COOKIE};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, MemoryStore, RequireLayer, Sessions,
    axum::XsrfToken,
    reject::{DefaultReject, GrpcStatus, ProblemJson, RedirectToLogin, Refusal, Reject, reject_fn},
    session::SessionError,
};

use crate::{forge, jar::Jar};

fn plain(refusal: &Refusal, request: &Parts) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{} {}", request.uri.path(), refusal.code())));
    *response.status_mut() = refusal.status();
    response.headers_mut().insert("x-refused-by", HeaderValue::from_static("the application"));
    response
}

fn sessions_with(hook: impl Reject<Bytes> + Send + Sync + 'static) -> Sessions<()> {
    Sessions::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .with_rejection(hook)
        .build()
        .expect("sessions")
}

async fn refused(app: &Router, request: http::request::Builder) -> (u16, bool, String) {
    let request = request.body(Body::empty()).expect("a request");
    let response = app.clone().oneshot(request).await.expect("infallible");
    let status = response.status().as_u16();
    let is_ours = response.headers().contains_key("x-refused-by");
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    (status, is_ours, String::from_utf8(body.into()).expect("text"))
}

#[tokio::test]
async fn the_hook_of_the_sessions_answers_wherever_a_request_is_refused() {
    let sessions = sessions_with(plain);
    let cookies = Jar::signed_in(&sessions, ()).await.header();
    let nobody = RequireLayer::new(|_: &Claims<()>| false);
    let failing = async || Err::<(), _>(SessionError::Unavailable("no answer".into()));
    let app = Router::new()
        .route("/me", get(async |_: Claims<()>| "me").post(async || "changed"))
        .route("/role", get(async || "allowed").route_layer(nobody.clone()))
        .route("/strict", get(async || "allowed").route_layer(nobody.with_rejection(ProblemJson)))
        .route("/store", get(failing))
        .route_layer(sessions.layer())
        .merge(
            Router::new()
                .route("/extractor", get(async |_: Claims<()>| "a user"))
                .route("/xsrf", get(async |_: XsrfToken| "a user"))
                .route_layer(sessions.layer().optional()),
        )
        .merge(Router::new().route("/own", get(async || "a user")).route_layer(
            sessions.layer().with_rejection(reject_fn(|refusal, _| {
                let mut response = Response::new(Body::from("of this layer"));
                *response.status_mut() = refusal.status();
                response
            })),
        ))
        .route_service("/refresh", sessions.refresh_service());
    let signed_in = |request: http::request::Builder| request.header(COOKIE, &cookies);
    for (case, request, status, body) in [
        ("CookieJwtLayer", Request::get("/me"), 401, "/me token_missing"),
        ("XsrfLayer", signed_in(Request::post("/me")), 403, "/me xsrf_missing"),
        (
            "XsrfLayer, origin",
            signed_in(Request::post("/me")).header("sec-fetch-site", "cross-site"),
            403,
            "/me origin_refused",
        ),
        ("RequireLayer", signed_in(Request::get("/role")), 403, "/role access_denied"),
        ("an extractor", Request::get("/extractor"), 401, "/extractor token_missing"),
        ("the extractor of the XSRF token", Request::get("/xsrf"), 401, "/xsrf token_missing"),
        ("the refresh service", Request::post("/refresh"), 401, "/refresh token_missing"),
    ] {
        assert_eq!(refused(&app, request).await, (status, true, body.to_owned()), "{case}");
    }

    let (status, is_ours, body) = refused(&app, signed_in(Request::get("/strict"))).await;
    assert_eq!((status, is_ours), (403, false), "the hook of a layer takes precedence");
    assert!(body.contains(r#""code":"access_denied""#), "{body}");
    assert_eq!(refused(&app, Request::get("/own")).await, (401, false, "of this layer".to_owned()));
    let (status, is_ours, body) = refused(&app, signed_in(Request::get("/store"))).await;
    assert_eq!((status, is_ours), (503, false), "a `SessionError` is answered by its handler");
    assert!(body.contains(r#""code":"unavailable""#), "{body}");
}

#[tokio::test]
async fn without_a_hook_layers_answer_with_a_bare_status_and_services_with_problem_details() {
    let sessions = Sessions::<()>::builder(forge::ring(), MemoryStore::new()).with_audience("shop");
    let sessions = sessions.build().expect("sessions");
    let app = Router::new()
        .route("/me", get(async || "me"))
        .route_layer(sessions.layer())
        .route("/extractor", get(async |_: Claims<()>| "me").route_layer(sessions.layer().optional()))
        .route("/login", post(async || "in"))
        .route_service("/refresh", sessions.refresh_service());
    assert_eq!(refused(&app, Request::get("/me")).await, (401, false, String::new()));
    for path in ["/extractor", "/refresh"] {
        let method = if path == "/refresh" { "POST" } else { "GET" };
        let (status, _, body) = refused(&app, Request::builder().method(method).uri(path)).await;
        assert_eq!(status, 401, "{path}");
        assert!(body.contains(r#""code":"token_missing""#), "{path}: {body}");
    }
}

/// The response to a request without a session, with a body of this type.
async fn anonymous<B: Default + 'static>(sessions: &Sessions<()>) -> Response<B> {
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(B::default())));
    let request = Request::get("/me").body(()).expect("a request");
    sessions.layer().with_rejection(DefaultReject).layer(handler).oneshot(request).await.expect("infallible")
}

#[tokio::test]
async fn the_body_of_the_hook_arrives_in_every_body_type_that_can_carry_it() {
    let sessions = sessions_with(plain);
    let expected = "/me token_missing";
    assert_eq!(anonymous::<Bytes>(&sessions).await.into_body(), expected);
    assert_eq!(anonymous::<Vec<u8>>(&sessions).await.into_body(), expected.as_bytes());
    assert_eq!(anonymous::<String>(&sessions).await.into_body(), expected);
    let full = anonymous::<Full<Bytes>>(&sessions).await.into_body();
    assert_eq!(full.collect().await.expect("infallible").to_bytes(), expected);

    #[derive(Default)]
    struct Own(Bytes);
    impl From<Bytes> for Own {
        fn from(bytes: Bytes) -> Self {
            Self(bytes)
        }
    }
    let handler =
        service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(Own::default())));
    let layer = sessions.layer().with_rejection(sessions.rejection());
    let request = Request::get("/me").body(()).expect("a request");
    let own = layer.layer(handler).oneshot(request).await.expect("infallible");
    assert_eq!(own.into_body().0, expected, "any other is passed to the layer");

    let grpc = anonymous::<()>(&sessions_with(GrpcStatus)).await;
    assert_eq!(grpc.headers()["grpc-status"], "16", "an empty body fits every type");
}

#[cfg(feature = "tracing")]
#[tokio::test(flavor = "current_thread")]
async fn a_body_type_that_cannot_carry_the_answer_gets_a_bare_status_and_the_log_says_so() {
    let log = crate::kit::log::Log::default();
    let capture = log.capture();
    let response = anonymous::<u8>(&sessions_with(plain)).await;
    drop(capture);
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(!response.headers().contains_key("x-refused-by"), "no head without its body");
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
    let log = log.text();
    assert!(log.contains("ERROR") && log.contains("`u8`") && log.contains("sessions.rejection()"), "{log}");
}

/// A stack that overflows would end the process.
#[tokio::test]
async fn a_hook_that_leaves_a_refusal_to_the_default_gets_a_bare_status() {
    let leaving = reject_fn(|refusal: &Refusal, request: &Parts| match refusal.status() {
        StatusCode::FORBIDDEN => plain(refusal, request),
        _ => DefaultReject.reject(refusal, request),
    });
    let to_login = RedirectToLogin::new("/login", DefaultReject).expect("a path");
    for sessions in [sessions_with(DefaultReject), sessions_with(leaving), sessions_with(to_login)] {
        let app = Router::new()
            .route("/me", get(async |_: Claims<()>| "me"))
            .route_layer(sessions.layer().optional())
            .route("/strict", get(async || "me").route_layer(sessions.layer()))
            .merge(
                Router::new()
                    .route_service("/refresh", sessions.refresh_service())
                    .route_layer(sessions.layer()),
            );
        for request in [Request::get("/me"), Request::get("/strict"), Request::post("/refresh")] {
            assert_eq!(refused(&app, request).await, (401, false, String::new()));
        }
    }
}

#[tokio::test]
async fn an_extractor_that_refuses_is_logged_and_raises_the_event_as_a_layer_does() {
    let codes = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = codes.clone();
    let sessions = Sessions::<()>::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .with_events(move |event: &tower_cookie_jwt::session::SessionEvent<'_>| {
            if let tower_cookie_jwt::session::SessionEvent::Refused { code, .. } = event {
                noted.lock().expect("no panic").push((*code).to_owned());
            }
        })
        .build()
        .expect("sessions");
    let app = Router::new()
        .route("/extractor", get(async |_: Claims<()>| "me"))
        .route_layer(sessions.layer().optional());
    refused(&app, Request::get("/extractor")).await;
    assert_eq!(*codes.lock().expect("no panic"), ["token_missing"]);
}
