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
}

impl Record {
    pub(crate) fn is_confirmed(&self) -> bool {
        self.seen == Some(self.generation)
    }
}

/// What a write makes of the record that was read before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Plan {
    pub(crate) generation: u8,
    pub(crate) parent: u8,
    pub(crate) seen: Option<u8>,
    /// The times that are taken as it is written.
    pub(crate) stamps: Times,
}

/// The cookies of a browser, shared by its tabs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Jar {
    /// The generation of the refresh cookie.
    pub(crate) refresh: u8,
    /// The generation of the access cookie, unless that has expired.
    pub(crate) access: Option<u8>,
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

/// Where the time of a write comes from. All but the first are for a test that takes a rule away.
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
}

/// How far a request has come. A message of the client on the network knows how many timers are `ahead` of it: they
/// were started before it was sent, so they end within the grace period, and so does the message.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// On the network, with what the jar had.
    Sent { refresh: u8, access: Option<u8>, ahead: u8 },
    /// About to read the record for another time, or for the first time after the store has kept it waiting.
    ReadAgain { presented: u8 },
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
            (Owner::Client, Stage::Sent { ahead, .. } | Stage::Return { ahead, .. }) => Some(ahead),
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
            Stage::Write { answer, .. } => self.stage = Stage::ReadAgain { presented: answer.presented },
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
    pub(crate) thief: Thief,
    /// Sorted: it makes no difference which tab is which.
    pub(crate) flights: [Flight; MAX_FLIGHTS],
}

impl State {
    /// The client has signed in, a while ago.
    pub(crate) fn signed_in() -> Self {
        let record = Record {
            generation: 0,
            parent: 0,
            seen: None,
            seen_for: Age::New,
            issued_for: Age::TwoGraces,
            began_for: Age::TwoGraces,
        };
        let none = Generations::default();
        Self {
            record,
            ended: false,
            timers: Timers::default(),
            backup: Backup::None,
            jar: Jar { refresh: 0, access: Some(0) },
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
