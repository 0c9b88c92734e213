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

/// What this process remembers of a generation.
#[derive(Debug)]
pub(super) enum Remembered {
    Nothing(Fingerprint),
    /// The store is being told.
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

    /// What this process remembers of the generation.
    pub(super) fn recall(&self, session: &str, generation: u32) -> Remembered {
        let fingerprint = Fingerprint(self.hasher.hash_one((session, generation)) & !STATE | ASKED);
        match self.slot(fingerprint).load(Ordering::Relaxed) ^ fingerprint.0 {
            0 => Remembered::Asked,
            CONFIRMED => Remembered::Confirmed,
            _ => Remembered::Nothing(fingerprint),
        }
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

    /// The store knows it now, or knows the session no more.
    pub(super) fn confirmed(&self, fingerprint: Fingerprint) {
        self.settle(fingerprint, fingerprint.0 | CONFIRMED);
    }

    /// Forgets it, so that it is tried again.
    pub(super) fn release(&self, fingerprint: Fingerprint) {
        self.settle(fingerprint, 0);
    }

    /// Another generation may have taken the slot meanwhile.
    fn settle(&self, fingerprint: Fingerprint, outcome: u64) {
        let slot = self.slot(fingerprint);
        let _ = slot.compare_exchange(fingerprint.0, outcome, Ordering::Relaxed, Ordering::Relaxed);
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
        &self.slots[(fingerprint.0 >> 2) as usize % SLOTS]
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

/// The bits of a slot that tell how far it is; the others are the generation's.
const STATE: u64 = 3;
const ASKED: u64 = 1;
const CONFIRMED: u64 = 2;
/// 128 KiB, enough for the sessions that one process sees in a token's lifetime.
const SLOTS: usize = 16 * 1024;
const PAUSE: Duration = Duration::from_secs(5);
const OLD_TOKEN_ODDS: u64 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(30);

    fn fingerprint(confirmer: &Confirmer, session: &str, generation: u32) -> Fingerprint {
        match confirmer.recall(session, generation) {
            Remembered::Nothing(fingerprint) => fingerprint,
            known => panic!("{session} {generation}: {known:?}"),
        }
    }

    /// Takes the turn to tell the store of a token that has just been issued.
    fn claim(confirmer: &Confirmer, session: &str, generation: u32) -> Fingerprint {
        let now = SystemTime::now();
        let fingerprint = fingerprint(confirmer, session, generation);
        confirmer.claim(fingerprint, now, now, GRACE).expect("a young token is confirmed at first sight")
    }

    #[test]
    fn a_generation_is_confirmed_only_once_the_store_has_said_so() {
        let confirmer = Confirmer::new();
        let asked = claim(&confirmer, "s", 3);
        assert!(matches!(confirmer.recall("s", 3), Remembered::Asked), "on its way");
        confirmer.release(asked);
        let asked = claim(&confirmer, "s", 3);
        confirmer.confirmed(asked);
        assert!(matches!(confirmer.recall("s", 3), Remembered::Confirmed));
        fingerprint(&confirmer, "s", 4);
        fingerprint(&confirmer, "t", 3);
    }

    #[test]
    fn an_answer_about_one_generation_leaves_another_in_its_slot_alone() {
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
            assert!(matches!(confirmer.recall("s", later), Remembered::Asked));
        }
    }
}
