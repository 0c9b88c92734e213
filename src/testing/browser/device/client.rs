use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode,
    header::{COOKIE, HOST, ORIGIN, SET_COOKIE},
};
use serde_json::{Value, json};

use super::{Asked, Asker, Device, Instructions, Offer, Session, fields::members};
use crate::{
    clock::SharedClock,
    keys::{Algorithm, Key, KeyRing},
    testing::jar::{Context, Exchange, Jar, Origin},
};

/// Registers keys and renews bound cookies.
///
/// It holds a clone of the service, so that futures of it can move between threads wherever the service can.
pub(in crate::testing::browser) struct Client {
    device: Arc<Device>,
    jar: Arc<Mutex<Jar>>,
    clock: SharedClock,
    quota: Option<usize>,
    ask: Asker,
}

/// When a bound cookie is due.
#[derive(Clone, Copy, PartialEq)]
enum Due {
    /// It is missing: the request waits.
    Now,
    /// It expires soon: the request need not wait.
    Soon,
}

impl Client {
    pub(in crate::testing::browser) fn new(
        device: Arc<Device>,
        jar: Arc<Mutex<Jar>>,
        clock: SharedClock,
        quota: Option<usize>,
        ask: Asker,
    ) -> Self {
        Self { device, jar, clock, quota, ask }
    }

    /// Renews the bound cookies that the request needs. Returns why it goes without some of them, as the values of
    /// `Secure-Session-Skipped`. The request comes from a page of `initiator`, if that is another origin.
    pub(in crate::testing::browser) async fn hold(
        &mut self,
        exchange: &Exchange,
        initiator: Option<&Origin>,
    ) -> Vec<HeaderValue> {
        self.renew(exchange, initiator, Due::Now).await
    }

    /// Does what a response has given cause for: registers keys, and renews the cookies that expire soon.
    pub(in crate::testing::browser) async fn follow(
        &mut self,
        exchange: &Exchange,
        initiator: Option<&Origin>,
    ) {
        self.register().await;
        self.renew(exchange, initiator, Due::Soon).await;
    }

    async fn renew(&mut self, exchange: &Exchange, initiator: Option<&Origin>, due: Due) -> Vec<HeaderValue> {
        let (mut tried, mut skipped) = (Vec::new(), Vec::new());
        if self.next(exchange, initiator, due, &tried).is_none() {
            return skipped;
        }
        let device = Arc::clone(&self.device);
        let _turn = device.turn.lock().await;
        while let Some(id) = self.next(exchange, initiator, due, &tried) {
            let with_cookies = matches!(exchange.context, Context::SameSite);
            if let Err(reason) = self.refresh(&id, &exchange.origin, with_cookies).await {
                skipped.push(header_value(&format!("{reason};session_identifier=\"{id}\"")));
            }
            tried.push(id);
        }
        skipped
    }

    /// Returns the next session whose cookie is due.
    fn next(
        &self,
        exchange: &Exchange,
        initiator: Option<&Origin>,
        due: Due,
        tried: &[String],
    ) -> Option<String> {
        let now = self.clock.now();
        let jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = |line: &String| match jar.bound(line, &exchange.origin, now) {
            None => due == Due::Now,
            Some(expires) => {
                let left = expires.map(|expires| expires.duration_since(now).unwrap_or_default());
                due == Due::Soon && left.is_some_and(|left| left <= SOON)
            }
        };
        let state = self.device.lock();
        let session = state.sessions.iter().find(|session| {
            let instructions = &session.instructions;
            session.origin == exchange.origin
                && !tried.contains(&instructions.id)
                && instructions.includes(exchange)
                && initiator.is_none_or(|page| instructions.allows(page.host()))
                && instructions.cookies.iter().any(is_due)
        });
        session.map(|session| session.instructions.id.clone())
    }

