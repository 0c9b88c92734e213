//! The conveniences for axum.

#![cfg(feature = "axum")]

use std::time::Duration;

use axum::{
    Json, Router,
    body::Body,
    extract::State,
    http::{
        Request, StatusCode,
        request::{Parts, Parts as Head},
    },
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    axum::{ClaimsRejection, XsrfToken},
    reject::Refusal,
    session::{SessionError, SignedOut},
    testing::Browser,
    token::{IssueErrorKind, Issuer, NewToken, TokenErrorKind},
};

use crate::{
    handler::{SECRET, XSRF, access_cookie, keys, parts},
    kit::log::Log,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
    password: String,
}

/// The application's own error of signing in.
enum Denied {
    WrongPassword,
    Session(SessionError),
}

impl From<SessionError> for Denied {
    fn from(error: SessionError) -> Self {
        Self::Session(error)
    }
}

impl IntoResponse for Denied {
    fn into_response(self) -> Response {
        match self {
            Self::WrongPassword => StatusCode::UNAUTHORIZED.into_response(),
            Self::Session(error) => error.into_response(),
        }
    }
}

fn check_password(form: &Login) -> Result<User, Denied> {
    if form.password == "lovelace" {
        Ok(User { name: form.name.clone() })
    } else {
        Err(Denied::WrongPassword)
    }
}

async fn login(
    State(sessions): State<Sessions<User>>,
    parts: Parts,
    Json(form): Json<Login>,
) -> Result<impl IntoResponse, Denied> {
    let user = check_password(&form)?;
    let signed_in = sessions.sign_in(&parts, "ada", user).await?;
    let body = Json(json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() }));
    Ok((signed_in, body))
}

async fn me(claims: Claims<User>) -> Json<User> {
    Json(claims.custom().clone())
}

async fn order(claims: Claims<User>) -> String {
    format!("ordered by {}", claims.subject().unwrap_or_default())
}

async fn logout(State(sessions): State<Sessions<User>>, parts: Parts) -> Result<SignedOut, SessionError> {
    sessions.sign_out(&parts).await
}

fn sessions() -> Sessions<User> {
    let keys = KeyRing::hs256(SECRET).expect("long enough");
    Sessions::<User>::builder(keys, MemoryStore::new())
        .with_issuer("https://shop.example")
        .with_audience("shop")
        .build()
        .expect("valid")
}

fn shop() -> Router {
    let sessions = sessions();
    Router::new()
        .route("/api/me", get(me))
        .route("/api/orders", post(order))
        .layer(sessions.layer()) // everything above needs a signed-in user
        .route("/api/login", post(login))
        .route("/api/logout", post(logout)) // outside: also with an expired session
        .route_service("/api/refresh", sessions.refresh_service())
        .with_state(sessions)
}

async fn text(response: Response) -> String {
    let bytes = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(bytes.into()).expect("text")
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&text(response).await).expect("JSON")
}

#[tokio::test]
async fn the_application_from_the_documentation_works() {
    let browser = Browser::new(shop());
    let response: Response = browser.get("/api/me").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let login = |password: &str| {
        let body = json!({ "name": "Ada", "password": password }).to_string();
        browser.post("/api/login").header("content-type", "application/json").body(body)
    };
    let response: Response = login("wrong").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response: Response = login("lovelace").cross_site().send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(!browser.has_cookie("__Host-access"));

    let response: Response = login("lovelace").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/json", "the body keeps its own headers");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 3);
    let body = json_of(response).await;
    let xsrf = body["xsrfToken"].as_str().expect("a string").to_owned();
    assert_eq!(browser.script_cookie("XSRF-TOKEN").as_ref(), Some(&xsrf));
    assert!(body["expiresAt"].is_u64(), "{body}");

    let response: Response = browser.get("/api/me").send().await.expect("infallible");
    assert_eq!(json_of(response).await, json!({ "name": "Ada" }));
    let response: Response = browser.post("/api/orders").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let response: Response =
        browser.post("/api/orders").with_xsrf_value(&xsrf).send().await.expect("infallible");
    assert_eq!(text(response).await, "ordered by ada");
    let response: Response = browser.post("/api/refresh").send().await.expect("infallible");
    assert_eq!(json_of(response).await["xsrfToken"], xsrf);

    let response: Response = browser.post("/api/logout").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::NO_CONTENT);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(["__Host-access", "__Host-refresh", "XSRF-TOKEN"].iter().all(|name| !browser.has_cookie(name)));
    let response: Response = browser.get("/api/me").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let response: Response = browser.post("/api/logout").send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::NO_CONTENT, "also without a session");
}

