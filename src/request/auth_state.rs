//! The one extension that the layers share: who makes a request, as far as they know.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::{Extensions, HeaderMap, HeaderValue};

use super::{cookies::cookie_values, refresh_token::RefreshCookie, report::Report, sources::Sources};
#[cfg(any(feature = "axum", feature = "tonic"))]
use crate::token::Claims;
use crate::{
    token::{Budget, ErasedClaims, Source, TokenError, TokenErrorKind, VerifierId},
    trace,
};

/// The outcome of authenticating a request, and the verifier that decided it.
///
/// Only the identical verifier reuses an outcome, so a router with other keys or another audience never accepts
/// claims that another verifier accepted.
#[derive(Clone)]
pub(crate) struct AuthState {
    pub(super) verifier: VerifierId,
    pub(super) sources: Arc<Sources>,
    pub(super) outcome: AuthOutcome,
    pub(super) carrier: Carrier,
    /// The refresh cookie, if it has been read already.
    pub(super) refresh: Option<Box<RefreshCookie>>,
    pub(super) budget: Budget,
    /// Whether the store has confirmed that the session is live.
    pub(super) live: bool,
    /// Whether a `CookieJwtLayer` has acted on the outcome.
    pub(super) enforced: Flag,
    /// Whether an `XsrfLayer` has let the request pass.
    pub(super) xsrf_passed: Flag,
    /// Users that other verifiers found in outer layers. Their claims are still in the extensions, so the request is
    /// made in their name too, whether or not a `CookieJwtLayer` has acted on them.
    pub(super) outer_users: Vec<(ErasedClaims, Source)>,
}

/// The outcome of authenticating a request.
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
    /// In a header, even if its token was refused: no credential that browsers attach on their own authenticates the
    /// request.
    Header,
    /// In a cookie that verified; the index is among the cookies of that name.
    Cookie(usize),
    /// Not at all: a refresh of this very request granted it.
    Granted(Option<Arc<str>>),
}

impl Carrier {
    pub(super) const fn is_header(&self) -> bool {
        matches!(self, Self::Header)
    }
}

/// The status of a request that a layer acts on.
pub(crate) struct AuthStatus {
    /// `Ok` if the token is valid; its claims are then in the extensions.
    pub(crate) verdict: Result<(), TokenErrorKind>,
    pub(crate) by_header: bool,
    /// Whether the store has confirmed that the session is live.
    pub(crate) live: bool,
}

/// Why a request has no claims of the requested type.
#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) enum NoClaims {
    Anonymous(TokenError),
    /// No layer inserts claims of this type. This is a mistake in the application's set-up, and has been logged.
    LayerMissing,
}

impl AuthState {
    /// Returns the state that a `CookieJwtLayer` has acted on.
    ///
    /// If there is none, logs that `who` needs the layer and returns `None`.
    #[inline]
    pub(crate) fn enforced<'e>(extensions: &'e Extensions, who: &str) -> Option<&'e Self> {
        let state = extensions.get::<Self>().filter(|state| state.enforced.is_set());
        if state.is_none() {
            trace::layer_missing(who, "CookieJwtLayer");
        }
        state
    }

    /// Returns the claims that a `CookieJwtLayer` has inserted into the extensions.
    ///
    /// They can be trusted: each layer removes claims of its type that are not its own, and only layers can create
    /// claims. If there is a user, but without claims of type `C`, no layer around `who` inserts this type.
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
            (found, _) => {
                let wanted = format!("{who} that takes `{}`", std::any::type_name::<Claims<C>>());
                match found {
                    Some(_) => trace::layer_for_another_type(&wanted),
                    None => trace::layer_missing(&wanted, "CookieJwtLayer"),
                }
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

    /// Returns the name of the cookie that may carry the access token, if cookies are looked at.
    #[cfg(feature = "tracing")]
    pub(crate) fn cookie_name(&self) -> Option<&str> {
        self.sources.order.contains(&Source::Cookie).then_some(&*self.sources.cookie)
    }

    /// Tells the listener of the request's sessions, if there is one, that the request is refused.
    pub(crate) fn report_refusal(extensions: &Extensions, code: &str, reason: &dyn fmt::Display) {
        let Some(state) = extensions.get::<Self>() else { return };
        let Some(listener) = &state.sources.listener else { return };
        let user = state.user().ok().map(|claims| &claims.registered);
        listener.hear(&Report {
            code,
            reason: &reason.to_string(),
            subject: user.and_then(|user| user.subject()),
            session: user.and_then(|user| user.session_id()),
            generation: user.and_then(|user| user.generation),
        });
    }

    /// Returns what clears the access cookie, if the request's sessions are bound to devices.
    pub(crate) fn clear_access(extensions: &Extensions) -> Option<&HeaderValue> {
        extensions.get::<Self>()?.sources.clear_access.as_ref()
    }

    /// Returns the rejection hook of the request's sessions, if they have one.
    pub(crate) fn rejection(extensions: &Extensions) -> Option<&(dyn Any + Send + Sync)> {
        Some(extensions.get::<Self>()?.sources.rejection.as_ref()?.as_any())
    }

    /// Returns all users in whose name the request is made, with the sources of their tokens.
    pub(crate) fn users(&self) -> impl Iterator<Item = (&ErasedClaims, Source)> {
        let own = match &self.outcome {
            AuthOutcome::User(claims, source) => Some((claims, *source)),
            _ => None,
        };
        self.outer_users.iter().map(|(claims, source)| (claims, *source)).chain(own)
    }

    /// Returns `true` if only headers authenticate the request.
    pub(crate) fn is_by_header_alone(&self) -> bool {
        self.carrier.is_header() && self.outer_users.iter().all(|(_, source)| *source != Source::Cookie)
    }

    /// Records that an `XsrfLayer` has let the request pass.
    ///
    /// Returns `true` if the caller must also call [`forget_outer_users`](Self::forget_outer_users), so that inner
    /// layers do not check those users again. Takes `&self`, so that the hot path needs no second lookup in the
    /// extensions.
    pub(crate) fn pass_xsrf(&self) -> bool {
        self.xsrf_passed.set();
        !self.outer_users.is_empty()
    }

    pub(crate) fn forget_outer_users(extensions: &mut Extensions) {
        if let Some(state) = extensions.get_mut::<Self>() {
            state.outer_users.clear();
        }
    }

    /// Returns the user's token, for forwarding to another server.
    pub(crate) fn token<'r>(&'r self, headers: &'r HeaderMap) -> Option<&'r [u8]> {
        self.user().ok()?;
        match &self.carrier {
            Carrier::Nothing => None,
            Carrier::Granted(token) => token.as_deref().map(str::as_bytes),
            Carrier::Cookie(index) => cookie_values(headers, &self.sources.cookie).nth(*index),
            Carrier::Header => self.sources.header_token(headers),
        }
    }

    /// Returns the outer users for the state with which `verifier` replaces this one.
    pub(super) fn outer_users_for(self, verifier: VerifierId) -> Vec<(ErasedClaims, Source)> {
        let mut users = self.outer_users;
        if self.verifier != verifier
            && !self.xsrf_passed.is_set()
            && let AuthOutcome::User(claims, source) = self.outcome
        {
            users.push((claims, source));
        }
        users
    }
}

impl TokenError {
    /// Returns why a request has no claims, if a layer in optional mode has let it pass without them.
    ///
    /// Returns `None` if the request has claims or is exempt, or if no layer has run.
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

/// A flag that can be set through a shared reference, with relaxed ordering.
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
