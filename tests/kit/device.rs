//! A browser's device, as Chromium has one: it registers its key, and proves that it holds it.

use http::{HeaderMap, Request, Response};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tower::Service;
use tower_cookie_jwt::{
    KeyRing,
    keys::{self, Key},
    testing::Browser,
};

use super::forge;

/// Where the device service is mounted.
pub(crate) const DEVICE: &str = "/api/device";
pub(crate) const OFFER: &str = "secure-session-registration";
pub(crate) const CHALLENGE: &str = "secure-session-challenge";
pub(crate) const PROOF: &str = "secure-session-response";
pub(crate) const IDENTIFIER: &str = "sec-secure-session-id";

/// A key that was registered for a session, and how the server calls that session.
pub(crate) struct Device {
    key: EncodingKey,
    identifier: String,
    /// The challenge that came with the answer to the registration.
    challenge: Option<String>,
}

impl Device {
    /// Registers a key over the offer on the response to a sign-in.
    pub(crate) async fn register<S, T>(browser: &Browser<S>, signed_in: &HeaderMap) -> Self
    where
        S: Service<Request<String>, Response = Response<T>, Error: std::fmt::Debug> + Clone,
    {
        let key = EncodingKey::from_ec_pem(PEM.as_bytes()).expect("a key");
        let own = Key::from_private_pem(keys::Algorithm::ES256, PEM).and_then(KeyRing::new);
        let set: Value = serde_json::from_str(&own.expect("a key").public_jwks()).expect("JSON");
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": set["keys"][0] });
        let offered = parameter(signed_in, OFFER, "challenge").expect("an offer");
        let registration = sign(&key, &header, &offered);
        let answer = browser.post(DEVICE).header(PROOF, registration).send().await.expect("an answer");
        assert_eq!(answer.status(), 200, "a registration");
        let asked = answer.headers();
        let identifier = parameter(asked, CHALLENGE, "id").expect("the session's identifier");
        Self { key, identifier, challenge: value(asked, CHALLENGE) }
    }

    /// Returns how the server calls the session.
    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Renews the access cookie by a proof, over the challenge of the registration or else one that is asked for.
    ///
    /// Returns the answer to the proof, or to the question if that brings no challenge.
    pub(crate) async fn prove<S, T>(&mut self, browser: &Browser<S>) -> Response<T>
    where
        S: Service<Request<String>, Response = Response<T>, Error: std::fmt::Debug> + Clone,
    {
        if let Some(challenge) = self.challenge.take() {
            return self.answer(browser, &challenge).await;
        }
        let asked = browser.post(DEVICE).header(IDENTIFIER, &self.identifier).send().await;
        let asked = asked.expect("an answer");
        match value(asked.headers(), CHALLENGE) {
            Some(challenge) => self.answer(browser, &challenge).await,
            None => asked,
        }
    }

    /// Renews the access cookie by a proof over the challenge in these headers.
    pub(crate) async fn prove_over<S, T>(&self, browser: &Browser<S>, asked: &HeaderMap) -> Response<T>
    where
        S: Service<Request<String>, Response = Response<T>, Error: std::fmt::Debug> + Clone,
    {
        self.answer(browser, &value(asked, CHALLENGE).expect("a challenge")).await
    }

    async fn answer<S, T>(&self, browser: &Browser<S>, challenge: &str) -> Response<T>
    where
        S: Service<Request<String>, Response = Response<T>, Error: std::fmt::Debug> + Clone,
    {
        let proof = sign(&self.key, &json!({ "alg": "ES256", "typ": "dbsc+jwt" }), challenge);
        let request = browser.post(DEVICE).header(IDENTIFIER, &self.identifier).header(PROOF, proof);
        request.send().await.expect("an answer")
    }
}

fn sign(key: &EncodingKey, header: &Value, challenge: &str) -> String {
    forge::sign_with(Algorithm::ES256, key, header.to_string(), json!({ "jti": challenge }).to_string())
}

/// The string that a structured field begins with.
fn value(headers: &HeaderMap, name: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(text.strip_prefix('"')?.split('"').next()?.to_owned())
}

/// The parameter of a structured field that is a string.
fn parameter(headers: &HeaderMap, name: &str, parameter: &str) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    let (_, value) = text.split_once(&format!(";{parameter}=\""))?;
    Some(value.split('"').next()?.to_owned())
}

const PEM: &str = include_str!("../api/keys/p256.pem");
