//! The systems to explore, and what must never happen in them.

use super::rulebook::{Removed, Rulebook};

/// One system of bounded size.
pub(crate) struct Model {
    /// The name of the run in the output.
    pub(crate) name: &'static str,
    /// Requests of the client that are in flight at once.
    pub(crate) flights: usize,
    /// Requests of a thief that are in flight at once; without any, there is no thief.
    pub(crate) thieves: usize,
    pub(crate) lost_writes: LostWrites,
    generations: u8,
    pub(crate) rules: Rulebook,
}

/// When the store loses writes, once: it goes back to a record that it had before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LostWrites {
    Never,
    WhileNothingIsInFlight,
    AtAnyTime,
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
    /// A legitimate client, by all rules; `generations` follow the sign-in.
    pub(crate) fn new(name: &'static str, flights: usize, generations: u8) -> Self {
        Self {
            name,
            flights,
            generations,
            thieves: 0,
            lost_writes: LostWrites::Never,
            rules: Rulebook::new(generations, None),
        }
    }

    pub(crate) fn with_thief(mut self, flights: usize) -> Self {
        self.thieves = flights;
        self
    }

    pub(crate) fn with_lost_writes(mut self, lost_writes: LostWrites) -> Self {
        self.lost_writes = lost_writes;
        self
    }

    pub(crate) fn without(mut self, rule: Removed) -> Self {
        self.rules = Rulebook::new(self.generations, Some(rule));
        self
    }
}
