//! The check that a story was measured.

use std::error::Error;

use opentelemetry::KeyValue;
use opentelemetry_sdk::metrics::{
    InMemoryMetricExporter,
    data::{AggregatedMetrics, MetricData, ResourceMetrics},
};

use super::{observe, story};

pub(crate) async fn run() -> Result<(), Box<dyn Error>> {
    let exporter = InMemoryMetricExporter::default();
    let provider = observe(exporter.clone());
    story::act().await?;
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
    let mut count = 0;
    for metric in metrics.filter(|metric| metric.name() == name) {
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                let points = sum.data_points().filter(|point| is_wanted(point.attributes(), attribute));
                count += points.map(|point| point.value()).sum::<u64>();
            }
            AggregatedMetrics::F64(MetricData::Histogram(histogram)) => {
                let points = histogram.data_points().filter(|point| is_wanted(point.attributes(), attribute));
                count += points.map(|point| point.count()).sum::<u64>();
            }
            _ => {}
        }
    }
    count
}

fn is_wanted<'a>(mut pairs: impl Iterator<Item = &'a KeyValue>, attribute: Option<(&str, &str)>) -> bool {
    attribute
        .is_none_or(|(key, value)| pairs.any(|pair| pair.key.as_str() == key && pair.value.as_str() == value))
}
