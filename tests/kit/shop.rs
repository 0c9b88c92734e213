//! Sessions in a shop: sign-in, sign-out, refresh, and pages behind the layers.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response, header::SET_COOKIE};
use http_body_util::BodyExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneService};
use tower_cookie_jwt::{
    Claims, JsonBody, Sessions,
    reject::ProblemJson,
    session::{DeviceBinding, SessionError, SessionEvent, SessionsBuilder, SignIn},
    store::{SessionId, SessionRecord},
    testing::{Browser, TestClock},
    token::Scopes,
};

use super::{device::DEVICE, forge};
pub(crate) use super::{
    forge::{SECRET, forged, payload, resign},
    store::{Gate, TestStore},
};

pub(crate) const ACCESS: &str = "__Host-access";
pub(crate) const REFRESH: &str = "__Host-refresh";
pub(crate) const XSRF: &str = "XSRF-TOKEN";
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// Longer than access tokens live, including the leeway.
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

/// The two ways to refresh: both must give the same result.
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
        Self::unbindable(|builder| configure(offered(builder)))
    }

    /// The same with cookies or lifetimes that exclude a binding: none is offered, in whatever suite.
    pub(crate) fn unbindable(configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>) -> Self {
        let clock = TestClock::new();
        let store = TestStore::new(&clock);
        let events = Arc::default();
        Self { sessions: sessions(&clock, &store, &events, configure), clock, store, events }
    }

    /// Another node over the store and the clock of `other`, with events of its own.
    pub(crate) fn over(
        other: &Self,
        configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>,
    ) -> Self {
        let (clock, store, events) = (other.clock.clone(), other.store.clone(), Arc::default());
        let configure = |builder| configure(offered(builder));
        Self { sessions: sessions(&clock, &store, &events, configure), clock, store, events }
    }

    /// Sets the shop up anew, over the same store.
    pub(crate) fn redeploy(
        &mut self,
        configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>,
    ) {
        let configure = |builder| configure(offered(builder));
        self.sessions = sessions(&self.clock, &self.store, &self.events, configure);
    }

    /// Returns a browser whose protected pages greet the user.
    pub(crate) fn browser(&self) -> Shopper {
        self.browser_over(self.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet)))
    }

    /// Returns a browser whose protected pages come from `handler`.
    pub(crate) fn browser_with<F, Fut>(&self, handler: F) -> Shopper
    where
        F: Fn(Request<String>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let handler = service_fn(move |request| handler(request).map(Ok::<_, Infallible>));
        self.browser_over(self.sessions.layer().with_rejection(ProblemJson).layer(handler))
    }

    /// Returns a browser over `protected`, which has its layers already.
    pub(crate) fn browser_over<S>(&self, protected: S) -> Shopper
    where
        S: Service<Request<String>, Response = Answer, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Browser::new(self.service_over(protected)).with_clock(self.clock.clone())
    }

    /// Returns the service of the whole shop, with sign-in, sign-out and refresh beside `protected`.
    pub(crate) fn service_over<S>(&self, protected: S) -> Inner
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
                        collected(response).await
                    }
                    "/device" | DEVICE => {
                        let Ok(response) = sessions.device_service().oneshot(request).await;
                        collected(response).await
                    }
                    _ => {
                        let Ok(response) = protected.oneshot(request).await;
                        response
                    }
                })
            }
        });
        BoxCloneService::new(service)
    }

    /// Signs Ada in. Nothing has confirmed yet that her browser holds the cookies.
    pub(crate) async fn sign_in(&self, browser: &Shopper) -> SessionId {
        let response = post(browser, "/login").await;
        assert_eq!(response.status(), 200, "sign-in");
        SessionId::from(text(&response).as_str())
    }

    /// Returns a signed-in browser whose first generation is settled and whose access token has expired.
    pub(crate) async fn settled(&self) -> (Shopper, SessionId) {
        let browser = self.browser();
        let session = self.sign_in(&browser).await;
        self.settle(&browser).await;
        (browser, session)
    }

    /// Presents the current access token, then lets it expire.
    pub(crate) async fn settle(&self, browser: &Shopper) {
        assert_eq!(get(browser, "/me").await.status(), 200, "showing the access token");
        self.clock.advance(ACCESS_GONE);
    }

    /// Returns the events since the last call, apart from those of refused requests.
    pub(crate) fn events(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.into_iter().filter(|event| !event.starts_with(REFUSED)).collect()
    }

    /// Returns the events of refused requests since the last call, and forgets the others.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        events.into_iter().filter_map(|event| event.strip_prefix(REFUSED).map(str::to_owned)).collect()
    }

    pub(crate) async fn generation(&self, session: &SessionId) -> Option<u32> {
        self.store.record(session).await.map(|record| record.generation)
    }
}

