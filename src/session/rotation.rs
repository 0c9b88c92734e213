//! The rules of the rotation, as plain functions over plain values: no store, no clock, no HTTP.
//!
//! [`decide`] says what a presented refresh token means, [`successor`] and [`confirmation`] what the record becomes,
//! and [`admit`] which cookies may go on the response. The exhaustive model in `tests/model` compiles this very
//! file, so it uses nothing of the crate but [`SessionRecord`].

use std::time::{Duration, SystemTime};

use crate::store::SessionRecord;

/// What the table depends on besides the record and the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Longer than any message is on the network.
    pub(crate) grace: Duration,
    pub(crate) lost_response: LostResponse,
}

/// How long the answer to a refresh may have been lost, so that the refresh token before it still
/// counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostResponse {
    /// Until a token of the new generation has been seen from the client, however late that is, and
    /// for a grace period after. An honest client is never signed out.
    UntilConfirmed,
    /// For this long after the rotation, whether anything has been seen or not: for authorization
    /// servers whose access tokens are only used out of `RefreshLayer`'s sight.
    ///
    /// Gives up the promise to a client whose response is lost and that asks again later than
    /// this, such as a phone that slept: it is taken for a thief and signed out.
    Within(Duration),
}

/// What to do with a refresh token whose secret is right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The session has ended.
    Refuse,
    /// Advance to the next generation.
    Rotate,
    /// A new access token alone; confirms the generation if nothing has yet.
    RenewAccess,
    /// The pair of the current generation, as the first answer was.
    AnswerAgain,
    /// Reuse: no honest client can still hold this token.
    Revoke,
    /// Looks like reuse, but the token is older now than when it arrived: to be asked again.
    TooLate,
    /// The store has lost writes: move the record to the presented generation.
    CatchUp,
}

impl Decision {
    /// The verdict on a token that has been judged before in the same request. The answer to the first look
    /// took so long that the client may have moved on: its next request carries what it holds now, and
    /// what looks like reuse need not be.
    pub(crate) const fn of_later_look(self) -> Self {
        match self {
            Self::Revoke => Self::TooLate,
            decision => decision,
        }
    }

    /// Whether the refresh token of the present generation is part of the answer: to one who shows that it
    /// holds that token, it is not.
    pub(crate) const fn brings_refresh_token(self) -> bool {
        matches!(self, Self::Rotate | Self::AnswerAgain)
    }
}

/// The table, for the first look at a token.
///
/// `waited` is how long the store has taken to show the record: the token arrived so long ago, and is
/// judged by what held then. What looks like reuse only because the client has moved on meanwhile is none.
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
        // Beyond use as soon as the current generation began, unless that was meanwhile.
        Relation::Ancestor => reuse(record.rotated_at <= arrived || record.rotated_at > now),
        Relation::Successor => Decision::CatchUp,
    }
}

/// How the presented generation stands to the current one.
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

/// Whether the current generation has been confirmed for so long that nothing older is on the way.
fn is_settled(record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    let for_long =
        |since: SystemTime, period: Duration| now.duration_since(since).is_ok_and(|past| past >= period);
    let confirmed = record.confirmed_at.is_some_and(|at| for_long(at, rules.grace));
    match rules.lost_response {
        LostResponse::UntilConfirmed => confirmed,
        LostResponse::Within(period) => confirmed || for_long(record.rotated_at, period),
    }
}

/// What must be written before the token of generation `presented` is answered with `decision`; `None` where
/// the record stays as it is.
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

/// What must be written because an access token of `generation` has been seen from the client; `None` when
/// that generation is confirmed already, has passed, or has ended.
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

/// The next generation, not yet confirmed.
fn rotated(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    // 2^32 rotations would take four thousand years at one per grace period.
    record.generation = record.generation.saturating_add(1);
    record.confirmed_at = None;
    record.rotated_at = now;
    seen(record, now, idle)
}

/// The same generation, seen from the client.
fn confirmed(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    record.confirmed_at = Some(record.confirmed_at.unwrap_or(now));
    seen(record, now, idle)
}

/// The generation that the client proves to hold, after the store has lost writes.
fn caught_up(mut record: SessionRecord, generation: u32, now: SystemTime, idle: Duration) -> SessionRecord {
    record.generation = generation;
    record.confirmed_at = Some(now);
    record.rotated_at = now;
    seen(record, now, idle)
}

/// Moves last-seen and the idle expiry on; a clock set back moves neither.
fn seen(mut record: SessionRecord, now: SystemTime, idle: Duration) -> SessionRecord {
    let absolute = record.absolute_expires_at;
    let idle_expires_at = now.checked_add(idle).map_or(absolute, |end| end.min(absolute));
    record.last_seen_at = record.last_seen_at.max(now);
    record.idle_expires_at = record.idle_expires_at.max(idle_expires_at).min(absolute);
    record
}

/// What the record, read once more, says about the cookies of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// They may go; the refresh cookie only while nobody has shown that the client holds it.
    Cookies { with_refresh: bool },
    /// The session has moved on meanwhile.
    Superseded,
    /// The session has ended meanwhile.
    Ended,
}

/// Cookies of `generation` go only while the session is live and of the same generation, and the refresh
/// cookie only if that has not been confirmed: a slow handler can neither overwrite a newer cookie nor
/// revive a signed-out browser.
pub(crate) fn admit(generation: u32, record: Option<&SessionRecord>, now: SystemTime) -> Admission {
    match record.filter(|record| record.is_live(now)) {
        None => Admission::Ended,
        Some(record) if record.generation != generation => Admission::Superseded,
        Some(record) => Admission::Cookies { with_refresh: record.confirmed_at.is_none() },
    }
}
