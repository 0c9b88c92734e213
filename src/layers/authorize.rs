//! Checks what a signed-in user may do: [`RequireLayer`].
//!
//! The layer belongs inside a `CookieJwtLayer`, on routes that require more than a signed-in user: a scope, a role,
//! or a recent sign-in. It refuses requests with 403 (`insufficient_scope`, or `access_denied` by a predicate), or with
//! 401 if the user has to sign in again (RFC 9470).
//!
//! # Examples
//!
//! Requiring a scope:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_cookie_jwt::{
//!     CookieJwtLayer, KeyRing, RequireLayer, Verifier,
//!     token::{Issuer, NewToken, Scopes},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let service = ServiceBuilder::new()
//!     .layer(CookieJwtLayer::new(Verifier::<()>::new(keys.clone())))
//!     .layer(RequireLayer::<()>::scope("orders:write")?)
//!     .service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
//!
//! let reader = NewToken::access("ada", Duration::from_secs(900)).with_scope(Scopes::new("orders:read")?);
//! let token = Issuer::new(keys).issue(&reader, &())?;
//! let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(())?;
//! let refused = service.oneshot(request).await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! assert_eq!(refused.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="orders:write""#);
//! # Ok(()) }
//! ```
//!
//! Requiring an application-defined role and a recent sign-in:
//!
//! ```
//! use std::time::Duration;
//! use tower_cookie_jwt::{Claims, RequireLayer};
//!
//! struct User { roles: Vec<String> }
//!
//! let admins = RequireLayer::new(|claims: &Claims<User>| claims.custom().roles.iter().any(|role| role == "admin"))
//!     .and_recent_sign_in(Duration::from_secs(600));
//! ```

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::{
    clock::{Clock, SharedClock, since_epoch},
    reject::{DefaultReject, ProveAgain, Refusal, Reject},
    request::{AuthState, is_preflight},
    token::{
        Claims, InsufficientScope, InvalidScope, Scopes, Source, StaleSignIn, TokenError, TokenErrorKind,
    },
};

/// Layer that refuses requests of signed-in users who lack a scope, a role or a recent sign-in.
///
/// See the [module docs](crate::layers::authorize) for an example.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{Claims, RequireLayer};
///
/// struct User { roles: Vec<String> }
///
/// let clerks = RequireLayer::new(|claims: &Claims<User>| claims.custom().roles.iter().any(|role| role == "clerk"))
///     .and_scope("orders:write")?
///     .and_recent_sign_in(Duration::from_secs(600));
/// # Ok::<(), tower_cookie_jwt::token::InvalidScope>(())
/// ```
#[must_use]
pub struct RequireLayer<C, R = DefaultReject> {
    demands: Demands<C>,
    reject: R,
}

/// The conditions, all of which must hold; the first that does not determines the refusal.
struct Demands<C> {
    list: Vec<Demand<C>>,
    clock: SharedClock,
}

enum Demand<C> {
    Scope(Scopes),
    Predicate(Arc<Predicate<C>>),
    RecentSignIn(Duration),
    DeviceBound,
    RecentProof(Duration),
}

type Predicate<C> = dyn Fn(&Claims<C>) -> bool + Send + Sync;

impl<C> RequireLayer<C> {
    /// Creates a layer that refuses requests with 403 `access_denied` unless `predicate` holds for their claims.
    ///
    /// Use it to require a role, for example.
    pub fn new(predicate: impl Fn(&Claims<C>) -> bool + Send + Sync + 'static) -> Self {
        Self::with(Demand::Predicate(Arc::new(predicate)))
    }

    /// Creates a layer that refuses requests with 403 unless the token has `scope`, or all of several scopes
    /// separated by spaces.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidScope`] if `scope` names no scope or contains characters that a scope may not contain.
    pub fn scope(scope: &str) -> Result<Self, InvalidScope> {
        Ok(Self::with(Demand::Scope(Scopes::demanded(scope)?)))
    }

    /// Creates a layer that refuses requests with 401 `insufficient_user_authentication` unless the user signed in at
    /// most `max_age` ago.
    pub fn recent_sign_in(max_age: Duration) -> Self {
        Self::with(Demand::RecentSignIn(max_age))
    }

    /// Creates a layer that refuses requests with 403 `device_binding_required` unless their session is bound to a device,
    /// and their access token was issued by a proof.
    ///
    /// It says that the holder of a key that was registered right after the sign-in has renewed the token, not that the
    /// device can be trusted. Requires
    /// [`with_device_binding`](crate::session::SessionsBuilder::with_device_binding).
    pub fn device_bound() -> Self {
        Self::with(Demand::DeviceBound)
    }

    /// Creates a layer that also demands that the device proved itself at most `max_age` ago.
    ///
    /// Otherwise the request is answered with 307 to itself, which clears the access cookie: the browser proves itself, and
    /// sends the request again, with its body. Browsers prove themselves six times in nine minutes at most, so a short age
    /// is for rare requests.
    pub fn recent_device_proof(max_age: Duration) -> Self {
        Self::with(Demand::RecentProof(max_age))
    }

    fn with(demand: Demand<C>) -> Self {
        Self { demands: Demands { list: vec![demand], clock: SharedClock::default() }, reject: DefaultReject }
    }
}

impl<C, R> RequireLayer<C, R> {
    /// Also refuses requests with 403 `access_denied` unless `predicate` holds for their claims.
    pub fn and(mut self, predicate: impl Fn(&Claims<C>) -> bool + Send + Sync + 'static) -> Self {
        self.demands.list.push(Demand::Predicate(Arc::new(predicate)));
        self
    }

