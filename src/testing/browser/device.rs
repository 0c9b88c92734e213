//! Device-bound sessions in the browser (Device Bound Session Credentials), as Chromium 156 implements them.
//!
//! * `fields`: reads the response headers;
//! * `instructions`: what the server says about a session;
//! * `client`: registers keys and renews bound cookies.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use bytes::Buf;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tower_service::Service;

pub(super) use self::client::Client;
use self::{fields::members, instructions::Instructions};
use crate::{
    keys::Key,
    testing::jar::{Context, Exchange, Origin},
};

mod client;
mod fields;
mod instructions;

/// What `with_device_key` knows of the service and of request bodies.
pub(super) struct Hooks<S, B> {
    asker: fn(&S) -> Asker,
    pub(super) copy: fn(&B) -> B,
}

/// Sends a request without a body to the service. Returns `None` if the service fails; a body that breaks off is `None`.
pub(super) type Asker =
    Box<dyn FnMut(Request<()>) -> Pin<Box<dyn Future<Output = Option<Asked>> + Send>> + Send>;
pub(super) type Asked = Response<Option<Vec<u8>>>;

impl<S, B> Hooks<S, B> {
    pub(super) fn new<T>() -> Self
    where
        S: Service<Request<B>, Response = Response<T>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Clone + Default + Send + 'static,
        T: Body<Data: Send, Error: Send> + Send,
    {
        Self { asker: asker::<S, B, T>, copy: B::clone }
    }

    pub(super) fn asker(&self, service: &S) -> Asker {
        (self.asker)(service)
    }
}

fn asker<S, B, T>(service: &S) -> Asker
where
    S: Service<Request<B>, Response = Response<T>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Default + Send + 'static,
    T: Body<Data: Send, Error: Send> + Send,
{
    let service = service.clone();
    Box::new(move |request| {
        let mut service = service.clone();
        Box::pin(async move {
            poll_fn(|cx| service.poll_ready(cx)).await.ok()?;
            let (parts, body) = service.call(request.map(|()| B::default())).await.ok()?.into_parts();
            Some(Response::from_parts(parts, collect(body).await))
        })
    })
}

impl<S, B> Clone for Hooks<S, B> {
    fn clone(&self) -> Self {
        Self { asker: self.asker, copy: self.copy }
    }
}

/// The sessions of a browser, which its tabs share.
#[derive(Default)]
pub(super) struct Device {
    state: Mutex<State>,
    /// One refresh at a time, for all tabs.
    turn: futures_util::lock::Mutex<()>,
}

#[derive(Default)]
struct State {
    sessions: Vec<Session>,
    offers: Vec<Offer>,
    signed_at: Vec<SystemTime>,
}

/// A session whose cookie is bound to a key.
struct Session {
    origin: Origin,
    instructions: Instructions,
    key: Arc<Key>,
    /// The challenge for the next proof, if the server has sent one ahead.
    challenge: Option<String>,
    /// A signed proof to which no answer has come.
    proof: Option<String>,
}

/// A registration that a response has offered.
struct Offer {
    origin: Origin,
    path: String,
    challenge: String,
    authorization: Option<String>,
    /// Whether the registration carries cookies: not if another site made the request.
    with_cookies: bool,
}

impl Device {
    /// Takes note of the offers and challenges of a response.
    pub(super) fn see(&self, headers: &HeaderMap, exchange: &Exchange) {
        if !exchange.is_browser || !exchange.origin.is_trustworthy() {
            return;
        }
        let mut state = self.lock();
        if members(headers, "clear-site-data")
            .any(|member| ["storage", "cookies", "*"].contains(&&*member.item))
        {
            state.sessions.retain(|session| session.origin != exchange.origin);
        }
        for member in members(headers, "secure-session-registration") {
            let algorithms = member.item.trim_matches(['(', ')']);
            let (Some(path), Some(challenge)) = (member.parameter("path"), member.parameter("challenge"))
            else {
                continue;
            };
            if algorithms.split(' ').any(|name| name == "ES256") && path.starts_with('/') {
                state.offers.push(Offer {
                    origin: exchange.origin.clone(),
                    path: path.to_owned(),
                    challenge: challenge.to_owned(),
                    authorization: member.parameter("authorization").map(str::to_owned),
                    with_cookies: matches!(exchange.context, Context::SameSite),
                });
            }
        }
        for member in members(headers, "secure-session-challenge") {
            let named = member.parameter("id");
            let of_response = |session: &&mut Session| {
                session.origin == exchange.origin && Some(&*session.instructions.id) == named
            };
            if let Some(session) = state.sessions.iter_mut().find(of_response) {
                session.challenge = Some(member.item.clone());
            }
        }
    }

    /// Returns the identifiers of the sessions.
    pub(super) fn sessions(&self) -> Vec<String> {
        self.lock().sessions.iter().map(|session| session.instructions.id.clone()).collect()
    }

    fn take_offers(&self) -> Vec<Offer> {
        std::mem::take(&mut self.lock().offers)
    }

    /// Ends all sessions, as clearing the cookies does.
    pub(super) fn clear(&self) {
        *self.lock() = State::default();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a whole body; `None` if it breaks off, or is larger than instructions are.
async fn collect(body: impl Body) -> Option<Vec<u8>> {
    let (mut body, mut bytes) = (pin!(body), Vec::new());
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let Ok(mut data) = frame.ok()?.into_data() else { continue };
        if bytes.len() + data.remaining() > MAX_INSTRUCTIONS {
            return None;
        }
        bytes.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    Some(bytes)
}

const MAX_INSTRUCTIONS: usize = 64 * 1024;

#[cfg(test)]
mod tests;
