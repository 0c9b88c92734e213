//! An issuer whose metadata says where its keys are.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use serde_json::json;
use tokio::time::{self, Instant};
use tower_cookie_jwt::{
    KeyRing, Verifier,
    keys::{Algorithm, Key},
    layers::jwks::RemoteJwks,
    token::{Issuer, NewToken, TokenErrorKind},
};

const ISSUER: &str = "https://id.example/realms/shop";
const OPENID: &str = "https://id.example/realms/shop/.well-known/openid-configuration";
const OAUTH: &str = "https://id.example/.well-known/oauth-authorization-server/realms/shop";
const KEYS: &str = "https://id.example/realms/shop/keys";

#[derive(Clone)]
struct Page {
    status: u16,
    body: String,
    cache: Option<&'static str>,
}

/// Answers by URL, and notes what has been asked for.
#[derive(Clone, Default)]
struct Web {
    pages: Arc<Mutex<HashMap<String, Page>>>,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Web {
    fn put(&self, url: &str, body: impl ToString) -> &Self {
        self.put_page(url, Page { status: 200, body: body.to_string(), cache: None })
    }

    fn put_page(&self, url: &str, page: Page) -> &Self {
        self.pages.lock().unwrap().insert(url.to_owned(), page);
        self
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(url, _)| url.clone()).collect()
    }

