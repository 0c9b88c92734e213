//! What may be noted of something that is only lent.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::Extensions;

use super::{refresh_token::PresentedRefresh, sources::Sources};
use crate::token::{Budget, ErasedClaims, Source, TokenError, VerifierId};

/// What the layers share about a request, in one extension: the outcome of verifying its token,
/// and by which verifier.
///
/// An outcome is reused by the identical verifier alone, so a router with other keys or another
/// audience never takes over somebody else's.
#[derive(Clone)]
pub(crate) struct Checked {
    pub(crate) by: VerifierId,
    pub(crate) sources: Arc<Sources>,
    pub(crate) outcome: Outcome,
    /// A header carried the token: nothing ambient authenticates the request.
    pub(crate) by_header: bool,
    /// `CookieJwtLayer` has acted on the outcome.
    pub(crate) enforced: Flag,
    /// The store has confirmed that the session is live.
    pub(crate) live: bool,
    /// Where the verified token is, for those who pass it on.
    pub(crate) token: Located,
    pub(crate) budget: Budget,
    /// The refresh token, where it had to be looked at already.
    pub(crate) refresh: Option<Box<PresentedRefresh>>,
    /// An `XsrfLayer` has found the request to be made by the user's own page.
    pub(crate) proven: Flag,
    /// Users that other verifiers further out have found in cookies; their claims are still in the
    /// extensions, so requests are made in their name too.
    pub(crate) others: Vec<ErasedClaims>,
}

impl Checked {
    /// The users in cookies that stay when `by` publishes an outcome of its own.
    pub(crate) fn others_beside(self, by: VerifierId) -> Vec<ErasedClaims> {
        let mut others = self.others;
        if self.by != by
            && self.enforced.is_set()
            && !self.proven.is_set()
            && let Outcome::Verified(claims, Source::Cookie) = self.outcome
        {
            others.push(claims);
        }
        others
    }
}

/// Where a verified token is found again.
#[derive(Clone, Default)]
pub(crate) enum Located {
    /// There is none.
    #[default]
    Nowhere,
    /// In the header that decided.
    Header,
    /// The value of this index among the cookies of the name.
    Cookie(usize),
    /// Granted by a refresh in this very request.
    Granted(Arc<str>),
}

#[derive(Clone)]
pub(crate) enum Outcome {
    Verified(ErasedClaims, Source),
    Refused(TokenError),
    /// The request needs no token: an exempt path or a CORS preflight.
    Exempt,
}

impl TokenError {
    /// Why the request goes on without claims, where a layer in optional mode let it pass.
    ///
    /// `None` when it has claims, is exempt, or no layer has run.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::Request;
    /// use tower_cookie_jwt::token::{TokenError, TokenErrorKind};
    ///
    /// fn hint<B>(request: &Request<B>) -> &'static str {
    ///     match TokenError::of(request.extensions()).map(TokenError::kind) {
    ///         Some(TokenErrorKind::Expired) => "your session has expired",
    ///         _ => "hello",
    ///     }
    /// }
    /// # assert_eq!(hint(&Request::new(())), "hello");
    /// ```
    pub fn of(extensions: &Extensions) -> Option<&Self> {
        match &extensions.get::<Checked>()?.outcome {
            Outcome::Refused(error) => Some(error),
            Outcome::Verified(..) | Outcome::Exempt => None,
        }
    }
}

/// Is set once and stays set; tells nothing about what happened before or after.
#[derive(Debug)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) const fn new(set: bool) -> Self {
        Self(AtomicBool::new(set))
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Clone for Flag {
    fn clone(&self) -> Self {
        Self::new(self.is_set())
    }
}
