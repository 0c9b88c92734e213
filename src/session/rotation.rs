//! The rules of rotation, as pure functions without a store, clock or HTTP.
//!
//! [`decide`] says what a presented refresh token means, [`successor`], [`sighting`] and [`touched`] what is written to
//! the record, and [`admit`] which cookies may go on the response. The exhaustive model in `tests/model` compiles this
//! very file, so it uses nothing of the crate but [`SessionRecord`] and [`Stamps`].
//!
//! # Words
//!
//! The record counts *generations*. The current one is `generation`; `parent` is the oldest that a legitimate client may
//! still hold; `seen` is the highest of which a token was seen from the client, be it presented or *sighted* (an access
//! token in a request), and `confirmed_at` is when that was last raised. The current generation is *confirmed* when it
//! has been seen, and *settled* a grace period after that: then nothing older can still be in flight. No refresh cookie
//! of a generation leaves later than a grace period after `issued_at`.

use std::time::{Duration, SystemTime};

use crate::store::{SessionRecord, Stamps};

/// What the rules depend on besides the record and the time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The grace period: longer than any message spends on the network.
    pub(crate) grace: Duration,
    pub(crate) lost_response: LostResponse,
}

/// How long the response to a refresh may have been lost, so that the refresh token before it still counts.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, session::LostResponse};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
///     .with_audience("shop")
///     .with_lost_response(LostResponse::Within(Duration::from_secs(3600)))
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostResponse {
    /// Until a token of the new generation has been seen from the client, however late that is, and for a grace period
    /// after. A legitimate client is never signed out.
    UntilConfirmed,
    /// For this long after the rotation, whether anything has been seen or not: for authorization servers whose access
    /// tokens are only used out of `RefreshLayer`'s sight.
    ///
    /// Gives up the promise to a client whose response is lost and that asks again later than this, such as a phone
    /// that was asleep: it is taken for a thief and signed out.
    Within(Duration),
}

/// What to do about a refresh token whose secret is correct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Refuse the request: the session has ended.
    Refuse,
    /// Advance to the next generation.
    Rotate,
    /// An access token, without a refresh cookie: the client shows that it holds the current one.
    RenewAccess,
    /// The pair of the current generation, as far as the second look admits it. With `late`, the generation began two
    /// grace periods ago and is still unconfirmed.
    AnswerAgain { late: bool },
    /// Reuse: no legitimate client can still hold this token.
    Revoke,
    /// Looks like reuse, but did not when the token arrived: the client must ask again.
    TooLate,
    /// Move the record to the presented generation: the store has lost writes.
    CatchUp,
}

impl Decision {
    /// The decision on a token that has been looked at before in the same request.
    ///
    /// It took so long that the client may have moved on: its next request carries what it holds now, and what looks
    /// like reuse need not be.
    pub(crate) const fn of_later_look(self) -> Self {
        match self {
            Self::Revoke => Self::TooLate,
            decision => decision,
        }
    }

    /// Whether the client is answered as the user.
    pub(crate) const fn is_answered(self) -> bool {
        matches!(self, Self::Rotate | Self::RenewAccess | Self::AnswerAgain { .. } | Self::CatchUp)
    }

    /// Whether the answer includes the refresh token of the current generation. A client that shows that it holds that
    /// token does not get it again.
    pub(crate) const fn brings_refresh_token(self) -> bool {
        matches!(self, Self::Rotate | Self::AnswerAgain { .. })
    }
}

/// What is written to a record: its fields, and the times that the store takes from its clock as it writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) record: SessionRecord,
    pub(crate) stamps: Stamps,
}

/// Decides what a presented token means, at the first look.
///
/// `waited` is how long the store took to show the record: the token arrived that much before `now`, and reuse is
/// evaluated by what held then.
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
    if presented > record.generation {
        return Decision::CatchUp;
    }
    if presented == record.generation {
        return if is_settled(record, now, rules) { Decision::Rotate } else { Decision::RenewAccess };
    }
    let is_reuse = presented < record.parent || is_superseded(presented, record, now, rules);
    if !is_reuse {
        return Decision::AnswerAgain { late: is_late(record, now, rules) };
    }
    let arrived = now.checked_sub(waited).unwrap_or(SystemTime::UNIX_EPOCH);
    let was_before_parent = presented < record.parent && is_unchanged_since(record, arrived, now);
    if was_before_parent || is_superseded(presented, record, arrived, rules) {
        Decision::Revoke
    } else {
        Decision::TooLate
    }
}

