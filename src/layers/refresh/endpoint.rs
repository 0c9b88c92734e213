//! The refresh service.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
};
use http_body::Body;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use tower_service::Service;

use super::plan::report_ambiguous;
use crate::{
    clock::unix_seconds,
    cookies,
    layers::{
        body::{CollectError, JsonBody, collect, json_response, status},
        future::BoxFuture,
    },
    reject::{Refusal, answer_refused},
    request::{RefreshCookie, RefreshToken, cookie_values},
    session::{Narrowing, RefreshError, Sessions, device::is_skipped},
    token::{Budget, Claims, Scopes, TokenErrorKind},
};

/// Service that exchanges the refresh cookie for new tokens.
///
/// Mount it at `POST /api/refresh`, outside the layers. It responds with 200, the body `{"expiresAt", "xsrfToken"}`
/// and the new cookies, or with problem details (RFC 9457), unless the sessions have a
/// [rejection hook](crate::session::SessionsBuilder::with_rejection): 401 without a refresh cookie of a live session, 403
/// if the request comes from another origin, 503 while the store is unavailable.
///
/// A form field `scope` requests an access token with fewer scopes (RFC 6749 §6). That token is only in the response
/// body, as `access_token`; the session, its granted scopes and its cookies do not change. A request for scopes that
/// were not granted is answered with 400 `invalid_scope`.
///
/// Created by [`Sessions::refresh_service`].
///
/// # Examples
///
/// ```
/// use http::{Request, Response, StatusCode};
/// use tower::ServiceExt;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
///
/// let (parts, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
/// let mut response = Response::new(());
/// sessions.sign_in(&parts, "ada", ()).await?.append_to(response.headers_mut());
/// let cookies = response.headers().get_all("set-cookie").iter();
/// let cookies: Vec<_> = cookies.map(|c| c.to_str().unwrap().split(';').next().unwrap()).collect();
///
/// let request = Request::post("/api/refresh").header("cookie", cookies.join("; ")).body(String::new())?;
/// assert_eq!(sessions.refresh_service().oneshot(request).await?.status(), StatusCode::OK);
///
/// let without = Request::post("/api/refresh").body(String::new())?;
/// assert_eq!(sessions.refresh_service().oneshot(without).await?.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
pub struct RefreshService<C> {
    sessions: Sessions<C>,
}

impl<C> RefreshService<C> {
    pub(in crate::layers) const fn new(sessions: Sessions<C>) -> Self {
        Self { sessions }
    }
}

impl<C, B> Service<Request<B>> for RefreshService<C>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Send,
{
    type Response = Response<JsonBody>;
    type Error = Infallible;
    type Future = RefreshServiceFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> RefreshServiceFuture {
        let sessions = self.sessions.clone();
        let (parts, body) = request.into_parts();
        RefreshServiceFuture { answer: Box::pin(async move { answer(&sessions, &parts, body).await }) }
    }
}

async fn answer<C, B>(sessions: &Sessions<C>, parts: &Parts, body: B) -> Response<JsonBody>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
    B: Body + Send,
{
    if parts.method != Method::POST {
        let mut response = status(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    if let Err(error) = sessions.inner().origin.check(parts) {
        return refused(sessions, parts, Refusal::Origin(error), None);
    }
    let token = match presented(sessions, &parts.headers).await {
        Ok(token) => token,
        Err(error) => return not_refreshed(sessions, parts, error, None),
    };
    let held = held(sessions, &parts.headers, &token);
    let answer = match form_scope(&parts.headers, body).await {
        Ok(None) => rotate(sessions, &token, held.as_ref()).await,
        Ok(Some(scope)) => narrow(sessions, &token, &scope, held.as_ref()).await,
        Err(FormError::TooLarge) => return status(StatusCode::PAYLOAD_TOO_LARGE),
        Err(FormError::Unreadable) => return oauth_error("invalid_request"),
        Err(FormError::InvalidScope) => return oauth_error("invalid_scope"),
    };
    let answer = match answer {
        Err(RefreshError::UNPROVEN) if is_skipped(&parts.headers) => Err(RefreshError::Unavailable),
        answer => answer,
    };
    answer.unwrap_or_else(|error| not_refreshed(sessions, parts, error, Some(&token)))
}

/// Returns the claims of the access token that the client has by a proof: the browser has renewed it before the request
/// arrives.
fn held<C>(sessions: &Sessions<C>, headers: &HeaderMap, token: &RefreshToken) -> Option<Claims<C>>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    sessions.inner().device.as_ref()?;
    let held = sessions.inner().authenticator.peek_each(headers, Budget::default());
    let is_own = |claims: &Claims<C>| claims.session_id() == Some(&*token.session_id);
    held.into_iter().find(|claims| is_own(claims) && claims.proof_time().is_some())
}

async fn presented<C>(sessions: &Sessions<C>, headers: &HeaderMap) -> Result<RefreshToken, RefreshError> {
    let inner = sessions.inner();
    let kind = match inner.refresh_reader.read(headers, &mut Budget::default()) {
        RefreshCookie::Valid(token) => return Ok(token),
        RefreshCookie::Expired => TokenErrorKind::Expired,
        RefreshCookie::Several(tokens) => {
            return sessions.only_live(tokens).await?.ok_or(RefreshError::ENDED);
        }
        RefreshCookie::TooMany(tokens) => {
            report_ambiguous(sessions, &tokens);
            TokenErrorKind::Ambiguous
        }
        RefreshCookie::Absent if cookie_values(headers, &inner.cookies.refresh.name).next().is_some() => {
            TokenErrorKind::BadSignature
        }
        RefreshCookie::Absent => TokenErrorKind::Missing,
    };
    Err(RefreshError::Refused { kind, clear: kind == TokenErrorKind::Expired })
}

async fn rotate<C>(
    sessions: &Sessions<C>,
    token: &RefreshToken,
    held: Option<&Claims<C>>,
) -> Result<Response<JsonBody>, RefreshError>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let body =
        |expires_at: u64, xsrf_token: &str| json!({ "expiresAt": expires_at, "xsrfToken": xsrf_token });
    let issued = match (sessions.exchange_at_once(token, held.is_none()).await, held) {
        (Ok(None) | Err(RefreshError::UNPROVEN), Some(held)) => {
            let body = body(held.expires_at_unix(), held.xsrf_token().unwrap_or_default());
            let mut response = json_response(StatusCode::OK, &body);
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            return Ok(response);
        }
        // It comes again with what the proof has brought, and need not sign in.
        (issued, _) => issued?.ok_or_else(RefreshError::too_late)?,
    };
    let body = body(unix_seconds(issued.expires_at), issued.xsrf_token());
    let mut response = json_response(StatusCode::OK, &body);
    cookies::append(response.headers_mut(), issued.into_cookies());
    Ok(response)
}

