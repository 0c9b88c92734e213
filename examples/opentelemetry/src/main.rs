//! An application whose sessions are measured with OpenTelemetry.
//!
//! `cargo run` serves it on port 3000 and prints the metrics every ten seconds; with `opentelemetry-otlp` in the place
//! of `opentelemetry-stdout`, they go to a collector. `cargo run -- --demo` acts a story on it in this process and
//! checks what was measured.

mod demo;
mod listener;
#[path = "../../prometheus/src/story.rs"]
mod story;

use std::{error::Error, time::Duration};

use axum::{
    Router,
    extract::State,
    http::request::Parts as Head,
    routing::{get, post},
};
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider, exporter::PushMetricExporter};
use tokio::net::TcpListener;
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions,
    keys::{Algorithm, Key},
    session::{SessionError, SessionsBuilder, SignedIn},
    store::RefreshStore,
};
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::MetricsLayer;
use tracing_subscriber::{EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

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

fn builder(store: impl RefreshStore) -> Result<SessionsBuilder<()>, Box<dyn Error>> {
    // All nodes need the same keys, so in production they come from a file or a secret manager.
    let keys = KeyRing::new(Key::generate(Algorithm::HS256)?)?;
    Ok(Sessions::builder(keys, store).with_audience("shop").with_events(Metrics))
}

/// Sends the log to the terminal and the measurements to `exporter`.
fn observe(exporter: impl PushMetricExporter) -> SdkMeterProvider {
    let reader = PeriodicReader::builder(exporter).with_interval(Duration::from_secs(10)).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let measured = Targets::new().with_target(listener::TARGET, LevelFilter::INFO);
    let logged =
        Targets::new().with_default(LevelFilter::TRACE).with_target(listener::TARGET, LevelFilter::OFF);
    let level = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    tracing_subscriber::registry()
        .with(MetricsLayer::new(provider.clone()).with_filter(measured))
        .with(tracing_subscriber::fmt::layer().with_filter(logged).with_filter(level))
        .init();
    provider
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == "--demo") {
        return demo::run().await;
    }
    let provider = observe(opentelemetry_stdout::MetricExporter::default());
    let sessions = builder(MemoryStore::new())?.build()?;
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("the application on http://{}", listener.local_addr()?);
    let stop = async { tokio::signal::ctrl_c().await.expect("there is a signal handler") };
    axum::serve(listener, app(sessions)).with_graceful_shutdown(stop).await?;
    // What has not been exported yet.
    Ok(provider.shutdown()?)
}
