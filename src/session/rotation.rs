//! The rules of rotation, as pure functions without a store, clock or HTTP.
//!
//! [`decide`] maps a presented refresh token and the record to a decision. [`successor`] and [`confirmation`] return
//! the record to write, and [`admit`] decides which cookies may be sent. The exhaustive model in `tests/model`
//! compiles this file, so it must not use anything of the crate except [`SessionRecord`].

use std::time::{Duration, SystemTime};

use crate::store::SessionRecord;

/// The settings that a decision depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The grace period: longer than any message spends on the network.
    pub(crate) grace: Duration,
    pub(crate) lost_response: LostResponse,
}

/// How long after a rotation the previous refresh token is still accepted, in case the response was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostResponse {
    /// Accepts it until a token of the new generation has been seen from the client, however late that is, and for
    /// one grace period after that. Legitimate clients are never signed out.
    UntilConfirmed,
    /// Accepts it for at most this long after the rotation, whether or not a token of the new generation has been
    /// seen.
    ///
    /// This is meant for authorization servers whose access tokens are used only on requests that `RefreshLayer` does
    /// not see.
    ///
    /// A legitimate client whose response is lost and which retries later than this, such as a phone that was asleep,
    /// is mistaken for a thief and signed out.
    Within(Duration),
}

/// What to do about a refresh token whose secret is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Refuse the request: the session has ended.
    Refuse,
    /// Advance to the next generation.
    Rotate,
    /// Issue a new access token only, and confirm the generation if it is unconfirmed.
    RenewAccess,
    /// Answer again with the pair of the current generation.
    AnswerAgain,
    /// Revoke the session: this is reuse, since no legitimate client can still hold this token.
    Revoke,
    /// Let the client retry: it looks like reuse, but may not have been reuse when the token arrived.
    TooLate,
    /// Move the record to the presented generation: the store has lost writes.
    CatchUp,
}

impl Decision {
    /// Returns the decision to take when the token has been evaluated before in the same request.
    ///
    /// Since the token arrived, the client may have moved on, so what looks like reuse now does not prove reuse.
    pub(crate) const fn of_later_look(self) -> Self {
        match self {
            Self::Revoke => Self::TooLate,
            decision => decision,
        }
    }

    /// Returns `true` if the answer includes the refresh token of the current generation.
    ///
    /// A client that has presented that token already holds it and does not get it again.
    pub(crate) const fn brings_refresh_token(self) -> bool {
        matches!(self, Self::Rotate | Self::AnswerAgain)
    }
}

/// Decides what to do about a token at the first look.
///
/// `waited` is how long the store took to return the record. Reuse is evaluated as of the token's arrival, that long
/// ago: what looks like reuse only because the client has moved on since then is not reuse.
pub(crate) fn decide(
    presented: u32,
    record: &SessionRecord,
    now: SystemTime,
    waited: Duration,
    rules: Rules,
) -> Decision {
    if !record.is_live(now) {
        return Decision::Refuse;
    }
    let settled = is_settled(record, now, rules);
    let arrived = now.checked_sub(waited).unwrap_or(SystemTime::UNIX_EPOCH);
    let reuse = |had_been: bool| if had_been { Decision::Revoke } else { Decision::TooLate };
    match Relation::of(presented, record.generation) {
        Relation::Current if settled => Decision::Rotate,
        Relation::Current => Decision::RenewAccess,
        Relation::Parent if !settled => Decision::AnswerAgain,
        Relation::Parent => reuse(is_settled(record, arrived, rules)),
        // Reuse if the current generation had begun when the token arrived. A rotation in the future means that
        // the clock was set back.
        Relation::Ancestor => reuse(record.rotated_at <= arrived || record.rotated_at > now),
        Relation::Successor => Decision::CatchUp,
    }
}

/// How the presented generation relates to the current one.
enum Relation {
    Current,
    Parent,
    Ancestor,
    Successor,
}

impl Relation {
    fn of(presented: u32, current: u32) -> Self {
        match current.checked_sub(presented) {
            Some(0) => Self::Current,
            Some(1) => Self::Parent,
            Some(_) => Self::Ancestor,
            None => Self::Successor,
        }
    }
}