    /// Also requires `scope`, or all of several scopes separated by spaces.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidScope`] if `scope` names no scope or contains characters that a scope may not contain.
    pub fn and_scope(mut self, scope: &str) -> Result<Self, InvalidScope> {
        self.demands.list.push(Demand::Scope(Scopes::demanded(scope)?));
        Ok(self)
    }

    /// Also requires that the user signed in at most `max_age` ago.
    pub fn and_recent_sign_in(mut self, max_age: Duration) -> Self {
        self.demands.list.push(Demand::RecentSignIn(max_age));
        self
    }

    /// Also requires a session that is bound to a device; see [`device_bound`](RequireLayer::device_bound).
    pub fn and_device_bound(mut self) -> Self {
        self.demands.list.push(Demand::DeviceBound);
        self
    }

    /// Also requires a recent proof of the device; see [`recent_device_proof`](RequireLayer::recent_device_proof).
    pub fn and_recent_device_proof(mut self, max_age: Duration) -> Self {
        self.demands.list.push(Demand::RecentProof(max_age));
        self
    }

    /// Uses `clock` as the source of time.
    ///
    /// Defaults to the operating system's clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.demands.clock = SharedClock::new(clock);
        self
    }

    /// Sets the hook that builds the response to refused requests.
    ///
    /// Defaults to [`DefaultReject`]: the hook of the sessions, or else a bare status.
    pub fn with_rejection<T>(self, reject: T) -> RequireLayer<C, T> {
        RequireLayer { demands: self.demands, reject }
    }
}

impl<C> Demands<C> {
    fn check<B>(&self, claims: &Claims<C>, request: &Request<B>) -> Result<(), Refusal> {
        self.list.iter().try_for_each(|demand| demand.check(claims, request, self.clock.now()))
    }
}

impl<C> Demand<C> {
    fn check<B>(&self, claims: &Claims<C>, request: &Request<B>, now: SystemTime) -> Result<(), Refusal> {
        let is_recent = |time: SystemTime, max_age: Duration| {
            since_epoch(now).saturating_sub(since_epoch(time)) <= max_age
        };
        match self {
            Self::Scope(scopes) if scopes.iter().all(|scope| claims.has_scope(scope)) => Ok(()),
            Self::Scope(scopes) => Err(InsufficientScope::of(scopes.as_str()).into()),
            Self::Predicate(predicate) if predicate(claims) => Ok(()),
            Self::Predicate(_) => Err(Refusal::AccessDenied),
            Self::RecentSignIn(max_age) => {
                let recent = claims.authenticated_at().is_some_and(|time| is_recent(time, *max_age));
                if recent { Ok(()) } else { Err(StaleSignIn::new(*max_age).into()) }
            }
            Self::DeviceBound if claims.proof_time().is_some() => Ok(()),
            Self::DeviceBound => Err(Refusal::DeviceBinding),
            Self::RecentProof(max_age) => match claims.proof_time() {
                Some(time) if is_recent(time, *max_age) => Ok(()),
                Some(_) if claims.source() == Source::Cookie => {
                    let clear =
                        AuthState::clear_access(request.extensions()).ok_or(Refusal::DeviceBinding)?;
                    Err(Refusal::ProveAgain(ProveAgain::at(request.uri(), clear.clone())))
                }
                // No browser holds back a request whose token is in a header.
                Some(_) | None => Err(Refusal::DeviceBinding),
            },
        }
    }
}

impl<S, C, R: Clone> Layer<S> for RequireLayer<C, R> {
    type Service = Require<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Require { inner, demands: self.demands.clone(), reject: self.reject.clone() }
    }
}

impl<C> Clone for Demand<C> {
    fn clone(&self) -> Self {
        match self {
            Self::Scope(scopes) => Self::Scope(scopes.clone()),
            Self::Predicate(predicate) => Self::Predicate(predicate.clone()),
            Self::RecentSignIn(max_age) => Self::RecentSignIn(*max_age),
            Self::DeviceBound => Self::DeviceBound,
            Self::RecentProof(max_age) => Self::RecentProof(*max_age),
        }
    }
}

impl<C> Clone for Demands<C> {
    fn clone(&self) -> Self {
        Self { list: self.list.clone(), clock: self.clock.clone() }
    }
}

impl<C, R: Clone> Clone for RequireLayer<C, R> {
    fn clone(&self) -> Self {
        Self { demands: self.demands.clone(), reject: self.reject.clone() }
    }
}

impl<C, R> fmt::Debug for RequireLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLayer").field("demands", &self.demands.list.len()).finish_non_exhaustive()
    }
}

/// Service created by [`RequireLayer`].
///
/// See the [module docs](crate::layers::authorize) for an example.
pub struct Require<S, C, R = DefaultReject> {
    inner: S,
    demands: Demands<C>,
    reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for Require<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    C: Send + Sync + 'static,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<ReqBody>) -> Self::Future {
        let verdict = if is_preflight(&request) { Ok(()) } else { self.check(&request) };
        ResponseFuture::forward_or_refuse(verdict, &mut self.inner, &self.reject, request)
    }
}

impl<S, C: Send + Sync + 'static, R> Require<S, C, R> {
    fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let extensions = request.extensions();
        // Called only to log a missing layer: claims that are present are evaluated either way.
        let _ = AuthState::enforced(extensions, "a RequireLayer");
        match extensions.get::<Claims<C>>() {
            Some(claims) => self.demands.check(claims, request),
            None => {
                let reason = TokenError::from_extensions(extensions).cloned();
                Err(Refusal::Token(reason.unwrap_or(TokenErrorKind::Missing.into())))
            }
        }
    }
}

impl<S: Clone, C, R: Clone> Clone for Require<S, C, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), demands: self.demands.clone(), reject: self.reject.clone() }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for Require<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Require").field("inner", &self.inner).finish_non_exhaustive()
    }
}
