//! The [`Clock`] trait, and conversions between times and NumericDates.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of the current time.
///
/// Everything in this crate that depends on the time of day reads it from a clock. Tests can therefore advance time
/// manually (`testing::TestClock`) instead of waiting.
///
/// # Examples
///
/// ```
/// use std::time::SystemTime;
/// use tower_cookie_jwt::{Clock, SystemClock};
///
/// assert!(SystemClock.now() > SystemTime::UNIX_EPOCH);
/// ```
pub trait Clock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock, which is the default everywhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> SystemTime {
        (**self).now()
    }
}

/// A type-erased [`Clock`] that is cheap to clone.
#[derive(Clone)]
pub(crate) struct SharedClock(Arc<dyn Clock>);

impl SharedClock {
    pub(crate) fn new(clock: impl Clock) -> Self {
        Self(Arc::new(clock))
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.0.now()
    }
}

impl Clock for SharedClock {
    fn now(&self) -> SystemTime {
        self.0.now()
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Returns the time since the Unix epoch, or zero if `time` is before 1970.
pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Returns whole milliseconds, which an atomic integer has room for.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time `since_epoch` after the Unix epoch, or the end of the year 9999 if that is earlier.
pub(crate) fn from_epoch(since_epoch: Duration) -> SystemTime {
    later(UNIX_EPOCH, since_epoch)
}

/// Returns `time + by`, saturating at the end of the year 9999.
pub(crate) fn later(time: SystemTime, by: Duration) -> SystemTime {
    let end = UNIX_EPOCH + Duration::from_secs(END_OF_YEAR_9999);
    match time.checked_add(by) {
        Some(sum) if sum < end => sum,
        _ => end.max(time),
    }
}

/// Returns the whole seconds since the Unix epoch, the form used in JSON bodies and NumericDates.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

/// The latest accepted NumericDate, in seconds: 9999-12-31T23:59:59Z.
pub(crate) const END_OF_YEAR_9999: u64 = 253_402_300_799;
