//! Turns what happens to sessions into metrics.
//!
//! `tracing-opentelemetry` takes events with fields of these prefixes for measurements, and their other fields for
//! attributes. Never make a subject or a session id an attribute: each value is a time series of its own.

use tower_cookie_jwt::session::{SessionEvent, SessionEvents, StoreCall, TraceEvents};
use tracing::info;

/// Logs session events as the default listener does, and measures them.
pub(crate) struct Metrics;

impl SessionEvents for Metrics {
    fn on_event(&self, event: &SessionEvent<'_>) {
        TraceEvents.on_event(event);
        match event {
            SessionEvent::Refused { code, .. } => {
                info!(monotonic_counter.session.refusals = 1_u64, code);
            }
            SessionEvent::SignedIn { .. } => {
                info!(monotonic_counter.session.sign_ins = 1_u64);
            }
            SessionEvent::Rotated { .. } => {
                info!(monotonic_counter.session.rotations = 1_u64);
            }
            SessionEvent::ReuseDetected { .. } => {
                info!(monotonic_counter.session.reuse_detected = 1_u64);
            }
            SessionEvent::AnswerLost { .. } => {
                info!(monotonic_counter.session.answers_lost = 1_u64);
            }
            _ => {}
        }
    }

    fn on_store_call(&self, call: &StoreCall) {
        let (operation, seconds) = (call.operation.as_str(), call.elapsed.as_secs_f64());
        info!(histogram.session.store.duration = seconds, operation);
        if call.failed {
            info!(monotonic_counter.session.store.errors = 1_u64, operation);
        }
    }
}

/// The target of the measurements, by which they are told from the log: that of this module.
pub(crate) const TARGET: &str = module_path!();
