//! The key set of an authorization server elsewhere, which fails in every way.
//!
//! Client and server speak HTTP/1.1 over connections in memory, so that time can be paused: the tests wait for
//! intervals, gaps and timeouts without taking that long. One test goes over loopback.

use std::{
    convert::Infallible,
    io::ErrorKind,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    task::{JoinHandle, JoinSet},
    time::{self, Instant},
};
use tower::{BoxError, Layer, ServiceExt};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, Verifier,
    keys::{Algorithm, Key},
    layers::jwks::RemoteJwks,
    testing::TestClock,
    token::{Issuer, NewToken},
};

use crate::loopback::Loopback;

/// Limit for anything that a test waits for; only reached when something is wrong.
const DEADLINE: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(40);
/// Longer than any test, paused time included.
const NEVER: Duration = Duration::from_secs(60 * 60);
const AUTHORITY: &str = "127.0.0.1:4000";

type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// The response of the authorization server to a fetch.
#[derive(Clone, Debug)]
enum Mood {
    Answers(StatusCode, String),
    Redirects,
    Hangs,
    HangsHalfway,
    BreaksOff,
    TenMegabytes,
    NeverEnds,
}

/// An authorization server. Dropping it closes its connections.
struct Server {
    state: Arc<State>,
}

struct State {
    mood: Mutex<Mood>,
    arrivals: Mutex<Vec<Instant>>,
    headers: Mutex<HeaderMap>,
    /// `None` once the server has died: connections are then refused.
    connections: Mutex<Option<JoinSet<()>>>,
}

impl Server {
    fn start(mood: Mood) -> Self {
        let state = Arc::new(State {
            mood: Mutex::new(mood),
            arrivals: Mutex::default(),
            headers: Mutex::default(),
            connections: Mutex::new(Some(JoinSet::new())),
        });
        Self { state }
    }

    fn url(&self) -> String {
        format!("http://{AUTHORITY}/.well-known/jwks.json")
    }

    fn be(&self, mood: Mood) {
        *self.state.mood.lock().unwrap() = mood;
    }

    fn publish(&self, keys: &[&Key]) {
        self.be(publishes(keys));
    }

    fn fetches(&self) -> usize {
        self.arrivals().len()
    }

    fn arrivals(&self) -> Vec<Instant> {
        self.state.arrivals.lock().unwrap().clone()
    }

    /// Waits for two more fetches: the client has then dealt with the first answer of the present mood.
    async fn asked_again(&self, name: &str) {
        let before = self.fetches();
        until(name, || self.fetches() >= before + 2).await;
    }

    /// Closes all connections and refuses new ones.
    fn die(&self) {
        self.state.connections.lock().unwrap().take();
    }

    /// Accepts connections again, and publishes these keys.
    fn come_back(&self, keys: &[&Key]) {
        self.publish(keys);
        *self.state.connections.lock().unwrap() = Some(JoinSet::new());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.die();
    }
}

impl State {
    fn connect(self: &Arc<Self>) -> Result<DuplexStream, ErrorKind> {
        let mut connections = self.connections.lock().unwrap();
        let connections = connections.as_mut().ok_or(ErrorKind::ConnectionRefused)?;
        let (client, server) = tokio::io::duplex(64 * 1024);
        let state = self.clone();
        connections.spawn(async move {
            let answer = service_fn(move |request| answer(state.clone(), request).map(Ok::<_, Infallible>));
            // An error means that the client has gone, or that the mood is to break off.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(server), answer)
                .await;
        });
        Ok(client)
    }
}

/// Sends the request on a new connection.
async fn send(
    server: Arc<State>,
    mut request: Request<Empty<Bytes>>,
) -> Result<Response<Incoming>, BoxError> {
    let stream = server.connect().map_err(std::io::Error::from)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    *request.uri_mut() = Uri::from_static("/.well-known/jwks.json");
    Ok(sender.send_request(request).await?)
}

