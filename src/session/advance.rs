//! How a record changes: plain functions from a record to its successor, written by compare-and-set.

use std::time::{Duration, SystemTime};

use crate::{clock::later, store::SessionRecord};

impl SessionRecord {
    /// The next generation, not yet confirmed.
    pub(super) fn rotated(mut self, now: SystemTime, idle: Duration) -> Self {
        // 2^32 rotations would take four thousand years at one per grace period.
        self.generation = self.generation.saturating_add(1);
        self.confirmed_at = None;
        self.rotated_at = now;
        self.seen(now, idle)
    }

    /// The same generation, seen from the client.
    pub(super) fn confirmed(mut self, now: SystemTime, idle: Duration) -> Self {
        self.confirmed_at = Some(self.confirmed_at.unwrap_or(now));
        self.seen(now, idle)
    }

    /// The generation that the client proves to hold, after the store has lost writes.
    pub(super) fn caught_up(mut self, generation: u32, now: SystemTime, idle: Duration) -> Self {
        self.generation = generation;
        self.confirmed_at = Some(now);
        self.rotated_at = now;
        self.seen(now, idle)
    }

    pub(super) fn with_claims(mut self, claims: String) -> Self {
        self.claims = claims.into_boxed_str();
        self
    }

    /// Moves last-seen and the idle expiry on; a clock set back moves neither.
    fn seen(mut self, now: SystemTime, idle: Duration) -> Self {
        self.last_seen_at = self.last_seen_at.max(now);
        self.idle_expires_at = self.idle_expires_at.max(later(now, idle)).min(self.absolute_expires_at);
        self
    }
}
