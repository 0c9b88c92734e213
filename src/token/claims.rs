use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::SystemTime,
};

use super::{
    asked::Asked,
    registered::Registered,
    scope::{self, InsufficientScope, Scopes},
    xsrf::{self, XsrfError},
};
use crate::{clock::from_epoch, keys::Epoch};

/// The part of a request in which its token was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The `Authorization: Bearer` header (RFC 6750 §2.1).
    Bearer,
    /// The `X-Access-Token` header.
    AccessTokenHeader,
    /// The access cookie. Browsers attach it to any request, so unsafe requests also need an XSRF token
    /// (`XsrfLayer`).
    Cookie,
}

/// The verified claims of a token: registered claims through accessors, the application's custom claims as `C`.
///
/// Cheap to clone, even if `C` is not `Clone`. The layers insert it into the request's extensions, and with the
/// `axum` feature it is an extractor.
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
    /// `false` for claims that a refresh has just granted, since the client does not have their token yet.
    presented: bool,
}

/// The verified content of a token.
///
/// The fields that the cache reads on every hit come first, to share a cache line with the reference count.
#[repr(C)]
pub(crate) struct Verified<C: ?Sized> {
    /// The epoch of the keys that verified the token. The claims may be reused only while it lasts.
    pub(crate) epoch: Epoch,
    /// The round in which the store has recorded this generation as confirmed; none is 0.
    pub(super) confirmed_in: AtomicU32,
    /// What the store has said about the session.
    asked: Asked,
    pub(crate) registered: Registered,
    pub(crate) custom: C,
}

impl<C> Verified<C> {
    pub(super) fn new(epoch: Epoch, registered: Registered, custom: C) -> Self {
        Self { epoch, confirmed_in: AtomicU32::new(0), asked: Asked::default(), registered, custom }
    }
}

/// Verified claims with a type-erased application type.
pub(crate) type ErasedClaims = Arc<Verified<dyn Any + Send + Sync>>;

impl<C> Claims<C> {
    /// Creates the claims of a verified token that was found in `source`.
    pub(super) const fn of(verified: Arc<Verified<C>>, source: Source) -> Self {
        Self { verified, source, presented: true }
    }

    pub(crate) fn registered(&self) -> &Registered {
        &self.verified.registered
    }

    /// Marks the claims as granted by a refresh. The request counts as authenticated by a cookie.
    pub(crate) fn granted(mut self) -> Self {
        self.source = Source::Cookie;
        self.presented = false;
        self
    }

    /// Returns `true` if the store is known to have recorded this generation as confirmed.
    ///
    /// What is known in one round does not count in the next, since the store may have lost writes. It is shared by all
    /// claims of the same token for as long as the token is cached.
    pub(crate) fn is_confirmed(&self, round: u32) -> bool {
        self.verified.confirmed_in.load(Ordering::Relaxed) == round
    }

    pub(crate) fn set_confirmed(&self, round: u32) {
        self.verified.confirmed_in.store(round, Ordering::Relaxed);
    }

    /// Returns what the store has said about the session of this token.
    pub(crate) fn asked(&self) -> &Asked {
        &self.verified.asked
    }

    /// Whether the client has presented this token, in whatever way.
    pub(crate) const fn is_presented(&self) -> bool {
        self.presented
    }

    /// Whether the client has shown that it holds a cookie with this token.
    pub(crate) fn is_held_in_cookie(&self) -> bool {
        self.presented && self.source == Source::Cookie
    }

    /// Returns the application's custom claims.
    pub fn custom(&self) -> &C {
        &self.verified.custom
    }

    /// Returns the part of the request in which the token was found.
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Returns `sub`, the user or other party that the token is about.
    pub fn subject(&self) -> Option<&str> {
        self.registered().subject()
    }

    /// Returns `iss`, the issuer of the token.
    pub fn issuer(&self) -> Option<&str> {
        self.registered().issuer()
    }

