//! The client applications, from a folder.

use std::path::{Component, Path, PathBuf};

use axum::{
    Router,
    extract::{self, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
    routing::get,
};

pub(crate) fn routes(folder: PathBuf) -> Router {
    Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>lab</title>") }))
        .route("/favicon.ico", get(|| async { StatusCode::NO_CONTENT }))
        .route("/clients/{*path}", get(file))
        .with_state(folder)
}

async fn file(State(folder): State<PathBuf>, extract::Path(path): extract::Path<PathBuf>) -> Response {
    let inside = path.components().all(|component| matches!(component, Component::Normal(_)));
    match inside.then(|| std::fs::read(folder.join(&path))) {
        Some(Ok(bytes)) => ([(CONTENT_TYPE, content_type(&path))], bytes).into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        _ => "application/octet-stream",
    }
}
