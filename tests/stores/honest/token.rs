//! What is in a token, without any check.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;

pub(super) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    let json = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&json).expect("JSON")
}

pub(super) fn expires_at(token: &str) -> SystemTime {
    let seconds = claims(token)["exp"].as_u64().expect("every token expires");
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}
