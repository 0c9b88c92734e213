//! The systems to explore, and what must never happen in them.

use super::rulebook::{Removed, Rulebook};

/// One system of bounded size.
pub(crate) struct Model {
    /// The name of the run in the output.
    pub(crate) name: &'static str,
    /// Requests of the client that are in flight at once.
    pub(crate) flights: usize,
    /// Whether there is a thief, with one request in flight.
    pub(crate) thief: bool,
    /// Whether the store may keep a first look waiting for longer than the grace period.
    pub(crate) slow_store: bool,
    /// Whether the store loses writes, once, while nothing is in flight.
    pub(crate) loses_writes: bool,
    generations: u8,
    pub(crate) rules: Rulebook,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A legitimate client's session is removed.
    Revoked,
    /// A refresh cookie overwrites one of a later generation.
    Overwritten,
    /// A generation begins a second time: two chains of successors.
    Forked,
    /// A grace period after the thief's use was written, the refresh token of a client whom it has left behind is not
    /// taken for reuse.
    Unnoticed,
    /// A client whom the thief has left behind gets the thief's generation, and both go on.
    Rejoined,
}

/// Every kind of breach.
pub(crate) const EVERY_BREACH: &[Breach] =
    &[Breach::Revoked, Breach::Overwritten, Breach::Forked, Breach::Unnoticed, Breach::Rejoined];

impl Model {
    /// A legitimate client and a store that may be slow, by all rules; `generations` follow the sign-in.
    pub(crate) fn new(name: &'static str, flights: usize, generations: u8) -> Self {
        Self {
            name,
            flights,
            generations,
            thief: false,
            slow_store: true,
            loses_writes: false,
            rules: Rulebook::new(generations, None),
        }
    }

    /// To the nodes, a request that waits for the store is one that its sender has not sent yet: a thief may wait.
    pub(crate) fn with_thief(mut self) -> Self {
        (self.thief, self.slow_store) = (true, false);
        self
    }

    pub(crate) fn with_lost_writes(mut self) -> Self {
        (self.loses_writes, self.slow_store) = (true, false);
        self
    }

    pub(crate) fn without(mut self, rule: Removed) -> Self {
        self.rules = Rulebook::new(self.generations, Some(rule));
        self
    }
}
