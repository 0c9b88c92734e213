//! The library, set up as its README shows.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, request::Parts as Head},
    response::IntoResponse,
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions,
    session::SessionError,
    store::{PostgresStore, RedisStore, RefreshStore},
};

#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
}

/// The store is asked on each request if `checks`, and otherwise only at sign-in and refresh.
pub(crate) async fn router(store: &str, checks: bool) -> Router {
    match crate::kind(store) {
        "memory" => on(MemoryStore::new(), checks),
        "redis" => on(RedisStore::connect(store, TAG_KEY).await.expect("Redis runs"), checks),
        "postgres" => on(PostgresStore::connect(store).await.expect("PostgreSQL runs"), checks),
        _ => panic!("unknown store: choose memory, or the URL of Redis or PostgreSQL"),
    }
}

fn on(store: impl RefreshStore, checks: bool) -> Router {
    let keys = KeyRing::hs256(SECRET).expect("a long secret");
    let builder = Sessions::<User>::builder(keys, store).with_audience("shop");
    let builder = if checks { builder.with_session_check() } else { builder };
    let sessions = builder.build().expect("a valid configuration");
    Router::new()
        .route("/", get(hello))
        .route_layer(sessions.layer())
        .route("/login", post(login))
        .with_state(sessions)
}

async fn hello(claims: Claims<User>) -> Result<&'static str, StatusCode> {
    crate::greet(claims.subject().and_then(|subject| subject.parse().ok()))
}

async fn login(
    State(sessions): State<Sessions<User>>,
    head: Head,
) -> Result<impl IntoResponse, SessionError> {
    sessions.sign_in(&head, crate::USER.to_string(), User { name: "Ada".into() }).await
}

const SECRET: &str = "0123456789abcdef0123456789ABCDEF";
const TAG_KEY: &[u8] = b"sixteen bytes or more";
