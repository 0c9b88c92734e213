//! The exchange of a refresh token: applies the rules of rotation to the store.

use std::time::SystemTime;

use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use super::{
    binding::{self, Proof, Verdict},
    device::{self, DeviceKey},
    events::SessionEvent,
    issue::{Issued, access_expiry, cannot_issue},
    records::{MAX_ROUNDS, Unavailable},
    rotation::{self, Admission, Decision, Write, decide},
    sessions::Sessions,
    writes::{End, WriteEvent},
};
use crate::{
    clock::unix_seconds,
    reject::Refusal,
    request::{RefreshToken, SessionSecret},
    store::{SessionId, SessionRecord, Snapshot, Stamps, Update},
    token::{Claims, Known, Moment, Scopes, TokenErrorKind},
    trace,
};

/// What a refresh token is exchanged for.
pub(crate) struct Grant<C> {
    pub(crate) claims: Claims<C>,
    /// `None` for a request that is served while the session is being bound: it brings no cookies.
    pub(crate) answer: Option<Answer>,
}

/// By what a session is renewed.
#[derive(Clone, Copy)]
pub(super) enum By<'k> {
    Cookies,
    /// A proof of the device, after which the session has this binding.
    Proof {
        key: &'k DeviceKey,
        is_first: bool,
    },
}

impl By<'_> {
    const fn proof(self) -> Proof {
        match self {
            Self::Cookies => Proof::None,
            Self::Proof { .. } => Proof::Good,
        }
    }

    fn proof_time(self) -> Option<SystemTime> {
        match self {
            Self::Cookies => None,
            Self::Proof { key, .. } => Some(key.proved_at()),
        }
    }
}

/// The tokens of an answer, until the second look admits their cookies.
pub(crate) struct Answer {
    pub(crate) issued: Issued,
    /// The session's secret, for an answer that begins a generation. Where a proof alone renews, none does.
    secret: Option<SessionSecret>,
    /// The generation began two grace periods before it was answered again, and was unconfirmed.
    late: bool,
    proof: Proof,
}

/// An access token with less scope than the session was granted.
pub(crate) struct NarrowToken {
    pub(crate) access_token: String,
    /// Whole seconds since the epoch.
    pub(crate) expires_at: u64,
    /// Whole seconds from now.
    pub(crate) expires_in: u64,
}

/// The outcome of asking for an access token of narrower scope.
pub(crate) enum Narrowing {
    Granted(NarrowToken),
    /// All that was granted is asked for: that is an ordinary exchange.
    NotNarrower,
    /// More is asked for than was granted.
    Exceeds,
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
    /// The request presents tokens of several live sessions.
    pub(super) const AMBIGUOUS: Self = Self::Refused { kind: TokenErrorKind::Ambiguous, clear: false };
    /// The session ends within the second, or has ended by this node's clock but not by the store's.
    const OVER: Self = Self::Refused { kind: TokenErrorKind::Revoked, clear: false };
    /// The token's signature is valid, but its secret is not that of the session. This does not prove that a token of
    /// the session was stolen, so the session stays as it is.
    const WRONG_SECRET: Self = Self::Refused { kind: TokenErrorKind::BadSignature, clear: false };
    /// The session is bound to a device, which must prove itself: the cookies alone do not suffice.
    pub(crate) const UNPROVEN: Self = Self::Refused { kind: TokenErrorKind::ProofRequired, clear: false };
    /// The stored claims cannot be deserialized as the application's type, and no `ReloadClaims` is configured.
    const UNREADABLE: Self = Self::Refused { kind: TokenErrorKind::ClaimsMismatch, clear: false };

