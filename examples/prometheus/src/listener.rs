//! Counts what happens to sessions.

use metrics::{counter, describe_counter, describe_histogram, histogram};
use tower_cookie_jwt::session::{SessionEvent, SessionEvents, StoreCall};

/// Counts session events and store calls with the recorder of the `metrics` crate.
pub(crate) struct Metrics;

impl Metrics {
    /// Describes the metrics to the recorder.
    pub(crate) fn describe() {
        describe_counter!(REFUSALS, "Refused requests, by code");
        describe_counter!(SIGN_INS, "Sign-ins");
        describe_counter!(ROTATIONS, "Rotations of refresh tokens");
        describe_counter!(
            REUSE,
            "Sessions revoked because a refresh token was reused: each is a possible theft"
        );
        describe_counter!(LOST_ANSWERS, "Responses to refreshes that were lost on the way");
        describe_counter!(STORE_ERRORS, "Failed calls of the session store, by operation");
        describe_histogram!(
            STORE_SECONDS,
            metrics::Unit::Seconds,
            "Duration of calls of the session store, by operation"
        );
    }
}

impl SessionEvents for Metrics {
    fn on_event(&self, event: &SessionEvent<'_>) {
        match event {
            // The codes are a fixed, short list. Never use a subject or a session id as a label.
            SessionEvent::Refused { code, .. } => counter!(REFUSALS, "code" => code.to_string()).increment(1),
            SessionEvent::SignedIn { .. } => counter!(SIGN_INS).increment(1),
            SessionEvent::Rotated { .. } => counter!(ROTATIONS).increment(1),
            SessionEvent::ReuseDetected { .. } => counter!(REUSE).increment(1),
            SessionEvent::AnswerLost { .. } => counter!(LOST_ANSWERS).increment(1),
            _ => {}
        }
    }

    fn on_store_call(&self, call: &StoreCall) {
        let operation = call.operation.as_str();
        histogram!(STORE_SECONDS, "operation" => operation).record(call.elapsed);
        if call.failed {
            counter!(STORE_ERRORS, "operation" => operation).increment(1);
        }
    }
}

pub(crate) const REFUSALS: &str = "session_refusals_total";
pub(crate) const SIGN_INS: &str = "session_sign_ins_total";
pub(crate) const ROTATIONS: &str = "session_rotations_total";
pub(crate) const REUSE: &str = "session_reuse_detected_total";
pub(crate) const LOST_ANSWERS: &str = "session_answers_lost_total";
pub(crate) const STORE_ERRORS: &str = "session_store_errors_total";
pub(crate) const STORE_SECONDS: &str = "session_store_seconds";
