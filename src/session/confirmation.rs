//! What a request shows about its session: whether the session is live, and which generation the client holds.

use serde::{Serialize, de::DeserializeOwned};

use super::{
    confirmer::{Fingerprint, Remembered},
    error::SessionError,
    records::Unavailable,
    rotation,
    sessions::{Sessions, session_of},
};
use crate::{
    store::{BoxFuture, SessionId, Snapshot, Update},
    token::Claims,
};

impl<C> Sessions<C> {
    /// Asks the store whether the session of these claims is still live.
    ///
    /// Use it for operations that must not be possible with the access token of a signed-out session, which is
    /// otherwise valid until it expires. Returns `false` for claims that belong to no session.
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Unavailable`] if the store fails.
    pub async fn is_live(&self, claims: &Claims<C>) -> Result<bool, SessionError> {
        Ok(self.has_live_session(claims).await?)
    }

    pub(crate) async fn has_live_session(&self, claims: &Claims<C>) -> Result<bool, Unavailable> {
        let Some((id, subject)) = session_of(claims) else {
            return Ok(false);
        };
        let Snapshot { record, now } = self.inner().records.read(&id).await?;
        Ok(record.is_some_and(|record| record.is_live(now) && *record.subject == *subject))
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Returns a future that confirms the generation of `claims`, which the client has just presented, in the store.
    ///
    /// Returns `None` if there is nothing to confirm or this process need not do it now.
    pub(crate) fn confirmation(&self, claims: &Claims<C>) -> Option<BoxFuture<'static, ()>> {
        if !claims.is_held_in_cookie() {
            return None; // a bearer token does not prove which cookies the client holds
        }
        if claims.is_confirmed() {
            return None; // fast path
        }
        let (session, generation) = (claims.session_id()?, claims.generation()?);
        let inner = self.inner();
        let fingerprint = match inner.confirmer.recall(session, generation) {
            Remembered::Nothing(fingerprint) => fingerprint,
            Remembered::Asked => return None,
            Remembered::Confirmed => {
                claims.set_confirmed();
                return None;
            }
        };
        let (now, issued_at) = (inner.clock.now(), claims.issued_at()?);
        let fingerprint = inner.confirmer.claim(fingerprint, issued_at, now, inner.rules.grace)?;
        let pending = PendingConfirmation { sessions: self.clone(), fingerprint: Some(fingerprint) };
        let session = SessionId::from(session);
        Some(Box::pin(pending.run(session, generation)))
    }
}

/// A confirmation in progress. If it is dropped before it completes, it is tried again later.
struct PendingConfirmation<C> {
    sessions: Sessions<C>,
    fingerprint: Option<Fingerprint>,
}

impl<C> PendingConfirmation<C> {
    async fn run(mut self, session: SessionId, generation: u32) {
        match self.confirm(&session, generation).await {
            Ok(Update::Done | Update::Gone) => {
                if let Some(fingerprint) = self.fingerprint.take() {
                    self.sessions.inner().confirmer.confirmed(fingerprint);
                }
            }
            Ok(Update::Conflict) => {}
            Err(Unavailable) => {
                let inner = self.sessions.inner();
                inner.confirmer.pause(inner.clock.now());
            }
        }
    }

    async fn confirm(&self, session: &SessionId, generation: u32) -> Result<Update, Unavailable> {
        let Snapshot { record, now } = self.sessions.inner().records.read(session).await?;
        match rotation::confirmation(generation, record, now, self.sessions.inner().lifetimes.idle) {
            Some(confirmed) => self.sessions.inner().records.update(&confirmed).await,
            None => Ok(Update::Done),
        }
    }
}

impl<C> Drop for PendingConfirmation<C> {
    fn drop(&mut self) {
        if let Some(fingerprint) = self.fingerprint {
            self.sessions.inner().confirmer.release(fingerprint);
        }
    }
}
