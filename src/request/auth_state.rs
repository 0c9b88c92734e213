//! Who makes a request, as far as the layers know: the one extension that they share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::{Extensions, HeaderMap};

use super::{cookies::cookie_values, refresh_token::RefreshCookie, sources::Sources};
#[cfg(any(feature = "axum", feature = "tonic"))]
use crate::token::Claims;
use crate::{
    token::{Budget, ErasedClaims, Source, TokenError, TokenErrorKind, VerifierId},
    trace,
};

/// The outcome of looking for a request's token, and the verifier that decided it.
///
/// Only the identical verifier reuses an outcome, so a router with other keys or another audience never takes over
/// claims that were accepted elsewhere.
#[derive(Clone)]
pub(crate) struct AuthState {
    pub(super) verifier: VerifierId,
    pub(super) sources: Arc<Sources>,
    pub(super) outcome: AuthOutcome,
    pub(super) carrier: Carrier,
    /// The refresh cookie, where it had to be read already.
    pub(super) refresh: Option<Box<RefreshCookie>>,
    pub(super) budget: Budget,
    /// The store has confirmed that the session is live.
    pub(super) live: bool,
    /// `CookieJwtLayer` has acted on the outcome.
    pub(super) enforced: Flag,
    /// An `XsrfLayer` has found that the user's own page made the request.
    pub(super) xsrf_passed: Flag,
    /// Users that other verifiers, further out, found in cookies. Their claims are still in the extensions, so the
    /// request is made in their name too.
    pub(super) outer_users: Vec<ErasedClaims>,
}

/// What became of the search for a token.
#[derive(Clone)]
pub(crate) enum AuthOutcome {
    User(ErasedClaims, Source),
    Refused(TokenError),
    /// The request needs no token: an exempt path or a CORS preflight.
    Exempt,
}

/// How a request carries its access token.
#[derive(Clone)]
pub(crate) enum Carrier {
    Nothing,
    /// In a header, also where its token was refused: nothing ambient authenticates the request.
    Header,
    /// In a cookie that verified: the one of this index among the cookies of the name.
    Cookie(usize),
    /// Not at all: a refresh of this very request granted it.
    Granted(Option<Arc<str>>),
}

impl Carrier {
    pub(super) const fn is_header(&self) -> bool {
        matches!(self, Self::Header)
    }
}

/// What a layer acts on.
pub(crate) struct AuthStatus {
    /// Whether the token is good. Its claims are in the extensions then.
    pub(crate) verdict: Result<(), TokenErrorKind>,
    pub(crate) by_header: bool,
    /// The store has confirmed that the session is live.
    pub(crate) live: bool,
}

/// Why there are no claims of the type that is asked for.
#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) enum NoClaims {
    Anonymous(TokenError),
    /// No layer puts such claims there: a mistake in the application's set-up, which is in the log.
    LayerMissing,
}