    fn client(
        &self,
    ) -> impl tower::Service<
        Request<Full<Bytes>>,
        Response = Response<Full<Bytes>>,
        Error = Infallible,
        Future: Send,
    > + Send
    + use<> {
        let web = self.clone();
        tower::service_fn(move |request: Request<Full<Bytes>>| {
            let url = request.uri().to_string();
            web.asked.lock().unwrap().push((url.clone(), Instant::now()));
            let page = web.pages.lock().unwrap().get(&url).cloned();
            async move {
                let Page { status, body, cache } =
                    page.unwrap_or(Page { status: 404, body: String::new(), cache: None });
                let mut response = Response::new(Full::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                if let Some(cache) = cache {
                    response.headers_mut().insert("cache-control", cache.parse().unwrap());
                }
                Ok(response)
            }
        })
    }
}

fn key(id: &str) -> Key {
    Key::generate(Algorithm::EdDSA).unwrap().with_id(id)
}

fn set(key: &Key) -> String {
    KeyRing::verify_only([key.clone()]).unwrap().public_jwks()
}

fn metadata(keys: &str) -> String {
    json!({ "issuer": ISSUER, "jwks_uri": keys, "token_endpoint": "https://id.example/token" }).to_string()
}

fn verdict(keys: &KeyRing, key: &Key) -> Result<(), TokenErrorKind> {
    let verifier =
        Verifier::<()>::builder(keys.clone()).with_issuer(ISSUER).with_audience("shop").build().unwrap();
    let issuer = Issuer::new(KeyRing::new(key.clone()).unwrap()).with_issuer(ISSUER).with_audience("shop");
    let token = issuer.issue(&NewToken::access("ada", Duration::from_secs(900)), &()).unwrap();
    verifier.verify(&token).map(drop).map_err(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn metadata_of_either_specification_leads_to_the_keys() {
    for (name, place, asked) in [
        ("OpenID Connect Discovery", OPENID, &[OPENID, KEYS][..]),
        ("RFC 8414", OAUTH, &[OPENID, OAUTH, KEYS]),
    ] {
        let (web, known) = (Web::default(), key("known"));
        web.put(place, metadata(KEYS)).put(KEYS, set(&known));
        let started = RemoteJwks::discover(ISSUER).unwrap().start(web.client()).await;
        let (keys, _follow) = started.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(web.asked(), asked, "{name}");
        assert_eq!(verdict(&keys, &known), Ok(()), "{name}: the keys are there at once");
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_that_starts_is_told_what_is_wrong() {
    let known = key("known");
    let good = set(&known);
    let huge = format!("{}{}", metadata(KEYS), " ".repeat(64 * 1024));
    let enc = r#"{"keys":[{"kty":"RSA","kid":"e","use":"enc","n":"AQAB","e":"AQAB"}]}"#.to_owned();
    let table = [
        ("nothing there", None, None, OAUTH, "404"),
        (
            "another issuer",
            Some(metadata(KEYS).replace("/realms/shop\"", "/realms/desk\"")),
            None,
            OPENID,
            "another issuer",
        ),
        ("no document", Some("<!doctype html>".to_owned()), None, OPENID, "`jwks_uri`"),
        ("too large", Some(huge), None, OPENID, "larger than 64 KiB"),
        ("keys over http", Some(metadata("http://id.example/keys")), None, OPENID, "https"),
        ("keys with a password", Some(metadata("https://a:b@id.example/keys")), None, OPENID, "password"),
        ("no set", Some(metadata(KEYS)), None, KEYS, "404"),
        ("no usable key", Some(metadata(KEYS)), Some(enc), KEYS, "`e`: the key's `use` is not `sig`"),
        ("an empty set", Some(metadata(KEYS)), Some(r#"{"keys":[]}"#.to_owned()), KEYS, "lists no keys"),
        (
            "a huge set",
            Some(metadata(KEYS)),
            Some(format!("{good}{}", " ".repeat(256 * 1024))),
            KEYS,
            "larger than 256 KiB",
        ),
    ];
    for (name, document, keys, url, message) in table {
        let web = Web::default();
        if let Some(document) = document {
            web.put(OPENID, document);
        }
        if let Some(keys) = keys {
            web.put(KEYS, keys);
        }
        let started = RemoteJwks::discover(ISSUER).unwrap().start(web.client()).await;
        let error = started.map(drop).expect_err(name).to_string();
        assert!(error.contains(message) && error.starts_with(url), "{name}: {error}");
    }
    for (issuer, message) in
        [("https://login.example/{tenantid}/v2.0", "one tenant"), ("http://id.example", "https")]
    {
        let error = RemoteJwks::discover(issuer).expect_err(issuer).to_string();
        assert!(error.contains(message), "{issuer}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_says_how_long_its_documents_stay_as_they_are() {
    for (cache, interval) in
        [(None, 300), (Some("max-age=120"), 120), (Some("max-age=1"), 60), (Some("max-age=999999"), 3600)]
    {
        let (web, known) = (Web::default(), key("known"));
        web.put(OPENID, metadata(KEYS));
        web.put_page(KEYS, Page { status: 200, body: set(&known), cache });
        let (_keys, follow) = RemoteJwks::discover(ISSUER).unwrap().follow(web.client());
        let follow = tokio::spawn(follow);
        time::sleep(Duration::from_secs(interval + 1)).await;
        follow.abort();
        let asked = web.asked.lock().unwrap().clone();
        let times: Vec<Instant> = asked.iter().filter(|(url, _)| url == KEYS).map(|(_, at)| *at).collect();
        let gap = times[1] - times[0];
        assert_eq!(gap.as_secs(), interval, "{cache:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_that_moves_is_found_again() {
    const MOVED: &str = "https://cdn.example/keys?v=2";
    let (web, old, new) = (Web::default(), key("old"), key("new"));
    web.put(OPENID, metadata(KEYS)).put(KEYS, set(&old));
    let (keys, follow) = RemoteJwks::discover(ISSUER).unwrap().start(web.client()).await.unwrap();
    let follow = tokio::spawn(follow);
    assert_eq!(verdict(&keys, &old), Ok(()));
    web.pages.lock().unwrap().remove(KEYS);
    web.put(OPENID, metadata(MOVED)).put(MOVED, set(&new));
    time::sleep(Duration::from_secs(400)).await;
    assert_eq!(verdict(&keys, &new), Ok(()), "after a failure the metadata is read anew");
    assert_eq!(verdict(&keys, &old), Err(TokenErrorKind::KeysUnavailable), "not known whether it comes back");
    time::sleep(Duration::from_secs(400)).await;
    assert_eq!(verdict(&keys, &old), Err(TokenErrorKind::UnknownKey), "it does not");
    follow.abort();
}

#[tokio::test(start_paused = true)]
async fn rsa_keys_of_a_remote_set_are_for_the_algorithm_that_the_application_names() {
    let error = RemoteJwks::discover(ISSUER).unwrap().with_rsa_algorithm(Algorithm::EdDSA).unwrap_err();
    assert!(error.to_string().contains("not an algorithm of RSA keys"), "{error}");
    let pem = |algorithm| Key::from_private_pem(algorithm, crate::keys::RSA_2048).unwrap().with_id("rsa");
    let mut jwk: serde_json::Value = serde_json::from_str(&set(&pem(Algorithm::PS256))).unwrap();
    jwk["keys"][0].as_object_mut().unwrap().remove("alg");
    for named in [Algorithm::RS256, Algorithm::PS256] {
        let web = Web::default();
        web.put(OPENID, metadata(KEYS)).put(KEYS, &jwk);
        let remote = RemoteJwks::discover(ISSUER).unwrap().with_rsa_algorithm(named).unwrap();
        let (keys, _follow) = remote.start(web.client()).await.unwrap();
        for algorithm in [Algorithm::RS256, Algorithm::PS256] {
            assert_eq!(
                verdict(&keys, &pem(algorithm)).is_ok(),
                algorithm == named,
                "{algorithm}, {named} named"
            );
        }
    }
}
