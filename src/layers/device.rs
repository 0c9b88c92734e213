//! The service with which browsers bind sessions to their device, and prove that they hold the key.

use std::{
    convert::Infallible,
    fmt,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header::CACHE_CONTROL, request::Parts,
};
use serde::{Serialize, de::DeserializeOwned};
use tower_service::Service;

use super::{
    body::{self, JsonBody, json_response},
    future::BoxFuture,
};
use crate::{
    cookies,
    reject::{Refusal, answer_refused},
    request::{RefreshCookie, RefreshToken},
    session::{
        RefreshError, SessionEvent, Sessions,
        device::{
            CHALLENGE, Device, Identifier, ProofError, ProveError, challenge, refresh, registration,
            response, session_id,
        },
    },
    token::Budget,
};

/// Service with which browsers bind sessions to their device (Device Bound Session Credentials).
///
/// Mount it at the path of [`DeviceBinding::at`](crate::session::DeviceBinding::at), outside the layers, on every node
/// before the first one offers a binding. Only browsers call it:
///
/// | request | answer |
/// |---|---|
/// | a registration over the challenge that was offered at sign-in | 200 with instructions, which clear the access cookie; 400 if anything is wrong with it |
/// | the session's identifier and the refresh cookie, without a proof or with one over a challenge that has been used or has expired | 403 with a challenge |
/// | the same with a proof | 200 with the access cookie. The first one binds the session |
/// | a proof by another key, another session's cookie, a forged identifier | 401 |
/// | an ended session | 401, and the cookies are cleared |
/// | the store is unavailable | 503 |
///
/// Browsers give up a session after 401, 404 and 429, so let no rate limit or proxy in between answer with these, nor with
/// a redirect.
///
/// Created by [`Sessions::device_service`].
pub struct DeviceService<C> {
    sessions: Sessions<C>,
}

impl<C> DeviceService<C> {
    pub(in crate::layers) const fn new(sessions: Sessions<C>) -> Self {
        Self { sessions }
    }
}

impl<C, B> Service<Request<B>> for DeviceService<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    type Response = Response<JsonBody>;
    type Error = Infallible;
    type Future = DeviceServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> DeviceServiceFuture {
        let sessions = self.sessions.clone();
        let (parts, _) = request.into_parts();
        DeviceServiceFuture { answer: Box::pin(async move { answer(&sessions, &parts).await }) }
    }
}

async fn answer<C>(sessions: &Sessions<C>, parts: &Parts) -> Response<JsonBody>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    if parts.method != Method::POST {
        return status(StatusCode::BAD_REQUEST);
    }
    let Some(device) = sessions.inner().device.as_deref() else {
        // The setting may not have reached this node yet, and after a 400 the browser would give the session up.
        return match session_id(&parts.headers) {
            Ok(None) => status(StatusCode::BAD_REQUEST),
            Ok(Some(_)) | Err(_) => unavailable(sessions, parts),
        };
    };
    match session_id(&parts.headers) {
        Ok(None) => register(sessions, device, parts).unwrap_or_else(|| status(StatusCode::BAD_REQUEST)),
        Ok(Some(text)) => match device.tickets.read_identifier(text) {
            Ok(identifier) => renew(sessions, device, &identifier, text, parts).await,
            Err(_) => status(StatusCode::UNAUTHORIZED),
        },
        Err(_) => status(StatusCode::UNAUTHORIZED),
    }
}

/// Answers a registration: nothing is written, and whoever has sent it, only the first proof binds.
///
/// The access cookie is cleared, so that the browser proves itself at once.
fn register<C>(sessions: &Sessions<C>, device: &Device, parts: &Parts) -> Option<Response<JsonBody>> {
    let inner = sessions.inner();
    inner.origin.check(parts).ok()?;
    let proof = response(&parts.headers).ok()??;
    let registration = registration(proof, device.settings.instructions.algorithms).ok()?;
    let offered = device.tickets.read_registration(&registration.challenge).ok()?;
    let (session, key) = (&offered.session, &registration.key);
    let identifier = device.tickets.identifier(session, key, offered.absolute_expires_at).ok()?;
    let asked = new_challenge(device, &Identifier { session: session.clone(), key: key.clone() }, 0)?;
    let mut response = instructions(sessions, device, &identifier);
    response.headers_mut().insert(CHALLENGE, challenge(&asked, &identifier));
    cookies::append(response.headers_mut(), [inner.cookies.access.clear()]);
    Some(response)
}