async fn narrow<C>(
    sessions: &Sessions<C>,
    token: &RefreshToken,
    scope: &Scopes,
    held: Option<&Claims<C>>,
) -> Result<Response<JsonBody>, RefreshError>
where
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    let narrow = match sessions.narrow(token, scope, held).await? {
        Narrowing::Granted(narrow) => narrow,
        Narrowing::NotNarrower => return rotate(sessions, token, held).await,
        Narrowing::Exceeds => return Ok(oauth_error("invalid_scope")),
    };
    let mut response = json_response(
        StatusCode::OK,
        &json!({
            "access_token": narrow.access_token,
            "token_type": "Bearer",
            "expires_in": narrow.expires_in,
            "expiresAt": narrow.expires_at,
            "scope": scope.as_str(),
        }),
    );
    // Required because the body contains a token (RFC 6749 §5.1).
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn refused<C>(
    sessions: &Sessions<C>,
    parts: &Parts,
    refusal: Refusal,
    token: Option<&RefreshToken>,
) -> Response<JsonBody> {
    sessions.raise_refused(&refusal, token);
    answer_refused(&sessions.inner().rejection, refusal, parts)
}

fn not_refreshed<C>(
    sessions: &Sessions<C>,
    parts: &Parts,
    error: RefreshError,
    token: Option<&RefreshToken>,
) -> Response<JsonBody> {
    let mut response = refused(sessions, parts, error.refusal(), token);
    if let RefreshError::Refused { clear: true, .. } = error {
        cookies::append(response.headers_mut(), sessions.clearing_cookies());
    }
    response
}

/// Returns an error response as specified in RFC 6749 §5.2.
fn oauth_error(error: &str) -> Response<JsonBody> {
    json_response(StatusCode::BAD_REQUEST, &json!({ "error": error }))
}

/// Response future of [`RefreshService`].
#[must_use = "futures do nothing unless polled"]
pub struct RefreshServiceFuture {
    answer: BoxFuture<'static, Response<JsonBody>>,
}

impl Future for RefreshServiceFuture {
    type Output = Result<Response<JsonBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.answer.as_mut().poll(cx).map(Ok)
    }
}

impl fmt::Debug for RefreshServiceFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshServiceFuture").finish_non_exhaustive()
    }
}

impl<C> Clone for RefreshService<C> {
    fn clone(&self) -> Self {
        Self { sessions: self.sessions.clone() }
    }
}

impl<C> fmt::Debug for RefreshService<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshService").field("sessions", &self.sessions).finish()
    }
}

#[derive(Debug, PartialEq, Eq)]
enum FormError {
    TooLarge,
    /// The body ended with an error, or contains `scope` more than once.
    Unreadable,
    InvalidScope,
}

/// Reads the `scope` field of the form; `None` if it is absent or empty, or if the body is not a form.
async fn form_scope<B: Body>(headers: &HeaderMap, body: B) -> Result<Option<Scopes>, FormError> {
    if !is_form(headers) {
        return Ok(None);
    }
    let bytes = collect(body, MAX_FORM).await.map_err(|error| match error {
        CollectError::TooLarge => FormError::TooLarge,
        CollectError::Broken => FormError::Unreadable,
    })?;
    let mut scopes = form_urlencoded::parse(&bytes).filter(|(name, _)| name == "scope");
    let Some((_, scope)) = scopes.next() else {
        return Ok(None);
    };
    if scopes.next().is_some() {
        return Err(FormError::Unreadable); // RFC 6749 §3.2 forbids repeated parameters
    }
    let scope = Scopes::new(scope).map_err(|_| FormError::InvalidScope)?;
    Ok((!scope.is_empty()).then_some(scope))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

const MAX_FORM: usize = 4096;