async fn answer(state: Arc<State>, request: Request<Incoming>) -> Response<Body> {
    state.arrivals.lock().unwrap().push(Instant::now());
    *state.headers.lock().unwrap() = request.headers().clone();
    let mood = state.mood.lock().unwrap().clone();
    let chunk = |len: usize| Ok(Frame::data(Bytes::from(vec![b' '; len])));
    let mut response = Response::new(match mood {
        Mood::Answers(..) | Mood::Redirects => Full::default().map_err(|never| match never {}).boxed_unsync(),
        Mood::Hangs => std::future::pending().await,
        Mood::HangsHalfway => {
            StreamBody::new(stream::iter([chunk(1)]).chain(stream::pending())).boxed_unsync()
        }
        Mood::BreaksOff => {
            StreamBody::new(stream::iter([chunk(1), Err(std::io::ErrorKind::Other.into())])).boxed_unsync()
        }
        Mood::TenMegabytes => {
            Full::from(vec![b' '; 10 * 1024 * 1024]).map_err(|never| match never {}).boxed_unsync()
        }
        Mood::NeverEnds => StreamBody::new(stream::repeat_with(move || chunk(64 * 1024))).boxed_unsync(),
    });
    match mood {
        Mood::Answers(status, text) => {
            *response.status_mut() = status;
            *response.body_mut() = Full::from(text).map_err(|never| match never {}).boxed_unsync();
        }
        Mood::Redirects => {
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert("location", "https://evil.example/jwks.json".parse().unwrap());
        }
        _ => {}
    }
    response
}

fn publishes(keys: &[&Key]) -> Mood {
    let ring = KeyRing::verify_only(keys.iter().copied().cloned()).expect("a set");
    Mood::Answers(StatusCode::OK, ring.public_jwks())
}

fn text(text: impl Into<String>) -> Mood {
    Mood::Answers(StatusCode::OK, text.into())
}

async fn until(name: &str, mut reached: impl FnMut() -> bool) {
    let start = Instant::now();
    while !reached() {
        assert!(start.elapsed() < DEADLINE, "waited in vain: {name}");
        time::sleep(Duration::from_millis(5)).await;
    }
}

fn key(id: &str) -> Key {
    Key::generate(Algorithm::EdDSA).expect("a key").with_id(id)
}

fn signed_by(key: &Key) -> String {
    let ring = KeyRing::new(key.clone()).expect("the key signs");
    Issuer::new(ring).issue(&NewToken::access("ada", Duration::from_secs(900)), &()).expect("it signs")
}

/// A website that follows the set of an authorization server.
struct Website {
    keys: KeyRing,
    follow: JoinHandle<()>,
    /// The number of requests sent, answered or not.
    attempts: Arc<AtomicUsize>,
}

impl Website {
    fn follow(server: &Server, remote: RemoteJwks) -> Self {
        let attempts = Arc::<AtomicUsize>::default();
        let (count, server) = (attempts.clone(), server.state.clone());
        let (keys, follow) = remote.follow(tower::service_fn(move |request| {
            count.fetch_add(1, Ordering::SeqCst);
            send(server.clone(), request)
        }));
        Self { keys, follow: tokio::spawn(follow), attempts }
    }

    fn layer(&self) -> CookieJwtLayer<()> {
        CookieJwtLayer::new(Verifier::new(self.keys.clone()))
    }

    async fn status(&self, key: &Key) -> StatusCode {
        ask(&self.layer(), &[("authorization", format!("Bearer {}", signed_by(key)))]).await.status()
    }

    async fn becomes(&self, status: u16, key: &Key, name: &str) {
        let start = Instant::now();
        loop {
            let now = self.status(key).await;
            if now == status {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{name}: still {now}, not {status}");
            time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for three more attempts: at least two have then come to their end.
    async fn tried_again(&self, name: &str) {
        let before = self.attempts.load(Ordering::SeqCst);
        until(name, || self.attempts.load(Ordering::SeqCst) >= before + 3).await;
    }
}

impl Drop for Website {
    fn drop(&mut self) {
        self.follow.abort();
    }
}

async fn ask(layer: &CookieJwtLayer<()>, headers: &[(&str, String)]) -> Response<&'static str> {
    let mut request = Request::get("https://shop.example/me");
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let page = layer
        .layer(tower::service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("a page")) }));
    let Ok(response) = page.oneshot(request.body(()).expect("a request")).await;
    response
}