    /// Returns `aud`, the audiences that the token is for; empty if the claim is absent.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.registered().audience()
    }

    /// Returns `exp`, the time at which the token expires.
    pub fn expires_at(&self) -> SystemTime {
        from_epoch(self.registered().expires_at.0)
    }

    /// Returns `exp` in whole seconds since the Unix epoch.
    pub fn expires_at_unix(&self) -> u64 {
        self.registered().expires_at.0.as_secs()
    }

    /// Returns `nbf`, the time at which the token becomes valid.
    pub fn not_before(&self) -> Option<SystemTime> {
        self.registered().not_before.map(|date| from_epoch(date.0))
    }

    /// Returns `iat`, the time at which the token was issued.
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered().issued_at.map(|date| from_epoch(date.0))
    }

    /// Returns `auth_time`, the time at which the user signed in (OpenID Connect Core §2).
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.registered().authenticated_at.map(|date| from_epoch(date.0))
    }

    /// Returns `jti`, the id of the token.
    pub fn token_id(&self) -> Option<&str> {
        self.registered().token_id()
    }

    /// Returns `sid`, the id of the session that the token belongs to.
    pub fn session_id(&self) -> Option<&str> {
        self.registered().session_id()
    }

    /// Returns `gen`, the number of times the session had been rotated when the token was issued.
    pub fn generation(&self) -> Option<u32> {
        self.registered().generation
    }

    /// Returns `proof_time`, the time at which the device that the session is bound to last proved that it holds its key;
    /// `None` if the token was issued without a proof. See
    /// [`with_device_binding`](crate::session::SessionsBuilder::with_device_binding).
    pub fn proof_time(&self) -> Option<SystemTime> {
        self.registered().proof_time.map(|date| from_epoch(date.0))
    }

    /// Returns `true` if the `scope` claim contains exactly this scope (RFC 8693 §4.2).
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope().is_some_and(|list| scope::list_contains(list, scope))
    }

    /// Checks that the token was granted a scope.
    ///
    /// # Errors
    ///
    /// Returns an [`InsufficientScope`] error if the `scope` claim does not contain it.
    pub fn require_scope(&self, scope: &str) -> Result<(), InsufficientScope> {
        if self.has_scope(scope) { Ok(()) } else { Err(InsufficientScope::of(scope)) }
    }

    /// Returns the scopes of the `scope` claim as a set; empty if the claim is absent.
    pub fn scopes(&self) -> Scopes {
        Scopes::granted(self.scope().unwrap_or_default())
    }

    /// Returns the `scope` claim verbatim: the granted scopes, separated by spaces.
    pub fn scope(&self) -> Option<&str> {
        self.registered().scope()
    }

    /// Returns the XSRF token of the session, to be given to the page's own script.
    ///
    /// For pages that are compressed and reflect input, use [`masked_xsrf_token`](Self::masked_xsrf_token).
    pub fn xsrf_token(&self) -> Option<&str> {
        self.registered().xsrf_token()
    }

    /// Returns the XSRF token masked with a fresh one-time pad.
    ///
    /// The value differs on each call. Use it in a hidden field or a `<meta>` element of a page, where the BREACH
    /// attack could guess a constant value.
    ///
    /// Returns `None` if there is no XSRF token, or if it has another format, as tokens of other issuers may.
    pub fn masked_xsrf_token(&self) -> Option<String> {
        self.xsrf_token().and_then(xsrf::mask)
    }

    /// Checks an XSRF token that was not sent in the header but, for example, in a form field.
    ///
    /// Accepts the token both plain and masked, and compares it in constant time.
    ///
    /// # Errors
    ///
    /// Returns an [`XsrfError`] if the value does not match the session's, if it is empty, or if the claim is absent.
    pub fn verify_xsrf(&self, presented: &str) -> Result<(), XsrfError> {
        xsrf::verify(self.registered(), presented.as_bytes()).map_err(XsrfError::new)
    }
}

impl<C: Send + Sync + 'static> Claims<C> {
    pub(crate) fn erase(&self) -> ErasedClaims {
        self.verified.clone()
    }

    /// Returns `true` if `erased` was created from these claims, not just from equal ones.
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
