//! An application whose sessions are counted for Prometheus.
//!
//! `cargo run` serves it on port 3000, and the metrics on port 9000, which should not be reachable from outside;
//! `cargo run -- --demo` acts a story on it in this process and checks what was counted.

mod demo;
mod listener;
mod story;

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::State,
    http::request::Parts as Head,
    routing::{get, post},
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions,
    keys::{Algorithm, Key},
    session::{SessionError, SessionsBuilder, SignedIn},
    store::RefreshStore,
};

use self::listener::Metrics;

async fn login(State(sessions): State<Sessions<()>>, head: Head) -> Result<SignedIn, SessionError> {
    // Verify the password, or another credential, first.
    sessions.sign_in(&head, "ada", ()).await
}

async fn me(claims: Claims<()>) -> String {
    claims.subject().unwrap_or_default().to_owned()
}

fn app(sessions: Sessions<()>) -> Router {
    Router::new()
        .route("/me", get(me).post(me))
        .route_layer(sessions.layer())
        .route("/login", post(login))
        .route_service("/refresh", sessions.refresh_service())
        .with_state(sessions)
}

fn metrics(recorder: PrometheusHandle) -> Router {
    Router::new().route("/metrics", get(async move || recorder.render()))
}

fn builder(store: impl RefreshStore) -> Result<SessionsBuilder<()>, Box<dyn Error>> {
    // All nodes need the same keys, so in production they come from a file or a secret manager.
    let keys = KeyRing::new(Key::generate(Algorithm::HS256)?)?;
    Ok(Sessions::builder(keys, store).with_audience("shop").with_events(Metrics))
}

fn recorder() -> Result<PrometheusHandle, Box<dyn Error>> {
    // Between a lookup in memory and the 5 seconds after which stores give up.
    let buckets = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];
    let builder = PrometheusBuilder::new();
    let builder = builder.set_buckets_for_metric(Matcher::Full(listener::STORE_SECONDS.into()), &buckets)?;
    let handle = builder.install_recorder()?;
    Metrics::describe();
    Ok(handle)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let recorder = recorder()?;
    if std::env::args().any(|argument| argument == "--demo") {
        return demo::run(&recorder).await;
    }
    let upkeep = recorder.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    let sessions = builder(MemoryStore::new())?.build()?;
    let (public, private) =
        (TcpListener::bind("127.0.0.1:3000").await?, TcpListener::bind("127.0.0.1:9000").await?);
    println!(
        "the application on http://{}, metrics on http://{}/metrics",
        public.local_addr()?,
        private.local_addr()?
    );
    tokio::try_join!(axum::serve(public, app(sessions)), axum::serve(private, metrics(recorder)))?;
    Ok(())
}
