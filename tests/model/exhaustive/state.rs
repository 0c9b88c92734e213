//! One state of the system: the record, the running timers, the client's jar, the thief, and everything in flight.

use super::times::{Age, Timers, Times};

/// The record, as far as the rules look at it: generations as small numbers, times as ages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Record {
    pub(crate) generation: u8,
    pub(crate) parent: u8,
    pub(crate) seen: Option<u8>,
    /// The age of `confirmed_at`, at most one grace period; nought while nothing has been seen.
    pub(crate) seen_for: Age,
    /// The age of `issued_at`, at most two grace periods.
    pub(crate) issued_for: Age,
    /// The age of `rotated_at`, at most two grace periods.
    pub(crate) began_for: Age,
    pub(crate) binding: Binding,
    /// The age of `bound_at`, at most one grace period; nought while the session is not bound.
    pub(crate) bound_for: Age,
}

impl Record {
    pub(crate) fn is_confirmed(&self) -> bool {
        self.seen == Some(self.generation)
    }

    pub(crate) fn is_enforced(&self) -> bool {
        self.binding == Binding::Enforced
    }
}

/// Whether the session is bound to the browser's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Binding {
    None,
    /// Cookies alone still renew.
    Observed,
    Enforced,
}

/// What a write makes of the record that was read before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Plan {
    pub(crate) generation: u8,
    pub(crate) parent: u8,
    pub(crate) seen: Option<u8>,
    /// The times that are taken as it is written.
    pub(crate) stamps: Times,
    /// What an accepted proof makes of the binding.
    pub(crate) binding: Option<Binding>,
}

/// The cookies of a browser, shared by its tabs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Jar {
    /// The generation of the refresh cookie.
    pub(crate) refresh: u8,
    /// The generation of the access cookie, unless that has expired.
    pub(crate) access: Option<u8>,
}

/// What a browser knows that registers a key, in a model with devices.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    /// The answer to a registration has arrived in full: requests without an access cookie are held back for a proof.
    pub(crate) is_registered: bool,
    /// Whether the last challenge is still good. A challenge names the number of proofs so far, so each accepted proof
    /// uses up all that there are; this is all that the number matters.
    pub(crate) has_fresh_challenge: bool,
}

/// What a request shows besides its refresh cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shown {
    Nothing,
    /// In a model with devices: an access cookie that is still good when it arrives.
    Access,
    /// Nothing, and the browser says that it could not sign: a refusal is no surprise to it.
    Skipped,
    /// A proof by the browser's key.
    Proof,
    /// The same, over a challenge that has been used up.
    UsedProof,
    /// A proof by a key that a thief has registered.
    OtherKey,
}

impl Shown {
    pub(crate) fn used_up(self) -> Self {
        if self == Self::Proof { Self::UsedProof } else { self }
    }

    pub(crate) fn is_proof(self) -> bool {
        matches!(self, Self::Proof | Self::UsedProof | Self::OtherKey)
    }
}

/// A set of generations.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Generations(u8);

impl Generations {
    pub(crate) fn insert(&mut self, generation: u8) {
        self.0 |= 1 << generation;
    }

    pub(crate) fn contains(self, generation: u8) -> bool {
        self.0 & (1 << generation) != 0
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |generation| self.contains(*generation))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(u8) -> bool) {
        for generation in self.iter() {
            if !keep(generation) {
                self.0 &= !(1 << generation);
            }
        }
    }
}

/// Who has copied the jar once, and keeps every token.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Thief {
    pub(crate) has_copied: bool,
    pub(crate) refresh: Generations,
    pub(crate) access: Generations,
    /// The latest generation of which a use by the thief has been written while the client neither held that
    /// generation nor had its answer on the way.
    pub(crate) used: Option<u8>,
    /// How long ago, at most a grace period.
    pub(crate) used_for: Age,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Client,
    Thief,
}

/// Where a time in a write comes from: for the time of a binding, and where a test takes a rule away, from a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum StampedAt {
    /// From the write.
    Write,
    /// From the read before it, less than a grace period ago.
    Read,
    /// From the read before it, a grace period ago or more.
    OldRead,
}

/// The tokens that a handler has, and the cookies that are to go on its response.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Answer {
    /// The generation of the refresh token that it answers.
    pub(crate) presented: u8,
    /// The generation of the tokens.
    pub(crate) generation: u8,
    /// Whether there is a refresh token among them.
    pub(crate) refresh: bool,
    /// Whether the generation had begun two grace periods before, and was unconfirmed.
    pub(crate) late: bool,
    /// What it answers besides.
    pub(crate) shown: Shown,
}

impl Answer {
    /// The same token is to be looked at again.
    pub(crate) fn asked_again(self, shown: Shown) -> Stage {
        Stage::ReadAgain { presented: self.presented, shown }
    }
}

