//! Rounds of confirmations: what this process knows of the store's records ends with a failure of the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::clock::{millis, since_epoch};

/// The present round. Clones share it.
///
/// A store that fails over may have lost the last writes, confirmations among them. Were this process to remember these
/// as written, they would never be repeated; in the next round it asks the store again.
#[derive(Clone, Debug)]
pub(super) struct Rounds(Arc<State>);

#[derive(Debug)]
struct State {
    round: AtomicU32,
    /// When it began, in milliseconds since the epoch.
    began: AtomicU64,
    /// Whether the store has failed since, so that another is to begin.
    is_due: AtomicBool,
}

impl Rounds {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            round: AtomicU32::new(1),
            began: AtomicU64::new(0),
            is_due: AtomicBool::new(false),
        }))
    }

    /// Returns the number of the round, from 1 on.
    pub(super) fn present(&self) -> u32 {
        self.0.round.load(Ordering::Relaxed)
    }

    /// Begins a round, because the store has failed or has lost writes.
    ///
    /// A round lasts at least half a minute, so that a store which answers only some calls does not get more of them for
    /// it. The next one begins with a later call.
    pub(super) fn next(&self, now: SystemTime) {
        self.0.is_due.store(true, Ordering::Relaxed);
        self.begin(now);
    }

    /// Begins the round that is due, if it is time: called with each answer of the store.
    pub(super) fn catch_up(&self, now: impl FnOnce() -> SystemTime) {
        if self.0.is_due.load(Ordering::Relaxed) {
            self.begin(now());
        }
    }

    fn begin(&self, now: SystemTime) {
        let now = millis(since_epoch(now));
        let began = self.0.began.load(Ordering::Relaxed);
        let is_over = now < began || now - began >= millis(SHORTEST);
        if is_over && self.0.began.compare_exchange(began, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            self.0.is_due.store(false, Ordering::Relaxed);
            self.0.round.fetch_add(1, Ordering::Relaxed);
        }
    }
}

const SHORTEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_with_a_failure_but_not_with_each() {
        let rounds = Rounds::new();
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let round = |at: u64| {
            rounds.next(start + Duration::from_secs(at));
            rounds.present()
        };
        assert_eq!([0, 1, 29, 30, 31, 90].map(round), [2, 2, 2, 3, 3, 4]);
        // A failure in between is not forgotten, and begins a round as soon as it may.
        let catch_up = |at: u64| {
            rounds.catch_up(|| start + Duration::from_secs(at));
            rounds.present()
        };
        assert_eq!([119, 120].map(catch_up), [4, 4], "none since");
        assert_eq!((round(121), round(122)), (5, 5));
        assert_eq!([150, 151, 152, 200].map(catch_up), [5, 6, 6, 6]);
        rounds.next(start - Duration::from_secs(3600));
        assert_eq!(rounds.present(), 7, "the clock was set back");
    }
}