/// Whether no legitimate client can still hold a generation from the parent on, as of this time.
fn is_superseded(presented: u32, record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    let is_passed = record.seen.is_some_and(|seen| presented < seen) && is_seen_for(record, now, rules.grace);
    let is_out_of_time =
        matches!(rules.lost_response, LostResponse::Within(_)) && is_settled(record, now, rules);
    is_passed || is_out_of_time || is_out_of_reissues(record, now, rules)
}

/// Whether neither `rotated_at` nor `confirmed_at` is later than `arrived`, so that the parent was the same.
fn is_unchanged_since(record: &SessionRecord, arrived: SystemTime, now: SystemTime) -> bool {
    // A time ahead of the clock tells that the clock was set back.
    let before = |at: SystemTime| at <= arrived || at > now;
    before(record.rotated_at) && record.confirmed_at.is_none_or(before)
}

/// Whether the current generation has been confirmed for so long that nothing older is in flight.
fn is_settled(record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    let confirmed = is_confirmed(record) && is_seen_for(record, now, rules.grace);
    match rules.lost_response {
        LostResponse::UntilConfirmed => confirmed,
        LostResponse::Within(period) => confirmed || is_past(record.rotated_at, period, now),
    }
}

/// Whether a token of the current generation has been seen from the client.
fn is_confirmed(record: &SessionRecord) -> bool {
    record.seen == Some(record.generation)
}

fn is_seen_for(record: &SessionRecord, now: SystemTime, period: Duration) -> bool {
    record.confirmed_at.is_some_and(|at| is_past(at, period, now))
}

/// Whether an answer of the current generation is late: it began two grace periods ago, and is still unconfirmed.
fn is_late(record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    rules.lost_response == LostResponse::UntilConfirmed
        && !is_confirmed(record)
        && is_past(record.rotated_at, rules.grace.saturating_mul(2), now)
}

/// Whether as many late answers in a row have begun a generation as may.
fn is_out_of_reissues(record: &SessionRecord, now: SystemTime, rules: Rules) -> bool {
    !is_confirmed(record)
        && unconfirmed_in_a_row(record) >= MAX_REISSUES
        && is_past(record.issued_at, rules.grace.saturating_mul(2), now)
}

/// How many generations have begun since the last one that was seen, or that is the parent.
fn unconfirmed_in_a_row(record: &SessionRecord) -> u32 {
    record.generation.saturating_sub(record.seen.unwrap_or_default().max(record.parent))
}

pub(super) fn is_past(since: SystemTime, period: Duration, now: SystemTime) -> bool {
    now.duration_since(since).is_ok_and(|past| past >= period)
}

/// What must be written before the token of generation `presented` is answered with `decision`; `None` where no rule
/// asks for a write.
pub(crate) fn successor(
    decision: Decision,
    presented: u32,
    record: &SessionRecord,
    now: SystemTime,
    grace: Duration,
    idle: Duration,
) -> Option<Write> {
    match decision {
        Decision::Rotate => Some(rotated(record.clone(), idle)),
        Decision::RenewAccess if !is_confirmed(record) => {
            Some(raised(record, presented, now, grace, Some(idle)))
        }
        Decision::AnswerAgain { .. } if is_higher(presented, record) && presented > record.parent => {
            Some(raised(record, presented, now, grace, Some(idle)))
        }
        Decision::CatchUp => Some(caught_up(record.clone(), presented, idle)),
        Decision::RenewAccess
        | Decision::AnswerAgain { .. }
        | Decision::Refuse
        | Decision::Revoke
        | Decision::TooLate => None,
    }
}

/// What must be written because an access token of `generation` has been sighted; `None` when that shows nothing new.
pub(crate) fn sighting(
    generation: u32,
    record: &SessionRecord,
    now: SystemTime,
    grace: Duration,
    idle: Duration,
) -> Option<Write> {
    let is_current = generation == record.generation;
    // One above the current generation is left to the next refresh.
    let is_honest_yet = is_current || (generation > record.parent && generation < record.generation);
    (record.is_live(now) && is_higher(generation, record) && is_honest_yet)
        .then(|| raised(record, generation, now, grace, Some(idle)))
}

/// The record, with the client last seen at the time of the write: where a token is answered and no rule asks for
/// another write.
pub(crate) fn touched(record: SessionRecord, idle: Option<Duration>) -> Write {
    Write { record, stamps: Stamps { last_seen_at: true, idle, ..Stamps::default() } }
}

/// What a narrowing writes: it counts as a presentation, moves last-seen, and leaves the idle expiry.
pub(crate) fn narrowed(presented: u32, record: &SessionRecord, now: SystemTime, grace: Duration) -> Write {
    let shows = presented == record.generation || presented > record.parent;
    if is_higher(presented, record) && shows {
        raised(record, presented, now, grace, None)
    } else {
        touched(record.clone(), None)
    }
}