fn sessions(
    clock: &TestClock,
    store: &TestStore,
    events: &Arc<Mutex<Vec<String>>>,
    configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>,
) -> Sessions<User> {
    let log = events.clone();
    let builder = Sessions::builder(forge::ring(), store.clone())
        .with_audience("shop")
        .with_clock(clock.clone())
        .with_events(move |event: &SessionEvent<'_>| log.lock().unwrap().push(word(event)));
    configure(builder).build().unwrap()
}

/// In the suite of browsers without a key, offers to bind every session.
fn offered(builder: SessionsBuilder<User>) -> SessionsBuilder<User> {
    if OFFERS_BINDING { builder.with_device_binding(DeviceBinding::at("/device")) } else { builder }
}

fn word(event: &SessionEvent<'_>) -> String {
    match event {
        SessionEvent::SignedIn { subject, .. } => format!("signed in {subject}"),
        SessionEvent::Rotated { generation, .. } => format!("rotated to {generation}"),
        SessionEvent::ReuseDetected { presented, current, .. } => {
            format!("reuse of {presented} at {current}")
        }
        SessionEvent::StoreLostWrites { presented, stored, .. } => format!("lost {stored}, held {presented}"),
        SessionEvent::AnswerLost { generation, in_a_row, .. } => {
            format!("answer lost, {in_a_row} in a row, {generation} begun")
        }
        SessionEvent::Narrowed { presented, .. } => format!("narrowed by {presented}"),
        SessionEvent::WrongSecret { presented, .. } => format!("wrong secret of {presented}"),
        SessionEvent::AmbiguousCookies { sessions, subjects, .. } => {
            format!("cookies of {} sessions, of {}", sessions.len(), subjects.join(" and "))
        }
        SessionEvent::Refused { code, subject, session, generation, .. } => {
            let session = session.is_some();
            format!("{REFUSED}{code}: subject {subject:?}, session {session}, generation {generation:?}")
        }
        SessionEvent::LimitReached { subject, .. } => format!("one session of {subject} too many"),
        SessionEvent::Ended { subject, .. } => format!("ended {subject}"),
        SessionEvent::AllEnded { subject, count, .. } => format!("ended {count} of {subject}"),
        SessionEvent::DeviceBound { subject, .. } => format!("bound {subject}"),
        SessionEvent::ProofMissing { presented, current, .. } => {
            format!("proof missing of {presented} at {current}")
        }
        SessionEvent::ProofRefused { reason, .. } => format!("proof refused: {reason}"),
        SessionEvent::BindingConflict { subject, .. } => format!("binding conflict of {subject}"),
        other => format!("{other:?}"),
    }
}

/// Answers with subject, role and generation. `/status/N` answers with that status.
pub(crate) async fn greet(request: Request<String>) -> Result<Answer, Infallible> {
    let who = match request.extensions().get::<Claims<User>>() {
        Some(claims) => {
            let generation = claims.generation().unwrap_or_default();
            format!("{} {} {generation}", claims.subject().unwrap_or_default(), claims.custom().role)
        }
        None => "anonymous".to_owned(),
    };
    let mut response = Response::new(Bytes::from(who));
    if let Some(status) = request.uri().path().strip_prefix("/status/") {
        *response.status_mut() = status.parse().unwrap();
    }
    Ok(response)
}

async fn collected(response: Response<JsonBody>) -> Answer {
    let (parts, body) = response.into_parts();
    Response::from_parts(parts, body.collect().await.unwrap().to_bytes())
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

/// Returns another browser that holds only this refresh token.
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

/// Returns the stable code of a refusal.
pub(crate) fn code(response: &Answer) -> String {
    json(response)["code"].as_str().unwrap_or_default().to_owned()
}

/// Returns the names of the cookies that a response sets, in order; those that it clears start with `-`.
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

/// Whether this is the suite of `tests/offered`.
const OFFERS_BINDING: bool = matches!(env!("CARGO_CRATE_NAME").as_bytes(), b"offered");
const REFUSED: &str = "refused ";

pub(crate) const NONE: [&str; 0] = [];
/// A new access token and its XSRF value, without a refresh token.
pub(crate) const RENEWED: [&str; 2] = ["access", "XSRF-TOKEN"];
pub(crate) const PAIR: [&str; 3] = ["access", "refresh", "XSRF-TOKEN"];
pub(crate) const CLEARED: [&str; 3] = ["-access", "-refresh", "-XSRF-TOKEN"];