    /// The session has moved on, or may have, while the store was being asked.
    pub(crate) fn too_late() -> Self {
        trace::answered_too_late();
        Self::Unavailable
    }

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
///
/// Of a session whose binding cannot be read, no token does.
pub(super) fn has_secret(record: &SessionRecord, token: &RefreshToken) -> bool {
    let Ok(bound) = device::binding(&record.extension) else { return false };
    device::secret_hash(bound.as_ref(), &token.secret).ct_eq(&record.secret_hash).into()
}

impl<C> Sessions<C> {
    /// Issues the token that a request which has just been refreshed passes on to other servers.
    pub(crate) fn passed_on(&self, answer: &Answer) -> Option<String> {
        let record = answer.issued.record();
        let token = self.issue_detached(record, Scopes::granted(&record.scope), self.inner().clock.now());
        token.inspect_err(|error| trace::cannot_issue(error)).ok()
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Exchanges a refresh token whose signature and expiry have been checked.
    ///
    /// Reads the record, decides, issues the tokens and writes, and starts again if another writer won.
    pub(crate) async fn exchange(&self, token: &RefreshToken) -> Result<Box<Grant<C>>, RefreshError> {
        self.exchange_from(0, token, true).await
    }

    /// Exchanges a refresh token for a response without a handler in between.
    ///
    /// Starts again if the record has moved on between the exchange and the admission. `misses_proof` says whether it is an
    /// event if a proof would be needed. Returns `None` for a request that was on its way while the session was bound: there
    /// is nothing to give.
    pub(crate) async fn exchange_at_once(
        &self,
        token: &RefreshToken,
        misses_proof: bool,
    ) -> Result<Option<Issued>, RefreshError> {
        for round in 0..MAX_ROUNDS {
            let grant = self.exchange_from(round, token, misses_proof).await?;
            let Some(answer) = grant.answer else { return Ok(None) };
            if let Some(issued) = self.admit(answer).await? {
                return Ok(Some(issued));
            }
        }
        Err(Unavailable::contended().into())
    }

    /// Exchanges a refresh token, starting in round `first`.
    ///
    /// Only round 0 may detect reuse. By a later round the token has aged since it arrived, and the client may have
    /// moved on.
    async fn exchange_from(
        &self,
        first: usize,
        token: &RefreshToken,
        misses_proof: bool,
    ) -> Result<Box<Grant<C>>, RefreshError> {
        let id = SessionId::from(&*token.session_id);
        for round in first..MAX_ROUNDS {
            let asked = Moment::now(self.inner().clock.now());
            let (Snapshot { record, now }, waited) = self.inner().records.read_timed(&id).await?;
            let record = record.ok_or(RefreshError::ENDED)?;
            let bound = self.binding_of(&record)?.map(|key| key.bound());
            self.check_secret(&record, token)?;
            let rules = self.inner().rules;
            let decision = decide(token.generation, &record, now, waited, rules);
            let verdict = binding::verdict(decision, bound, Proof::None, now, waited, rules);
            let verdict = if round == 0 { verdict } else { verdict.of_later_look() };
            let is_unproven = verdict == Verdict::Prove
                || bound.is_some_and(|bound| !bound.is_enforced) && decision.is_answered();
            if is_unproven && misses_proof && round == first {
                self.raise(SessionEvent::ProofMissing {
                    subject: &record.subject,
                    session: &record.id,
                    presented: token.generation,
                    current: record.generation,
                });
            }
            let decision = match verdict {
                Verdict::Decided(decision) => decision,
                Verdict::Prove => return Err(RefreshError::UNPROVEN),
                Verdict::Serve => return self.serve(token, &record),
            };
            if let Some(grant) = self.carry_out(decision, Some(token), record, now, By::Cookies).await? {
                // The write has found the session as it was read.
                grant.claims.asked().answered(asked, Known::Live);
                return Ok(grant);
            }
        }
        Err(Unavailable::contended().into())
    }

    /// Returns the binding of a session. A session whose binding cannot be read is not taken for an unbound one.
    pub(super) fn binding_of(&self, record: &SessionRecord) -> Result<Option<DeviceKey>, RefreshError> {
        device::binding(&record.extension).map_err(|error| {
            trace::store_failed("reading a session", &error);
            RefreshError::Unavailable
        })
    }

    /// Lets a request go on that was on its way while the session was bound: no cookies, and nothing is written.
    fn serve(&self, token: &RefreshToken, record: &SessionRecord) -> Result<Box<Grant<C>>, RefreshError> {
        let grant = self.grant(Decision::RenewAccess, Some(token), record, By::Cookies)?;
        let mut grant = grant.ok_or(RefreshError::UNREADABLE)?;
        grant.answer = None;
        Ok(grant)
    }

    pub(super) fn check_secret(
        &self,
        record: &SessionRecord,
        token: &RefreshToken,
    ) -> Result<(), RefreshError> {
        if has_secret(record, token) {
            return Ok(());
        }
        let (subject, session) = (&*record.subject, &record.id);
        let event = SessionEvent::WrongSecret { subject, session, presented: token.generation };
        self.inner().records.events.raise(event);
        Err(RefreshError::WRONG_SECRET)
    }

    /// Carries out a decision; returns `None` if another writer won, in which case the record must be read again.
    pub(super) async fn carry_out(
        &self,
        decision: Decision,
        token: Option<&RefreshToken>,
        record: SessionRecord,
        now: SystemTime,
        by: By<'_>,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        if decision != Decision::Refuse && self.is_nearly_over(&record) {
            return Err(RefreshError::OVER);
        }
        match decision {
            Decision::Refuse => Err(RefreshError::ENDED),
            Decision::TooLate => Err(RefreshError::too_late()),
            Decision::Revoke => {
                let end =
                    End::Reused { presented: token.map_or(record.generation, |token| token.generation) };
                self.inner().records.end(record, end).await?;
                Err(RefreshError::ENDED)
            }
            Decision::Rotate | Decision::RenewAccess | Decision::AnswerAgain { .. } | Decision::CatchUp => {
                self.answer(decision, token, record, now, by).await
            }
        }
    }

