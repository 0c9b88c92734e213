//! Conversion of times to and from the whole milliseconds since the epoch that the stores keep.

use std::time::{Duration, SystemTime};

use super::record::SessionRecord;
use crate::clock::{END_OF_YEAR_9999, from_epoch, since_epoch};

/// Converts a time at which a period begins to milliseconds, rounding up so that no generation settles early.
pub(crate) fn begins(time: SystemTime) -> i64 {
    let rest = since_epoch(time).subsec_nanos() % NANOS_PER_MILLI;
    let millis = ends(time);
    if rest == 0 || millis == MAX_MILLIS { millis } else { millis + 1 }
}

/// Converts a time at which a period ends, or the current time, to milliseconds, rounding down.
pub(crate) fn ends(time: SystemTime) -> i64 {
    whole_millis(since_epoch(time))
}

/// Converts the result of [`begins`] or [`ends`] back to a time.
pub(crate) fn at_millis(millis: i64) -> SystemTime {
    from_epoch(Duration::from_millis(millis.unsigned_abs()))
}

/// Converts stored milliseconds to a time, or returns `None` if they are before the epoch or after the year 9999.
///
/// The stores write no such times.
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
pub(crate) fn from_millis(millis: i64) -> Option<SystemTime> {
    let positive = u64::try_from(millis).ok()?;
    (millis <= MAX_MILLIS).then(|| from_epoch(Duration::from_millis(positive)))
}

/// Converts a lifetime to milliseconds, rounding down.
pub(crate) fn whole_millis(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

/// Returns `record` with its times rounded the way they will be read back.
pub(crate) fn as_stored(record: SessionRecord) -> SessionRecord {
    SessionRecord {
        confirmed_at: record.confirmed_at.map(|at| at_millis(begins(at))),
        rotated_at: at_millis(begins(record.rotated_at)),
        issued_at: at_millis(begins(record.issued_at)),
        claims_at: at_millis(begins(record.claims_at)),
        created_at: at_millis(begins(record.created_at)),
        last_seen_at: at_millis(begins(record.last_seen_at)),
        idle_expires_at: at_millis(ends(record.idle_expires_at)),
        absolute_expires_at: at_millis(ends(record.absolute_expires_at)),
        ..record
    }
}

pub(crate) const NANOS_PER_MILLI: u32 = 1_000_000;
pub(crate) const MAX_MILLIS: i64 = END_OF_YEAR_9999 as i64 * 1000;
