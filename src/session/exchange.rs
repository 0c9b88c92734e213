//! The exchange of a refresh token: the decision table, carried out on the store.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::time::{Duration, SystemTime};
use subtle::ConstantTimeEq;

use super::{
    events::SessionEvent,
    mint::Minted,
    rotation::{self, Admission, Verdict, decide, successor},
    sessions::{Sessions, Unavailable},
};
use crate::{
    clock::unix_seconds,
    request::RefreshToken,
    store::{SessionId, SessionRecord, Snapshot, Update},
    token::{Claims, IssueError, IssueErrorKind, TokenError, TokenErrorKind, to_object},
};

/// What a refresh token was exchanged for.
pub(crate) enum Exchanged<C> {
    Granted(Box<Granted<C>>),
    /// The session has ended, or ends here: its cookies are beyond use.
    Ended,
    /// The session ends within the second, or has by this node's clock alone.
    Over,
    /// Signed by us, but not with this session's secret: nothing is said about the session.
    WrongSecret,
    /// The stored claims are not of the application's type, and nobody can reload them.
    Unreadable,
}

pub(crate) struct Granted<C> {
    pub(crate) claims: Claims<C>,
    pub(crate) minted: Minted,
}

/// Whether the token carries the session's secret; compared in constant time.
pub(super) fn has_secret(record: &SessionRecord, token: &RefreshToken) -> bool {
    token.secret.hash().ct_eq(&record.secret_hash).into()
}

/// One look at the record.
#[derive(Clone, Copy)]
struct Look {
    /// The token has not been judged before in the same request.
    first: bool,
    /// How long the store has taken.
    waited: Duration,
}

/// One round against the store.
enum Round<C> {
    Done(Exchanged<C>),
    /// Somebody else has written: read again and decide anew.
    Again,
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Exchanges a refresh token whose signature and expiry have been checked.
    pub(crate) async fn exchange(&self, token: &RefreshToken) -> Result<Exchanged<C>, Unavailable> {
        self.exchange_from(token, 0).await
    }

    /// As [`exchange`](Self::exchange), for a token that has been judged before in the same request: it
    /// is older now than when it arrived, and what looks like reuse need not be.
    pub(crate) async fn exchange_again(&self, token: &RefreshToken) -> Result<Exchanged<C>, Unavailable> {
        self.exchange_from(token, 1).await
    }

    async fn exchange_from(&self, token: &RefreshToken, round: usize) -> Result<Exchanged<C>, Unavailable> {
        let id = SessionId::from(&*token.session_id);
        for round in round..MAX_ROUNDS {
            let (Snapshot { record, now }, waited) = self.load_timed(&id).await?;
            let look = Look { first: round == 0, waited };
            let Some(record) = record else {
                return Ok(Exchanged::Ended);
            };
            if !has_secret(&record, token) {
                return Ok(Exchanged::WrongSecret);
            }
            if let Round::Done(exchanged) = self.round(token, record, now, look).await? {
                return Ok(exchanged);
            }
        }
        Err(Unavailable)
    }

    async fn round(
        &self,
        token: &RefreshToken,
        record: SessionRecord,
        now: SystemTime,
        look: Look,
    ) -> Result<Round<C>, Unavailable> {
        let inner = self.inner();
        let stored = record.generation;
        let verdict = decide(token.generation, &record, now, look.waited, inner.rules);
        let verdict = if look.first { verdict } else { verdict.of_later_look() };
        if verdict != Verdict::Refuse && self.is_nearly_over(&record) {
            return Ok(Round::Done(Exchanged::Over));
        }
        match verdict {
            Verdict::Refuse => Ok(Round::Done(Exchanged::Ended)),
            Verdict::TooLate => Err(Unavailable),
            Verdict::Revoke => {
                self.remove(&record.id).await?;
                inner.events.raise(SessionEvent::ReuseDetected {
                    subject: &record.subject,
                    session: &record.id,
                    presented: token.generation,
                    current: stored,
                });
                Ok(Round::Done(Exchanged::Ended))
            }
            Verdict::Rotate => self.rotate(token, record, now).await,
            Verdict::CatchUp => self.answer(token, record, verdict, now).await,
            Verdict::RenewAccess | Verdict::AnswerAgain if self.is_reload_due(&record, now) => {
                self.answer_reloaded(token, record, verdict, now).await
            }
            Verdict::RenewAccess | Verdict::AnswerAgain => self.answer(token, record, verdict, now).await,
        }
    }