    /// Returns `true` if the session's absolute expiry leaves no whole second for another access token.
    fn is_nearly_over(&self, record: &SessionRecord) -> bool {
        unix_seconds(record.absolute_expires_at) <= unix_seconds(self.inner().clock.now())
    }

    /// Answers with the tokens of the generation that the record has or is moved to.
    ///
    /// They are issued before the record is written: what cannot be issued must not be committed. Claims that are
    /// reloaded are committed together with the generation.
    async fn answer(
        &self,
        decision: Decision,
        token: Option<&RefreshToken>,
        record: SessionRecord,
        now: SystemTime,
        by: By<'_>,
    ) -> Result<Option<Box<Grant<C>>>, RefreshError> {
        let inner = self.inner();
        let (grace, idle) = (inner.rules.grace, inner.lifetimes.idle);
        let from = record.generation;
        let is_reloaded = inner.reload.is_some()
            && (decision == Decision::Rotate
                || (decision != Decision::CatchUp && self.is_reload_due(&record, now)));
        let (record, has_new_claims) = if is_reloaded {
            let reloaded = self.reloaded(&record, now).await?;
            let is_new = reloaded.claims != record.claims;
            (reloaded, is_new)
        } else {
            (record, false)
        };
        // A proof alone says nothing of the generation that the client holds.
        let successor = token
            .and_then(|token| rotation::successor(decision, token.generation, &record, now, grace, idle));
        // Where no rule asks for a write, last-seen and the idle expiry still move.
        let must_be_written = successor.is_some() || has_new_claims || by.proof() == Proof::Good;
        let mut write = successor.unwrap_or_else(|| rotation::touched(record, Some(idle)));
        if let By::Proof { key, .. } = by {
            write.record.extension = key.to_extension();
            if let Some(token) = token {
                write.record.secret_hash = device::secret_hash(Some(key), &token.secret);
            }
        }
        let Some(grant) = self.grant(decision, token, &write.record, by)? else {
            return self.rebuild(&write.record).await;
        };
        let event = match (decision, token) {
            (Decision::Rotate, _) => Some(WriteEvent::Rotated),
            (Decision::CatchUp, Some(token)) => {
                Some(WriteEvent::LostWrites { presented: token.generation, stored: from })
            }
            _ => None,
        };
        let bound = match by {
            By::Proof { key, is_first: true } => {
                Some(WriteEvent::DeviceBound { thumbprint: *key.thumbprint() })
            }
            By::Proof { .. } | By::Cookies => None,
        };
        let events: Vec<_> = event.into_iter().chain(bound).collect();
        let update = match events.is_empty() {
            false => inner.records.update_raising(write, events).await,
            true => inner.records.update(&write).await,
        };
        match update {
            Ok(Update::Done(_)) => Ok(Some(grant)),
            Ok(Update::Gone) => Err(RefreshError::ENDED),
            Ok(Update::Conflict) if must_be_written => Ok(None),
            Err(unavailable) if must_be_written => Err(unavailable.into()),
            // A touch that is lost is not repeated.
            Ok(Update::Conflict) | Err(_) => Ok(Some(grant)),
        }
    }

    /// Issues the tokens of `record`; returns `None` if its claims cannot be deserialized as the application's type.
    fn grant(
        &self,
        decision: Decision,
        token: Option<&RefreshToken>,
        record: &SessionRecord,
        by: By<'_>,
    ) -> Result<Option<Box<Grant<C>>>, Unavailable> {
        let inner = self.inner();
        let secret = token.map(|token| &token.secret);
        let sent = secret.filter(|_| decision.brings_refresh_token());
        let issued =
            self.issue_proven(record, sent, inner.clock.now(), by.proof_time()).map_err(cannot_issue)?;
        let late = decision == Decision::AnswerAgain { late: true };
        let (secret, proof) = (secret.cloned(), by.proof());
        let answer = |issued| Some(Answer { issued, secret, late, proof });
        match inner.authenticator.verifier.verify(&issued.token) {
            Ok(claims) => Ok(Some(Box::new(Grant { claims, answer: answer(issued) }))),
            Err(error) if error.kind() == TokenErrorKind::ClaimsMismatch => Ok(None),
            Err(error) => {
                trace::cannot_issue(&error);
                Err(Unavailable(error.into()))
            }
        }
    }

