//! The sessions whose tokens a request presents, and which of them are live.

use http::HeaderMap;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    events::SessionEvent,
    exchange::{RefreshError, has_secret},
    records::Unavailable,
    sessions::{Sessions, session_of, speaks_for},
};
use crate::{
    request::{AccessCookie, RefreshCookie, RefreshToken},
    store::{SessionId, SessionRecord},
    token::{Budget, Claims},
};

/// A token whose signature and expiry have been checked, as evidence of a session.
pub(crate) trait Evidence {
    /// Returns the session that the token names, if it names one.
    fn session(&self) -> Option<SessionId>;
    /// Whether the token is of the session with this record.
    fn proves(&self, record: &SessionRecord) -> bool;
}

impl Evidence for RefreshToken {
    fn session(&self) -> Option<SessionId> {
        Some(SessionId::from(&*self.session_id))
    }

    fn proves(&self, record: &SessionRecord) -> bool {
        has_secret(record, self)
    }
}

impl<C> Evidence for Claims<C> {
    fn session(&self) -> Option<SessionId> {
        session_of(self).map(|(id, _)| id)
    }

    fn proves(&self, record: &SessionRecord) -> bool {
        self.subject() == Some(&*record.subject)
    }
}

impl<C> Evidence for AccessCookie<C> {
    fn session(&self) -> Option<SessionId> {
        self.claims.session()
    }

    fn proves(&self, record: &SessionRecord) -> bool {
        self.claims.proves(record)
    }
}

/// Either kind of evidence.
pub(crate) enum EitherToken<C> {
    Refresh(RefreshToken),
    Access(AccessCookie<C>),
}

impl<C> Evidence for EitherToken<C> {
    fn session(&self) -> Option<SessionId> {
        match self {
            Self::Refresh(token) => token.session(),
            Self::Access(cookie) => cookie.session(),
        }
    }

    fn proves(&self, record: &SessionRecord) -> bool {
        match self {
            Self::Refresh(token) => token.proves(record),
            Self::Access(cookie) => cookie.proves(record),
        }
    }
}

impl<C> Sessions<C> {
    /// Returns the only one of these tokens whose session is live, since cookies of sessions that have ended do not
    /// count; or `None` if none is live.
    ///
    /// Two live sessions are ambiguous: another host may have set the cookies of one.
    pub(crate) async fn only_live<E: Evidence>(&self, presented: Vec<E>) -> Result<Option<E>, RefreshError> {
        let mut live = self.find(presented, 2).await?.live;
        if live.len() < 2 {
            return Ok(live.pop().map(|(evidence, _)| evidence));
        }
        let (sessions, subjects): (Vec<_>, Vec<_>) =
            live.into_iter().map(|(_, record)| (record.id, record.subject)).unzip();
        self.raise(SessionEvent::AmbiguousCookies { sessions: &sessions, subjects: &subjects });
        Err(RefreshError::AMBIGUOUS)
    }

    /// Looks for the sessions of these tokens until `most` have been found to be live.
    async fn find<E: Evidence>(
        &self,
        presented: impl IntoIterator<Item = E>,
        most: usize,
    ) -> Result<Found<E>, Unavailable> {
        let (mut live, mut gone) = (Vec::new(), Vec::new());
        for evidence in presented {
            let Some(id) = evidence.session() else { continue };
            let snapshot = self.inner().records.read(&id).await?;
            let Some(record) = snapshot.record else {
                gone.push(id);
                continue;
            };
            if record.is_live(snapshot.now) && evidence.proves(&record) {
                live.push((evidence, record));
                if live.len() == most {
                    break;
                }
            }
        }
        Ok(Found { live, gone })
    }
}

/// The sessions of some tokens, as the store has them.
struct Found<E> {
    /// The tokens whose sessions are live, with their records.
    live: Vec<(E, SessionRecord)>,
    /// The sessions without a record.
    gone: Vec<SessionId>,
}

/// The sessions that a request proves to belong to.
pub(super) struct Proven {
    pub(super) live: Vec<SessionRecord>,
    /// They may have been removed by a call that failed before it could announce them.
    pub(super) gone: Vec<SessionId>,
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Returns the sessions that the request proves to belong to: by its refresh tokens or, if it has none, by an access
    /// token that is still valid.
    pub(super) async fn proven_sessions(&self, headers: &HeaderMap) -> Result<Proven, Unavailable> {
        let inner = self.inner();
        let mut budget = Budget::default();
        let tokens = match inner.refresh_reader.read(headers, &mut budget) {
            RefreshCookie::Valid(token) => vec![token],
            RefreshCookie::Several(tokens) | RefreshCookie::TooMany(tokens) => tokens,
            RefreshCookie::Absent | RefreshCookie::Expired => Vec::new(),
        };
        if !tokens.is_empty() {
            return Ok(self.find(tokens, usize::MAX).await?.into());
        }
        let mut claims = inner.authenticator.peek_each(headers, budget);
        // The holder of a narrowed access token must not be able to end the session.
        claims.retain(|claims| speaks_for(claims).is_some());
        Ok(self.find(claims, usize::MAX).await?.into())
    }
}

impl<E> From<Found<E>> for Proven {
    fn from(found: Found<E>) -> Self {
        Self { live: found.live.into_iter().map(|(_, record)| record).collect(), gone: found.gone }
    }
}