/// Returns `true` if the current generation was confirmed so long ago that nothing older can still be in flight.
fn is_settled(record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    let for_long =
        |since: SystemTime, period: Duration| now.duration_since(since).is_ok_and(|past| past >= period);
    let confirmed = record.confirmed_at.is_some_and(|at| for_long(at, rules.grace));
    match rules.lost_response {
        LostResponse::UntilConfirmed => confirmed,
        LostResponse::Within(period) => confirmed || for_long(record.rotated_at, period),
    }
}

/// Returns the record to write before `decision` is answered to a token of generation `presented`, or `None` if the
/// record stays as it is.
pub(crate) fn successor(
    decision: Decision,
    presented: u32,
    record: &SessionRecord,
    now: SystemTime,
    idle: Duration,
) -> Option<SessionRecord> {
    match decision {
        Decision::Rotate => Some(rotated(record.clone(), now, idle)),
        Decision::RenewAccess if record.confirmed_at.is_none() => Some(confirmed(record.clone(), now, idle)),
        Decision::CatchUp => Some(caught_up(record.clone(), presented, now, idle)),
        Decision::RenewAccess
        | Decision::AnswerAgain
        | Decision::Refuse
        | Decision::Revoke
        | Decision::TooLate => None,
    }
}

/// Returns the record to write because an access token of `generation` has been seen from the client.
///
/// Returns `None` if that generation is already confirmed or no longer current, or if the session has ended.
pub(crate) fn confirmation(
    generation: u32,
    record: Option<SessionRecord>,
    now: SystemTime,
    idle: Duration,
) -> Option<SessionRecord> {
    record
        .filter(|record| record.generation == generation)
        .filter(|record| record.confirmed_at.is_none() && record.is_live(now))
        .map(|record| confirmed(record, now, idle))
}

/// Advances the record to the next generation, which is unconfirmed.
fn rotated(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    // Never saturates in practice: at one rotation per 30 seconds, 2^32 rotations take four thousand years.
    record.generation = record.generation.saturating_add(1);
    record.confirmed_at = None;
    record.rotated_at = now;
    seen(record, now, idle)
}

/// Marks the current generation as confirmed, if it is not already.
fn confirmed(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    record.confirmed_at = Some(record.confirmed_at.unwrap_or(now));
    seen(record, now, idle)
}

/// Moves the record to the generation that the client has proved to hold, after the store has lost writes.
fn caught_up(mut record: SessionRecord, generation: u32, now: SystemTime, idle: Duration) -> SessionRecord {
    record.generation = generation;
    record.confirmed_at = Some(now);
    record.rotated_at = now;
    seen(record, now, idle)
}

/// Advances the last-seen time and the idle expiry; a clock that was set back moves neither.
fn seen(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    let absolute = record.absolute_expires_at;
    let idle_expires_at = now.checked_add(idle).map_or(absolute, |end| end.min(absolute));
    record.last_seen_at = record.last_seen_at.max(now);
    record.idle_expires_at = record.idle_expires_at.max(idle_expires_at).min(absolute);
    record
}

/// Which cookies of a response may be sent, decided by the record as read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The cookies may be sent, the refresh cookie only if the generation is unconfirmed.
    Cookies { with_refresh: bool },
    /// The session has moved on to another generation.
    Superseded,
    /// The session has ended.
    Ended,
}

/// Decides which cookies of `generation` may be sent.
///
/// Cookies are sent only if the session is live and still in this generation, and the refresh cookie only if the
/// generation is unconfirmed. A slow handler can therefore neither overwrite a newer cookie nor sign a signed-out
/// browser in again.
pub(crate) fn admit(generation: u32, record: Option<&SessionRecord>, now: SystemTime) -> Admission {
    match record.filter(|record| record.is_live(now)) {
        None => Admission::Ended,
        Some(record) if record.generation != generation => Admission::Superseded,
        Some(record) => Admission::Cookies { with_refresh: record.confirmed_at.is_none() },
    }
}
