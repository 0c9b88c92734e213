//! The API: routes that require a signed-in user are inside the layer, signing in and out is outside.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, request::Parts},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_cookie_jwt::{
    Claims, Sessions,
    reject::ProblemJson,
    session::{SessionError, SignedOut},
};

use crate::{
    demo,
    users::{User, Users},
};

#[derive(Clone)]
struct App {
    sessions: Sessions<User>,
    users: Users,
    orders: Arc<Mutex<Vec<Order>>>,
    binds_devices: bool,
}

/// Where browsers bind sessions to their device, and prove that they hold the key.
pub(crate) const DEVICE: &str = "/api/device";

#[derive(Clone, Serialize)]
struct Order {
    id: usize,
    item: String,
    #[serde(skip)]
    subject: String,
}

pub(crate) fn routes(sessions: Sessions<User>, users: Users, binds_devices: bool) -> Router {
    let layer = sessions.layer().with_rejection(ProblemJson);
    let refresh = sessions.refresh_service();
    let device = sessions.device_service();
    Router::new()
        .route("/api/me", get(me))
        .route("/api/orders", get(orders).post(place_order))
        .route("/api/sessions", get(list_sessions))
        .route("/api/sessions/{id}", delete(end_session))
        .route("/api/logout-everywhere", post(logout_everywhere))
        // Only for the page's explanations.
        .layer(from_fn(demo::reached))
        .layer(layer)
        .route("/api/login", post(login))
        .route("/api/logout", post(logout))
        .route_service("/api/refresh", refresh)
        // Also while no binding is offered: no browser may ever miss it.
        .route_service(DEVICE, device)
        .route("/api", get(not_found))
        .route("/api/{*rest}", axum::routing::any(not_found))
        .with_state(App { sessions, users, orders: Arc::default(), binds_devices })
}

#[derive(Deserialize)]
struct Login {
    username: String,
    password: String,
}

async fn login(
    State(app): State<App>,
    parts: Parts,
    Json(form): Json<Login>,
) -> Result<Response, SessionError> {
    // Password hashing is slow by design, so it must not block the threads that serve requests.
    let users = app.users.clone();
    let checked =
        tokio::task::spawn_blocking(move || users.check_password(&form.username, &form.password)).await;
    let Some((id, user)) = checked.ok().flatten() else {
        return Ok(problem(
            StatusCode::UNAUTHORIZED,
            "wrong_credentials",
            "the username or password is wrong",
        ));
    };
    let signed_in = app.sessions.sign_in(&parts, id, user).await?;
    let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
    Ok((signed_in, Json(body)).into_response())
}

async fn logout(State(app): State<App>, parts: Parts) -> Result<SignedOut, SessionError> {
    app.sessions.sign_out(&parts).await
}

async fn me(State(app): State<App>, claims: Claims<User>) -> Json<Value> {
    Json(json!({
        "sub": claims.subject(),
        "name": claims.custom().name,
        "roles": claims.custom().roles,
        "session": claims.session_id(),
        "generation": claims.generation(),
        "expiresAt": seconds(claims.expires_at()),
        // `null` where no binding is offered.
        "bound": app.binds_devices.then(|| claims.proof_time().is_some()),
    }))
}

async fn orders(State(app): State<App>, claims: Claims<User>) -> Json<Vec<Order>> {
    let orders = app.orders.lock().unwrap_or_else(PoisonError::into_inner);
    let own = orders.iter().filter(|order| Some(order.subject.as_str()) == claims.subject());
    Json(own.cloned().collect())
}

#[derive(Deserialize)]
struct NewOrder {
    item: String,
}

async fn place_order(State(app): State<App>, claims: Claims<User>, Json(new): Json<NewOrder>) -> Response {
    let item = new.item.trim();
    if item.is_empty() || item.len() > 200 {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "invalid_item", "an item must have 1 to 200 bytes");
    }
    let mut orders = app.orders.lock().unwrap_or_else(PoisonError::into_inner);
    let subject = claims.subject().unwrap_or_default().to_owned();
    let order = Order { id: orders.len() + 1, item: item.to_owned(), subject };
    orders.push(order.clone());
    (StatusCode::CREATED, Json(order)).into_response()
}

async fn list_sessions(State(app): State<App>, claims: Claims<User>) -> Result<Json<Value>, SessionError> {
    let sessions = app.sessions.list(claims.subject().unwrap_or_default()).await?;
    let list = sessions.iter().map(|session| {
        json!({
            "id": session.id.as_str(),
            "created": seconds(session.created_at),
            "lastSeen": seconds(session.last_seen_at),
            "label": session.label,
            "bound": app.binds_devices.then(|| session.device.is_some()),
            "current": claims.session_id() == Some(session.id.as_str()),
        })
    });
    Ok(Json(list.collect()))
}

async fn end_session(
    State(app): State<App>,
    claims: Claims<User>,
    parts: Parts,
    Path(id): Path<String>,
) -> Result<Response, SessionError> {
    if claims.session_id() == Some(&*id) {
        return Ok(app.sessions.sign_out(&parts).await?.into_response());
    }
    match app.sessions.revoke(claims.subject().unwrap_or_default(), &id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Ok(problem(StatusCode::NOT_FOUND, "session_not_found", "you have no such session")),
    }
}

async fn logout_everywhere(
    State(app): State<App>,
    claims: Claims<User>,
    parts: Parts,
) -> Result<SignedOut, SessionError> {
    app.sessions.sign_out_everywhere(claims.subject().unwrap_or_default()).await?;
    app.sessions.sign_out(&parts).await
}

async fn not_found() -> Response {
    problem(StatusCode::NOT_FOUND, "not_found", "this route does not exist")
}

/// Returns problem details (RFC 9457), in the format of the layers.
pub(crate) fn problem(status: StatusCode, code: &str, detail: &str) -> Response {
    let body = json!({
        "type": "about:blank", "title": status.canonical_reason(), "status": status.as_u16(), "detail": detail, "code": code,
    });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
