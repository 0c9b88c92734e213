//! The shop that the session tests ask: sign-in, sign-out, refresh, and pages behind the layers.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, header::SET_COOKIE};
use http_body_util::BodyExt;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::oneshot;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions,
    reject::ProblemJson,
    session::{SessionError, SessionEvent, SessionsBuilder, SignIn},
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Update},
    testing::{Browser, TestClock},
    token::Scopes,
};

pub(crate) const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub(crate) const ACCESS: &str = "__Host-access";
pub(crate) const REFRESH: &str = "__Host-refresh";
pub(crate) const XSRF: &str = "XSRF-TOKEN";
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// Past the lifetime of access tokens, the leeway included.
pub(crate) const ACCESS_GONE: Duration = Duration::from_secs(15 * 60 + 30);
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) type Answer = Response<Bytes>;
pub(crate) type Inner = BoxCloneService<Request<String>, Answer, Infallible>;
pub(crate) type Shopper = Browser<Inner>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) role: String,
}

pub(crate) fn role(role: &str) -> User {
    User { role: role.to_owned() }
}

/// The two ways to refresh, which must agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Layer,
    Service,
}

impl Way {
    pub(crate) const BOTH: [Self; 2] = [Self::Layer, Self::Service];

    pub(crate) async fn ask(self, browser: &Shopper) -> Answer {
        match self {
            Self::Layer => get(browser, "/me").await,
            Self::Service => post(browser, "/refresh").await,
        }
    }
}

pub(crate) struct Shop {
    pub(crate) clock: TestClock,
    pub(crate) store: TestStore,
    pub(crate) sessions: Sessions<User>,
    events: Arc<Mutex<Vec<String>>>,
}

impl Shop {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>) -> Self {
        let clock = TestClock::new();
        let store = TestStore::new(clock.clone());
        let events = Arc::<Mutex<Vec<String>>>::default();
        let log = events.clone();
        let builder = Sessions::builder(KeyRing::hs256(SECRET).unwrap(), store.clone())
            .with_clock(clock.clone())
            .with_events(move |event: &SessionEvent<'_>| log.lock().unwrap().push(word(event)));
        Self { sessions: configure(builder).build().unwrap(), clock, store, events }
    }

    /// A browser whose protected pages greet the user.
    pub(crate) fn browser(&self) -> Shopper {
        self.browser_over(self.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet)))
    }

    /// A browser whose protected pages are made by `handler`.
    pub(crate) fn browser_with<F, Fut>(&self, handler: F) -> Shopper
    where
        F: Fn(Request<String>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let handler = service_fn(move |request| handler(request).map(Ok::<_, Infallible>));
        self.browser_over(self.sessions.layer().with_rejection(ProblemJson).layer(handler))
    }

    /// A browser over `protected`, which has its layers already.
    pub(crate) fn browser_over<S>(&self, protected: S) -> Shopper
    where
        S: Service<Request<String>, Response = Answer, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let sessions = self.sessions.clone();
        let service = service_fn(move |request: Request<String>| {
            let (sessions, protected) = (sessions.clone(), protected.clone());
            async move {
                Ok(match request.uri().path() {
                    "/login" => login(&sessions, request).await,
                    "/logout" => logout(&sessions, request).await,
                    "/refresh" => {
                        let Ok(response) = sessions.refresh_service().oneshot(request).await;
                        let (parts, body) = response.into_parts();
                        Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
                    }
                    _ => {
                        let Ok(response) = protected.oneshot(request).await;
                        response
                    }
                })
            }
        });
        Browser::new(BoxCloneService::new(service)).with_clock(self.clock.clone())
    }

    /// Signs Ada in; nothing has shown yet that her browser holds the cookies.
    pub(crate) async fn sign_in(&self, browser: &Shopper) -> SessionId {
        let response = post(browser, "/login").await;
        assert_eq!(response.status(), 200, "sign-in");
        SessionId::from(text(&response).as_str())
    }

    /// A browser that has signed in and whose first generation is settled, its access token gone.
    pub(crate) async fn settled(&self) -> (Shopper, SessionId) {
        let browser = self.browser();
        let session = self.sign_in(&browser).await;
        self.settle(&browser).await;
        (browser, session)
    }

    /// Shows the present access token, then lets it expire.
    pub(crate) async fn settle(&self, browser: &Shopper) {
        assert_eq!(get(browser, "/me").await.status(), 200, "showing the access token");
        self.clock.advance(ACCESS_GONE);
    }

    /// What has happened to sessions since the last call.
    pub(crate) fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }

    pub(crate) async fn generation(&self, session: &SessionId) -> Option<u32> {
        self.store.record(session).await.map(|record| record.generation)
    }
}

