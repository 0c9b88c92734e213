use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Says of most sessions without a lock that nothing has been heard of them.
///
/// Entries cannot be taken out, so there are two halves: a new entry goes into both. From time to time the idle one is
/// emptied, what still counts is added to it again, and then it takes its turn.
pub(super) struct Filter {
    halves: [Box<[AtomicU64]>; 2],
    turn: AtomicUsize,
}

impl Filter {
    pub(super) fn new(words: usize) -> Self {
        let half = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { halves: [half(), half()], turn: AtomicUsize::new(0) }
    }

    pub(super) fn may_contain(&self, fingerprint: u64) -> bool {
        let (word, bits) = self.place(fingerprint);
        let half = &self.halves[self.turn.load(Ordering::Acquire) % 2];
        half[word].load(Ordering::Relaxed) & bits == bits
    }

    pub(super) fn add(&self, fingerprint: u64) {
        let (word, bits) = self.place(fingerprint);
        for half in &self.halves {
            half[word].fetch_or(bits, Ordering::Release);
        }
    }

    pub(super) fn empty_idle_half(&self) {
        let idle = (self.turn.load(Ordering::Relaxed) + 1) % 2;
        self.halves[idle].iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Uses the half that was idle.
    pub(super) fn turn_over(&self) {
        self.turn.fetch_add(1, Ordering::Release);
    }

    /// Three bits of one word, so that a question touches one cache line.
    fn place(&self, fingerprint: u64) -> (usize, u64) {
        let bit = |shift: u32| 1_u64 << ((fingerprint >> shift) & 63);
        (fingerprint as usize % self.halves[0].len(), bit(20) | bit(26) | bit(32))
    }
}

/// One mebibyte each half.
pub(super) const WORDS: usize = 1 << 17;
