//! A story that moves each metric, and the check that it was measured.

use std::{error::Error, io, time::Duration};

use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter,
    data::{AggregatedMetrics, MetricData, ResourceMetrics},
};
use tower_cookie_jwt::{
    MemoryStore,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update},
    testing::{Browser, TestClock},
};

use super::{app, builder, observe};

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let exporter = InMemoryMetricExporter::default();
    let provider = observe(exporter.clone());
    let clock = TestClock::new();
    let store = MemoryStore::new().with_clock(clock.clone());
    let sessions = builder(store)?.with_clock(clock.clone()).build()?;
    let browser = Browser::new(app(sessions));

    browser.get("/me").send().await?; // refused: nobody has signed in
    browser.post("/login").send().await?;
    browser.post("/me").send().await?; // refused: no XSRF header
    let stolen = browser.cookie("__Host-refresh").ok_or("no refresh cookie")?;
    browser.get("/me").send().await?;
    clock.advance(Duration::from_secs(3600));
    browser.get("/me").send().await?; // rotates
    browser.get("/me").send().await?; // and shows that the new generation has arrived
    clock.advance(Duration::from_secs(3600));
    let former = browser.cookie("__Host-refresh").ok_or("no refresh cookie")?;
    browser.get("/me").send().await?; // rotates, but the response is lost
    browser.set_cookie(&format!("__Host-refresh={former}; Path=/; Secure; HttpOnly"));
    browser.remove_cookie("__Host-access");
    clock.advance(Duration::from_secs(60));
    browser.get("/me").send().await?; // is given the tokens again
    browser.get("/me").send().await?;
    clock.advance(Duration::from_secs(60));
    let thief = browser.separate();
    thief.set_cookie(&format!("__Host-refresh={stolen}; Path=/; Secure; HttpOnly"));
    thief.get("/me").send().await?; // refused: reuse

    let broken = Browser::new(app(builder(Broken)?.build()?));
    broken.post("/login").send().await?; // refused: the store fails

    provider.force_flush()?;
    let measured = exporter.get_finished_metrics()?;
    for (name, attribute, expected) in [
        ("session.refusals", Some(("code", "token_missing")), 1),
        ("session.refusals", Some(("code", "xsrf_missing")), 1),
        ("session.refusals", Some(("code", "session_revoked")), 1),
        ("session.sign_ins", None, 1),
        ("session.rotations", None, 2),
        ("session.answers_lost", None, 1),
        ("session.reuse_detected", None, 1),
        ("session.store.duration", Some(("operation", "create")), 2),
        ("session.store.errors", Some(("operation", "create")), 1),
    ] {
        let count = count(&measured, name, attribute);
        println!("{name} {attribute:?}: {count}");
        if count != expected {
            return Err(format!("{name} {attribute:?}: {count} instead of {expected}").into());
        }
    }
    Ok(provider.shutdown()?)
}

/// Returns the value of a counter, or how often a histogram was recorded.
fn count(measured: &[ResourceMetrics], name: &str, attribute: Option<(&str, &str)>) -> u64 {
    let metrics = measured.iter().flat_map(ResourceMetrics::scope_metrics).flat_map(|scope| scope.metrics());
    let has = |key: &str, value: &str| attribute.is_none_or(|wanted| wanted == (key, value));
    let mut count = 0;
    for metric in metrics.filter(|metric| metric.name() == name) {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                let points = sum.data_points().filter(|point| {
                    attribute.is_none()
                        || point.attributes().any(|pair| has(pair.key.as_str(), &pair.value.as_str()))
                });
                count += points.map(|point| point.value()).sum::<u64>();
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                let points = histogram.data_points().filter(|point| {
                    point.attributes().any(|pair| has(pair.key.as_str(), &pair.value.as_str()))
                });
                count += points.map(|point| point.count()).sum::<u64>();
            }
            _ => {}
        }
    }
    count
}

/// A store without a server.
struct Broken;

impl RefreshStore for Broken {
    type Error = io::Error;

    async fn create(&self, _: NewRecord) -> Result<Created, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn read(&self, _: &SessionId) -> Result<Snapshot, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn update(&self, _: &SessionRecord, _: Stamps) -> Result<Update, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn remove(&self, _: &SessionId) -> Result<bool, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn list(&self, _: &str) -> Result<Vec<SessionRecord>, io::Error> {
        Ok(Vec::new())
    }

    async fn remove_all(&self, _: &str, _: Option<&SessionId>) -> Result<u64, io::Error> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }
}
