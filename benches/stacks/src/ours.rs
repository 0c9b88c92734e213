//! The library, set up as its README shows.

use std::time::Duration;

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

/// When the store is asked about a session besides at sign-in and refresh.
#[derive(Clone, Copy)]
pub(crate) enum Check {
    Never,
    OnEachRequest,
    /// As rarely as a bound of a second allows, with the feed followed.
    WithinSecond,
}

pub(crate) async fn router(store: &str, check: Check) -> Router {
    match crate::kind(store) {
        "memory" => on(MemoryStore::new(), check),
        "redis" => on(RedisStore::connect(store, TAG_KEY).await.expect("Redis runs"), check),
        "postgres" => on(PostgresStore::connect(store).await.expect("PostgreSQL runs"), check),
        _ => panic!("unknown store: choose memory, or the URL of Redis or PostgreSQL"),
    }
}

fn on(store: impl RefreshStore, check: Check) -> Router {
    let keys = KeyRing::hs256(SECRET).expect("a long secret");
    let builder = Sessions::<User>::builder(keys, store).with_audience("shop");
    let builder = match check {
        Check::Never => builder,
        Check::OnEachRequest => builder.with_session_check(),
        Check::WithinSecond => builder.with_sign_out_within(Duration::from_secs(1)),
    };
    let sessions = builder.build().expect("a valid configuration");
    tokio::spawn(sessions.follow());
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