/// Fetches often, and keeps a set for as long as the test takes.
fn eager(server: &Server) -> RemoteJwks {
    RemoteJwks::new(&server.url())
        .expect("loopback")
        .with_interval(SHORT)
        .with_min_gap(SHORT)
        .with_timeout(NEVER)
        .with_max_age(NEVER)
}

#[tokio::test(start_paused = true)]
async fn the_set_is_fetched_at_once_and_followed_from_then_on() {
    let (old, new, foreign) = (key("old"), key("new"), key("old"));
    let server = Server::start(publishes(&[&old]));
    let website = Website::follow(&server, eager(&server));
    website.becomes(200, &old, "the first set").await;
    assert_eq!(website.status(&foreign).await, 401, "another key of that id");
    website.becomes(401, &new, "not published yet").await;

    server.publish(&[&old, &new]);
    website.becomes(200, &new, "a key is added").await;
    assert_eq!(website.status(&old).await, 200, "both");

    server.publish(&[&new]);
    website.becomes(401, &old, "a key is removed").await;
    assert_eq!(website.status(&new).await, 200, "the other stays");

    let headers = server.state.headers.lock().unwrap().clone();
    assert_eq!(headers["host"], AUTHORITY);
    assert!(headers["accept"].to_str().unwrap().contains("application/jwk-set+json"));
}

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).build_http()
}

#[tokio::test]
async fn the_set_is_followed_over_loopback_with_an_http_client() {
    let (old, new) = (key("old"), key("new"));
    let state = Server::start(publishes(&[&old]));
    let shared = state.state.clone();
    let server = Loopback::serve(tower::service_fn(move |request| {
        answer(shared.clone(), request).map(Ok::<_, Infallible>)
    }))
    .await;
    let remote =
        RemoteJwks::new(&server.url("/.well-known/jwks.json")).expect("loopback").with_interval(SHORT);
    let (keys, follow) = remote.follow(client());
    let website = Website { keys, follow: tokio::spawn(follow), attempts: Arc::default() };
    website.becomes(200, &old, "the first set").await;
    state.publish(&[&old, &new]);
    website.becomes(200, &new, "a key is added").await;
    let headers = state.state.headers.lock().unwrap().clone();
    assert_eq!(headers["host"], *server.origin().strip_prefix("http://").expect("a plain origin"));
}

#[test]
fn a_url_with_user_information_is_refused_and_not_repeated() {
    let error =
        RemoteJwks::new("https://ada:secret@id.shop.example/jwks.json").expect_err("no secrets in URLs");
    assert!(
        !error.to_string().contains("secret") && error.to_string().contains("user name or password"),
        "{error}"
    );
}

