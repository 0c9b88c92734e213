//! One state of the system: the store, the client's jar, the thief, and everything that is in flight.

/// The record, as far as the rules look at it. No record ever comes back to an earlier pair, so that it
/// also stands for the record's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Version {
    pub(crate) generation: u8,
    pub(crate) confirmed: bool,
}

/// The result of a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) version: Version,
    /// Whether the rule's period since the confirmation has passed by the store's clock.
    pub(crate) settled: bool,
}

/// The cookies of a browser, shared by its tabs.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Jar {
    /// The generation of the refresh cookie.
    pub(crate) refresh: Option<u8>,
    /// Whether there is an access cookie of the stored generation. One of an earlier generation confirms
    /// nothing any more: it is as good as expired.
    pub(crate) access: bool,
}

/// Who has copied the refresh cookie once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Thief {
    pub(crate) jar: Jar,
    /// The latest generation of which the thief has used a token: its refresh token was answered, or its
    /// access token confirmed it.
    pub(crate) used: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Client,
    Thief,
}

/// The state of a request. A message that is `old` was on the network when the stored generation
/// was confirmed: it is delivered or lost before that settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Stage {
    /// On the network; also while the node waits for its first look at the record.
    Sent { refresh: u8, access: bool, old: bool },
    /// Reloads the claims for as long as that takes, then compares and sets.
    Write { presented: u8, seen: Version, next: Version, brings_refresh: bool },
    /// Lost the race: reads again.
    ReadAgain { presented: u8 },
    /// Judged as reuse: removes the session.
    Remove,
    /// The handler runs, for as long as it likes; then the node reads again which cookies may go.
    Handle { generation: u8, refresh: bool },
    /// Cookies on the network.
    Return { generation: u8, refresh: bool, old: bool },
    /// Cleared cookies on the network.
    Clear { old: bool },
    /// Beside the handler: is about to read whether to confirm the generation of an access token.
    Note { node: u8 },
    /// Beside the handler: compares and sets the confirmation.
    Confirm { node: u8, seen: Version },
    /// Nothing.
    Free,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Flight {
    pub(crate) stage: Stage,
    pub(crate) owner: Owner,
}

pub(crate) const MAX_FLIGHTS: usize = 5;
const FREE: Flight = Flight { stage: Stage::Free, owner: Owner::Client };

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) stored: Version,
    pub(crate) settled: bool,
    /// The session has been removed.
    pub(crate) ended: bool,
    pub(crate) jar: Jar,
    pub(crate) thief: Thief,
    /// Which nodes believe that they have confirmed the stored generation, or are about to.
    pub(crate) remembers: [bool; 2],
    /// Sorted: it makes no difference which tab is which.
    pub(crate) flights: [Flight; MAX_FLIGHTS],
}

impl State {
    /// The client has just signed in.
    pub(crate) fn signed_in() -> Self {
        Self {
            stored: Version { generation: 0, confirmed: false },
            settled: false,
            ended: false,
            jar: Jar { refresh: Some(0), access: true },
            thief: Thief { jar: Jar { refresh: None, access: false }, used: None },
            remembers: [false; 2],
            flights: [FREE; MAX_FLIGHTS],
        }
    }

    pub(crate) fn view(&self) -> View {
        View { version: self.stored, settled: self.settled }
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        !self.ended && self.jar.refresh.is_some() && self.jar.access
    }

    pub(crate) fn jar_of(&mut self, owner: Owner) -> &mut Jar {
        match owner {
            Owner::Client => &mut self.jar,
            Owner::Thief => &mut self.thief.jar,
        }
    }

    /// Returns whether nothing is in flight.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flights.iter().all(|flight| flight.stage == Stage::Free)
    }

    /// Returns the number of requests of `owner` in flight.
    pub(crate) fn in_flight(&self, owner: Owner) -> usize {
        self.flights.iter().filter(|flight| flight.owner == owner && flight.stage != Stage::Free).count()
    }

    pub(crate) fn launch(&mut self, owner: Owner, stage: Stage) {
        let free = self.flights.iter_mut().find(|flight| flight.stage == Stage::Free);
        *free.expect("the bound on flights leaves room") = Flight { stage, owner };
    }

    pub(crate) fn set(&mut self, index: usize, stage: Stage) {
        self.flights[index].stage = stage;
    }

    pub(crate) fn drop_flight(&mut self, index: usize) {
        self.flights[index] = FREE;
    }

    /// Writes the record, and what follows from that for what is under way.
    pub(crate) fn write(&mut self, next: Version) {
        let rotated = next.generation != self.stored.generation;
        if rotated {
            self.settled = false;
            self.remembers = [false; 2];
            self.jar.access = false;
            self.thief.jar.access = false;
        }
        let confirmed = next.confirmed && (rotated || !self.stored.confirmed);
        for flight in &mut self.flights {
            match &mut flight.stage {
                Stage::Sent { access, old, .. } => {
                    *access &= !rotated;
                    *old |= confirmed && flight.owner == Owner::Client;
                }
                Stage::Return { old, .. } | Stage::Clear { old } => {
                    *old |= confirmed && flight.owner == Owner::Client;
                }
                Stage::Note { .. } if rotated => flight.stage = Stage::Free,
                _ => {}
            }
        }
        self.stored = next;
    }

    /// Returns whether a message is in flight that ends before the stored generation settles.
    pub(crate) fn waits_for_old(&self) -> bool {
        self.flights.iter().any(|flight| {
            matches!(
                flight.stage,
                Stage::Sent { old: true, .. } | Stage::Return { old: true, .. } | Stage::Clear { old: true }
            )
        })
    }

    /// Returns whether the client has anything on the network.
    pub(crate) fn is_network_busy(&self) -> bool {
        self.flights.iter().any(|flight| {
            matches!(flight.stage, Stage::Sent { .. } | Stage::Return { .. } | Stage::Clear { .. })
        })
    }

    /// One state for all that behave alike from here on.
    pub(crate) fn normalize(&mut self) {
        let stored = self.stored;
        if stored.confirmed {
            self.remembers = [false; 2];
        }
        for flight in &mut self.flights {
            match &mut flight.stage {
                // An access token has nothing left to confirm.
                Stage::Sent { access, .. } => *access &= !stored.confirmed,
                Stage::Note { .. } if stored.confirmed => *flight = FREE,
                Stage::Confirm { seen, .. } if stored.confirmed || seen.generation != stored.generation => {
                    *flight = FREE;
                }
                // An access cookie of an earlier generation does what the expiry of the present one does.
                Stage::Return { generation, refresh: false, .. } if *generation < stored.generation => {
                    *flight = FREE;
                }
                Stage::Free => *flight = FREE,
                _ => {}
            }
        }
        self.sort();
        if self.remembers[0] != self.remembers[1] && self.remembers[0] {
            self.swap_nodes();
            self.sort();
        }
    }

    /// Nodes are interchangeable.
    fn swap_nodes(&mut self) {
        self.remembers.swap(0, 1);
        for flight in &mut self.flights {
            if let Stage::Note { node } | Stage::Confirm { node, .. } = &mut flight.stage {
                *node = 1 - *node;
            }
        }
    }

    fn sort(&mut self) {
        for end in 1..MAX_FLIGHTS {
            let mut at = end;
            while at > 0 && self.flights[at] < self.flights[at - 1] {
                self.flights.swap(at, at - 1);
                at -= 1;
            }
        }
    }
}