    /// Whether no access token fits before the session's absolute expiry any more.
    pub(super) fn is_nearly_over(&self, record: &SessionRecord) -> bool {
        unix_seconds(record.absolute_expires_at) <= unix_seconds(self.inner().clock.now())
    }

    /// Claims are as old as the last rotation. A client that never lets its generation settle must not
    /// keep them for longer than an access token lives.
    pub(super) fn is_reload_due(&self, record: &SessionRecord, now: SystemTime) -> bool {
        let age = now.duration_since(record.rotated_at).unwrap_or_default();
        self.inner().reload.is_some() && age >= self.inner().lifetimes.access
    }

    async fn answer_reloaded(
        &self,
        token: &RefreshToken,
        record: SessionRecord,
        verdict: Verdict,
        now: SystemTime,
    ) -> Result<Round<C>, Unavailable> {
        match self.reload_or_end(&record).await? {
            None => Ok(Round::Done(Exchanged::Ended)),
            Some(claims) if *claims == *record.claims => self.answer(token, record, verdict, now).await,
            Some(claims) => match self.swap(&record.clone().with_claims(claims.clone())).await? {
                Update::Done => {
                    let mut record = record.with_claims(claims);
                    record.version += 1;
                    self.answer(token, record, verdict, now).await
                }
                Update::Conflict => Ok(Round::Again),
                Update::Gone => Ok(Round::Done(Exchanged::Ended)),
            },
        }
    }

    /// Answers with the tokens of the generation that the record has or, where the client shows what it
    /// holds, gets by that.
    async fn answer(
        &self,
        token: &RefreshToken,
        record: SessionRecord,
        verdict: Verdict,
        now: SystemTime,
    ) -> Result<Round<C>, Unavailable> {
        if let Some(next) = successor(verdict, token.generation, &record, now, self.inner().lifetimes.idle) {
            let stored = record.generation;
            let event = (verdict == Verdict::CatchUp).then_some(Raise::LostWrites { stored });
            return self.advance(token, next, verdict, event).await;
        }
        match self.grant(token, &record, verdict.brings_refresh_token())? {
            Some(granted) => Ok(Round::Done(Exchanged::Granted(granted))),
            None => self.rebuild(&record).await,
        }
    }

    async fn rotate(
        &self,
        token: &RefreshToken,
        record: SessionRecord,
        now: SystemTime,
    ) -> Result<Round<C>, Unavailable> {
        let Some(claims) = self.reload_or_end(&record).await? else {
            return Ok(Round::Done(Exchanged::Ended));
        };
        let (verdict, idle) = (Verdict::Rotate, self.inner().lifetimes.idle);
        let next = successor(verdict, token.generation, &record, now, idle).expect("a rotation is written");
        // Claims and generation are committed together.
        self.advance(token, next.with_claims(claims), verdict, Some(Raise::Rotated)).await
    }

    /// Writes `next` and answers with its tokens. They are minted before: what cannot be issued must
    /// not be committed.
    async fn advance(
        &self,
        token: &RefreshToken,
        next: SessionRecord,
        verdict: Verdict,
        event: Option<Raise>,
    ) -> Result<Round<C>, Unavailable> {
        let Some(granted) = self.grant(token, &next, verdict.brings_refresh_token())? else {
            return self.rebuild(&next).await;
        };
        match self.swap(&next).await? {
            Update::Done => {
                if let Some(event) = event {
                    event.raise(self, token, &next);
                }
                Ok(Round::Done(Exchanged::Granted(granted)))
            }
            Update::Conflict => Ok(Round::Again),
            Update::Gone => Ok(Round::Done(Exchanged::Ended)),
        }
    }

    /// Mints for `record`; `None` when its claims are not of the application's type.
    fn grant(
        &self,
        token: &RefreshToken,
        record: &SessionRecord,
        with_refresh: bool,
    ) -> Result<Option<Box<Granted<C>>>, Unavailable> {
        let inner = self.inner();
        let secret = with_refresh.then_some(&token.secret);
        let minted = self.mint(record, secret, inner.clock.now()).map_err(cannot_issue)?;
        match inner.authenticator.verifier.verify(&minted.token) {
            Ok(claims) => Ok(Some(Box::new(Granted { claims, minted }))),
            Err(error) if error.kind() == TokenErrorKind::ClaimsMismatch => Ok(None),
            Err(error) => {
                crate::trace::cannot_issue(&error);
                Err(Unavailable)
            }
        }
    }

