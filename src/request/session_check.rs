use std::time::Duration;

use crate::{
    clock::SharedClock,
    token::{Claims, Known, Moment},
};

/// When the store is asked whether the session of a valid access token is live.
#[derive(Clone, Debug, Default)]
pub(crate) enum SessionCheck {
    #[default]
    Never,
    /// On each request.
    Always,
    /// If the last answer about the token is older than this, by the clock.
    Within(Duration, SharedClock),
}

impl SessionCheck {
    /// Whether a request may be served only if its session is known to be live.
    pub(crate) const fn is_made(&self) -> bool {
        !matches!(self, Self::Never)
    }

    /// Whether a token is compared with the record that is read, and not only its session.
    pub(crate) const fn compares_claims(&self) -> bool {
        matches!(self, Self::Within(..))
    }

    /// Returns what is known of the session of these claims without asking.
    pub(crate) fn known<C>(&self, claims: &Claims<C>) -> Known {
        match self {
            Self::Within(limit, clock) => claims.asked().known(*limit, Moment::now(clock.now())),
            Self::Never | Self::Always => Known::Nothing,
        }
    }
}
