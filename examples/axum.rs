//! A web application that keeps its users signed in.

use axum::{
    Json, Router,
    extract::State,
    http::request::Parts as Head,
    response::IntoResponse,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower_cookie_jwt::{
    Claims, KeyRing, Sessions,
    session::{SessionError, SignedOut},
    store::SqliteStore,
};

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct User {
    name: String,
}

#[derive(Deserialize)]
struct Login {
    name: String,
}

async fn login(
    State(sessions): State<Sessions<User>>,
    head: Head,
    Json(login): Json<Login>,
) -> Result<impl IntoResponse, SessionError> {
    // Verify the password, or another credential, first.
    let signed_in = sessions.sign_in(&head, login.name.to_lowercase(), User { name: login.name }).await?;
    let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
    Ok((signed_in, Json(body)))
}

async fn logout(State(sessions): State<Sessions<User>>, head: Head) -> Result<SignedOut, SessionError> {
    sessions.sign_out(&head).await
}

async fn me(claims: Claims<User>) -> Json<Value> {
    Json(json!({ "sub": claims.subject(), "name": claims.custom().name }))
}

pub(crate) fn app(sessions: Sessions<User>) -> Router {
    Router::new()
        .route("/api/me", get(me))
        .route_layer(sessions.layer()) // the routes above require a signed-in user
        .route("/", get(async || "hello"))
        .route("/api/login", post(login))
        .route("/api/logout", post(logout)) // outside the layer: must work with an expired session too
        .route_service("/api/refresh", sessions.refresh_service())
        .with_state(sessions)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    tracing_subscriber::fmt::init(); // RUST_LOG=tower_cookie_jwt::refused=debug says why a request is refused
    let keys = KeyRing::hs256(std::env::var("SECRET")?)?; // at least 32 random bytes
    let store = SqliteStore::open("sessions.sqlite").await?;
    let sessions = Sessions::<User>::builder(keys, store).with_audience("shop").build()?;
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:3000").await?, app(sessions)).await?;
    Ok(())
}
