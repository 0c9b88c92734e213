//! Times as whole milliseconds since the epoch, for stores that keep them as numbers.
//!
//! A time from which something is counted must not come back earlier than it was written, and a time at which something
//! ends must not come back later: [`begins`] rounds up, and [`ends`] rounds down. Times before the epoch become the epoch,
//! and those after the year 9999 its end ([`MAX_MILLIS`]), which every database can represent.
//!
//! # Examples
//!
//! ```
//! use std::time::{Duration, SystemTime};
//! use tower_cookie_jwt::store::millis::{begins, ends, from_millis, whole_millis};
//!
//! let time = SystemTime::UNIX_EPOCH + Duration::from_micros(1_500);
//! assert_eq!((begins(time), ends(time)), (2, 1));
//! assert_eq!(from_millis(2), Some(SystemTime::UNIX_EPOCH + Duration::from_millis(2)));
//! assert_eq!(from_millis(-1), None);
//! assert_eq!(whole_millis(Duration::from_secs(60)), 60_000);
//! ```

use std::time::{Duration, SystemTime};

use super::record::SessionRecord;
use crate::clock::{END_OF_YEAR_9999, from_epoch, since_epoch};

/// Converts a time from which something is counted, rounding up, so that no generation settles early.
///
/// These are `confirmed_at`, `rotated_at`, `issued_at`, `claims_at`, `created_at` and `last_seen_at`.
pub fn begins(time: SystemTime) -> i64 {
    let rest = since_epoch(time).subsec_nanos() % NANOS_PER_MILLI;
    let millis = ends(time);
    if rest == 0 || millis == MAX_MILLIS { millis } else { millis + 1 }
}

/// Converts a time at which something ends, or the present one, rounding down.
///
/// These are `idle_expires_at` and `absolute_expires_at`.
pub fn ends(time: SystemTime) -> i64 {
    whole_millis(since_epoch(time))
}

/// Converts stored milliseconds to a time, or returns `None` if they are before the epoch or after the year 9999: the
/// record is corrupt.
pub fn from_millis(millis: i64) -> Option<SystemTime> {
    let positive = u64::try_from(millis).ok()?;
    (millis <= MAX_MILLIS).then(|| from_epoch(Duration::from_millis(positive)))
}

/// Converts a lifetime, rounding down; one of more than 8,000 years becomes [`MAX_MILLIS`].
pub fn whole_millis(lifetime: Duration) -> i64 {
    i64::try_from(lifetime.as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

/// Converts the result of [`begins`] or [`ends`] back to a time.
pub(crate) fn at_millis(millis: i64) -> SystemTime {
    from_epoch(Duration::from_millis(millis.unsigned_abs()))
}

impl SessionRecord {
    /// Returns the record with its times as they are read back from a store that keeps whole milliseconds.
    ///
    /// [`RefreshStore::create`](super::RefreshStore::create) and [`RefreshStore::update`](super::RefreshStore::update)
    /// return a record as later reads return it.
    #[must_use]
    pub fn in_whole_millis(self) -> Self {
        Self {
            confirmed_at: self.confirmed_at.map(|at| at_millis(begins(at))),
            rotated_at: at_millis(begins(self.rotated_at)),
            issued_at: at_millis(begins(self.issued_at)),
            claims_at: at_millis(begins(self.claims_at)),
            created_at: at_millis(begins(self.created_at)),
            last_seen_at: at_millis(begins(self.last_seen_at)),
            idle_expires_at: at_millis(ends(self.idle_expires_at)),
            absolute_expires_at: at_millis(ends(self.absolute_expires_at)),
            ..self
        }
    }
}

pub(crate) const NANOS_PER_MILLI: u32 = 1_000_000;
/// The last second of the year 9999 in milliseconds since the epoch. A store that computes an expiry in SQL or in a script
/// limits it to this.
pub const MAX_MILLIS: i64 = END_OF_YEAR_9999 as i64 * 1000;