fn word(event: &SessionEvent<'_>) -> String {
    match event {
        SessionEvent::SignedIn { subject, .. } => format!("signed in {subject}"),
        SessionEvent::Rotated { generation, .. } => format!("rotated to {generation}"),
        SessionEvent::ReuseDetected { presented, current, .. } => {
            format!("reuse of {presented} at {current}")
        }
        SessionEvent::StoreLostWrites { presented, stored, .. } => format!("lost {stored}, held {presented}"),
        SessionEvent::Ended { subject, .. } => format!("ended {subject}"),
        SessionEvent::AllEnded { subject, count } => format!("ended {count} of {subject}"),
        other => format!("{other:?}"),
    }
}

/// Says who asks: subject, role and generation. `/status/N` answers with that status.
pub(crate) async fn greet(request: Request<String>) -> Result<Answer, Infallible> {
    let who = match request.extensions().get::<Claims<User>>() {
        Some(claims) => {
            let generation = claims.generation().unwrap_or_default();
            format!("{} {} {generation}", claims.subject().unwrap_or_default(), claims.custom().role)
        }
        None => "nobody".to_owned(),
    };
    let mut response = Response::new(Bytes::from(who));
    if let Some(status) = request.uri().path().strip_prefix("/status/") {
        *response.status_mut() = status.parse().unwrap();
    }
    Ok(response)
}

async fn login(sessions: &Sessions<User>, request: Request<String>) -> Answer {
    let (parts, _) = request.into_parts();
    let subject = parts.uri.query().unwrap_or("ada");
    let sign_in = SignIn::new(subject, role("customer")).with_scope(Scopes::new("read write").unwrap());
    match sessions.sign_in_with(&parts, sign_in).await {
        Ok(signed_in) => {
            let mut response = Response::new(Bytes::from(signed_in.session_id().to_string()));
            signed_in.append_to(response.headers_mut());
            response
        }
        Err(error) => failed(&error),
    }
}

async fn logout(sessions: &Sessions<User>, request: Request<String>) -> Answer {
    match sessions.sign_out(&request.into_parts().0).await {
        Ok(signed_out) => {
            let mut response = Response::new(Bytes::new());
            signed_out.append_to(response.headers_mut());
            response
        }
        Err(error) => failed(&error),
    }
}

fn failed(error: &SessionError) -> Answer {
    let mut response = Response::new(Bytes::from(error.to_string()));
    *response.status_mut() = error.refusal().map_or(http::StatusCode::INTERNAL_SERVER_ERROR, |r| r.status());
    response
}

pub(crate) async fn get(browser: &Shopper, path: &str) -> Answer {
    let Ok(response) = browser.get(path).send().await;
    response
}

pub(crate) async fn post(browser: &Shopper, path: &str) -> Answer {
    let Ok(response) = browser.post(path).with_xsrf().send().await;
    response
}

/// Another browser that holds this refresh token and nothing else.
pub(crate) fn holder(browser: &Shopper, refresh: &str) -> Shopper {
    let other = browser.separate();
    let line = format!("{REFRESH}={refresh}; Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(other.set_cookie(&line), "the browser takes the cookie");
    other
}

pub(crate) fn text(response: &Answer) -> String {
    String::from_utf8(response.body().to_vec()).unwrap()
}

pub(crate) fn json(response: &Answer) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {:?}", response.body()))
}

/// The stable code of a refusal.
pub(crate) fn code(response: &Answer) -> String {
    json(response)["code"].as_str().unwrap_or_default().to_owned()
}

/// The names of the cookies that a response sets, in order; of those it clears with `-` before.
pub(crate) fn cookies(response: &Answer) -> Vec<String> {
    let lines = response.headers().get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    lines
        .map(|line| {
            let name = line.split('=').next().unwrap();
            let name = name.strip_prefix("__Host-").unwrap_or(name);
            if line.contains("Max-Age=0") { format!("-{name}") } else { name.to_owned() }
        })
        .collect()
}

pub(crate) const NONE: [&str; 0] = [];
/// A new access token with the XSRF value that it carries, and no refresh token.
pub(crate) const RENEWED: [&str; 2] = ["access", "XSRF-TOKEN"];
pub(crate) const PAIR: [&str; 3] = ["access", "refresh", "XSRF-TOKEN"];
pub(crate) const CLEARED: [&str; 3] = ["-access", "-refresh", "-XSRF-TOKEN"];

pub(crate) fn payload(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The token with another payload, signed with the shop's key.
pub(crate) fn resign(token: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut claims = payload(token);
    change(&mut claims);
    let header = token.split('.').next().unwrap();
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = EncodingKey::from_secret(SECRET);
    let signer = (provider().signer_factory)(&Algorithm::HS256, &key).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signer.try_sign(message.as_bytes()).unwrap()))
}