    /// The application's type has changed: its claims are reloaded, or the request is refused and
    /// nothing else happens.
    async fn rebuild(&self, record: &SessionRecord) -> Result<Round<C>, Unavailable> {
        if self.inner().reload.is_none() {
            return Ok(Round::Done(Exchanged::Unreadable));
        }
        // The stored record, not a successor that has not been written.
        let Some(stored) = self.load(&record.id).await?.record else {
            return Ok(Round::Done(Exchanged::Ended));
        };
        let Some(claims) = self.reload_or_end(&stored).await? else {
            return Ok(Round::Done(Exchanged::Ended));
        };
        match self.swap(&stored.with_claims(claims)).await? {
            Update::Done | Update::Conflict => Ok(Round::Again),
            Update::Gone => Ok(Round::Done(Exchanged::Ended)),
        }
    }

    /// The present claims as JSON; `None` once the session of a user who may not stay has been ended.
    pub(super) async fn reload_or_end(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let claims = self.reload(record).await?;
        if claims.is_none() {
            self.end(record).await?;
        }
        Ok(claims)
    }

    /// The present claims as JSON, those of the record where nobody reloads them; `None` when the user may
    /// not stay.
    async fn reload(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let Some(reload) = &self.inner().reload else {
            return Ok(Some(record.claims.to_string()));
        };
        let claims = reload.present(&record.subject).await.map_err(|error| {
            crate::trace::reload_failed(&error);
            Unavailable
        })?;
        let Some(claims) = claims else {
            return Ok(None);
        };
        let json = Value::Object(to_object(&claims).map_err(cannot_issue)?).to_string();
        if serde_json::from_str::<C>(&json).is_err() {
            // Stored, they would have to be reloaded for every request.
            return Err(cannot_issue(IssueError::new(IssueErrorKind::NotReadable)));
        }
        Ok(Some(json))
    }

    /// Reads the record once more before cookies go on a response, and takes back what may not go any
    /// more. Claims that have changed meanwhile, as by the handler itself, go out as they are now.
    pub(crate) async fn admit(&self, minted: Minted) -> Result<Admitted, Unavailable> {
        let Snapshot { record, now } = self.load(minted.id()).await?;
        let with_refresh = match rotation::admit(minted.generation(), record.as_ref(), now) {
            Admission::Ended => return Ok(Admitted::Ended),
            Admission::Superseded => return Ok(Admitted::Superseded),
            Admission::Cookies { with_refresh } => with_refresh,
        };
        let minted = match record {
            Some(record) if !minted.is_of(&record) => {
                let fresh = self.mint(&record, None, self.inner().clock.now()).map_err(cannot_issue)?;
                fresh.with_refresh_of(minted)
            }
            _ => minted,
        };
        Ok(Admitted::Cookies(Box::new(minted), with_refresh))
    }
}

/// Logs a mistake of the application, for which a client can do nothing.
pub(super) fn cannot_issue(error: IssueError) -> Unavailable {
    crate::trace::cannot_issue(&error);
    Unavailable
}

/// Whether cookies may go on a response.
pub(crate) enum Admitted {
    /// These, with the refresh cookie or without.
    Cookies(Box<Minted>, bool),
    /// The session has moved on meanwhile.
    Superseded,
    /// The session has ended meanwhile.
    Ended,
}

/// The event of a write, raised once it is done.
enum Raise {
    Rotated,
    LostWrites { stored: u32 },
}

impl Raise {
    fn raise<C>(self, sessions: &Sessions<C>, token: &RefreshToken, record: &SessionRecord) {
        let (subject, session) = (&*record.subject, &record.id);
        sessions.inner().events.raise(match self {
            Self::Rotated => SessionEvent::Rotated { subject, session, generation: record.generation },
            Self::LostWrites { stored } => {
                SessionEvent::StoreLostWrites { subject, session, presented: token.generation, stored }
            }
        });
    }
}

impl<C> Exchanged<C> {
    /// Why there are no claims, and whether the cookies that were presented are beyond use.
    pub(crate) fn into_granted(self) -> Result<Box<Granted<C>>, (TokenError, bool)> {
        match self {
            Self::Granted(granted) => Ok(granted),
            Self::Ended => Err((TokenErrorKind::Revoked.into(), true)),
            Self::Over => Err((TokenErrorKind::Revoked.into(), false)),
            Self::WrongSecret => Err((TokenErrorKind::BadSignature.into(), false)),
            Self::Unreadable => Err((TokenErrorKind::ClaimsMismatch.into(), false)),
        }
    }
}

/// Each further round means that somebody else has moved the session on; so many do not happen.
const MAX_ROUNDS: usize = 16;
