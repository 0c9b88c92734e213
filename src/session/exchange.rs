//! The exchange of a refresh token: applies the rules of rotation to the store.

use std::time::SystemTime;

use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use super::{
    events::SessionEvent,
    issue::{Issued, access_expiry, cannot_issue},
    records::{MAX_ROUNDS, Unavailable},
    rotation::{self, Admission, Decision, decide, successor},
    sessions::Sessions,
};
use crate::{
    clock::unix_seconds,
    reject::Refusal,
    request::RefreshToken,
    store::{SessionId, SessionRecord, Snapshot, Update},
    token::{Claims, Scopes, TokenErrorKind},
    trace,
};

/// What a refresh token is exchanged for.
pub(crate) struct Grant<C> {
    pub(crate) claims: Claims<C>,
    pub(crate) issued: Issued,
}

/// An access token with less scope than the session was granted.
pub(crate) struct NarrowToken {
    pub(crate) access_token: String,
    /// Whole seconds since the epoch.
    pub(crate) expires_at: u64,
    /// Whole seconds from now.
    pub(crate) expires_in: u64,
}

/// Why a refresh token could not be exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefreshError {
    /// The token is not accepted. If `clear` is set, the cookies of the request are of no further use and are
    /// cleared.
    Refused { kind: TokenErrorKind, clear: bool },
    /// The store, the reload of claims or the issuer failed, or the store answered too late. The client may retry.
    Unavailable,
}

impl RefreshError {
    /// The session has ended, or this exchange has ended it.
    pub(crate) const ENDED: Self = Self::Refused { kind: TokenErrorKind::Revoked, clear: true };
    /// The session ends within the second, or has ended by this node's clock but not by the store's.
    const OVER: Self = Self::Refused { kind: TokenErrorKind::Revoked, clear: false };
    /// The token's signature is valid, but its secret is not that of the session. This does not prove that a token of
    /// the session was stolen, so the session stays as it is.
    const WRONG_SECRET: Self = Self::Refused { kind: TokenErrorKind::BadSignature, clear: false };
    /// The stored claims cannot be deserialized as the application's type, and no `ReloadClaims` is configured.
    const UNREADABLE: Self = Self::Refused { kind: TokenErrorKind::ClaimsMismatch, clear: false };

    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Refused { kind, .. } => Refusal::Token(kind.into()),
            Self::Unavailable => Refusal::Unavailable,
        }
    }
}

impl From<Unavailable> for RefreshError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

