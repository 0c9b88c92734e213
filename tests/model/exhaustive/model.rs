//! The systems to explore, and what must never happen in them.

use super::{rule::Removed, rulebook::Rulebook};

/// One system of bounded size.
pub(crate) struct Model {
    /// The name of the run in the output.
    pub(crate) name: &'static str,
    /// Requests of the client that are in flight at once.
    pub(crate) flights: usize,
    /// Requests of a thief that are in flight at once; without any, there is no thief.
    pub(crate) thieves: usize,
    pub(crate) lost_writes: LostWrites,
    /// Whether the thief copies the jar only once the session is bound, and the grace period over.
    pub(crate) copies_late: bool,
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

/// Whether the browser has a key that it registers, and what the server makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    None,
    /// The first proof enforces the binding.
    Enforced,
    /// Bindings are observed; then the policy changes, to and fro.
    Changing,
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
    /// A browser is refused for want of a proof that it could not give.
    Refused,
    /// Cookies go to a thief once the session is bound to the browser.
    Renewed,
    /// A thief is served, without cookies, a grace period after that.
    Served,
    /// The session is bound to the thief's key.
    Captured,
}

/// Every kind of breach, but for the one that nothing prevents.
pub(crate) const EVERY_BREACH: &[Breach] = &[
    Breach::Revoked,
    Breach::Overwritten,
    Breach::Forked,
    Breach::Unnoticed,
    Breach::Rejoined,
    Breach::Refused,
    Breach::Renewed,
    Breach::Served,
];

impl Model {
    /// A legitimate client, by all rules; `generations` follow the sign-in.
    pub(crate) fn new(name: &'static str, flights: usize, generations: u8) -> Self {
        Self {
            name,
            flights,
            generations,
            thieves: 0,
            lost_writes: LostWrites::Never,
            copies_late: false,
            rules: Rulebook::new(generations, Devices::None, None),
        }
    }

    pub(crate) fn with_devices(mut self, devices: Devices) -> Self {
        self.rules = Rulebook::new(self.generations, devices, None);
        self
    }

    pub(crate) fn with_late_thief(self, flights: usize) -> Self {
        Self { copies_late: true, ..self.with_thief(flights) }
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
        self.rules = Rulebook::new(self.generations, self.rules.devices, Some(rule));
        self
    }
}
