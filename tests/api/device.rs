//! Device-bound sessions, over the real layers: registration, proofs, and what becomes of requests without one.

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_cookie_jwt::{
    KeyRing,
    keys::{Algorithm as Alg, Key},
    reject::ProblemJson,
    session::{DeviceBinding, SessionsBuilder},
    store::SessionId,
    testing::{Browser, BrowserRequest},
};

use crate::{
    keys::P256,
    kit::forge,
    shop::{
        ACCESS, ACCESS_GONE, Answer, Inner, REFRESH, Shop, Shopper, User, code, cookies, greet, post, text,
    },
};

mod endpoint;
mod faults;
mod flow;
mod policy;
mod require;
mod table;
mod thieves;

type Answers = BoxCloneService<Request<String>, Response<Full<Bytes>>, std::convert::Infallible>;

/// A browser with a device key, over the service of a shop.
#[derive(Clone)]
struct Chromium(Browser<Answers>);

impl Chromium {
    fn over(shop: &Shop, service: Inner) -> Self {
        let service = BoxCloneService::new(service.map_response(|response: Answer| response.map(Full::new)));
        Self(Browser::new(service).with_clock(shop.clock.clone()).with_device_key())
    }

    fn of(shop: &Shop) -> Self {
        let protected = shop.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet));
        Self::over(shop, shop.service_over(protected))
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(self.0.get(path)).await
    }

    async fn post(&self, path: &str) -> Answer {
        self.send(self.0.post(path).with_xsrf()).await
    }

    async fn send(&self, request: BrowserRequest<Answers>) -> Answer {
        let Ok(response) = request.send().await;
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await;
        Response::from_parts(parts, body.to_bytes())
    }

    /// Returns another browser, without a key, that has copied the cookies.
    fn copied(&self, shop: &Shop) -> Shopper {
        let thief = shop.browser();
        for name in [ACCESS, REFRESH] {
            if let Some(value) = self.0.cookie(name) {
                assert!(
                    thief.set_cookie(&format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict"))
                );
            }
        }
        thief
    }
}

fn binding() -> DeviceBinding {
    DeviceBinding::at("/device")
}

fn bound_shop() -> Shop {
    Shop::with(|builder| builder.with_device_binding(binding()))
}

fn shop_with(configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>) -> Shop {
    Shop::with(|builder| configure(builder.with_device_binding(binding())))
}

/// A key whose proofs a test makes by hand.
struct Laptop {
    key: EncodingKey,
    jwk: Value,
}

impl Laptop {
    fn one() -> Self {
        Self::of(P256)
    }

    fn other() -> Self {
        Self::of(include_str!("keys/p256_other.pem"))
    }

    fn of(pem: &str) -> Self {
        let key = Key::from_private_pem(Alg::ES256, pem).unwrap();
        let set: Value = serde_json::from_str(&KeyRing::new(key).unwrap().public_jwks()).unwrap();
        let jwk = &set["keys"][0];
        let jwk = json!({ "kty": jwk["kty"], "crv": jwk["crv"], "x": jwk["x"], "y": jwk["y"] });
        Self { key: EncodingKey::from_ec_pem(pem.as_bytes()).unwrap(), jwk }
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "typ": "dbsc+jwt", "jwk": self.jwk })
    }

    fn registration(&self, challenge: &str) -> String {
        self.sign(&self.header().to_string(), &json!({ "jti": challenge }).to_string())
    }

    fn proof(&self, challenge: &str) -> String {
        self.sign(r#"{"alg":"ES256","typ":"dbsc+jwt"}"#, &json!({ "jti": challenge }).to_string())
    }

    fn sign(&self, header: &str, payload: &str) -> String {
        forge::sign_with(Algorithm::ES256, &self.key, header, payload)
    }
}

/// Sends a request to the device service, with these values of its headers.
async fn ask(browser: &Shopper, id: Option<&str>, proof: Option<&str>) -> Answer {
    let mut request = browser.post("/device");
    if let Some(id) = id {
        request = request.header("sec-secure-session-id", id);
    }
    if let Some(proof) = proof {
        request = request.header("secure-session-response", proof);
    }
    let Ok(response) = request.send().await;
    response
}

/// Returns the challenge of the registration that a response offers.
fn offered(headers: &HeaderMap) -> String {
    let offer = headers["secure-session-registration"].to_str().unwrap();
    assert!(offer.starts_with("(ES256);path=\"/device\";challenge=\""), "{offer}");
    offer.split('"').nth(3).unwrap().to_owned()
}

/// Returns the challenge and the session identifier of a response.
fn asked(response: &Answer) -> (String, String) {
    let header = response.headers()["secure-session-challenge"].to_str().unwrap();
    let mut strings = header.split('"');
    let challenge = strings.nth(1).unwrap().to_owned();
    assert_eq!(strings.next(), Some(";id="), "{header}");
    (challenge, strings.next().unwrap().to_owned())
}

/// Signs in and registers the laptop. Returns the session, the identifier and the first challenge.
async fn registered(browser: &Shopper, laptop: &Laptop) -> (SessionId, String, String) {
    let response = post(browser, "/login").await;
    let session = SessionId::from(text(&response).as_str());
    let offer = offered(response.headers());
    let response = ask(browser, None, Some(&laptop.registration(&offer))).await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec!["-access".to_owned()]));
    let (challenge, id) = asked(&response);
    (session, id, challenge)
}

/// Proves that the client has the laptop's key, over a fresh challenge.
async fn prove(browser: &Shopper, laptop: &Laptop, id: &str) -> Answer {
    let response = ask(browser, Some(id), None).await;
    assert_eq!(response.status(), 403, "it asks for a proof");
    let (challenge, named) = asked(&response);
    assert_eq!(named, id);
    ask(browser, Some(id), Some(&laptop.proof(&challenge))).await
}

/// Returns status, code and cookies of an answer, and the events that it has raised.
fn said(shop: &Shop, response: &Answer) -> String {
    let has_code =
        response.headers().get("content-type").is_some_and(|value| value == "application/problem+json");
    let code = if has_code { code(response) } else { String::new() };
    let has_challenge = response.headers().contains_key("secure-session-challenge");
    let words = [
        response.status().as_u16().to_string(),
        code,
        if has_challenge { "challenge".to_owned() } else { String::new() },
        cookies(response).join(" "),
    ];
    let words = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let events = shop.events().join(", ");
    if events.is_empty() { words } else { format!("{words}: {events}") }
}