#[tokio::test]
async fn answers_of_sessions_are_responses_of_their_own() {
    let sessions = sessions();
    let (parts, ()) = http::Request::post("https://shop.example/login").body(()).unwrap().into_parts();
    let signed_in = sessions.sign_in(&parts, "ada", User { name: "Ada".into() }).await.expect("it signs in");
    let xsrf = signed_in.xsrf_token().to_owned();
    let expires_at = signed_in.expires_at_unix();
    assert_eq!(
        signed_in.expires_at().duration_since(std::time::UNIX_EPOCH).expect("later").as_secs(),
        expires_at
    );
    let response = signed_in.into_response();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 3);
    assert_eq!(json_of(response).await, json!({ "expiresAt": expires_at, "xsrfToken": xsrf }));

    let app = Router::new()
        .route(
            "/api/name",
            post(async |State(sessions): State<Sessions<User>>, claims: Claims<User>| {
                sessions.update_claims(&claims, &User { name: "Countess".into() }).await
            }),
        )
        .layer(sessions.layer())
        .route("/api/login", post(login_by_response))
        .with_state(sessions);
    let browser = Browser::new(app);
    let _: Response = browser.post("/api/login").send().await.expect("infallible");
    let response: Response = browser.post("/api/name").with_xsrf().send().await.expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert!(!browser.has_cookie("__Host-access"), "the next request is refreshed");
    let xsrf = browser.script_cookie("XSRF-TOKEN");
    assert_eq!(json_of(response).await["xsrfToken"].as_str(), xsrf.as_deref());
}

/// What permits shared caches to store a response.
const PUBLIC: [(&str, &str); 2] = [("cache-control", "public, max-age=60"), ("expires", "600")];

async fn cacheable_sign_in(State(sessions): State<Sessions<User>>, parts: Parts) -> impl IntoResponse {
    let signed_in = sessions.sign_in(&parts, "ada", User { name: "Ada".into() }).await.expect("signed in");
    (signed_in, PUBLIC, "welcome")
}

async fn cacheable_sign_out(State(sessions): State<Sessions<User>>, parts: Parts) -> impl IntoResponse {
    (sessions.sign_out(&parts).await.expect("signed out"), PUBLIC, "bye")
}

#[tokio::test]
async fn a_later_part_does_not_make_the_cookies_cacheable() {
    let sessions = sessions();
    let routes = || {
        let router = Router::new().route("/plain", get(|| async { (PUBLIC, "plain") }));
        let router = router.route("/in", get(cacheable_sign_in)).route("/out", get(cacheable_sign_out));
        router.with_state(sessions.clone())
    };
    let layers: [(&str, Router); 4] = [
        ("all layers", routes().layer(sessions.layer().optional())),
        ("RefreshLayer", routes().layer(sessions.refresh_layer())),
        ("CookieJwtLayer", routes().layer(sessions.cookie_jwt_layer().optional())),
        ("XsrfLayer", routes().layer(sessions.xsrf_layer())),
    ];
    for (name, app) in layers {
        for path in ["/in", "/out", "/plain"] {
            let response = ask(&app, path, None).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}, {path}");
            let caching = response.headers().get_all("cache-control").iter().collect::<Vec<_>>();
            let expected = if path == "/plain" { "public, max-age=60" } else { "no-store" };
            assert_eq!(caching, [expected], "{name}, {path}");
            assert_eq!(response.headers().contains_key("expires"), path == "/plain", "{name}, {path}");
        }
    }
}

