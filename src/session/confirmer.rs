//! Remembers which generations are confirmed, so that this process asks the store about each only once.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use crate::clock::{millis, since_epoch};

/// A small, bounded, lock-free cache of confirmed generations.
///
/// Each slot holds the fingerprint of the last generation that was stored in it. An evicted entry costs one store
/// read, nothing else.
pub(super) struct Confirmer {
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    /// The end of the pause after a store failure, in milliseconds since the epoch.
    paused_until: AtomicU64,
    /// How many times an old token has been drawn for; the seed of the next draw.
    throws: AtomicU64,
}

/// One generation of one session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint(u64);

/// What this process remembers of a generation.
#[derive(Debug)]
pub(super) enum Remembered {
    Nothing(Fingerprint),
    /// A confirmation is being written to the store.
    Asked,
    Confirmed,
}

impl Confirmer {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            paused_until: AtomicU64::new(0),
            throws: AtomicU64::new(0),
        }
    }

    /// Returns what this process remembers of the generation in this round.
    pub(super) fn recall(&self, session: &str, generation: u32, round: u32) -> Remembered {
        let fingerprint = Fingerprint(self.hasher.hash_one((session, generation, round)) & !STATE | ASKED);
        match self.slot(fingerprint).load(Ordering::Relaxed) ^ fingerprint.0 {
            0 => Remembered::Asked,
            CONFIRMED => Remembered::Confirmed,
            _ => Remembered::Nothing(fingerprint),
        }
    }

    /// Decides whether to confirm this generation in the store now and, if so, marks it as asked.
    ///
    /// Tokens younger than two grace periods are confirmed at first sight. The generation of an older token has most
    /// likely been confirmed by another node, so the store is asked only for a random one in [`OLD_TOKEN_ODDS`]. This
    /// keeps the number of reads low when there are many nodes.
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

    /// Marks the generation as confirmed: the store has recorded that, or no longer has the session.
    pub(super) fn confirmed(&self, fingerprint: Fingerprint) {
        self.settle(fingerprint, fingerprint.0 | CONFIRMED);
    }

    /// Forgets the generation, so that the confirmation is tried again.
    pub(super) fn release(&self, fingerprint: Fingerprint) {
        self.settle(fingerprint, 0);
    }

    /// Stores the outcome, unless another generation has taken the slot in the meantime.
    fn settle(&self, fingerprint: Fingerprint, outcome: u64) {
        let slot = self.slot(fingerprint);
        let _ = slot.compare_exchange(fingerprint.0, outcome, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// Pauses confirmations, because the store has failed.
    pub(super) fn pause(&self, now: SystemTime) {
        self.paused_until.store(millis(since_epoch(now) + PAUSE), Ordering::Relaxed);
    }

    fn is_paused(&self, now: SystemTime) -> bool {
        let now = millis(since_epoch(now));
        let until = self.paused_until.load(Ordering::Relaxed);
        // If the clock was set back, the pause must not last longer than `PAUSE`.
        now < until && until - now <= millis(PAUSE)
    }

    fn lucky(&self) -> bool {
        self.hasher.hash_one(self.throws.fetch_add(1, Ordering::Relaxed)).is_multiple_of(OLD_TOKEN_ODDS)
    }

    fn slot(&self, fingerprint: Fingerprint) -> &AtomicU64 {
        &self.slots[(fingerprint.0 >> 2) as usize % SLOTS]
    }
}

impl fmt::Debug for Confirmer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Confirmer")
    }
}

/// The bits of a slot that hold its state; the others hold the fingerprint.
const STATE: u64 = 3;
const ASKED: u64 = 1;
const CONFIRMED: u64 = 2;
/// 128 KiB, enough for the sessions that one process sees during an access token's lifetime.
const SLOTS: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_secs(5);
const OLD_TOKEN_ODDS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);
    const ROUND: u32 = 1;

    fn fingerprint(confirmer: &Confirmer, session: &str, generation: u32) -> Fingerprint {
        match confirmer.recall(session, generation, ROUND) {
            Remembered::Nothing(fingerprint) => fingerprint,
            known => panic!("{session} {generation}: {known:?}"),
        }
    }

    /// Claims the confirmation of a token that has just been issued.
    fn claim(confirmer: &Confirmer, session: &str, generation: u32) -> Fingerprint {
        let now = SystemTime::now();
        let fingerprint = fingerprint(confirmer, session, generation);
        confirmer.claim(fingerprint, now, now, GRACE).expect("a young token is confirmed at first sight")
    }

    #[test]
    fn a_generation_counts_as_confirmed_only_after_the_store_has_recorded_it() {
        let confirmer = Confirmer::new();
        let asked = claim(&confirmer, "s", 3);
        assert!(matches!(confirmer.recall("s", 3, ROUND), Remembered::Asked), "in progress");
        confirmer.release(asked);
        let asked = claim(&confirmer, "s", 3);
        confirmer.confirmed(asked);
        assert!(matches!(confirmer.recall("s", 3, ROUND), Remembered::Confirmed));
        let next = ROUND + 1;
        assert!(matches!(confirmer.recall("s", 3, next), Remembered::Nothing(_)), "in the next round");
        fingerprint(&confirmer, "s", 4);
        fingerprint(&confirmer, "t", 3);
    }

    #[test]
    fn an_outcome_does_not_affect_another_generation_in_the_same_slot() {
        let confirmer = Confirmer::new();
        let former = claim(&confirmer, "s", 0);
        let slot = |generation| {
            let fingerprint = fingerprint(&confirmer, "s", generation);
            std::ptr::from_ref(confirmer.slot(fingerprint))
        };
        let place = std::ptr::from_ref(confirmer.slot(former));
        let later = (1..).find(|generation| slot(*generation) == place).expect("slots are few");
        claim(&confirmer, "s", later);
        for answer in [Confirmer::confirmed, Confirmer::release] {
            answer(&confirmer, former);
            assert!(matches!(confirmer.recall("s", later, ROUND), Remembered::Asked));
        }
    }
}