/// Returns `true` if the token carries the secret of the session; compares in constant time.
pub(super) fn has_secret(record: &SessionRecord, token: &RefreshToken) -> bool {
    token.secret.hash().ct_eq(&record.secret_hash).into()
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Exchanges a refresh token whose signature and expiry have been checked.
    ///
    /// Reads the record, decides, issues the tokens and writes, and starts again if another writer won.
    pub(crate) async fn exchange(&self, token: &RefreshToken) -> Result<Box<Grant<C>>, RefreshError> {
        self.exchange_from(0, token).await
    }

    /// Exchanges a refresh token for a response without a handler in between.
    ///
    /// Starts again if the record has moved on between the exchange and the admission.
    pub(crate) async fn exchange_at_once(&self, token: &RefreshToken) -> Result<Issued, RefreshError> {
        for round in 0..MAX_ROUNDS {
            let grant = self.exchange_from(round, token).await?;
            if let Some(issued) = self.admit(grant.issued).await? {
                return Ok(issued);
            }
        }
        Err(RefreshError::Unavailable)
    }

    /// Exchanges a refresh token, starting in round `first`.
    ///
    /// Only round 0 may detect reuse. By a later round the token has aged since it arrived, and the client may have
    /// moved on.
    async fn exchange_from(&self, first: usize, token: &RefreshToken) -> Result<Box<Grant<C>>, RefreshError> {
        let id = SessionId::from(&*token.session_id);
        for round in first..MAX_ROUNDS {
            let (Snapshot { record, now }, waited) = self.inner().records.read_timed(&id).await?;
            let record = record.ok_or(RefreshError::ENDED)?;
            if !has_secret(&record, token) {
                return Err(RefreshError::WRONG_SECRET);
            }
            let decision = decide(token.generation, &record, now, waited, self.inner().rules);
            let decision = if round == 0 { decision } else { decision.of_later_look() };
            if let Some(grant) = self.carry_out(decision, token, record, now).await? {
                return Ok(grant);
            }
        }
        Err(RefreshError::Unavailable)
    }

    /// Carries out a decision; returns `None` if another writer won, in which case the record must be read again.
    async fn carry_out(
        &self,
        decision: Decision,
        token: &RefreshToken,
        record: SessionRecord,
        now: SystemTime,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        if decision != Decision::Refuse && self.is_nearly_over(&record) {
            return Err(RefreshError::OVER);
        }
        match decision {
            Decision::Refuse => Err(RefreshError::ENDED),
            Decision::TooLate => Err(RefreshError::Unavailable),
            Decision::Revoke => {
                self.revoke_reused(token, &record).await?;
                Err(RefreshError::ENDED)
            }
            Decision::Rotate => {
                let claims = self.reload_or_end(&record).await?.ok_or(RefreshError::ENDED)?;
                let next = self.successor(decision, token, &record, now).expect("a rotation has a successor");
                // Claims and generation are committed together.
                self.advance(decision, token, record.generation, next.with_claims(claims)).await
            }
            Decision::CatchUp => self.answer(decision, token, record, now).await,
            Decision::RenewAccess | Decision::AnswerAgain if self.is_reload_due(&record, now) => {
                self.answer_reloaded(decision, token, record, now).await
            }
            Decision::RenewAccess | Decision::AnswerAgain => self.answer(decision, token, record, now).await,
        }
    }

    async fn revoke_reused(&self, token: &RefreshToken, record: &SessionRecord) -> Result<(), Unavailable> {
        self.inner().records.remove(&record.id).await?;
        self.inner().events.raise(SessionEvent::ReuseDetected {
            subject: &record.subject,
            session: &record.id,
            presented: token.generation,
            current: record.generation,
        });
        Ok(())
    }

    /// Returns `true` if the session's absolute expiry leaves no whole second for another access token.
    fn is_nearly_over(&self, record: &SessionRecord) -> bool {
        unix_seconds(record.absolute_expires_at) <= unix_seconds(self.inner().clock.now())
    }

    fn successor(
        &self,
        decision: Decision,
        token: &RefreshToken,
        record: &SessionRecord,
        now: SystemTime,
    ) -> Option<SessionRecord> {
        successor(decision, token.generation, record, now, self.inner().lifetimes.idle)
    }

    async fn answer_reloaded(
        &self,
        decision: Decision,
        token: &RefreshToken,
        record: SessionRecord,
        now: SystemTime,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        let claims = self.reload_or_end(&record).await?.ok_or(RefreshError::ENDED)?;
        if *claims == *record.claims {
            return self.answer(decision, token, record, now).await;
        }
        let mut record = record.with_claims(claims);
        match self.inner().records.update(&record).await? {
            Update::Done => {
                record.version += 1;
                self.answer(decision, token, record, now).await
            }
            Update::Conflict => Ok(None),
            Update::Gone => Err(RefreshError::ENDED),
        }
    }

    /// Answers with the tokens of the record's generation, after writing the successor record if the decision
    /// requires one.
    async fn answer(
        &self,
        decision: Decision,
        token: &RefreshToken,
        record: SessionRecord,
        now: SystemTime,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        if let Some(next) = self.successor(decision, token, &record, now) {
            return self.advance(decision, token, record.generation, next).await;
        }
        match self.grant(decision, token, &record)? {
            Some(grant) => Ok(Some(grant)),
            None => self.rebuild(&record).await,
        }
    }

    /// Writes `next`, the successor of generation `from`, and answers with its tokens.
    ///
    /// The tokens are issued first, because what cannot be issued must not be committed.
    async fn advance(
        &self,
        decision: Decision,
        token: &RefreshToken,
        from: u32,
        next: SessionRecord,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        let Some(grant) = self.grant(decision, token, &next)? else {
            return self.rebuild(&next).await;
        };
        match self.inner().records.update(&next).await? {
            Update::Done => {
                self.raise_advance(decision, token, from, &next);
                Ok(Some(grant))
            }
            Update::Conflict => Ok(None),
            Update::Gone => Err(RefreshError::ENDED),
        }
    }

    fn raise_advance(&self, decision: Decision, token: &RefreshToken, from: u32, record: &SessionRecord) {
        let (subject, session) = (&*record.subject, &record.id);
        let event = match decision {
            Decision::Rotate => SessionEvent::Rotated { subject, session, generation: record.generation },
            Decision::CatchUp => {
                SessionEvent::StoreLostWrites { subject, session, presented: token.generation, stored: from }
            }
            _ => return,
        };
        self.inner().events.raise(event);
    }

    /// Issues the tokens of `record`; returns `None` if its claims cannot be deserialized as the application's type.
    fn grant(
        &self,
        decision: Decision,
        token: &RefreshToken,
        record: &SessionRecord,
    ) -> Result<Option<Box<Grant<C>>>, Unavailable> {
        let inner = self.inner();
        let secret = decision.brings_refresh_token().then_some(&token.secret);
        let issued = self.issue(record, secret, inner.clock.now()).map_err(cannot_issue)?;
        match inner.authenticator.verifier.verify(&issued.token) {
            Ok(claims) => Ok(Some(Box::new(Grant { claims, issued }))),
            Err(error) if error.kind() == TokenErrorKind::ClaimsMismatch => Ok(None),
            Err(error) => {
                trace::cannot_issue(&error);
                Err(Unavailable)
            }
        }
    }

    /// Reloads and stores claims whose stored form can no longer be deserialized as the application's type.
    ///
    /// Refuses the request if no `ReloadClaims` is configured. Otherwise returns `None`, so that the record is read
    /// again.
    async fn rebuild(&self, record: &SessionRecord) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        let inner = self.inner();
        if inner.reload.is_none() {
            return Err(RefreshError::UNREADABLE);
        }
        // `record` may be a successor that has not been written.
        let stored = inner.records.read(&record.id).await?.record.ok_or(RefreshError::ENDED)?;
        let claims = self.reload_or_end(&stored).await?.ok_or(RefreshError::ENDED)?;
        match inner.records.update(&stored.with_claims(claims)).await? {
            Update::Done | Update::Conflict => Ok(None),
            Update::Gone => Err(RefreshError::ENDED),
        }
    }

    /// Reads the record again before cookies are sent, and drops those that must no longer be sent.
    ///
    /// Returns `None` if the session has moved on to another generation. If the claims or the XSRF token have changed
    /// in the meantime, perhaps because the handler changed them, the access token is issued again with the new
    /// values.
    pub(crate) async fn admit(&self, issued: Issued) -> Result<Option<Issued>, RefreshError> {
        let Snapshot { record, now } = self.inner().records.read(issued.id()).await?;
        let with_refresh = match rotation::admit(issued.generation(), record.as_ref(), now) {
            Admission::Ended => return Err(RefreshError::ENDED),
            Admission::Superseded => return Ok(None),
            Admission::Cookies { with_refresh } => with_refresh,
        };
        let issued = match record {
            Some(record) if !issued.is_current(&record) => {
                let fresh = self.issue(&record, None, self.inner().clock.now()).map_err(cannot_issue)?;
                fresh.with_refresh_of(issued)
            }
            _ => issued,
        };
        Ok(Some(if with_refresh { issued } else { issued.without_refresh() }))
    }

    /// Issues an access token with a narrower scope (RFC 6749 §6).
    ///
    /// Returns `None` if `scope` exceeds what the session was granted.
    ///
    /// The session keeps its generation, its scopes and its cookies. Reuse is detected as in any exchange.
    pub(crate) async fn narrow(
        &self,
        token: &RefreshToken,
        scope: &Scopes,
    ) -> Result<Option<NarrowToken>, RefreshError> {
        let inner = self.inner();
        let id = SessionId::from(&*token.session_id);
        let (Snapshot { record, now: store_now }, waited) = inner.records.read_timed(&id).await?;
        let record = record.ok_or(RefreshError::ENDED)?;
        if !has_secret(&record, token) {
            return Err(RefreshError::WRONG_SECRET);
        }
        match decide(token.generation, &record, store_now, waited, inner.rules) {
            // `exchange` carries out both decisions and returns the reason.
            Decision::Refuse | Decision::Revoke => {
                return Err(self.exchange(token).await.err().unwrap_or(RefreshError::Unavailable));
            }
            Decision::TooLate => return Err(RefreshError::Unavailable),
            Decision::Rotate | Decision::RenewAccess | Decision::AnswerAgain | Decision::CatchUp => {}
        }
        if self.is_nearly_over(&record) {
            return Err(RefreshError::OVER);
        }
        if !scope.is_subset(&Scopes::granted(&record.scope)) {
            return Ok(None);
        }
        let record = if self.is_reload_due(&record, store_now) {
            let claims = self.reload_or_end(&record).await?.ok_or(RefreshError::ENDED)?;
            record.with_claims(claims)
        } else {
            record
        };
        let now = inner.clock.now();
        // No XSRF claim, so that the token is of no use as a cookie.
        let access_token = self.issue_access(&record, scope.clone(), None, now).map_err(cannot_issue)?;
        if let Err(error) = inner.authenticator.verifier.verify(&access_token) {
            return Err(RefreshError::Refused { kind: error.kind(), clear: false });
        }
        let expires_at = unix_seconds(access_expiry(&inner.lifetimes, now, record.absolute_expires_at));
        let expires_in = expires_at.saturating_sub(unix_seconds(now));
        Ok(Some(NarrowToken { access_token, expires_at, expires_in }))
    }
}
