//! Establishes who makes a request: [`CookieJwtLayer`].
//!
//! The layer finds the token (`Authorization: Bearer`, `X-Access-Token`, cookie), verifies it and inserts
//! [`Claims`](crate::Claims) into the request's extensions. Requests without a valid token are answered with 401
//! (RFC 6750 §3) and never reach the inner service.
//!
//! # Examples
//!
//! The default setup, for a website with a separate authorization server:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{Claims, CookieJwtLayer, KeyRing, Verifier, token::{Issuer, NewToken}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let service = CookieJwtLayer::new(Verifier::<()>::new(keys.clone())).layer(service_fn(
//!     |request: Request<()>| async move {
//!         let claims = request.extensions().get::<Claims<()>>().expect("the layer requires claims");
//!         Ok::<_, Infallible>(Response::new(claims.subject().unwrap_or_default().to_owned()))
//!     },
//! ));
//!
//! let token = Issuer::new(keys).issue(&NewToken::access("ada", Duration::from_secs(900)), &())?;
//! let request = Request::get("/").header("cookie", format!("__Host-access={token}")).body(())?;
//! assert_eq!(service.clone().oneshot(request).await?.body(), "ada");
//!
//! let refused = service.oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(refused.headers()["www-authenticate"], "Bearer");
//! # Ok(()) }
//! ```
//!
//! Accepting anonymous visitors, and tokens only from a cookie with a custom name:
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{Claims, CookieJwtLayer, KeyRing, Verifier, token::Source};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let layer = CookieJwtLayer::new(Verifier::<()>::new(keys))
//!     .with_cookie_name("token")?
//!     .with_sources([Source::Cookie])
//!     .optional();
//! let service = layer.layer(service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.extensions().get::<Claims<()>>().is_some().to_string()))
//! }));
//! assert_eq!(service.oneshot(Request::get("/").body(())?).await?.body(), "false");
//! # Ok(()) }
//! ```

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use serde::de::DeserializeOwned;
use tower_layer::Layer;
use tower_service::Service;

use super::{exempt::Exempt, future::ResponseFuture};
use crate::{
    cookies::{DEFAULT_ACCESS_NAME, Prefix, check_name},
    error::ConfigError,
    reject::{DefaultReject, Refusal, Reject},
    request::{Authenticator, Head, Sources, is_preflight},
    session::device::is_skipped,
    token::{Source, TokenError, TokenErrorKind, Verifier},
};

/// Whether requests without valid claims are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

/// Layer that verifies a request's token and inserts its [`Claims`](crate::Claims) into the extensions.
///
/// See the [module docs](crate::layers::authenticate) for an example.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{CookieJwtLayer, KeyRing, Verifier, reject::ProblemJson};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let layer = CookieJwtLayer::new(Verifier::<()>::builder(keys).with_audience("shop").build()?)
///     .with_cookie_name("token")?
///     .with_exempt(|request| request.uri.path() == "/healthz")
///     .with_rejection(ProblemJson);
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[must_use]
pub struct CookieJwtLayer<C, R = DefaultReject> {
    /// Shared, because services are cloned for every request.
    authenticator: Arc<Authenticator<C>>,
    presence: Presence,
    exempt: Exempt,
    /// Refuses tokens whose session the store has not confirmed as live.
    session_check: bool,
    reject: R,
}

impl<C> CookieJwtLayer<C> {
    /// Creates a layer that requires a token accepted by `verifier`.
    pub fn new(verifier: Verifier<C>) -> Self {
        let cookie = [Prefix::HOST, DEFAULT_ACCESS_NAME].concat();
        Self::with_authenticator(Authenticator::new(verifier, Sources::new(cookie)).into(), false)
    }

    pub(super) const fn with_authenticator(
        authenticator: Arc<Authenticator<C>>,
        session_check: bool,
    ) -> Self {
        Self {
            authenticator,
            presence: Presence::Required,
            exempt: Exempt::none(),
            session_check,
            reject: DefaultReject,
        }
    }
}

impl<C, R> CookieJwtLayer<C, R> {
    /// Sets the name of the cookie that carries the token.
    ///
    /// Defaults to `__Host-access`, or for layers created by `Sessions` to the name in its cookie policy.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `name` is not a valid cookie name.
    pub fn with_cookie_name(mut self, name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = name.into().into_boxed_str();
        check_name(&name)?;
        Arc::make_mut(&mut self.authenticator).change_sources(|sources| sources.cookie = name);
        Ok(self)
    }

