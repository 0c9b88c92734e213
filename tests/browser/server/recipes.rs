//! The server side of the recipes in the documentation, for `groups/recipes.mjs`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{
        Query, State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
    },
    http::{HeaderValue, StatusCode, request::Parts},
    response::{Html, IntoResponse, Response},
    routing::{any, get, post},
};
use serde::Deserialize;
use serde_json::json;
use tower::ServiceBuilder;
use tower_cookie_jwt::{
    Claims, Sessions,
    axum::XsrfToken,
    reject::{ProblemJson, Refusal, Reject},
};

use crate::{api::User, record::Record};

const CHECK_EVERY: Duration = Duration::from_millis(200);

#[derive(Clone)]
struct Recipes {
    sessions: Sessions<User>,
    record: Record,
    clients: PathBuf,
    asked: Arc<Mutex<HashMap<String, u32>>>,
}

pub(crate) fn routes(sessions: Sessions<User>, record: Record, clients: PathBuf) -> Router {
    let state = Recipes { sessions: sessions.clone(), record, clients, asked: Arc::default() };
    // As on a server whose authorization server is elsewhere: an expired token is a 401.
    let verify = ServiceBuilder::new()
        .layer(sessions.cookie_jwt_layer().with_rejection(ProblemJson))
        .layer(sessions.xsrf_layer().with_rejection(ProblemJson));
    let verified = Router::new()
        .route("/recipes/orders", get(orders).post(order))
        .route("/recipes/unsteady", get(unsteady).post(unsteady))
        .layer(verify);
    let rendered = Router::new()
        .route("/recipes/htmx", get(page))
        .route("/recipes/htmx/orders", post(|| async { Html("<b>ordered</b>") }))
        .route("/recipes/socket", any(socket))
        .layer(sessions.layer().with_rejection(fragment));
    verified
        .merge(rendered)
        .route("/login", get(|| async { Html("<!doctype html><title>sign in</title>") }))
        .with_state(state)
}

async fn orders(claims: Claims<User>) -> Json<serde_json::Value> {
    Json(json!({ "of": claims.subject() }))
}

async fn order(State(recipes): State<Recipes>, claims: Claims<User>) -> Json<serde_json::Value> {
    recipes.record.count("orders");
    Json(json!({ "by": claims.subject() }))
}

#[derive(Deserialize)]
struct Unsteady {
    name: String,
    /// How many requests of that name are refused before one is answered.
    times: u32,
    /// Refuses as some other part of an application might, without saying why.
    #[serde(default)]
    bare: bool,
}

async fn unsteady(State(recipes): State<Recipes>, Query(wish): Query<Unsteady>) -> Response {
    let mut asked = recipes.asked.lock().unwrap_or_else(PoisonError::into_inner);
    let count = asked.entry(wish.name).or_default();
    *count += 1;
    if *count > wish.times {
        return Json(json!({ "asked": *count })).into_response();
    }
    match wish.bare {
        true => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        false => Refusal::Unavailable.into_response(),
    }
}

/// The page of the recipe, with the value where its placeholder stands.
async fn page(
    State(recipes): State<Recipes>,
    xsrf: XsrfToken,
    Query(which): Query<HashMap<String, String>>,
) -> Response {
    let file = if which.contains_key("meta") { "recipe-htmx-meta.html" } else { "recipe-htmx.html" };
    let Ok(page) = std::fs::read_to_string(recipes.clients.join(file)) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    Html(page.replace("{{xsrf}}", xsrf.masked().unwrap_or(xsrf.value()))).into_response()
}

fn fragment(refusal: &Refusal, request: &Parts) -> Response<Body> {
    let mut response = ProblemJson.reject(refusal, request);
    if refusal.status() == StatusCode::UNAUTHORIZED && request.headers.contains_key("hx-request") {
        response.headers_mut().insert("hx-redirect", HeaderValue::from_static("/login"));
    }
    response
}

async fn socket(State(recipes): State<Recipes>, claims: Claims<User>, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(|socket| serve(socket, recipes.sessions, claims))
}

/// Echoes for as long as the session lives.
async fn serve(mut socket: WebSocket, sessions: Sessions<User>, claims: Claims<User>) {
    let mut check = tokio::time::interval(CHECK_EVERY);
    loop {
        tokio::select! {
            _ = check.tick() => if !matches!(sessions.is_live(&claims).await, Ok(true)) {
                let frame = CloseFrame { code: 4401, reason: "signed out".into() };
                let _ = socket.send(Message::Close(Some(frame))).await;
                return;
            },
            message = socket.recv() => match message {
                Some(Ok(Message::Text(text))) => if socket.send(Message::Text(text)).await.is_err() { return },
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