async fn renew<C>(
    sessions: &Sessions<C>,
    device: &Device,
    identifier: &Identifier,
    text: &str,
    parts: &Parts,
) -> Response<JsonBody>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let token = match own_token(sessions, identifier, &parts.headers) {
        OwnToken::Present(token) => Some(token),
        OwnToken::Absent if !device.settings.instructions.initiators.is_empty() => None,
        OwnToken::Absent | OwnToken::OfAnother => return status(StatusCode::UNAUTHORIZED),
    };
    let proof = match response(&parts.headers) {
        Ok(None) => None,
        Ok(Some(jwt)) => match refresh(jwt, &identifier.key) {
            // Of a challenge that has expired, or is not ours, another one is asked for, as without a proof.
            Ok(answered) => device.tickets.read_refresh(&answered).ok(),
            Err(error) => return refuse_proof(sessions, identifier, error),
        },
        Err(error) => return refuse_proof(sessions, identifier, error.into()),
    };
    match sessions.prove(device, identifier, token.as_ref(), proof.as_ref()).await {
        Ok(issued) => {
            let mut response = instructions(sessions, device, text);
            cookies::append(response.headers_mut(), issued.into_cookies());
            response
        }
        Err(ProveError::Challenge { proofs }) => match new_challenge(device, identifier, proofs) {
            Some(asked) => {
                let mut response = status(StatusCode::FORBIDDEN);
                response.headers_mut().insert(CHALLENGE, challenge(&asked, text));
                response
            }
            None => unavailable(sessions, parts),
        },
        Err(ProveError::Refused) => status(StatusCode::UNAUTHORIZED),
        Err(ProveError::Refresh(RefreshError::Unavailable)) => unavailable(sessions, parts),
        Err(ProveError::Refresh(error @ RefreshError::Refused { clear, .. })) => {
            let refusal = error.refusal();
            sessions.raise_refused(&refusal, token.as_ref());
            let mut response = answer_refused(&sessions.inner().rejection, refusal, parts);
            // Whatever the hook makes of it: browsers take any other status for something else.
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            if clear {
                cookies::append(response.headers_mut(), sessions.clearing_cookies());
            }
            response
        }
    }
}

/// The refresh token of the session that the browser names.
enum OwnToken {
    Present(RefreshToken),
    /// The request has no refresh token, or one that has expired.
    Absent,
    /// It is refused, before the store is asked.
    OfAnother,
}

fn own_token<C>(sessions: &Sessions<C>, identifier: &Identifier, headers: &HeaderMap) -> OwnToken {
    let tokens = match sessions.inner().refresh_reader.read(headers, &mut Budget::default()) {
        RefreshCookie::Valid(token) => vec![token],
        RefreshCookie::Several(tokens) | RefreshCookie::TooMany(tokens) => tokens,
        RefreshCookie::Absent | RefreshCookie::Expired => return OwnToken::Absent,
    };
    let own = tokens.into_iter().find(|token| *token.session_id == *identifier.session.as_str());
    own.map_or(OwnToken::OfAnother, OwnToken::Present)
}

fn refuse_proof<C>(sessions: &Sessions<C>, identifier: &Identifier, error: ProofError) -> Response<JsonBody> {
    sessions.raise(SessionEvent::ProofRefused { session: &identifier.session, reason: error.reason() });
    status(StatusCode::UNAUTHORIZED)
}

/// The browser tries again by itself, unless it is told that the session is over.
fn unavailable<C>(sessions: &Sessions<C>, parts: &Parts) -> Response<JsonBody> {
    sessions.raise_refused(&Refusal::Unavailable, None);
    let mut response = answer_refused(&sessions.inner().rejection, Refusal::Unavailable, parts);
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    not_stored(response)
}

fn new_challenge(device: &Device, identifier: &Identifier, proofs: u32) -> Option<String> {
    let (session, thumbprint) = (&identifier.session, identifier.key.thumbprint());
    let lifetime = device.settings.challenge_lifetime;
    device.tickets.refresh_challenge(session, &thumbprint, proofs, lifetime).ok()
}

fn instructions<C>(sessions: &Sessions<C>, device: &Device, identifier: &str) -> Response<JsonBody> {
    let inner = sessions.inner();
    let settings = &device.settings.instructions;
    let json = settings.to_json(identifier, inner.origin.public(), &inner.cookies.access);
    not_stored(json_response(StatusCode::OK, &json))
}

fn status(status: StatusCode) -> Response<JsonBody> {
    not_stored(body::status(status))
}

fn not_stored(mut response: Response<JsonBody>) -> Response<JsonBody> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Response future of [`DeviceService`].
#[must_use = "futures do nothing unless polled"]
pub struct DeviceServiceFuture {
    answer: BoxFuture<'static, Response<JsonBody>>,
}

impl Future for DeviceServiceFuture {
    type Output = Result<Response<JsonBody>, Infallible>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for DeviceServiceFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceServiceFuture").finish_non_exhaustive()
    }
}

impl<C> Clone for DeviceService<C> {
    fn clone(&self) -> Self {
        Self { sessions: self.sessions.clone() }
    }
}

impl<C> fmt::Debug for DeviceService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceService").field("sessions", &self.sessions).finish()
    }
}