impl AuthState {
    /// Returns the state that a `CookieJwtLayer` has acted on; otherwise the log says that `who` needs the layer.
    pub(crate) fn enforced<'e>(extensions: &'e Extensions, who: &str) -> Option<&'e Self> {
        let state = extensions.get::<Self>().filter(|state| state.enforced.is_set());
        if state.is_none() {
            trace::layer_missing(who, "CookieJwtLayer");
        }
        state
    }

    /// Returns the claims that a `CookieJwtLayer` has put into the extensions. Each layer removes what it finds of
    /// its type, and nothing else can make any.
    ///
    /// A user without claims of type `C` means that `who` asks for claims that its layers do not make.
    #[cfg(any(feature = "axum", feature = "tonic"))]
    pub(crate) fn claims<'e, C: Send + Sync + 'static>(
        extensions: &'e Extensions,
        who: &str,
    ) -> Result<&'e Claims<C>, NoClaims> {
        let state = extensions.get::<Self>().filter(|state| state.enforced.is_set());
        match (state.map(|state| &state.outcome), extensions.get::<Claims<C>>()) {
            (Some(_), Some(claims)) => Ok(claims),
            (Some(AuthOutcome::Refused(error)), None) => Err(NoClaims::Anonymous(error.clone())),
            (Some(AuthOutcome::Exempt), None) => Err(NoClaims::Anonymous(TokenErrorKind::Missing.into())),
            (Some(AuthOutcome::User(..)) | None, _) => {
                let wanted = format!("{who} that takes `{}`", std::any::type_name::<Claims<C>>());
                trace::layer_missing(&wanted, "CookieJwtLayer");
                Err(NoClaims::LayerMissing)
            }
        }
    }

    /// Returns the user, whatever the type of the application's claims.
    pub(crate) fn user(&self) -> Result<&ErasedClaims, TokenError> {
        match &self.outcome {
            AuthOutcome::User(claims, _) => Ok(claims),
            AuthOutcome::Refused(error) => Err(error.clone()),
            AuthOutcome::Exempt => Err(TokenErrorKind::Missing.into()),
        }
    }

    /// Returns the users whom cookies authenticate: unsafe requests must prove the XSRF token of each.
    pub(crate) fn cookie_users(&self) -> impl Iterator<Item = &ErasedClaims> {
        let own = match &self.outcome {
            AuthOutcome::User(claims, Source::Cookie) => Some(claims),
            _ => None,
        };
        self.outer_users.iter().chain(own)
    }

    /// Whether nothing ambient authenticates the request, so that no other site can have made it.
    pub(crate) fn is_by_header_alone(&self) -> bool {
        self.carrier.is_header() && self.outer_users.is_empty()
    }

    /// Notes that an `XsrfLayer` let the request pass; true when the outer users must be forgotten as well, so that
    /// layers further in do not check them again.
    ///
    /// Works through `&`, so that the hot path needs no second look-up in the extensions.
    pub(crate) fn pass_xsrf(&self) -> bool {
        self.xsrf_passed.set();
        !self.outer_users.is_empty()
    }

    pub(crate) fn forget_outer_users(extensions: &mut Extensions) {
        if let Some(state) = extensions.get_mut::<Self>() {
            state.outer_users.clear();
        }
    }

    /// Returns the user's token, to be passed on.
    pub(crate) fn token<'r>(&'r self, headers: &'r HeaderMap) -> Option<&'r [u8]> {
        self.user().ok()?;
        match &self.carrier {
            Carrier::Nothing => None,
            Carrier::Granted(token) => token.as_deref().map(str::as_bytes),
            Carrier::Cookie(index) => cookie_values(headers, &self.sources.cookie).nth(*index),
            Carrier::Header => self.sources.header_token(headers),
        }
    }

    /// Returns the users in cookies that stay when `verifier` puts a state of its own in the place of this one.
    pub(super) fn outer_users_for(self, verifier: VerifierId) -> Vec<ErasedClaims> {
        let mut users = self.outer_users;
        if self.verifier != verifier
            && self.enforced.is_set()
            && !self.xsrf_passed.is_set()
            && let AuthOutcome::User(claims, Source::Cookie) = self.outcome
        {
            users.push(claims);
        }
        users
    }
}

impl TokenError {
    /// Returns why a request goes on without claims, where a layer in optional mode let it pass.
    ///
    /// `None` when the request has claims, is exempt, or when no layer has run.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_cookie_jwt::token::{TokenError, TokenErrorKind};
    ///
    /// fn hint<B>(request: &Request<B>) -> &'static str {
    ///     match TokenError::from_extensions(request.extensions()).map(TokenError::kind) {
    ///         Some(TokenErrorKind::Expired) => "your session has expired",
    ///         _ => "hello",
    ///     }
    /// }
    /// # assert_eq!(hint(&Request::new(())), "hello");
    /// ```
    pub fn from_extensions(extensions: &Extensions) -> Option<&Self> {
        match &extensions.get::<AuthState>()?.outcome {
            AuthOutcome::Refused(error) => Some(error),
            AuthOutcome::User(..) | AuthOutcome::Exempt => None,
        }
    }
}

/// A flag that can be set through a shared reference, once; it orders nothing before or after.
#[derive(Debug)]
pub(super) struct Flag(AtomicBool);

impl Flag {
    pub(super) const fn new(set: bool) -> Self {
        Self(AtomicBool::new(set))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Clone for Flag {
    fn clone(&self) -> Self {
        Self::new(self.is_set())
    }
}
