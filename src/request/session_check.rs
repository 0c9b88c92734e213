use std::{sync::Arc, time::Duration};

use super::heard::Heard;
use crate::{
    clock::SharedClock,
    token::{Claims, Known, Moment},
};

/// When the store is asked whether the session of a valid access token is live.
#[derive(Clone, Default)]
pub(crate) enum SessionCheck {
    #[default]
    Never,
    /// On each request.
    Always,
    Within(Bound),
}

/// How long after it has ended a session may still be served.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) limit: Duration,
    pub(crate) clock: SharedClock,
    pub(crate) heard: Arc<Heard>,
    pub(crate) when_behind: WhenBehind,
}

/// What a node does with a valid access token while it is behind the store's feed of changes, which has not answered for
/// longer than the bound.
///
/// Without [`Sessions::follow`](crate::Sessions::follow), and where the store has no feed, each token is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenBehind {
    /// Asks the store about each token, at most once in the bound.
    #[default]
    Ask,
    /// Refuses requests with 503 until the node has caught up: the store is spared.
    Refuse,
    /// Serves tokens until they expire, unless the node has heard that their session has changed. **This gives up the
    /// bound** while the feed is out of reach.
    Trust,
}

impl SessionCheck {
    /// Whether a request may be served only if its session is known to be live.
    pub(crate) const fn is_made(&self) -> bool {
        !matches!(self, Self::Never)
    }

    /// Whether a token is compared with the record that is read, and not only its session.
    pub(crate) const fn compares_claims(&self) -> bool {
        matches!(self, Self::Within(_))
    }

    pub(crate) const fn bound(&self) -> Option<&Bound> {
        match self {
            Self::Within(bound) => Some(bound),
            Self::Never | Self::Always => None,
        }
    }

    /// Returns what is known of the session of these claims without asking.
    pub(crate) fn known<C>(&self, claims: &Claims<C>) -> Known {
        match self {
            Self::Within(bound) => bound.known(claims),
            Self::Never | Self::Always => Known::Nothing,
        }
    }
}

impl Bound {
    pub(crate) fn now(&self) -> Moment {
        Moment::now(self.clock.now())
    }

    fn known<C>(&self, claims: &Claims<C>) -> Known {
        let now = self.now();
        let known = self.heard.known(claims, self.limit, now);
        let trusts = self.when_behind == WhenBehind::Trust
            && known == Known::Nothing
            && self.heard.is_behind(self.limit, now)
            && !self.heard.has_entry(claims)
            // One whose session had ended or changed when it was asked about is not trusted again.
            && (claims.asked().when() == 0 || claims.asked().is_live());
        if trusts { Known::Live } else { known }
    }

    /// Whether nothing is asked, and the request refused, because the node is behind.
    pub(crate) fn refuses(&self) -> bool {
        self.when_behind == WhenBehind::Refuse && self.heard.is_behind(self.limit, self.now())
    }
}