    /// Returns the record with the user's current claims; ends the session if the user must not stay signed in.
    async fn reloaded(&self, record: &SessionRecord, now: SystemTime) -> Result<SessionRecord, RefreshError> {
        let claims = self.reload_or_end(record).await?.ok_or(RefreshError::ENDED)?;
        let mut record = record.clone().with_claims(claims);
        record.claims_at = now;
        Ok(record)
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
        let Snapshot { record, now } = inner.records.read(&record.id).await?;
        let record = self.reloaded(&record.ok_or(RefreshError::ENDED)?, now).await?;
        let write = Write { record, stamps: Stamps::default() };
        match inner.records.update(&write).await? {
            Update::Done(_) | Update::Conflict => Ok(None),
            Update::Gone => Err(RefreshError::ENDED),
        }
    }

    /// Reads the record again before cookies are sent, and drops those that must no longer be sent.
    ///
    /// Claims that have changed meanwhile, perhaps by the handler itself, go out as they are now. A node that takes
    /// longer than half a grace period from asking to handing over looks again.
    pub(crate) async fn admit(&self, answer: Answer) -> Result<Option<Issued>, RefreshError> {
        let inner = self.inner();
        let Answer { mut issued, secret, mut late, proof } = answer;
        for _ in 0..MAX_ROUNDS {
            let asked_at = inner.clock.now();
            let Snapshot { record, now } = inner.records.read(issued.id()).await?;
            let admission = rotation::admit(
                issued.generation(),
                issued.has_refresh(),
                late,
                record.as_ref(),
                now,
                inner.rules,
            );
            let Some(record) = record else {
                return Err(RefreshError::ENDED);
            };
            let bound = self.binding_of(&record)?.map(|key| key.bound());
            if proof == Proof::Good && bound.is_none() {
                return Err(self.has_lost_binding(record).await);
            }
            let admission = binding::admission(admission, bound, proof);
            let admitted = match admission {
                Admission::Ended => return Err(RefreshError::ENDED),
                Admission::Superseded => return Ok(None),
                Admission::Withhold => return Err(RefreshError::too_late()),
                Admission::Cookies { with_refresh } => {
                    issued = self.as_it_is_now(issued, &record)?;
                    if !with_refresh {
                        issued = issued.without_refresh();
                    }
                    true
                }
                Admission::MoveIssued => {
                    issued = self.as_it_is_now(issued, &record)?;
                    self.is_written(&rotation::moved(record, inner.lifetimes.idle)).await?.is_some()
                }
                Admission::Reissue => {
                    let write = rotation::reissued(record, inner.lifetimes.idle);
                    let next = self
                        .issue(&write.record, secret.as_ref(), inner.clock.now())
                        .map_err(cannot_issue)?;
                    match inner.records.update_raising(write, vec![WriteEvent::AnswerLost]).await? {
                        Update::Done(_) => {
                            (issued, late) = (next, false);
                            true
                        }
                        Update::Conflict => false,
                        Update::Gone => return Err(RefreshError::ENDED),
                    }
                }
            };
            let took = inner.clock.now().duration_since(asked_at).unwrap_or_default();
            if admitted && took.saturating_mul(2) <= inner.rules.grace {
                return Ok(Some(issued));
            }
        }
        Err(RefreshError::too_late())
    }

    /// The record as written; `None` when another writer has won.
    async fn is_written(&self, write: &Write) -> Result<Option<Box<SessionRecord>>, RefreshError> {
        match self.inner().records.update(write).await? {
            Update::Done(written) => Ok(Some(written)),
            Update::Conflict => Ok(None),
            Update::Gone => Err(RefreshError::ENDED),
        }
    }

    /// The tokens with the claims that the record has now.
    fn as_it_is_now(&self, issued: Issued, record: &SessionRecord) -> Result<Issued, RefreshError> {
        if issued.is_current(record) {
            return Ok(issued);
        }
        let now = self.inner().clock.now();
        let fresh = self.issue_proven(record, None, now, issued.proof_time()).map_err(cannot_issue)?;
        Ok(fresh.with_refresh_of(issued))
    }