#[test]
fn a_ring_that_follows_a_set_rejects_other_keys() {
    let (ring, _follow) = RemoteJwks::new("http://127.0.0.1/jwks.json").expect("loopback").follow(client());
    let error = ring.with_accepted(key("other")).expect_err("it would never get the set's keys");
    assert!(error.to_string().contains("remote key set"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_triggers_an_early_fetch() {
    let (old, new) = (key("old"), key("new"));
    let server = Server::start(publishes(&[&old]));
    let website = Website::follow(&server, eager(&server).with_interval(NEVER));
    website.becomes(200, &old, "the first set").await;
    server.publish(&[&old, &new]);
    time::sleep(3 * SHORT).await;
    assert_eq!(server.fetches(), 1, "no request has needed another fetch");

    assert_eq!(website.status(&new).await, 503, "unknown yet: it may have been published since");
    until("the fetch for the unknown key", || server.fetches() > 1).await;
    website.becomes(200, &new, "the key is there").await;
    assert_eq!(website.status(&old).await, 200, "the other stays");
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_trigger_at_most_one_fetch_per_gap() {
    const GAP: Duration = Duration::from_millis(200);
    let known = key("known");
    let server = Server::start(publishes(&[&known]));
    let website = Website::follow(&server, eager(&server).with_interval(NEVER).with_min_gap(GAP));
    website.becomes(200, &known, "the first set").await;

    // A flood of made-up tokens.
    let start = Instant::now();
    let mut flood = 0;
    while server.fetches() < 4 {
        assert!(start.elapsed() < DEADLINE, "unknown keys fetch again and again");
        for _ in 0..10 {
            let status = website.status(&key(&format!("made up {flood}"))).await;
            assert_eq!(status, if flood < 256 { 503 } else { 401 }, "{flood}: at most 256 are worth a fetch");
            flood += 1;
        }
        time::sleep(GAP / 20).await;
    }
    let arrivals = server.arrivals();
    for pair in arrivals.windows(2) {
        assert!(pair[1] - pair[0] >= GAP, "{:?} after {flood} tokens", pair[1] - pair[0]);
    }
    // The key may have new material, which is worth a fetch, but the token is refused.
    time::sleep(2 * GAP).await;
    let before = server.fetches();
    let other = key("known");
    for _ in 0..10 {
        assert_eq!(website.status(&other).await, 401, "a bad signature of a known key");
    }
    time::sleep(3 * GAP).await;
    let fetches = server.fetches() - before;
    assert!(
        (1..=2).contains(&fetches),
        "one fetch for all, and one for those that came meanwhile: {fetches}"
    );
    let before = server.fetches();
    // A token that would not be accepted with any key asks for nothing.
    let issuer = Issuer::new(KeyRing::new(key("unknown")).unwrap());
    let expired = NewToken::access("ada", Duration::from_secs(900));
    let expired = issuer.clone().with_clock(TestClock::new()).issue(&expired, &()).unwrap();
    for (name, token) in [("expired", expired), ("garbage", "a.b.c".to_owned())] {
        let answer = ask(&website.layer(), &[("authorization", format!("Bearer {token}"))]).await;
        assert_eq!(answer.status(), 401, "{name}");
    }
    time::sleep(3 * GAP).await;
    assert_eq!(server.fetches(), before);
}

#[tokio::test(start_paused = true)]
async fn the_last_good_set_stays_in_use_after_the_server_dies() {
    let (old, new) = (key("old"), key("new"));
    let server = Server::start(publishes(&[&old]));
    let website = Website::follow(&server, eager(&server));
    website.becomes(200, &old, "the first set").await;

    server.die();
    website.tried_again("connections are refused").await;
    assert_eq!(website.status(&old).await, 200, "the last good set stays");
    website.becomes(401, &new, "a fetch that failed is one, too").await;

    server.come_back(&[&new]);
    website.becomes(200, &new, "the server is back").await;
    website.becomes(401, &old, "and has removed the former key").await;
}

/// In real time: the age of a set is measured by the clock of the standard library.
#[tokio::test]
async fn a_set_is_used_until_its_maximum_age_and_then_requests_are_answered_503() {
    const MAX_AGE: Duration = Duration::from_millis(400);
    let known = key("known");
    let server = Server::start(publishes(&[&known]));
    let website = Website::follow(&server, eager(&server).with_max_age(MAX_AGE));
    website.becomes(200, &known, "the first set").await;
    // As long as it is fetched it never gets old.
    let start = Instant::now();
    let fetches = server.fetches();
    until("fetches go on", || start.elapsed() > 2 * MAX_AGE && server.fetches() > fetches).await;
    website.becomes(200, &known, "a fresh set").await;

    let last = server.arrivals().pop().expect("fetches");
    server.die();
    website.becomes(503, &known, "too old").await;
    assert!(last.elapsed() >= MAX_AGE, "not before its time: {:?}", last.elapsed());
    for layer in [website.layer(), website.layer().optional()] {
        let answer = ask(&layer, &[("authorization", format!("Bearer {}", signed_by(&known)))]).await;
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    server.come_back(&[&known]);
    website.becomes(200, &known, "the server is back").await;
}

#[tokio::test(start_paused = true)]
async fn a_fetch_from_a_hung_server_times_out_and_is_retried() {
    let (old, new) = (key("old"), key("new"));
    let server = Server::start(publishes(&[&old]));
    let website = Website::follow(&server, eager(&server).with_timeout(Duration::from_millis(500)));
    website.becomes(200, &old, "the first set").await;
    for mood in [Mood::Hangs, Mood::HangsHalfway] {
        let name = format!("{mood:?}");
        server.be(mood);
        server.asked_again(&name).await;
        assert_eq!(website.status(&old).await, 200, "{name}");
    }
    server.publish(&[&old, &new]);
    website.becomes(200, &new, "the server answers again").await;
}

/// A shared secret, and the JWK that an unwise server would publish.
fn secret() -> (Key, Value) {
    let key = Key::hs256([7; 64]).expect("a secret").with_id("oct");
    let jwk = json!({ "kty": "oct", "alg": "HS256", "kid": "oct", "k": URL_SAFE_NO_PAD.encode([7; 64]) });
    (key, jwk)
}

/// The public JWK of a key, with some members changed.
fn jwk(key: &Key, members: Value) -> Value {
    let ring = KeyRing::verify_only([key.clone()]).expect("a ring");
    let mut set: Value = serde_json::from_str(&ring.public_jwks()).expect("JSON");
    let mut jwk = set["keys"][0].take();
    for (name, value) in members.as_object().expect("members") {
        jwk[name] = value.clone();
    }
    jwk
}

fn set(keys: &[Value]) -> Mood {
    text(json!({ "keys": keys }).to_string())
}

#[tokio::test(start_paused = true)]
async fn an_unusable_set_does_not_replace_the_last_good_one() {
    let (old, new, encryption) = (key("old"), key("new"), key("enc"));
    let (secret, oct) = secret();
    let enc = jwk(&encryption, json!({ "use": "enc" }));
    let (good, broken) = (jwk(&new, json!({})), jwk(&new, json!({ "x": "AAAA" })));
    let unusable = [
        ("garbage", text("\u{0}{{{ no JSON")),
        ("a page", text("<!doctype html><title>shop.example</title>")),
        ("nothing", text("")),
        ("another document", text(r#"{"issuer":"https://id.shop.example"}"#)),
        ("500", Mood::Answers(StatusCode::INTERNAL_SERVER_ERROR, json!({ "keys": [good] }).to_string())),
        ("404", Mood::Answers(StatusCode::NOT_FOUND, json!({ "keys": [good] }).to_string())),
        ("204", Mood::Answers(StatusCode::NO_CONTENT, String::new())),
        ("a redirect", Mood::Redirects),
        ("a good set in 10 MiB", text(format!("{{\"keys\":[{good}]{}}}", " ".repeat(10 << 20)))),
        ("10 MiB of nothing", Mood::TenMegabytes),
        ("an answer without end", Mood::NeverEnds),
        ("an answer that breaks off", Mood::BreaksOff),
        ("only an `oct` key", set(std::slice::from_ref(&oct))),
        ("only an `enc` key", set(std::slice::from_ref(&enc))),
        ("keys of which none is left", set(&[oct.clone(), enc.clone(), json!({ "kty": "AKP" })])),
        ("only a broken key", set(std::slice::from_ref(&broken))),
    ];
    let server = Server::start(publishes(&[&old]));
    let website = Website::follow(&server, eager(&server));
    website.becomes(200, &old, "the first set").await;
    for (name, mood) in unusable {
        server.be(mood);
        server.asked_again(name).await;
        assert_eq!(website.status(&old).await, 200, "{name}: the last good set stays");
        for (whose, key) in [("new", &new), ("secret", &secret), ("encryption", &encryption)] {
            website.becomes(401, key, &format!("{name}: the {whose} key")).await;
        }
    }
    server.be(set(&[oct, good, enc, broken]));
    website.becomes(200, &new, "a good key among others").await;
    for (whose, key) in [("removed", &old), ("secret", &secret), ("encryption", &encryption)] {
        website.becomes(401, key, &format!("the {whose} key")).await;
    }
}

/// The issuer's word that all keys are gone, unless it is a mistake that is soon corrected.
#[tokio::test(start_paused = true)]
async fn a_set_that_lists_no_keys_is_obeyed_if_it_still_does_after_the_gap() {
    const GAP: Duration = Duration::from_millis(400);
    let known = key("known");
    let server = Server::start(publishes(&[&known]));
    let website = Website::follow(&server, eager(&server).with_min_gap(GAP));
    website.becomes(200, &known, "the first set").await;
    server.be(set(&[]));
    server.asked_again("no keys").await;
    assert_eq!(website.status(&known).await, 200, "not at once");
    server.publish(&[&known]);
    server.asked_again("a mistake that is corrected").await;
    time::sleep(2 * GAP).await;
    assert_eq!(website.status(&known).await, 200, "the gap begins anew");

    server.be(set(&[]));
    website.becomes(401, &known, "no keys, and still none").await;
    server.publish(&[&known]);
    website.becomes(200, &known, "keys again").await;
}

#[tokio::test(start_paused = true)]
async fn copies_and_rivals_of_a_key_do_not_spoil_a_set() {
    let (one, other) = (key("same"), key("same"));
    let (first, second) = (jwk(&one, json!({})), jwk(&other, json!({})));
    let unnamed: Vec<Key> = (0..5).map(|_| Key::generate(Algorithm::EdDSA).expect("a key")).collect();
    let without_id = |key: &Key| jwk(key, json!({ "kid": null }));
    let cases = [
        ("a key twice", vec![first.clone(), first.clone()], vec![&one]),
        ("two keys of one id", vec![first.clone(), second.clone()], vec![&one, &other]),
        ("five keys without an id", unnamed.iter().map(without_id).collect(), unnamed[..4].iter().collect()),
    ];
    for (name, keys, accepted) in cases {
        let server = Server::start(set(&keys));
        let website = Website::follow(&server, eager(&server));
        for key in accepted {
            website.becomes(200, key, name).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_token_is_accepted_or_refused_before_the_first_good_set() {
    let known = key("known");
    let token = signed_by(&known);
    let expired = Issuer::new(KeyRing::new(known.clone()).expect("it signs"));
    let expired = expired
        .with_clock(tower_cookie_jwt::testing::TestClock::at(std::time::UNIX_EPOCH))
        .issue(&NewToken::access("ada", Duration::from_secs(60)), &())
        .expect("it signs");
    let forged = signed_by(&key("known"));
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let cookie = |token: &str| vec![("cookie", format!("__Host-access={token}"))];
    let requests = [
        ("bearer", bearer(&token)),
        ("X-Access-Token", vec![("x-access-token", token.clone())]),
        ("cookie", cookie(&token)),
        ("expired", cookie(&expired)),
        ("forged", bearer(&forged)),
        ("an unknown key", bearer(&signed_by(&key("unknown")))),
        ("garbage before it", vec![("cookie", format!("__Host-access=garbage; __Host-access={token}"))]),
        ("garbage behind it", vec![("cookie", format!("__Host-access={token}; __Host-access=garbage"))]),
    ];
    let moods = [
        ("500", Mood::Answers(StatusCode::INTERNAL_SERVER_ERROR, String::new())),
        ("hangs", Mood::Hangs),
        ("an `oct` key", set(&[secret().1])),
    ];
    for (mood_name, mood) in moods {
        let server = Server::start(mood);
        let website = Website::follow(&server, eager(&server).with_timeout(Duration::from_millis(500)));
        for tries in ["immediately", "after some attempts"] {
            for (name, headers) in &requests {
                for (mode, layer) in [("required", website.layer()), ("optional", website.layer().optional())]
                {
                    let answer = ask(&layer, headers).await;
                    let name = format!("{mood_name}, {tries}: {name}, {mode}");
                    assert_eq!(answer.status(), 503, "{name}");
                    assert!(answer.headers().contains_key("retry-after"), "{name}");
                    assert!(!answer.headers().contains_key("www-authenticate"), "{name}");
                }
            }
            // A request without a token is answered without any key.
            assert_eq!(ask(&website.layer(), &[]).await.status(), 401, "{mood_name}");
            assert_eq!(ask(&website.layer().optional(), &[]).await.status(), 200, "{mood_name}");
            server.asked_again(mood_name).await;
        }
        server.publish(&[&known]);
        website.becomes(200, &known, mood_name).await;
        assert_eq!(ask(&website.layer(), &cookie(&expired)).await.status(), 401, "{mood_name}: now it is");
    }
}

#[tokio::test(start_paused = true)]
async fn following_ends_when_the_last_clone_of_the_ring_is_dropped() {
    let known = key("known");
    let moods = [("a set that was taken", publishes(&[&known])), ("a server that hangs", Mood::Hangs)];
    for (name, mood) in moods {
        let server = Server::start(mood);
        // All waiting times are long: it ends in the middle of them.
        let remote = eager(&server).with_interval(NEVER).with_min_gap(NEVER);
        let state = server.state.clone();
        let (keys, follow) = remote.follow(tower::service_fn(move |request| send(state.clone(), request)));
        let follow = tokio::spawn(follow);
        until(name, || server.fetches() == 1).await;
        let layer = CookieJwtLayer::<()>::new(Verifier::new(keys.clone()));
        drop(keys);
        time::sleep(SHORT).await;
        assert!(!follow.is_finished(), "{name}: the layer holds the ring");

        drop(layer);
        let ended = time::timeout(DEADLINE, follow).await;
        ended.expect("it ends").unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(server.fetches(), 1, "{name}: without another fetch");
    }
}

#[tokio::test(start_paused = true)]
async fn following_goes_on_while_the_ring_is_kept() {
    let known = key("known");
    let server = Server::start(publishes(&[&known]));
    let website = Website::follow(&server, eager(&server));
    until("fetches go on", || server.fetches() >= 6).await;
    assert!(!website.follow.is_finished());
}

#[tokio::test(start_paused = true)]
async fn durations_beyond_the_range_of_the_clock_do_not_stop_following() {
    let known = key("known");
    let server = Server::start(publishes(&[&known]));
    let remote = RemoteJwks::new(&server.url())
        .expect("loopback")
        .with_interval(Duration::MAX)
        .with_min_gap(Duration::MAX)
        .with_timeout(Duration::MAX)
        .with_max_age(Duration::MAX);
    let website = Website::follow(&server, remote);
    website.becomes(200, &known, "the first set").await;
    assert!(!website.follow.is_finished());
}

#[test]
fn a_set_is_only_followed_over_https_or_on_loopback() {
    let table = [
        ("https://id.shop.example/.well-known/jwks.json", true),
        ("https://id.shop.example:8443/jwks.json", true),
        ("HTTPS://ID.SHOP.EXAMPLE/jwks.json", true),
        ("https://id.shop.example", true),
        ("http://localhost/jwks.json", true),
        ("http://localhost:3000/jwks.json", true),
        ("http://127.0.0.1:3000/jwks.json", true),
        ("http://127.8.9.1/jwks.json", true),
        ("http://[::1]:3000/jwks.json", true),
        ("http://id.shop.example/jwks.json", false),
        ("http://localhost.evil.example/jwks.json", false),
        ("http://evil.example:80/localhost", false),
        ("http://127.0.0.1.evil.example/jwks.json", false),
        ("http://localhost@evil.example/jwks.json", false),
        ("http://127.0.0.1:80@evil.example/jwks.json", false),
        ("http://10.0.0.1/jwks.json", false),
        ("http://0.0.0.0/jwks.json", false),
        ("http://[::]/jwks.json", false),
        ("ftp://localhost/jwks.json", false),
        ("file:///etc/jwks.json", false),
        ("localhost:3000", false),
        ("/jwks.json", false),
        ("*", false),
        ("", false),
        ("https://", false),
        ("https:///jwks.json", false),
        ("https://id.shop.example/a b", false),
    ];
    for (url, fits) in table {
        let remote = RemoteJwks::new(url);
        assert_eq!(remote.is_ok(), fits, "`{url}`");
        let Err(error) = remote else { continue };
        let error = error.to_string();
        let reason = match url.parse::<Uri>() {
            Ok(_) if url.contains('@') => "user name or password",
            Ok(_) => "must use https",
            Err(_) => "is not valid",
        };
        assert!(error.contains(reason), "`{url}`: {error}");
    }
}
