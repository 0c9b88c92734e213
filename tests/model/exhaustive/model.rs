//! The systems to explore, and what must never happen in them.

use super::{
    rulebook::{Removed, Rulebook},
    state::{Flight, Owner, Stage, State},
};

/// One system of bounded size.
pub(crate) struct Model {
    /// The name of the run in the output.
    pub(crate) name: &'static str,
    /// Requests of the client that are in flight at once.
    pub(crate) flights: usize,
    /// The last generation; its own rotation is answered with an access cookie alone.
    pub(crate) generations: u8,
    pub(crate) nodes: u8,
    pub(crate) reads: Reads,
    /// Requests of a thief that are in flight at once; without any, there is no thief.
    pub(crate) thieves: usize,
    pub(crate) rules: Rulebook,
}

/// The records that a node may read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// The record as it is.
    Linearizable,
    /// Also one that was replaced so short a time ago that, together with a message's way, less than the
    /// grace period has passed.
    StaleForLessThanGrace,
    /// Also any earlier one.
    Stale,
    /// Also any earlier one, except for the second read before cookies go out.
    FreshSecondLook,
    /// Also any earlier one, or none because it dates from before the sign-in.
    StaleOrMissing,
}

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Breach {
    /// A legitimate client's session is removed.
    Revoked,
    /// A legitimate client's cookies are cleared.
    Cleared,
    /// A refresh cookie overwrites one of a later generation.
    Overwritten,
    /// A generation begins a second time: two chains of successors.
    Forked,
    /// A handler has tokens of a generation that has not been written.
    Uncommitted,
    /// After grace, a refresh token of an earlier generation is not taken for reuse.
    Unnoticed,
    /// A client whom the thief has left behind gets the thief's generation, and both go on.
    Rejoined,
}

/// Every kind of breach.
pub(crate) const EVERY_BREACH: &[Breach] = &[
    Breach::Revoked,
    Breach::Cleared,
    Breach::Overwritten,
    Breach::Forked,
    Breach::Uncommitted,
    Breach::Unnoticed,
    Breach::Rejoined,
];

impl Model {
    /// A legitimate client of one node, whose reads are linearizable, by all rules.
    pub(crate) fn new(name: &'static str, flights: usize, generations: u8) -> Self {
        let rules = Rulebook::new(generations, None);
        Self { name, flights, generations, nodes: 1, reads: Reads::Linearizable, thieves: 0, rules }
    }

    pub(crate) fn with_nodes(mut self, nodes: u8, reads: Reads) -> Self {
        (self.nodes, self.reads) = (nodes, reads);
        self
    }

    pub(crate) fn with_thief(mut self) -> Self {
        self.thieves = 1;
        self
    }

    pub(crate) fn without(mut self, rule: Removed) -> Self {
        self.rules = Rulebook::new(self.generations, Some(rule));
        self
    }

    /// Returns how many requests of `owner` may be in flight concurrently.
    pub(crate) fn room(&self, owner: Owner) -> usize {
        match owner {
            Owner::Client => self.flights,
            Owner::Thief => self.thieves,
        }
    }
}

/// Returns whether the thief has used a token of a generation that the client neither holds nor is about to get.
pub(crate) fn is_left_behind(state: &State) -> bool {
    let Some(used) = state.thief.used else { return false };
    let on_its_way = |flight: &Flight| {
        matches!(flight, Flight { owner: Owner::Client, stage: Stage::Return { generation, refresh: true, .. } }
            if *generation >= used)
    };
    state.jar.refresh.is_none_or(|held| held < used) && !state.flights.iter().any(on_its_way)
}