    /// Ends a session whose binding the store has not kept: it would go on unbound, and nobody would know.
    #[cold]
    async fn has_lost_binding(&self, record: SessionRecord) -> RefreshError {
        trace::binding_lost();
        match self.inner().records.end(record, End::SignedOut).await {
            Ok(()) => RefreshError::ENDED,
            Err(unavailable) => unavailable.into(),
        }
    }

    /// Issues an access token with a narrower scope (RFC 6749 §6).
    ///
    /// The session keeps its generation, its scopes and its cookies. Reuse is detected as in any exchange.
    ///
    /// In a session that is bound to a device, the refresh token alone brings nothing: the new token expires with the access
    /// token that the client holds from its last proof (`held`).
    pub(crate) async fn narrow(
        &self,
        token: &RefreshToken,
        scope: &Scopes,
        held: Option<&Claims<C>>,
    ) -> Result<Narrowing, RefreshError> {
        let inner = self.inner();
        let id = SessionId::from(&*token.session_id);
        let (Snapshot { record, now: store_now }, waited) = inner.records.read_timed(&id).await?;
        let record = record.ok_or(RefreshError::ENDED)?;
        let bound = self.binding_of(&record)?.map(|key| key.bound());
        self.check_secret(&record, token)?;
        let granted = Scopes::granted(&record.scope);
        if *scope == granted {
            return Ok(Narrowing::NotNarrower);
        }
        let decision = decide(token.generation, &record, store_now, waited, inner.rules);
        let decision = match binding::verdict(decision, bound, Proof::None, store_now, waited, inner.rules) {
            Verdict::Decided(decision) => decision,
            Verdict::Serve | Verdict::Prove => match held {
                Some(claims) => return self.narrow_held(&record, claims, scope),
                None => return Err(self.exchange(token).await.err().unwrap_or(RefreshError::UNPROVEN)),
            },
        };
        match decision {
            // `exchange` carries out both decisions and returns the reason.
            Decision::Refuse | Decision::Revoke => {
                return Err(self.exchange(token).await.err().unwrap_or_else(RefreshError::too_late));
            }
            // A narrowing begins no generation, and one ahead of the record is left to the exchange.
            Decision::TooLate | Decision::AnswerAgain { late: true } | Decision::CatchUp => {
                return Err(RefreshError::too_late());
            }
            Decision::Rotate | Decision::RenewAccess | Decision::AnswerAgain { late: false } => {}
        }
        if self.is_nearly_over(&record) {
            return Err(RefreshError::OVER);
        }
        if !scope.is_subset(&granted) {
            return Ok(Narrowing::Exceeds);
        }
        let record = if self.is_reload_due(&record, store_now) {
            self.reloaded(&record, store_now).await?
        } else {
            record
        };
        let now = inner.clock.now();
        let access_token = self.issue_detached(&record, scope.clone(), now).map_err(cannot_issue)?;
        if let Err(error) = inner.authenticator.verifier.verify(&access_token) {
            return Err(RefreshError::Refused { kind: error.kind(), clear: false });
        }
        // It counts as a presentation, which must be known before the token is used.
        let write = rotation::narrowed(token.generation, &record, store_now, inner.rules.grace);
        let event = WriteEvent::Narrowed { presented: token.generation };
        match inner.records.update_raising(write, vec![event]).await? {
            Update::Done(_) => {}
            Update::Conflict => return Err(RefreshError::Unavailable),
            Update::Gone => return Err(RefreshError::ENDED),
        }
        let expires_at = unix_seconds(access_expiry(&inner.lifetimes, now, record.absolute_expires_at));
        let expires_in = expires_at.saturating_sub(unix_seconds(now));
        Ok(Narrowing::Granted(NarrowToken { access_token, expires_at, expires_in }))
    }

    fn narrow_held(
        &self,
        record: &SessionRecord,
        held: &Claims<C>,
        scope: &Scopes,
    ) -> Result<Narrowing, RefreshError> {
        if !scope.is_subset(&Scopes::granted(&record.scope)) {
            return Ok(Narrowing::Exceeds);
        }
        let now = self.inner().clock.now();
        let expires_at = held.expires_at();
        let access_token =
            self.issue_detached_until(record, scope.clone(), expires_at).map_err(cannot_issue)?;
        let expires_at = unix_seconds(expires_at);
        let expires_in = expires_at.saturating_sub(unix_seconds(now));
        Ok(Narrowing::Granted(NarrowToken { access_token, expires_at, expires_in }))
    }
}
