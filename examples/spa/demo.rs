//! Demo only: lets the page show what happens on the server. Do not copy this into an application.
//!
//! A real application does not reveal which layer decided what, keeps no copies of tokens, and discards no responses.
//! All code that does is in this file and in `thief.rs`; the server listens on loopback only.
//!
//! Every response of the API has a `Demo-Trace` header that describes how the request was processed. It contains
//! cookie names, session events and generations, but never the value of a cookie.
//!
//! | route | what it does |
//! |---|---|
//! | `POST /api/demo/expire` | clears the access cookie, as the browser does when the token expires |
//! | `GET /api/demo/slow` | responds slowly, so that two requests are certain to overlap |
//! | `GET /api/demo/lost` | discards the response, including its cookies, after the layers have processed the request |
//! | `POST /api/demo/steal` | gives a copy of the refresh token, or of all cookies, to a thief in this server's memory |
//! | `POST /api/demo/thief` | lets the thief use the copy |

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{COOKIE, SET_COOKIE},
    },
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tower_cookie_jwt::{
    Claims, Sessions,
    reject::{ProblemJson, Refusal},
    session::{SessionEvent, SessionEvents, TraceEvents},
};

use crate::{
    api::problem,
    thief::{Thieves, steal, strike},
    users::User,
};

/// The duration of slow requests: longer than a browser takes to send two requests.
const SLOW: Duration = Duration::from_millis(400);

/// The delay before a lost response fails: longer than the timeout of the page.
const HOLD: Duration = Duration::from_secs(3);

const TRACE: HeaderName = HeaderName::from_static("demo-trace");

/// Adds the demo's routes to the API, and the trace to every response.
pub(crate) fn around(api: Router, sessions: &Sessions<User>, grace: Duration) -> Router {
    let layer = || sessions.layer().with_rejection(ProblemJson);
    let thieves = Thieves::new(api.clone());
    let inside = Router::new().route("/api/demo/slow", get(slow)).layer(from_fn(reached)).layer(layer());
    let lost = Router::new()
        .route("/api/demo/lost", get(slow))
        .layer(from_fn(reached))
        .layer(layer())
        .layer(from_fn(lose));
    let outside = Router::new()
        .route("/api/demo/expire", post(expire))
        .route("/api/demo/steal", post(steal))
        .route("/api/demo/thief", post(strike))
        .with_state(thieves);
    api.merge(inside).merge(lost).merge(outside).layer(from_fn_with_state(grace, trace))
}

tokio::task_local! {
    /// Collects what happens during a request, which runs in a single task.
    static SEEN: Arc<Seen>;
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<String>>,
    /// Set if the request has passed the layers: the generation of its claims.
    reached: OnceLock<Option<u32>>,
}

/// Records the events of a request for its trace, in addition to logging them.
pub(crate) struct Events;

impl SessionEvents for Events {
    fn on_event(&self, event: &SessionEvent<'_>) {
        TraceEvents.on_event(event);
        let name = match event {
            SessionEvent::SignedIn { .. } => "signed-in".to_owned(),
            SessionEvent::Rotated { generation, .. } => format!("rotated:{generation}"),
            SessionEvent::ReuseDetected { presented, .. } => format!("reuse:{presented}"),
            SessionEvent::Ended { .. } | SessionEvent::AllEnded { .. } => "ended".to_owned(),
            SessionEvent::ProofMissing { .. } => "proof-missing".to_owned(),
            _ => return,
        };
        // Fails outside a request, where there is no trace.
        let _ = SEEN.try_with(|seen| {
            seen.events.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        });
    }
}

/// The innermost middleware: only requests that have passed all layers reach it.
pub(crate) async fn reached(request: Request, next: Next) -> Response {
    let generation = request.extensions().get::<Claims<User>>().and_then(Claims::generation);
    let _ = SEEN.try_with(|seen| seen.reached.set(generation));
    next.run(request).await
}

/// The outermost middleware: adds the trace to the response.
async fn trace(State(grace): State<Duration>, request: Request, next: Next) -> Response {
    let sent: Vec<_> = sent_cookies(request.headers()).filter_map(|(name, _)| short(name)).collect();
    let sent = sent.join(" ");
    let (mut response, seen) = watch(next.run(request)).await;
    let (set, cleared) = cookies(response.headers());
    let events = seen.events.lock().unwrap_or_else(PoisonError::into_inner).join(" ");
    let refusal = response.extensions().get::<Refusal>().map_or("", Refusal::code);
    let reached = if seen.reached.get().is_some() { "yes" } else { "no" };
    let generation =
        seen.reached.get().copied().flatten().map(|number| number.to_string()).unwrap_or_default();
    let text = format!(
        "sent={sent}; events={events}; refusal={refusal}; reached={reached}; generation={generation}; \
         set={set}; cleared={cleared}; grace={}",
        grace.as_secs()
    );
    if let Ok(value) = HeaderValue::try_from(text) {
        response.headers_mut().insert(TRACE, value);
    }
    response
}

/// Runs `answer` with a new trace, and returns both.
async fn watch<T>(answer: impl Future<Output = T>) -> (T, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    (SEEN.scope(seen.clone(), answer).await, seen)
}

/// Runs `answer` outside the current trace, so that the thief's requests do not appear in the victim's trace.
pub(crate) async fn unwatched<T>(answer: impl Future<Output = T>) -> T {
    watch(answer).await.0
}

/// Returns the short names of the cookies that a response sets, and of those that it clears.
fn cookies(headers: &HeaderMap) -> (String, String) {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let (cleared, set): (Vec<_>, Vec<_>) = lines.partition(|line| line.contains("Max-Age=0"));
    let names = |lines: Vec<&str>| {
        let names = lines.into_iter().filter_map(|line| short(line.split_once('=')?.0));
        names.collect::<Vec<_>>().join(" ")
    };
    (names(set), names(cleared))
}

/// Returns the names and values of the cookies in a request.
pub(crate) fn sent_cookies(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='))
}

/// Returns the name without its prefix, or `None` for the cookies of other applications, which must not be revealed.
fn short(name: &str) -> Option<&str> {
    let name = name.strip_prefix("__Host-").unwrap_or(name);
    ["access", "refresh", "XSRF-TOKEN"].contains(&name).then_some(name)
}

async fn expire(headers: HeaderMap) -> Response {
    let clear = match sent_cookies(&headers).find(|(name, _)| name.ends_with("access")) {
        Some(("access", _)) => "access=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0",
        _ => "__Host-access=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0",
    };
    (StatusCode::NO_CONTENT, [(SET_COOKIE, clear)]).into_response()
}

async fn slow() -> Json<Value> {
    tokio::time::sleep(SLOW).await;
    Json(json!({}))
}

/// Loses the response after the session has been rotated, like a phone that enters a tunnel.
async fn lose(request: Request, next: Next) -> Response {
    drop(next.run(request).await);
    tokio::time::sleep(HOLD).await;
    problem(StatusCode::GATEWAY_TIMEOUT, "answer_lost", "the response was discarded, as requested")
}