async fn login_by_response(
    State(sessions): State<Sessions<User>>,
    parts: http::request::Parts,
) -> Result<tower_cookie_jwt::SignedIn, SessionError> {
    sessions.sign_in(&parts, "ada", User { name: "Ada".into() }).await
}

fn token(xsrf: Option<&str>) -> String {
    let new = NewToken::access("ada", Duration::from_secs(900));
    let new = xsrf.into_iter().fold(new, |new, xsrf| new.with_xsrf_token(xsrf));
    Issuer::new(keys()).issue(&new, &User { name: "Ada".into() }).expect("signed")
}

/// Handlers that take what the crate offers.
fn extractors() -> Router {
    Router::new()
        .route("/claims", get(async |claims: Claims<User>| claims.custom().name.clone()))
        .route("/option", get(async |claims: Option<Claims<User>>| format!("{}", claims.is_some())))
        .route("/other", get(async |_: Claims<()>| "claims of another type"))
        .route("/other-option", get(async |_: Option<Claims<()>>| "claims of another type"))
        .route(
            "/xsrf",
            get(async |xsrf: XsrfToken| {
                format!("{} {} {xsrf:?}", xsrf.value(), xsrf.masked().unwrap_or("-"))
            }),
        )
        .route(
            "/result",
            get(async |claims: Result<Claims<User>, ClaimsRejection>| match claims {
                Ok(claims) => claims.custom().name.clone(),
                Err(ClaimsRejection::Unauthenticated(error)) => format!("anonymous: {:?}", error.kind()),
                Err(ClaimsRejection::LayerMissing) => "no layer".to_owned(),
                Err(_) => "something else".to_owned(),
            }),
        )
}

fn optional() -> CookieJwtLayer<User> {
    CookieJwtLayer::new(Verifier::<User>::new(keys()))
        .optional()
        .with_exempt(|parts| parts.uri.query() == Some("exempt"))
}

async fn ask(app: &Router, path: &str, cookie: Option<&str>) -> Response {
    let request = Request::get(path);
    let request = cookie.into_iter().fold(request, |request, cookie| request.header("cookie", cookie));
    app.clone().oneshot(request.body(Body::empty()).expect("valid")).await.expect("infallible")
}

#[tokio::test]
async fn extractors_return_what_the_layer_found() {
    let app = extractors().layer(optional());
    let good = access_cookie(&token(Some(XSRF)));
    for (case, path, cookie, status, body) in [
        ("claims", "/claims", Some(&*good), 200, "Ada"),
        ("option of a user", "/option", Some(&*good), 200, "true"),
        ("anonymous option", "/option", None, 200, "false"),
        ("option of a bad token", "/option", Some("__Host-access=garbage"), 200, "false"),
        ("option on an exempt path", "/option?exempt", Some(&*good), 200, "false"),
        ("result of a user", "/result", Some(&*good), 200, "Ada"),
        ("anonymous result", "/result", None, 200, "anonymous: Missing"),
        ("result of a bad token", "/result", Some("__Host-access=garbage"), 200, "anonymous: Malformed"),
        ("result on an exempt path", "/result?exempt", Some(&*good), 200, "anonymous: Missing"),
    ] {
        let response = ask(&app, path, cookie).await;
        assert_eq!(response.status(), status, "{case}");
        assert_eq!(text(response).await, body, "{case}");
    }
}

#[tokio::test]
async fn requiring_a_user_without_one_is_a_401() {
    let app = extractors().layer(optional());
    for (case, path, cookie, code, challenge) in [
        ("anonymous", "/claims", None, "token_missing", "Bearer"),
        ("bad token", "/claims", Some("__Host-access=x"), "token_invalid", "Bearer error=\"invalid_token\""),
        ("exempt", "/claims?exempt", None, "token_missing", "Bearer"),
        ("anonymous XSRF token", "/xsrf", None, "token_missing", "Bearer"),
        ("XSRF token, exempt", "/xsrf?exempt", None, "token_missing", "Bearer"),
    ] {
        let response = ask(&app, path, cookie).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{case}");
        assert_eq!(response.headers()["www-authenticate"], challenge, "{case}");
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{case}");
        assert_eq!(response.extensions().get::<Refusal>().map(Refusal::code), Some(code), "{case}");
        assert_eq!(json_of(response).await["code"], code, "{case}");
    }
}

