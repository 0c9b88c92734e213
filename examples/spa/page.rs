//! The page, served on every route except `/api`.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::IntoResponse,
    routing::get,
};

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/app.css", get(|| async { file(CSS, include_str!("app.css")) }))
        .route("/app.js", get(|| async { file(SCRIPT, include_str!("app.js")) }))
        .route("/dom.js", get(|| async { file(SCRIPT, include_str!("dom.js")) }))
        .route("/explain.js", get(|| async { file(SCRIPT, include_str!("explain.js")) }))
        .route("/scenarios.js", get(|| async { file(SCRIPT, include_str!("scenarios.js")) }))
        .route("/timeline.js", get(|| async { file(SCRIPT, include_str!("timeline.js")) }))
        .fallback(get(|| async { file(HTML, include_str!("index.html")) }))
}

fn file(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, content_type),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text)
}