/// The token with another signature.
pub(crate) fn forged(token: &str) -> String {
    let (message, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[0] ^= 1;
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[cfg(feature = "aws-lc-rs")]
fn provider() -> &'static jsonwebtoken::crypto::CryptoProvider {
    &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
}

#[cfg(not(feature = "aws-lc-rs"))]
fn provider() -> &'static jsonwebtoken::crypto::CryptoProvider {
    &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER
}

/// A `MemoryStore` that writes down its calls, fails on demand, and takes its time.
#[derive(Clone)]
pub(crate) struct TestStore {
    memory: MemoryStore,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    calls: Mutex<Vec<&'static str>>,
    down: AtomicBool,
    failing: Mutex<Option<&'static str>>,
    write_gate: Gate,
    read_gate: Gate,
}

/// Holds somebody back: that they have come is heard from the receiver, and they go on when the sender
/// says so.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Closed>>>);

/// How many pass before, who hears of the one that is held, and what it waits for.
type Closed = (u32, oneshot::Sender<()>, oneshot::Receiver<()>);

impl Gate {
    /// Lets `before` pass, and holds the one after.
    pub(crate) fn close_after(&self, before: u32) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (reached, arrived) = oneshot::channel();
        let (go_on, resumed) = oneshot::channel();
        *self.0.lock().unwrap() = Some((before, reached, resumed));
        (arrived, go_on)
    }

    pub(crate) async fn pass(&self) {
        let held = {
            let mut closed = self.0.lock().unwrap();
            match closed.as_mut() {
                Some((before, ..)) if *before > 0 => {
                    *before -= 1;
                    None
                }
                _ => closed.take(),
            }
        };
        if let Some((_, reached, resumed)) = held {
            reached.send(()).expect("the test waits for it");
            resumed.await.expect("the test lets it go on");
        }
    }
}

impl TestStore {
    fn new(clock: TestClock) -> Self {
        Self { memory: MemoryStore::new().with_clock(clock), state: Arc::default() }
    }

    pub(crate) fn go_down(&self) {
        self.state.down.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_up(&self) {
        self.state.down.store(false, Ordering::SeqCst);
    }

    /// The calls since the last look.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.state.calls.lock().unwrap())
    }

    /// Holds the next write back: it is on its way once the receiver hears of it, and arrives when the
    /// sender says so.
    pub(crate) fn hold_update(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        self.state.write_gate.close_after(0)
    }

    /// Holds a read back, the one after `before` others.
    pub(crate) fn hold_read_after(&self, before: u32) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        self.state.read_gate.close_after(before)
    }

    /// Fails the calls of this name, or none.
    pub(crate) fn fail(&self, call: Option<&'static str>) {
        *self.state.failing.lock().unwrap() = call;
    }

    /// The record as it is, behind the back of everybody.
    pub(crate) async fn record(&self, id: &SessionId) -> Option<SessionRecord> {
        let Ok(snapshot) = self.memory.read(id).await;
        snapshot.record
    }

    /// Writes the record, as restoring a backup does.
    pub(crate) async fn restore(&self, mut record: SessionRecord) {
        record.version = self.record(&record.id).await.expect("the session exists").version;
        assert_eq!(self.memory.update(&record).await, Ok(Update::Done));
    }

    async fn called(&self, name: &'static str) -> Result<(), Down> {
        self.state.calls.lock().unwrap().push(name);
        tokio::task::yield_now().await;
        let failing = *self.state.failing.lock().unwrap() == Some(name);
        if failing || self.state.down.load(Ordering::SeqCst) { Err(Down) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(crate) struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store is down")
    }
}

impl std::error::Error for Down {}

impl RefreshStore for TestStore {
    type Error = Down;

    async fn create(&self, session: NewRecord) -> Result<Created, Down> {
        self.called("create").await?;
        let Ok(created) = self.memory.create(session).await;
        Ok(created)
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Down> {
        self.state.read_gate.pass().await;
        self.called("read").await?;
        let Ok(snapshot) = self.memory.read(id).await;
        Ok(snapshot)
    }

    async fn update(&self, record: &SessionRecord) -> Result<Update, Down> {
        self.state.write_gate.pass().await;
        self.called("update").await?;
        let Ok(update) = self.memory.update(record).await;
        Ok(update)
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Down> {
        self.called("remove").await?;
        let Ok(removed) = self.memory.remove(id).await;
        Ok(removed)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Down> {
        self.called("list").await?;
        let Ok(records) = self.memory.list(subject).await;
        Ok(records)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Down> {
        self.called("remove_all").await?;
        let Ok(count) = self.memory.remove_all(subject, keep).await;
        Ok(count)
    }
}