#[tokio::test]
async fn a_missing_layer_is_a_500_whose_log_names_it() {
    let sessions = sessions();
    let good = access_cookie(&token(Some(XSRF)));
    let jwt = || CookieJwtLayer::new(Verifier::<User>::new(keys()));
    for (case, app, paths) in [
        ("no layer", extractors(), vec!["/claims", "/option", "/xsrf"]),
        (
            "only RefreshLayer",
            extractors().layer(sessions.refresh_layer()),
            vec!["/claims", "/option", "/xsrf"],
        ),
        ("claims of another type", extractors().layer(jwt()), vec!["/other", "/other-option"]),
    ] {
        for path in paths {
            let log = Log::default();
            let guard = log.capture();
            let response = ask(&app, path, Some(&good)).await;
            drop(guard);
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR, "{case}, {path}");
            assert!(text(response).await.is_empty(), "{case}, {path}: the client learns nothing");
            let log = log.text();
            if cfg!(not(feature = "tracing")) {
                continue;
            }
            assert!(log.contains("ERROR") && log.contains("CookieJwtLayer"), "{case}, {path}: {log:?}");
            let wanted = if path == "/xsrf" { "XsrfToken" } else { "Claims<" };
            assert!(log.contains(wanted), "{case}, {path}: {log:?}");
            let is_other = log.contains("claims of another type");
            assert_eq!(is_other, case == "claims of another type", "{case}, {path}: {log:?}");
        }
    }
    let response = ask(&extractors(), "/result", Some(&good)).await;
    assert_eq!(text(response).await, "no layer");
}

#[tokio::test]
async fn claims_inserted_by_other_code_are_not_treated_as_verified() {
    let claims = Verifier::<User>::new(keys()).verify(&token(None)).expect("good");
    for (case, app, status) in
        [("no layer", extractors(), 500), ("a layer that found no user", extractors().layer(optional()), 401)]
    {
        let request = Request::get("/claims").extension(claims.clone()).body(Body::empty()).expect("valid");
        assert_eq!(app.oneshot(request).await.expect("infallible").status(), status, "{case}");
    }
}

#[tokio::test]
async fn the_xsrf_token_is_available_plain_and_masked() {
    let app = extractors().layer(optional());
    let cookie = access_cookie(&token(Some(XSRF)));
    let claims = Verifier::<User>::new(keys()).verify(&token(Some(XSRF))).expect("good");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..10 {
        let body = text(ask(&app, "/xsrf", Some(&cookie)).await).await;
        let [value, masked, debug] = *body.split(' ').collect::<Vec<_>>() else { panic!("{body}") };
        assert_eq!(value, XSRF);
        assert_eq!(masked.len(), 48);
        assert_eq!(claims.verify_xsrf(masked), Ok(()));
        assert!(seen.insert(masked.to_owned()), "different each time");
        assert!(!debug.contains(XSRF), "{debug}");
    }
    let foreign = access_cookie(&token(Some("of another shape")));
    let body = text(ask(&app, "/xsrf", Some(&foreign)).await).await;
    assert!(body.starts_with("of another shape - "), "cannot be masked: {body}");
    let response = ask(&app, "/xsrf", Some(&access_cookie(&token(None)))).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "a token without the claim");
}

