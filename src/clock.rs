//! Where the present time comes from.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A source of the present time.
///
/// Everything in this crate that depends on time asks a clock, so tests can drive time by hand
/// (`testing::TestClock`) and nothing has to wait.
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
    /// The present time.
    fn now(&self) -> SystemTime;
}

/// The operating system's clock; the default everywhere.
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

/// A clock whose type has been erased, for structs that hold one.
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

/// Time since the epoch; a clock before 1970 reads as the epoch itself.
pub(crate) fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The time `since_epoch` after the epoch, or the last time that the platform can express.
pub(crate) fn from_epoch(since_epoch: Duration) -> SystemTime {
    later(UNIX_EPOCH, since_epoch)
}

/// `time + by` that ends at the year 9999 instead of overflowing.
pub(crate) fn later(time: SystemTime, by: Duration) -> SystemTime {
    let end = UNIX_EPOCH + Duration::from_secs(END_OF_YEAR_9999);
    match time.checked_add(by) {
        Some(sum) if sum < end => sum,
        _ => end.max(time),
    }
}

/// Whole seconds since the epoch, as JSON bodies and NumericDates carry them.
pub(crate) fn unix_seconds(time: SystemTime) -> u64 {
    since_epoch(time).as_secs()
}

/// The last second that a NumericDate may name: 9999-12-31T23:59:59Z.
pub(crate) const END_OF_YEAR_9999: u64 = 253_402_300_799;