    /// Renews the cookie of a session, or gives the session up. Returns why the request has to go without.
    async fn refresh(&mut self, id: &str, origin: &Origin, with_cookies: bool) -> Result<(), &'static str> {
        let mut proof = self.with_session(id, |session| session.proof.take()).flatten();
        if proof.is_none() && !self.may_sign() {
            return Err("quota_exceeded");
        }
        let mut refused = 0;
        loop {
            if proof.is_none() {
                let challenge = self.with_session(id, |session| session.challenge.take()).flatten();
                proof = challenge.and_then(|challenge| self.prove(id, &challenge));
            }
            let Some(path) = self.with_session(id, |session| session.instructions.refresh.clone()) else {
                return Ok(());
            };
            let mut headers = vec![(SESSION_ID, id.to_owned())];
            headers.extend(proof.clone().map(|proof| (RESPONSE, proof)));
            let Some(answer) = self.post(origin, &path, with_cookies, &headers).await else {
                // The server may have seen it; the same proof is sent again.
                self.with_session(id, |session| session.proof = proof);
                return Err("unreachable");
            };
            match answer.status() {
                StatusCode::FORBIDDEN => {
                    refused += usize::from(proof.take().is_some());
                    let asked = members(answer.headers(), "secure-session-challenge")
                        .any(|member| member.parameter("id").is_none_or(|of| of == id));
                    if !asked || refused == MAX_REFUSED {
                        self.give_up(id);
                        return Ok(());
                    }
                    let plain = members(answer.headers(), "secure-session-challenge").next();
                    self.with_session(id, |session| {
                        if session.challenge.is_none() {
                            session.challenge = plain.map(|member| member.item);
                        }
                    });
                }
                status if status.is_client_error() => {
                    self.give_up(id);
                    return Ok(());
                }
                status if status.is_success() => {
                    return self.renewed(id, origin, proof, answer.body().as_deref());
                }
                _ => return Err("server_error"),
            }
        }
    }

    /// Keeps to the instructions of the answer to a proof.
    fn renewed(
        &self,
        id: &str,
        origin: &Origin,
        proof: Option<String>,
        body: Option<&[u8]>,
    ) -> Result<(), &'static str> {
        match body {
            // Without new instructions, or with a part of them, the next refresh begins with the same proof.
            None => {
                self.with_session(id, |session| session.proof = proof);
                return Err("unreachable");
            }
            Some([]) => {
                self.with_session(id, |session| session.proof = proof);
            }
            Some(body) => match Instructions::parse(body, origin) {
                Some(instructions) if instructions.goes_on => {
                    self.with_session(id, |session| session.instructions = instructions);
                }
                Some(_) => self.give_up(id),
                None => {
                    self.with_session(id, |session| session.proof = proof);
                }
            },
        }
        Ok(())
    }

    /// Registers a key for each offer that has been seen.
    pub(in crate::testing::browser) async fn register(&mut self) {
        for offer in self.device.take_offers() {
            if self.may_sign() {
                self.register_for(offer).await;
            }
        }
    }

    async fn register_for(&mut self, offer: Offer) {
        let Offer { origin, path, challenge, authorization, with_cookies } = offer;
        let key = Key::generate(Algorithm::ES256).expect("the crypto provider makes keys");
        let header = json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": public_jwk(&key) });
        let mut payload = json!({ "jti": challenge });
        if let Some(authorization) = authorization {
            payload["authorization"] = authorization.into();
        }
        let jwt = self.sign(&key, &header, &payload);
        let Some(answer) = self.post(&origin, &path, with_cookies, &[(RESPONSE, jwt)]).await else { return };
        let instructions = answer.body().as_deref().filter(|_| answer.status().is_success());
        let Some(instructions) = instructions.and_then(|body| Instructions::parse(body, &origin)) else {
            return;
        };
        let id = instructions.id.clone();
        let mut state = self.device.lock();
        state.sessions.retain(|session| session.origin != origin || session.instructions.id != id);
        let (key, origin) = (Arc::new(key), origin.clone());
        state.sessions.push(Session { origin, instructions, key, challenge: None, proof: None });
        drop(state);
        self.see_challenges(answer.headers(), &id);
    }

    /// Sends a request of the browser itself, up to three times if no answer comes, and stores the cookies of the answer.
    async fn post(
        &mut self,
        origin: &Origin,
        path: &str,
        with_cookies: bool,
        headers: &[(HeaderName, String)],
    ) -> Option<Asked> {
        let exchange = Exchange { path: path.to_owned(), ..Exchange::home(origin.clone()) };
        for _ in 0..MAX_TRIES {
            let mut request = Request::new(());
            *request.method_mut() = Method::POST;
            *request.uri_mut() = path.parse().ok()?;
            let sent = request.headers_mut();
            sent.insert(HOST, header_value(origin.authority()));
            sent.insert(ORIGIN, header_value(&origin.text()));
            sent.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
            sent.insert("sec-fetch-dest", HeaderValue::from_static("empty"));
            let cookies =
                self.jar.lock().unwrap_or_else(PoisonError::into_inner).sent(&exchange, self.clock.now());
            if with_cookies && !cookies.is_empty() {
                sent.insert(COOKIE, header_value(&cookies.join("; ")));
            }
            for (name, value) in headers {
                sent.insert(name, header_value(value));
            }
            if let Some(answer) = (self.ask)(request).await {
                let mut jar = self.jar.lock().unwrap_or_else(PoisonError::into_inner);
                for line in answer.headers().get_all(SET_COOKIE) {
                    if let Ok(line) = std::str::from_utf8(line.as_bytes()) {
                        jar.store(line, &exchange, self.clock.now());
                    }
                }
                drop(jar);
                self.device.see(answer.headers(), &exchange);
                return Some(answer);
            }
        }
        None
    }

    fn see_challenges(&self, headers: &HeaderMap, id: &str) {
        let challenge = members(headers, "secure-session-challenge")
            .find(|member| member.parameter("id") == Some(id))
            .map(|member| member.item);
        self.with_session(id, |session| session.challenge = challenge);
    }

    fn prove(&self, id: &str, challenge: &str) -> Option<String> {
        let key = self.with_session(id, |session| Arc::clone(&session.key))?;
        Some(self.sign(&key, &json!({ "alg": "ES256", "typ": "dbsc+jwt" }), &json!({ "jti": challenge })))
    }

    fn sign(&self, key: &Key, header: &Value, payload: &Value) -> String {
        self.device.lock().signed_at.push(self.clock.now());
        let text = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", text(header), text(payload));
        let signature = key.sign(message.as_bytes()).expect("a private key signs");
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn may_sign(&self) -> bool {
        let now = self.clock.now();
        let is_recent = |at: &&SystemTime| now.duration_since(**at).is_ok_and(|age| age < QUOTA_PERIOD);
        let signed = self.device.lock().signed_at.iter().filter(is_recent).count();
        self.quota.is_none_or(|quota| signed < quota)
    }

    fn give_up(&self, id: &str) {
        self.device.lock().sessions.retain(|session| session.instructions.id != id);
    }

    fn with_session<T>(&self, id: &str, act: impl FnOnce(&mut Session) -> T) -> Option<T> {
        let mut state = self.device.lock();
        state.sessions.iter_mut().find(|session| session.instructions.id == id).map(act)
    }
}

fn public_jwk(key: &Key) -> Value {
    let set = KeyRing::new(key.clone()).expect("one key makes a ring").public_jwks();
    let mut set: Value = serde_json::from_str(&set).expect("key sets are JSON");
    let jwk = &mut set["keys"][0];
    json!({ "kty": jwk["kty"].take(), "crv": jwk["crv"].take(), "x": jwk["x"].take(), "y": jwk["y"].take() })
}

#[track_caller]
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

const SESSION_ID: HeaderName = HeaderName::from_static("sec-secure-session-id");
const RESPONSE: HeaderName = HeaderName::from_static("secure-session-response");
/// How often Chromium sends a request to which no answer comes.
const MAX_TRIES: usize = 3;
/// How many refused proofs in a row Chromium takes for the end of the session.
const MAX_REFUSED: usize = 4;
/// With so little left, Chromium renews the cookie beside the request.
const SOON: Duration = Duration::from_secs(120);
/// The period of Chromium's signing quota.
const QUOTA_PERIOD: Duration = Duration::from_secs(9 * 60);
