//! The website: it verifies the tokens of the authorization server, and has no private key.

use std::time::Duration;

use axum::{
    Json, Router,
    body::Bytes,
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::{get, post},
};
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tower::ServiceBuilder;
use tower_cookie_jwt::{
    Claims, ConfigError, CookieJwtLayer, Verifier, XsrfLayer,
    layers::jwks::RemoteJwks,
    reject::{ProblemJson, Refusal},
};

use crate::{AUDIENCE, User};

/// Short, so that the demo does not have to wait. Keep the defaults of five minutes and one minute in production.
pub(crate) const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn routes(authorization: &str) -> Result<Router, ConfigError> {
    // The layers respond with problem details (RFC 9457): 401, 403, and 503 before the first key set has arrived.
    let protect = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(verifier(authorization)?).with_rejection(ProblemJson))
        .layer(XsrfLayer::new().with_rejection(ProblemJson));
    let page = include_str!("page.html").replace("AUTHORIZATION", authorization);

    // No CORS: only the website's own page uses these routes.
    Ok(Router::new()
        .route("/api/me", get(me))
        .route("/api/orders", post(order))
        .layer(protect)
        .route("/", get(|| async { Html(page) })))
}

/// Creates a verifier for tokens from this authorization server, for this website, signed by a key of the set.
fn verifier(authorization: &str) -> Result<Verifier<User>, ConfigError> {
    // Plain http is accepted for loopback only; in production, the client needs TLS.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let (keys, follow) = RemoteJwks::new(&format!("{authorization}/.well-known/jwks.json"))?
        .with_interval(FOLLOW_INTERVAL)
        .with_min_gap(FOLLOW_INTERVAL)
        .follow(client);
    tokio::spawn(follow); // completes when the last clone of `keys` is dropped
    Ok(Verifier::builder(keys)
        .with_issuer(authorization)
        .with_audience(AUDIENCE)
        .build()
        .expect("the settings are consistent"))
}

async fn me(claims: Claims<User>) -> Json<Value> {
    Json(json!({
        "name": claims.custom().name,
        "scope": claims.scope(),
        "by": format!("{:?}", claims.source()),
    }))
}

async fn order(claims: Claims<User>, item: String) -> Response {
    // A signed-in user may have a token with fewer scopes, such as the bearer token of the demo.
    match claims.require_scope("orders:write") {
        Ok(()) => (StatusCode::CREATED, Json(json!({ "item": item }))).into_response(),
        Err(error) => Refusal::Scope(error).into_response(),
    }
}
