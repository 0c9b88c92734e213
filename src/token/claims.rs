use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use super::{
    registered::Registered,
    scope::{self, InsufficientScope, Scopes},
    xsrf::{self, XsrfError},
};
use crate::{clock::from_epoch, keys::Epoch};

/// Where a request's token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// `Authorization: Bearer` (RFC 6750 §2.1).
    Bearer,
    /// The `X-Access-Token` header.
    AccessTokenHeader,
    /// The access cookie: ambient, so unsafe requests must prove themselves (`XsrfLayer`).
    Cookie,
}

/// The verified claims of a token: the registered ones by accessor, the application's own as `C`.
///
/// Cheap to clone, and without `C: Clone`. The layers put it into the request's extensions; the
/// `axum` feature makes it an extractor.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_cookie_jwt::Claims;
/// # #[derive(serde::Deserialize)] struct User { name: String }
///
/// fn greet<B>(request: &Request<B>) -> String {
///     match request.extensions().get::<Claims<User>>() {
///         Some(claims) => format!("Hello, {}", claims.custom().name),
///         None => "Hello, stranger".to_owned(),
///     }
/// }
/// # assert_eq!(greet(&Request::new(())), "Hello, stranger");
/// ```
pub struct Claims<C> {
    verified: Arc<Verified<C>>,
    source: Source,
    /// False for claims that a refresh has just granted: the client does not hold their token yet.
    presented: bool,
}

/// What the cache asks on each hit comes first, so that it is found where the reference count is.
#[repr(C)]
pub(crate) struct Verified<C: ?Sized> {
    /// By which keys; what is known of a token counts while they are in use.
    pub(crate) epoch: Epoch,
    /// The store knows that the client holds the cookies of this generation.
    pub(super) confirmed: AtomicBool,
    pub(crate) registered: Registered,
    pub(crate) custom: C,
}

impl<C> Verified<C> {
    pub(super) fn new(epoch: Epoch, registered: Registered, custom: C) -> Self {
        Self { epoch, confirmed: AtomicBool::new(false), registered, custom }
    }
}

/// Verified claims whose application type has been erased.
pub(crate) type ErasedClaims = Arc<Verified<dyn Any + Send + Sync>>;

impl<C> Claims<C> {
    /// Claims that have been verified, of a token that was found here.
    pub(super) const fn of(verified: Arc<Verified<C>>, source: Source) -> Self {
        Self { verified, source, presented: true }
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.verified.registered
    }

    /// The same claims, granted by a refresh: the request counts as authenticated by cookie.
    pub(crate) fn granted(mut self) -> Self {
        self.source = Source::Cookie;
        self.presented = false;
        self
    }

    /// Whether the store has recorded that the client holds the cookies of this generation. All claims of one
    /// token share the answer for as long as the token is cached.
    pub(crate) fn is_confirmed(&self) -> bool {
        self.verified.confirmed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_confirmed(&self) {
        self.verified.confirmed.store(true, Ordering::Relaxed);
    }

    /// Whether the client has presented this token, in whatever way.
    pub(crate) const fn is_presented(&self) -> bool {
        self.presented
    }

    /// Whether the client has shown that it holds a cookie with this token.
    pub(crate) fn is_held_in_cookie(&self) -> bool {
        self.presented && self.source == Source::Cookie
    }

    /// The application's own claims.
    pub fn custom(&self) -> &C {
        &self.verified.custom
    }

    /// Where the token was found.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// `sub`: whom the token is about.
    pub fn subject(&self) -> Option<&str> {
        self.registered().subject()
    }

    /// `iss`: who issued the token.
    pub fn issuer(&self) -> Option<&str> {
        self.registered().issuer()
    }

    /// `aud`: whom the token is for; empty when it does not say.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered().audience()
    }

    /// `exp`: when the token expires.
    pub fn expires_at(&self) -> SystemTime {
        from_epoch(self.registered().expires_at.0)
    }

    /// `exp` in whole seconds since the epoch.
    pub fn expires_at_unix(&self) -> u64 {
        self.registered().expires_at.0.as_secs()
    }

    /// `nbf`: when the token becomes valid.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.registered().not_before.map(|date| from_epoch(date.0))
    }

    /// `iat`: when the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered().issued_at.map(|date| from_epoch(date.0))
    }

    /// `auth_time`: when the user signed in (OpenID Connect Core §2).
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered().authenticated_at.map(|date| from_epoch(date.0))
    }

    /// `jti`: the id of the token.
    pub fn token_id(&self) -> Option<&str> {
        self.registered().token_id()
    }

    /// `sid`: the session that the token belongs to.
    pub fn session_id(&self) -> Option<&str> {
        self.registered().session_id()
    }

    /// `gen`: how often the session had been rotated when the token was issued.
    pub fn generation(&self) -> Option<u32> {
        self.registered().generation
    }

    /// Whether the token was granted exactly this scope (`scope`, RFC 8693 §4.2).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope().is_some_and(|list| scope::list_contains(list, scope))
    }

    /// Demands a scope.
    ///
    /// # Errors
    ///
    /// [`InsufficientScope`] when the token was not granted it.
    pub fn require_scope(&self, scope: &str) -> Result<(), InsufficientScope> {
        if self.has_scope(scope) { Ok(()) } else { Err(InsufficientScope::of(scope)) }
    }

    /// `scope` as a set; empty when the token does not say.
    pub fn scopes(&self) -> Scopes {
        Scopes::granted(self.scope().unwrap_or_default())
    }

    /// `scope` as it stands in the token: the granted scopes, separated by spaces.
    pub fn scope(&self) -> Option<&str> {
        self.registered().scope()
    }

    /// The XSRF token of the session, to be given to the page's own script. For a page that is
    /// compressed and reflects input, take [`masked_xsrf_token`](Self::masked_xsrf_token).
    pub fn xsrf_token(&self) -> Option<&str> {
        self.registered().xsrf_token()
    }

    /// The XSRF token under a fresh one-time pad, different on each call: for a hidden field or a
    /// `<meta>` of a page, where BREACH could guess a value that stays the same.
    ///
    /// `None` when there is none, or when another issuer made it in another shape.
    pub fn masked_xsrf_token(&self) -> Option<String> {
        self.xsrf_token().and_then(xsrf::mask)
    }

    /// Checks an XSRF token that came by another way than the header, such as a form field.
    ///
    /// Accepts the plain and the masked shape, and compares in constant time.
    ///
    /// # Errors
    ///
    /// [`XsrfError`] when the value is not that of the session, is empty, or the claim is absent.
    pub fn verify_xsrf(&self, presented: &str) -> Result<(), XsrfError> {
        xsrf::verify(self.registered(), presented.as_bytes()).map_err(XsrfError::new)
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    pub(crate) fn erase(&self) -> ErasedClaims {
        self.verified.clone()
    }

    /// Whether these are the very claims that were erased.
    pub(crate) fn is(&self, erased: &ErasedClaims) -> bool {
        std::ptr::addr_eq(Arc::as_ptr(&self.verified), Arc::as_ptr(erased))
    }
}

impl<C> Clone for Claims<C> {
    fn clone(&self) -> Self {
        Self { verified: self.verified.clone(), source: self.source, presented: self.presented }
    }
}

impl<C> fmt::Debug for Claims<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("subject", &self.subject())
            .field("source", &self.source)
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}