/// How far a request has come. A message of the client on the network knows how many timers are `ahead` of it: they
/// were started before it was sent, so they end within the grace period, and so does the message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// On the network, with what the jar had.
    Sent { refresh: u8, access: Option<u8>, shown: Shown, ahead: u8 },
    /// About to read the record for another time, or for the first time after the store has kept it waiting.
    ReadAgain { presented: u8, shown: Shown },
    /// Reloads the claims for as long as that takes, then writes `plan` by compare-and-set.
    Write { answer: Answer, plan: Plan, stamped_at: StampedAt },
    /// The handler runs, for as long as it likes; then comes the second look.
    Handle { answer: Answer },
    /// After the second look: writes `plan` by compare-and-set, so that the cookies may go.
    BeforeCookies { answer: Answer, plan: Plan },
    /// Cookies on the network.
    Return { generation: u8, refresh: bool, ahead: u8 },
    /// Beside the handler of a request with an access token of this generation: about to read the record.
    Sight { generation: u8 },
    /// Beside the handler: writes by compare-and-set that the token has been seen.
    Raise { generation: u8, plan: Plan, stamped_at: StampedAt },
    /// A registration on its way to the server.
    Register { ahead: u8 },
    /// The answer to a registration: it sets or clears the access cookie, and brings a challenge.
    Registered { access: Option<u8>, is_fresh: bool, ahead: u8 },
    /// The answer to a proof that was not accepted: a challenge.
    Challenged { is_fresh: bool, ahead: u8 },
    /// Nothing.
    Free,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Flight {
    pub(crate) stage: Stage,
    pub(crate) owner: Owner,
}

pub(crate) const MAX_FLIGHTS: usize = 5;
pub(super) const FREE: Flight = Flight { stage: Stage::Free, owner: Owner::Client };

impl Flight {
    /// How many timers are ahead of a message of the client.
    pub(super) fn ahead(&mut self) -> Option<&mut u8> {
        match (self.owner, &mut self.stage) {
            (
                Owner::Client,
                Stage::Sent { ahead, .. }
                | Stage::Return { ahead, .. }
                | Stage::Register { ahead }
                | Stage::Registered { ahead, .. }
                | Stage::Challenged { ahead, .. },
            ) => Some(ahead),
            _ => None,
        }
    }

    pub(super) fn stamped_at(&mut self) -> Option<&mut StampedAt> {
        match &mut self.stage {
            Stage::Write { stamped_at, .. } | Stage::Raise { stamped_at, .. } => Some(stamped_at),
            _ => None,
        }
    }

    /// Another writer has won: what a compare-and-set that is under way comes to.
    pub(super) fn loses_its_write(&mut self) {
        match self.stage {
            Stage::Write { answer, .. } => self.stage = answer.asked_again(answer.shown),
            Stage::BeforeCookies { answer, .. } => self.stage = Stage::Handle { answer },
            Stage::Raise { .. } => *self = FREE,
            _ => {}
        }
    }
}

/// What the store will go back to when it loses writes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Backup {
    None,
    Taken(Record),
    Restored,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) record: Record,
    /// The session has been removed.
    pub(crate) ended: bool,
    pub(crate) timers: Timers,
    pub(crate) backup: Backup,
    pub(crate) jar: Jar,
    pub(crate) device: Device,
    /// The policy under which proofs are accepted: whether they enforce the binding.
    pub(crate) enforces: bool,
    pub(crate) thief: Thief,
    /// Sorted: it makes no difference which tab is which.
    pub(crate) flights: [Flight; MAX_FLIGHTS],
}

impl State {
    /// The client has signed in, a while ago. The first proof `enforces` the binding.
    pub(crate) fn signed_in(enforces: bool) -> Self {
        let record = Record {
            generation: 0,
            parent: 0,
            seen: None,
            seen_for: Age::New,
            issued_for: Age::TwoGraces,
            began_for: Age::TwoGraces,
            binding: Binding::None,
            bound_for: Age::New,
        };
        let none = Generations::default();
        Self {
            record,
            ended: false,
            timers: Timers::default(),
            backup: Backup::None,
            jar: Jar { refresh: 0, access: Some(0) },
            device: Device { is_registered: false, has_fresh_challenge: false },
            enforces,
            thief: Thief { has_copied: false, refresh: none, access: none, used: None, used_for: Age::New },
            flights: [FREE; MAX_FLIGHTS],
        }
    }

    /// Whether the client has all that it needs: an access cookie of the current generation.
    pub(crate) fn is_signed_in(&self) -> bool {
        !self.ended && self.jar.access == Some(self.record.generation)
    }

    /// The number of requests of `owner` in flight.
    pub(crate) fn in_flight(&self, owner: Owner) -> usize {
        self.flights.iter().filter(|flight| flight.owner == owner && flight.stage != Stage::Free).count()
    }

    /// Returns where the flight is.
    pub(crate) fn launch(&mut self, owner: Owner, stage: Stage) -> usize {
        let free = self.flights.iter().position(|flight| flight.stage == Stage::Free);
        let index = free.expect("the bound on flights leaves room");
        self.flights[index] = Flight { stage, owner };
        index
    }

    pub(crate) fn set(&mut self, index: usize, stage: Stage) {
        self.flights[index].stage = stage;
    }

    pub(crate) fn drop_flight(&mut self, index: usize) {
        self.flights[index] = FREE;
    }

    pub(crate) fn lose_write(&mut self, index: usize) {
        self.flights[index].loses_its_write();
    }

    /// Whether the client holds this generation or a later one, or has its answer on the way.
    pub(crate) fn client_is_about_to_hold(&self, generation: u8) -> bool {
        let is_coming = |flight: &Flight| {
            matches!(flight, Flight { owner: Owner::Client, stage: Stage::Return { generation: coming, refresh: true, .. } }
                if *coming >= generation)
        };
        self.jar.refresh >= generation || self.flights.iter().any(is_coming)
    }

    /// A use of the thief has been written.
    pub(crate) fn thief_has_used(&mut self, generation: u8) {
        let is_later = self.thief.used.is_none_or(|used| used < generation);
        if is_later && !self.client_is_about_to_hold(generation) {
            self.thief.used = Some(generation);
            self.thief.used_for = Age::New;
            self.restart(Times::USED);
        }
    }
}
