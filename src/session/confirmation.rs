//! What a request shows about its session: whether the session is live, and which generation the client holds.

use std::time::{Duration, Instant, SystemTime};

use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use super::{
    confirmer::{Fingerprint, Remembered},
    error::SessionError,
    places::Place,
    records::Unavailable,
    rotation,
    sessions::{Sessions, session_of},
    timer::before,
};
use crate::{
    store::{BoxFuture, SessionId, SessionRecord, Snapshot, Update},
    token::{self, Claims, Known, Moment, Scopes},
    trace,
};

impl<C> Sessions<C> {
    /// Asks the store whether the session of these claims is still live: for operations that must not wait until the
    /// access token of a signed-out session expires.
    ///
    /// Returns false for claims that belong to no session.
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Unavailable`] if the store fails.
    pub async fn is_live(&self, claims: &Claims<C>) -> Result<bool, SessionError> {
        Ok(self.live_record(claims).await?.is_some())
    }

    /// Reads the record of the session of these claims, if the session is live.
    async fn live_record(&self, claims: &Claims<C>) -> Result<Option<Snapshot>, Unavailable> {
        let Some((id, subject)) = session_of(claims) else {
            return Ok(None);
        };
        let snapshot = self.inner().records.read(&id).await?;
        let is_live = |record: &SessionRecord| record.is_live(snapshot.now) && *record.subject == *subject;
        Ok(snapshot.record.as_ref().is_some_and(is_live).then_some(snapshot))
    }

    /// Writes that a token of `generation` was sighted; returns whether there is nothing left to write.
    async fn write_sighting(
        &self,
        generation: u32,
        record: &SessionRecord,
        now: SystemTime,
    ) -> Result<bool, Unavailable> {
        let inner = self.inner();
        match rotation::sighting(generation, record, now, inner.rules.grace, inner.lifetimes.idle) {
            Some(write) => Ok(!matches!(inner.records.update(&write).await?, Update::Conflict)),
            None => Ok(true),
        }
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Asks whether the session is live, and notes on the same record that its token was sighted.
    pub(crate) async fn sight_live(&self, claims: &Claims<C>) -> Result<Known, Unavailable> {
        let inner = self.inner();
        if let Some(bound) = inner.session_check.bound()
            && bound.heard.asks_unfollowed()
        {
            trace::not_followed();
        }
        let _place = match inner.session_check.bound() {
            Some(_) => Some(self.place_for_a_question().await?),
            None => None,
        };
        let asked = Moment::now(inner.clock.now());
        let Some(Snapshot { record: Some(record), now }) = self.live_record(claims).await? else {
            claims.asked().answered(asked, Known::Ended);
            return Ok(Known::Ended);
        };
        let is_changed = inner.session_check.compares_claims() && !is_minted_from(claims, &record);
        let known = if is_changed { Known::Changed } else { Known::Live };
        claims.asked().answered(asked, known);
        let round = inner.records.rounds.present();
        if claims.is_presented()
            && !claims.is_confirmed(round)
            && let Some(generation) = claims.generation()
        {
            // A sighting that is not written now is written at the next request.
            if self.write_sighting(generation, &record, now).await.unwrap_or(false) {
                claims.set_confirmed(round);
            }
        }
        Ok(known)
    }

    /// Waits for its turn, so that a store which has just come back, or whose feed has a gap, is not asked about all tokens
    /// at once. Who waits too long is to come again.
    async fn place_for_a_question(&self) -> Result<Place<'_>, Unavailable> {
        let taking = before(Instant::now() + LONGEST_WAIT, self.inner().questions.take());
        taking.await.ok_or_else(Unavailable::too_many)
    }

    /// Returns the sighting of an access token, where it is this process's turn to write it to the store.
    pub(crate) fn sighting(&self, claims: &Claims<C>) -> Option<BoxFuture<'static, ()>> {
        let inner = self.inner();
        let round = inner.records.rounds.present();
        // Fast path: the store knows.
        if claims.is_confirmed(round) || !claims.is_presented() {
            return None;
        }
        let (session, generation) = (claims.session_id()?, claims.generation()?);
        let fingerprint = match inner.confirmer.recall(session, generation, round) {
            Remembered::Nothing(fingerprint) => fingerprint,
            Remembered::Asked => return None,
            Remembered::Confirmed => {
                claims.set_confirmed(round);
                return None;
            }
        };
        let (now, issued_at) = (inner.clock.now(), claims.issued_at()?);
        // A token in a header may be used where no other node sees it, so its age does not matter.
        let issued_at = if claims.is_held_in_cookie() { issued_at } else { now };
        let fingerprint = inner.confirmer.claim(fingerprint, issued_at, now, inner.rules.grace)?;
        let pending = PendingSighting { sessions: self.clone(), fingerprint: Some(fingerprint) };
        let session = SessionId::from(session);
        Some(Box::pin(pending.run(session, generation)))
    }
}

/// Whether a token says what the record says now: a narrowed one has only a part of its scope, and one that is not for
/// cookies no XSRF token.
fn is_minted_from<C>(claims: &Claims<C>, record: &SessionRecord) -> bool {
    let has_xsrf = |token: &str| token.as_bytes().ct_eq(record.xsrf_token.as_bytes()).into();
    claims.token_id().is_some_and(|id| token::is_minted_from(id, &record.claims))
        && claims.xsrf_token().is_none_or(has_xsrf)
        && claims.scopes().is_subset(&Scopes::granted(&record.scope))
}

/// A sighting on its way to the store. If it does not arrive, the next request tries again.
struct PendingSighting<C> {
    sessions: Sessions<C>,
    fingerprint: Option<Fingerprint>,
}

impl<C> PendingSighting<C> {
    async fn run(mut self, session: SessionId, generation: u32) {
        match self.write(&session, generation).await {
            Ok(true) => {
                if let Some(fingerprint) = self.fingerprint.take() {
                    self.sessions.inner().confirmer.confirmed(fingerprint);
                }
            }
            Ok(false) => {}
            Err(Unavailable(_)) => {
                let inner = self.sessions.inner();
                inner.confirmer.pause(inner.clock.now());
            }
        }
    }

    /// Returns whether there is nothing left to write.
    async fn write(&self, session: &SessionId, generation: u32) -> Result<bool, Unavailable> {
        let Snapshot { record, now } = self.sessions.inner().records.read(session).await?;
        match record {
            Some(record) => self.sessions.write_sighting(generation, &record, now).await,
            None => Ok(true),
        }
    }
}

impl<C> Drop for PendingSighting<C> {
    fn drop(&mut self) {
        if let Some(fingerprint) = self.fingerprint {
            self.sessions.inner().confirmer.release(fingerprint);
        }
    }
}

/// How long a question about an access token waits for its turn.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