/// Which cookies may go on a response, now that its handler is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The access cookie, and with `with_refresh` the refresh cookie that was asked for.
    Cookies { with_refresh: bool },
    /// All that was asked for, once `issued_at` has been moved to the present.
    MoveIssued,
    /// Those of the next generation, which the answer begins.
    Reissue,
    /// None; the client must ask again.
    Withhold,
    /// The session has moved on: none.
    Superseded,
    /// The session has ended: none.
    Ended,
}

/// Evaluates the record as it is read once more before cookies go on a response.
///
/// Cookies of `generation` go only while the session is live and in that generation, and the refresh cookie only while
/// it is unconfirmed, so a slow handler can neither overwrite a newer cookie nor revive a signed-out browser. One that
/// goes more than a grace period after `issued_at` moves that first, so that later looks know of it; an
/// answer that is `late` begins a generation of its own instead, after two.
pub(crate) fn admit(
    generation: u32,
    wants_refresh: bool,
    late: bool,
    record: Option<&SessionRecord>,
    now: SystemTime,
    rules: Rules,
) -> Admission {
    let Some(record) = record.filter(|record| record.is_live(now)) else {
        return Admission::Ended;
    };
    if record.generation != generation {
        return Admission::Superseded;
    }
    if !wants_refresh || is_confirmed(record) {
        return Admission::Cookies { with_refresh: false };
    }
    if !is_past(record.issued_at, rules.grace, now) {
        return Admission::Cookies { with_refresh: true };
    }
    if !late {
        return Admission::MoveIssued;
    }
    let may_reissue = unconfirmed_in_a_row(record) < MAX_REISSUES;
    if may_reissue && is_past(record.issued_at, rules.grace.saturating_mul(2), now) {
        Admission::Reissue
    } else {
        Admission::Withhold
    }
}

/// The next generation, begun by a late answer: the parent stays, for its predecessors may be all that the client has.
pub(crate) fn reissued(record: SessionRecord, idle: Duration) -> Write {
    let parent = record.parent;
    let mut write = rotated(record, idle);
    write.record.parent = parent;
    write
}

/// The record, with `issued_at` at the time of the write.
pub(crate) fn moved(record: SessionRecord, idle: Duration) -> Write {
    Write {
        record,
        stamps: Stamps { issued_at: true, last_seen_at: true, idle: Some(idle), ..Stamps::default() },
    }
}

/// How often late answers have begun a generation in a row, without a token of one being seen.
pub(crate) fn reissues(record: &SessionRecord) -> u32 {
    match record.seen {
        Some(seen) => record.generation.saturating_sub(seen).saturating_sub(1),
        None => record.generation,
    }
}

fn is_higher(generation: u32, record: &SessionRecord) -> bool {
    record.seen.is_none_or(|seen| generation > seen)
}

/// The next generation, not yet seen. What has been seen, and when, stays.
fn rotated(mut record: SessionRecord, idle: Duration) -> Write {
    record.parent = record.generation;
    // 2^32 rotations would take four thousand years at one per grace period.
    record.generation = record.generation.saturating_add(1);
    Write {
        record,
        stamps: Stamps {
            rotated_at: true,
            issued_at: true,
            last_seen_at: true,
            idle: Some(idle),
            ..Stamps::default()
        },
    }
}

/// The generation `to` has been seen from the client. What was seen a grace period ago becomes the parent: nothing
/// before it can still be in flight.
fn raised(
    record: &SessionRecord,
    to: u32,
    now: SystemTime,
    grace: Duration,
    idle: Option<Duration>,
) -> Write {
    let mut record = record.clone();
    if let Some(seen) = record.seen
        && is_seen_for(&record, now, grace)
    {
        record.parent = record.parent.max(seen);
    }
    record.seen = Some(to);
    Write { record, stamps: Stamps { confirmed_at: true, last_seen_at: true, idle, ..Stamps::default() } }
}

/// The generation that the client proves to hold, after the store has lost writes.
fn caught_up(mut record: SessionRecord, generation: u32, idle: Duration) -> Write {
    record.generation = generation;
    record.seen = Some(generation);
    Write {
        record,
        stamps: Stamps {
            confirmed_at: true,
            rotated_at: true,
            issued_at: true,
            last_seen_at: true,
            idle: Some(idle),
        },
    }
}

/// So many late answers in a row may begin a generation; then a token before the current one is reuse.
const MAX_REISSUES: u32 = 32;
