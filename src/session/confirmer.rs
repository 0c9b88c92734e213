//! Which generations this process has confirmed, so that it asks the store about each only once.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use crate::clock::since_epoch;

/// A small bounded memory without locks: each slot holds the fingerprint of the last generation
/// that fell into it. Forgetting one costs a read of the store, nothing else.
pub(super) struct Confirmer {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Milliseconds since the epoch before which no confirmation is tried, after a failure.
    paused_until: AtomicU64,
    throws: AtomicU64,
}

/// One generation of one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u64);

impl Confirmer {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            paused_until: AtomicU64::new(0),
            throws: AtomicU64::new(0),
        }
    }

    /// The generation, unless it is one that this process remembers to have confirmed.
    pub(super) fn unseen(&self, session: &str, generation: u32) -> Option<Fingerprint> {
        let fingerprint = Fingerprint(self.hasher.hash_one((session, generation)) | 1);
        (self.slot(fingerprint).load(Ordering::Relaxed) != fingerprint.0).then_some(fingerprint)
    }

    /// Whether to ask the store now to confirm this generation; remembers it if so.
    ///
    /// A token younger than two grace periods is marked at first sight. An older one has most likely
    /// been marked by another node: with many nodes, each asks only about now and then.
    pub(super) fn claim(
        &self,
        fingerprint: Fingerprint,
        issued_at: SystemTime,
        now: SystemTime,
        grace: Duration,
    ) -> Option<Fingerprint> {
        if self.is_paused(now) {
            return None;
        }
        let young = since_epoch(now).saturating_sub(since_epoch(issued_at)) <= grace.saturating_mul(2);
        if !young && !self.lucky() {
            return None;
        }
        self.slot(fingerprint).store(fingerprint.0, Ordering::Relaxed);
        Some(fingerprint)
    }

    /// Forgets it, so that it is tried again.
    pub(super) fn release(&self, fingerprint: Fingerprint) {
        let slot = self.slot(fingerprint);
        let _ = slot.compare_exchange(fingerprint.0, 0, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The store has failed: leaves it alone for a while.
    pub(super) fn pause(&self, now: SystemTime) {
        self.paused_until.store(millis(since_epoch(now) + PAUSE), Ordering::Relaxed);
    }

    fn is_paused(&self, now: SystemTime) -> bool {
        let now = millis(since_epoch(now));
        let until = self.paused_until.load(Ordering::Relaxed);
        // A clock that was set back must not pause for longer than that.
        now < until && until - now <= millis(PAUSE)
    }

    fn lucky(&self) -> bool {
        self.hasher.hash_one(self.throws.fetch_add(1, Ordering::Relaxed)).is_multiple_of(OLD_TOKEN_ODDS)
    }

    fn slot(&self, fingerprint: Fingerprint) -> &AtomicU64 {
        &self.slots[(fingerprint.0 >> 1) as usize % SLOTS]
    }
}

impl fmt::Debug for Confirmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmer")
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// 128 KiB, enough for the sessions that one process sees in a token's lifetime.
const SLOTS: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_secs(5);
const OLD_TOKEN_ODDS: u64 = 16;
