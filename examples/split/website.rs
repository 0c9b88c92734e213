//! The website: verifies what the authorization server has signed, and holds no key of its own.

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

/// So that the demo need not wait: keep the defaults (five minutes, and one) in production.
pub(crate) const FOLLOW_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) fn routes(authorization: &str) -> Result<Router, ConfigError> {
    // Both layers answer by themselves: 401 and 403 as problems (RFC 9457), 503 before the first set.
    let protect = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(verifier(authorization)?).with_rejection(ProblemJson))
        .layer(XsrfLayer::new().with_rejection(ProblemJson));
    let page = include_str!("page.html").replace("AUTHORIZATION", authorization);

    // No CORS here: the website's own page is the only one that asks for these.
    Ok(Router::new()
        .route("/api/me", get(me))
        .route("/api/orders", post(order))
        .layer(protect)
        .route("/", get(|| async { Html(page) })))
}

/// Accepts tokens of this authorization server for this website, signed by a key of the set.
fn verifier(authorization: &str) -> Result<Verifier<User>, ConfigError> {
    // Plain http is accepted for loopback alone: in production the client speaks TLS.
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let (keys, follow) = RemoteJwks::new(&format!("{authorization}/.well-known/jwks.json"))?
        .with_interval(FOLLOW_INTERVAL)
        .with_min_gap(FOLLOW_INTERVAL)
        .follow(client);
    tokio::spawn(follow); // ends with the last clone of `keys`
    Ok(Verifier::builder(keys)
        .with_issuer(authorization)
        .with_audience(AUDIENCE)
        .build()
        .expect("the settings agree"))
}

async fn me(claims: Claims<User>) -> Json<Value> {
    Json(json!({
        "name": claims.custom().name,
        "scope": claims.scope(),
        "by": format!("{:?}", claims.source()),
    }))
}

async fn order(claims: Claims<User>, item: String) -> Response {
    // Not every token of this user may do everything: see the bearer token of the demo.
    match claims.require_scope("orders:write") {
        Ok(()) => (StatusCode::CREATED, Json(json!({ "item": item }))).into_response(),
        Err(error) => Refusal::Scope(error).into_response(),
    }
}