#[tokio::test]
async fn session_errors_convert_into_responses() {
    let foreign = parts(Request::post("https://shop.example/").header("sec-fetch-site", "cross-site"));
    let user = User { name: "Ada".into() };
    let origin = sessions().sign_in(&foreign, "ada", user).await.expect_err("foreign");
    let collision = json!({ "exp": 1 });
    let issue = Issuer::new(keys()).issue(&NewToken::access("ada", Duration::from_secs(60)), &collision);
    let issue = issue.expect_err("a collision");
    assert_eq!(issue.kind(), &IssueErrorKind::Collision("exp".to_owned()));
    for (case, error, status, code, retry) in [
        ("origin", origin, 403, Some("origin_refused"), None),
        ("ended", SessionError::Token(TokenErrorKind::Revoked.into()), 401, Some("session_revoked"), None),
        ("store down", SessionError::Unavailable("no answer".into()), 503, Some("unavailable"), Some("5")),
        ("store full", SessionError::Full, 503, Some("unavailable"), Some("5")),
        ("a mistake of the application", SessionError::Issue(issue), 500, None, None),
    ] {
        let response = error.into_response();
        assert_eq!(response.status(), status, "{case}");
        let found = response.headers().get("retry-after").map(|value| value.to_str().expect("text"));
        assert_eq!(found, retry, "{case}");
        assert_eq!(response.headers().contains_key("www-authenticate"), status == 401, "{case}");
        assert_eq!(response.extensions().get::<Refusal>().map(Refusal::code), code, "{case}");
        let body = text(response).await;
        let problem: Option<Value> = serde_json::from_str(&body).ok();
        assert_eq!(problem.as_ref().and_then(|problem| problem["code"].as_str()), code, "{case}: {body}");
    }
    let refusal = Refusal::Unavailable.into_response();
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE, "a refusal is a response too");
}

#[tokio::test]
async fn signed_out_is_also_a_response_part() {
    let sessions = sessions();
    let signed_out =
        sessions.sign_out(&parts(Request::post("https://shop.example/"))).await.expect("signed out");
    let response = (StatusCode::OK, signed_out, "see you").into_response();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers().get_all("set-cookie").iter().count(), 3);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(text(response).await, "see you");
}

/// The program that leads the README.
#[cfg(feature = "sqlite")]
#[path = "../../examples/axum.rs"]
#[allow(dead_code, reason = "its `main` opens a file and a port")]
mod program;

#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "current_thread")]
async fn the_program_of_the_readme_is_the_example_and_answers_as_a_web_application_does() {
    let readme = include_str!("../../README.md");
    assert!(readme.contains(include_str!("../../examples/axum.rs")), "copy examples/axum.rs into the README");

    let sessions =
        Sessions::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new()).with_audience("shop");
    let browser = Browser::new(program::app(sessions.build().unwrap()));
    let get = async |path: &str| {
        let Ok(response) = browser.get(path).send().await;
        (response.status().as_u16(), text(response).await)
    };
    assert_eq!(get("/").await, (200, "hello".to_owned()));
    assert_eq!(get("/nothing").await.0, 404, "an unknown path is not a matter of signing in");
    assert_eq!(get("/api/nothing").await.0, 404);
    assert_eq!(get("/api/me").await.0, 401);
    let Ok(response) = browser.post("/api/login").json(&json!({ "name": "Ada" })).send().await;
    assert_eq!(response.status(), 200);
    assert_eq!(get("/api/me").await, (200, r#"{"name":"Ada","sub":"ada"}"#.to_owned()));
    let Ok(response) = browser.post("/api/refresh").send().await;
    assert_eq!(response.status(), 200);
    let Ok(response) = browser.post("/api/logout").send().await;
    assert!(response.status().is_success());
    assert_eq!(get("/api/me").await.0, 401);
}

/// axum's macro takes every type named `Parts` for one that consumes the body, which the program therefore renames.
#[axum::debug_handler(state = Sessions<User>)]
async fn debugged_login(
    State(sessions): State<Sessions<User>>,
    head: Head,
    Json(login): Json<Login>,
) -> Result<impl IntoResponse, SessionError> {
    let signed_in = sessions.sign_in(&head, login.name, User { name: "Ada".into() }).await?;
    Ok((signed_in, "signed in"))
}

#[test]
fn handlers_compile_under_the_debug_handler_macro() {
    let _: Router<Sessions<User>> = Router::new().route("/login", post(debugged_login));
}
