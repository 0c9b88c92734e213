//! The page: from every route but `/api`.

use axum::{
    Router,
    http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::IntoResponse,
    routing::get,
};

pub(crate) fn routes() -> Router {
    Router::new()
        .route("/app.css", get(|| async { file("text/css; charset=utf-8", include_str!("app.css")) }))
        .route("/app.js", get(|| async { file("text/javascript; charset=utf-8", include_str!("app.js")) }))
        .fallback(get(|| async { file("text/html; charset=utf-8", include_str!("index.html")) }))
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