    /// Sets where to look for the token, in this order.
    ///
    /// The first source that contains a token decides: if that token is invalid, the others are not tried.
    ///
    /// Defaults to `Authorization: Bearer`, `X-Access-Token`, cookie.
    pub fn with_sources(mut self, order: impl IntoIterator<Item = Source>) -> Self {
        Arc::make_mut(&mut self.authenticator)
            .change_sources(|sources| sources.order = order.into_iter().collect());
        self
    }

    /// Lets requests without a valid token proceed without claims. An invalid token counts as none.
    ///
    /// Unsafe requests without a user need no XSRF token, because they are not made on behalf of a user. Their origin is
    /// still checked.
    ///
    /// `TokenError::from_extensions` returns the reason. Requests with ambiguous cookies are still refused.
    ///
    /// Defaults to refusing requests without a valid token with 401.
    pub const fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Exempts requests for which `predicate` returns `true`: they pass with no token check and have no claims.
    ///
    /// The predicate sees the request as the layer does. In a router that axum's `nest` has mounted under a path,
    /// that is only the remainder of the path.
    ///
    /// Defaults to no exemptions. CORS preflights always pass.
    pub fn with_exempt(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.exempt = Exempt::when(predicate);
        self
    }

    /// Sets the hook that builds the response to refused requests.
    ///
    /// Defaults to [`DefaultReject`]: the hook of the sessions, or else a bare status.
    pub fn with_rejection<T>(self, reject: T) -> CookieJwtLayer<C, T> {
        let Self { authenticator, presence, exempt, session_check, .. } = self;
        CookieJwtLayer { authenticator, presence, exempt, session_check, reject }
    }

    pub(super) fn set_presence(&mut self, presence: Presence) {
        self.presence = presence;
    }

    pub(super) fn set_exempt(&mut self, exempt: Exempt) {
        self.exempt = exempt;
    }
}

impl<S, C, R: Clone> Layer<S> for CookieJwtLayer<C, R> {
    type Service = CookieJwt<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CookieJwt {
            inner,
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<C, R: Clone> Clone for CookieJwtLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<C, R> fmt::Debug for CookieJwtLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJwtLayer")
            .field("authenticator", &self.authenticator)
            .field("presence", &self.presence)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}

/// Service created by [`CookieJwtLayer`].
///
/// See the [module docs](crate::layers::authenticate) for an example.
pub struct CookieJwt<S, C, R = DefaultReject> {
    inner: S,
    authenticator: Arc<Authenticator<C>>,
    presence: Presence,
    exempt: Exempt,
    session_check: bool,
    reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for CookieJwt<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: DeserializeOwned + Send + Sync + 'static,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let exempt = self.exempt.holds(&mut request);
        let verdict = self.check(&mut request, exempt);
        ResponseFuture::forward_or_refuse(verdict, &mut self.inner, &self.reject, request)
    }
}

impl<S, C: DeserializeOwned + Send + Sync + 'static, R> CookieJwt<S, C, R> {
    fn check(&self, request: &mut impl Head, exempt: bool) -> Result<(), Refusal> {
        if exempt || is_preflight(request) {
            self.authenticator.exempt(request, true);
            return Ok(());
        }
        let status = self.authenticator.enforce(request);
        match status.verdict {
            Ok(()) if self.session_check && !status.live => {
                crate::trace::layer_missing("a session check", "RefreshLayer");
                Err(Refusal::Unavailable)
            }
            Ok(()) => Ok(()),
            Err(TokenErrorKind::KeysUnavailable) => Err(Refusal::Unavailable),
            Err(kind) if self.presence == Presence::Optional && kind != TokenErrorKind::Ambiguous => Ok(()),
            // The browser says that it could not renew the cookie: it is to come again, not to be sent to the login page.
            Err(TokenErrorKind::ProofRequired) if is_skipped(request.headers()) => Err(Refusal::Unavailable),
            Err(kind) => Err(Refusal::Token(TokenError::new(kind))),
        }
    }
}

impl<S: Clone, C, R: Clone> Clone for CookieJwt<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for CookieJwt<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJwt")
            .field("inner", &self.inner)
            .field("authenticator", &self.authenticator)
            .field("presence", &self.presence)
            .finish_non_exhaustive()
    }
}
