//! What predicates see behind axum's `nest`, which strips prefixes.

#![cfg(feature = "axum")]

use std::sync::{Arc, Mutex};

use axum::{Router, extract::OriginalUri, response::Response, routing::get};
use http::{Request, StatusCode, header::LOCATION, request::Parts};
use tower::ServiceExt;
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, MemoryStore, Sessions, Verifier,
    reject::{ProblemJson, RedirectToLogin},
};

use crate::handler::{keys, parts, token};

async fn ask(app: &Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let request =
        headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    let Ok(response) = app.clone().oneshot(request.body(axum::body::Body::empty()).unwrap()).await;
    response
}

fn pages() -> Router {
    let who =
        |claims: Option<Claims<()>>| async move { if claims.is_some() { "a user" } else { "anonymous" } };
    Router::new().route("/", get(who)).route("/health", get(who)).route("/orders", get(who))
}

/// Requests whose path is exactly this need no token.
fn exempting(path: &'static str) -> CookieJwtLayer<()> {
    CookieJwtLayer::new(Verifier::new(keys())).with_exempt(move |request| request.uri.path() == path)
}

#[tokio::test]
async fn a_predicate_sees_the_same_path_as_its_layer() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noting = || {
        let seen = seen.clone();
        CookieJwtLayer::new(Verifier::<()>::new(keys())).with_exempt(move |request| {
            let whole = request.extensions.get::<OriginalUri>().map(|uri| uri.path().to_owned());
            seen.lock().unwrap().push((request.uri.to_string(), whole));
            true
        })
    };
    let inside = Router::new().nest("/api", pages().layer(noting()));
    let on_routes = Router::new().nest("/api", pages().route_layer(noting()));
    let outside = Router::new().nest("/api", pages()).layer(noting());
    let service = Router::new().nest_service("/api", pages().layer(noting()));
    let twice = Router::new().nest("/shop", Router::new().nest("/api", pages().layer(noting())));
    let between = Router::new().nest("/shop", Router::new().nest("/api", pages()).layer(noting()));
    for (case, app, asked, sees) in [
        ("inside", &inside, "/api/health?full=1", "/health?full=1"),
        ("inside, at the root of the nest", &inside, "/api", "/"),
        ("on the routes inside", &on_routes, "/api/health", "/health"),
        ("outside", &outside, "/api/health?full=1", "/api/health?full=1"),
        ("inside a nested service", &service, "/api/health", "/health"),
        ("inside two", &twice, "/shop/api/health", "/health"),
        ("between two", &between, "/shop/api/health", "/api/health"),
    ] {
        assert_eq!(ask(app, asked, &[]).await.status(), StatusCode::OK, "{case}");
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let whole = asked.split('?').next().unwrap().to_owned();
        // axum itself leaves the whole one in the extensions, for predicates that want it wherever they are.
        assert_eq!(seen, [(sees.to_owned(), Some(whole))], "{case}");
    }
}

#[tokio::test]
async fn a_predicate_for_the_other_nesting_level_exempts_nothing() {
    let whole = |request: &Parts| {
        request.extensions.get::<OriginalUri>().is_some_and(|uri| uri.path() == "/api/health")
    };
    let by_whole_path = || CookieJwtLayer::<()>::new(Verifier::new(keys())).with_exempt(whole);
    for (case, app, health) in [
        ("inside, stripped", Router::new().nest("/api", pages().layer(exempting("/health"))), 200),
        ("inside, whole", Router::new().nest("/api", pages().layer(exempting("/api/health"))), 401),
        ("outside, whole", Router::new().nest("/api", pages()).layer(exempting("/api/health")), 200),
        ("outside, stripped", Router::new().nest("/api", pages()).layer(exempting("/health")), 401),
        ("inside, by the original", Router::new().nest("/api", pages().layer(by_whole_path())), 200),
        ("outside, by the original", Router::new().nest("/api", pages()).layer(by_whole_path()), 200),
    ] {
        assert_eq!(ask(&app, "/api/health", &[]).await.status(), health, "{case}");
        assert_eq!(ask(&app, "/api/orders", &[]).await.status(), 401, "{case}: the others need a token");
        let authorization = format!("Bearer {}", token());
        let signed_in = ask(&app, "/api/orders", &[("authorization", &authorization)]).await;
        assert_eq!(signed_in.status(), 200, "{case}");
    }
}

