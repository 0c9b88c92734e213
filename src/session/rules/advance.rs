//! How a record changes: from a record to its successor, to be written by compare-and-set.

use std::time::{Duration, SystemTime};

use super::decide::Verdict;
use crate::store::SessionRecord;

/// What must be written before the token of generation `presented` is answered with `verdict`; `None` where
/// the record stays as it is.
pub(crate) fn successor(
    verdict: Verdict,
    presented: u32,
    record: &SessionRecord,
    now: SystemTime,
    idle: Duration,
) -> Option<SessionRecord> {
    match verdict {
        Verdict::Rotate => Some(rotated(record.clone(), now, idle)),
        Verdict::RenewAccess if record.confirmed_at.is_none() => Some(confirmed(record.clone(), now, idle)),
        Verdict::CatchUp => Some(caught_up(record.clone(), presented, now, idle)),
        Verdict::RenewAccess
        | Verdict::AnswerAgain
        | Verdict::Refuse
        | Verdict::Revoke
        | Verdict::TooLate => None,
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
