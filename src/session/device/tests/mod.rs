use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::{
    public_key::PublicKey,
    tickets::{Rules, Tickets},
};
use crate::{
    clock::{Clock, SharedClock},
    keys::{Algorithm, Key, KeyRing},
    store::SessionId,
    token::DEFAULT_LEEWAY,
};

mod captured;
mod flow;
mod forged;
mod headers;
mod instructions;
mod key;
mod proof;
mod tickets;

/// A whole second.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A browser with a key.
struct Device {
    key: Key,
    jwk: Value,
}

impl Device {
    fn es256() -> Self {
        Self::with(Key::generate(Algorithm::ES256).expect("a key"))
    }

    fn rs256() -> Self {
        let pem = include_str!("../../../../tests/api/keys/rsa2048.pem");
        Self::with(Key::from_private_pem(Algorithm::RS256, pem).expect("a key"))
    }

    fn with(key: Key) -> Self {
        let set = KeyRing::new(key.clone()).expect("a ring").public_jwks();
        let set: Value = serde_json::from_str(&set).expect("JSON");
        let mut jwk = set["keys"][0].clone();
        for name in ["alg", "use"] {
            jwk.as_object_mut().expect("an object").remove(name);
        }
        Self { key, jwk }
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_jwk(&members(&self.jwk)).expect("it is usable")
    }

    /// Signs a JWS of these texts, whatever they are.
    fn sign(&self, header: &str, payload: &str) -> String {
        let message = format!("{}.{}", text(header), text(payload));
        let signature = self.key.sign(message.as_bytes()).expect("it signs");
        format!("{message}.{}", text(signature))
    }

    fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm().as_str(), "typ": "dbsc+jwt" })
    }

    fn registration(&self, challenge: &str) -> String {
        let mut header = self.header();
        header["jwk"] = self.jwk.clone();
        self.sign(&header.to_string(), &json!({ "jti": challenge }).to_string())
    }

    fn proof(&self, challenge: &str) -> String {
        self.sign(&self.header().to_string(), &json!({ "jti": challenge }).to_string())
    }
}

fn members(jwk: &Value) -> Map<String, Value> {
    jwk.as_object().expect("an object").clone()
}

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone)]
struct Hands(Arc<Mutex<SystemTime>>);

impl Hands {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(now())))
    }

    fn set(&self, time: SystemTime) {
        *self.0.lock().expect("no thread has panicked") = time;
    }
}

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        *self.0.lock().expect("no thread has panicked")
    }
}

fn tickets_with(keys: &KeyRing, clock: &Hands, leeway: Duration, audience: Option<&str>) -> Tickets {
    let clock = SharedClock::new(clock.clone());
    Tickets::new(keys, Rules { issuer: Some("https://shop.example"), audience, leeway, clock })
        .expect("tickets")
}

fn tickets(keys: &KeyRing, clock: &Hands) -> Tickets {
    tickets_with(keys, clock, DEFAULT_LEEWAY, Some("shop"))
}

fn ring() -> KeyRing {
    KeyRing::new(Key::generate(Algorithm::HS256).expect("a key").with_id("1")).expect("a ring")
}

fn id() -> SessionId {
    "session".into()
}