#[tokio::test]
async fn the_layers_of_sessions_see_the_path_at_their_nesting_level() {
    let sessions = Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().unwrap();
    let inside = pages().layer(sessions.layer().with_exempt(|request| request.uri.path() == "/health"));
    let outside = sessions.layer().with_exempt(|request| request.uri.path() == "/api/health");
    for (case, app) in [
        ("inside", Router::new().nest("/api", inside)),
        ("outside", Router::new().nest("/api", pages()).layer(outside)),
    ] {
        assert_eq!(ask(&app, "/api/health", &[]).await.status(), 200, "{case}");
        assert_eq!(ask(&app, "/api/orders", &[]).await.status(), 401, "{case}");
    }
    // RefreshLayer alone: an exempt request gets no new cookies, whatever its refresh cookie.
    let signed_in = sessions.sign_in(&parts(Request::post("/login")), "ada", ()).await.unwrap();
    let mut response = http::Response::new(());
    signed_in.append_to(response.headers_mut());
    let lines = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let refresh =
        lines.filter_map(|line| line.split(';').next()).find(|pair| pair.starts_with("__Host-refresh"));
    let refresh = [("cookie", refresh.expect("a sign-in sets it"))];
    let layer =
        |path: &'static str| sessions.refresh_layer().with_exempt(move |request| request.uri.path() == path);
    for (case, app) in [
        ("inside", Router::new().nest("/api", pages().layer(layer("/health")))),
        ("outside", Router::new().nest("/api", pages()).layer(layer("/api/health"))),
    ] {
        let exempt = ask(&app, "/api/health", &refresh).await;
        assert!(!exempt.headers().contains_key("set-cookie"), "{case}: exempt");
        let refreshed = ask(&app, "/api/orders", &refresh).await;
        assert!(refreshed.headers().contains_key("set-cookie"), "{case}: not exempt");
    }
}

#[tokio::test]
async fn the_login_page_is_found_behind_a_mount() {
    let layer = |hook: RedirectToLogin| CookieJwtLayer::<()>::new(Verifier::new(keys())).with_rejection(hook);
    let hook = || RedirectToLogin::new("/shop/login", ProblemJson).unwrap();
    let pages = || pages().route("/login", get(|| async { "the form" }));
    let mounted = Router::new().nest("/shop", pages().layer(layer(hook().with_mount("/shop").unwrap())));
    let outside = Router::new().nest("/shop", pages()).layer(layer(hook()));
    let accept = [("accept", "text/html")];
    for (case, app) in [("inside, with the mount", mounted), ("outside, without", outside)] {
        let sent = ask(&app, "/shop/orders?open=1", &accept).await;
        assert_eq!(sent.status(), StatusCode::SEE_OTHER, "{case}");
        assert_eq!(sent.headers()[LOCATION], "/shop/login?next=%2Fshop%2Forders%3Fopen%3D1", "{case}");
        let login = ask(&app, "/shop/login?next=%2Fshop%2Forders", &accept).await;
        assert_eq!(login.status(), StatusCode::UNAUTHORIZED, "{case}: refused, but in no loop");
    }
    let forgotten = Router::new().nest("/shop", pages().layer(layer(hook())));
    let sent = ask(&forgotten, "/shop/orders", &accept).await;
    assert_eq!(sent.headers()[LOCATION], "/shop/login?next=%2Forders", "why the mount is to be told");
}
