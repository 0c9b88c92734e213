//! One state of the system: the record, the running timers, the client's jar, the thief, and everything in flight.

use super::{
    rulebook::Rulebook,
    times::{Age, Timers, Times},
};
use crate::rotation::{Admission, Decision};

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

    fn retain(&mut self, keep: impl Fn(u8) -> bool) {
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
const FREE: Flight = Flight { stage: Stage::Free, owner: Owner::Client };

impl Flight {
    /// How many timers are ahead of a message of the client.
    fn ahead(&mut self) -> Option<&mut u8> {
        match (self.owner, &mut self.stage) {
            (Owner::Client, Stage::Sent { ahead, .. } | Stage::Return { ahead, .. }) => Some(ahead),
            _ => None,
        }
    }

    fn stamped_at(&mut self) -> Option<&mut StampedAt> {
        match &mut self.stage {
            Stage::Write { stamped_at, .. } | Stage::Raise { stamped_at, .. } => Some(stamped_at),
            _ => None,
        }
    }

    /// Another writer has won: what a compare-and-set that is under way comes to.
    fn loses_its_write(&mut self) {
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

/// Time.
impl State {
    /// Whether nothing is on the network that must arrive before the timer that is due first.
    pub(crate) fn is_next_timer_free(&self) -> bool {
        let mut flights = self.flights;
        !self.timers.is_empty()
            && flights.iter_mut().all(|flight| flight.ahead().is_none_or(|ahead| *ahead > 0))
    }

    /// The first timer is due: all that it measures is a grace period older.
    pub(crate) fn timer_ends(&mut self) {
        let times = self.timers.end_first();
        for flight in &mut self.flights {
            if let Some(ahead) = flight.ahead() {
                *ahead -= 1;
            }
            if times.contains(Times::READ)
                && let Some(stamped_at @ StampedAt::Read) = flight.stamped_at()
            {
                *stamped_at = StampedAt::OldRead;
            }
        }
        let mut again = age(&mut self.record, times);
        if let Backup::Taken(record) = &mut self.backup {
            again = again.and(age(record, times.of_backup()).for_backup());
        }
        if times.contains(Times::USED) {
            self.thief.used_for = Age::Grace;
        }
        self.timers.start(again);
    }

    /// Nobody needs these timers any more.
    pub(crate) fn stop(&mut self, times: Times) {
        while let Some(position) = self.timers.stop(times) {
            for flight in &mut self.flights {
                if let Some(ahead) = flight.ahead()
                    && usize::from(*ahead) > position
                {
                    *ahead -= 1;
                }
            }
        }
    }

    pub(crate) fn restart(&mut self, times: Times) {
        self.stop(times);
        self.timers.start(times);
    }

    /// Writes the record. Of what else is to be written by compare-and-set, nothing succeeds.
    pub(crate) fn write(&mut self, plan: Plan, stamped_at: StampedAt) {
        let record = &mut self.record;
        (record.generation, record.parent, record.seen) = (plan.generation, plan.parent, plan.seen);
        if plan.stamps.contains(Times::SEEN) {
            record.seen_for = if stamped_at == StampedAt::OldRead { Age::Grace } else { Age::New };
        }
        if plan.stamps.contains(Times::ISSUED) {
            record.issued_for = Age::New;
        }
        if plan.stamps.contains(Times::BEGAN) {
            record.began_for = Age::New;
        }
        match stamped_at {
            StampedAt::Write => self.restart(plan.stamps),
            StampedAt::Read => {
                self.stop(Times::SEEN);
                self.timers.rename(Times::READ, Times::SEEN);
            }
            StampedAt::OldRead => self.stop(Times::SEEN),
        }
    }

    pub(crate) fn others_lose_their_writes(&mut self, is_compared: bool) {
        for flight in &mut self.flights {
            if is_compared || !matches!(flight.stage, Stage::Write { .. }) {
                flight.loses_its_write();
            }
        }
    }

    /// The store will lose what is written from here on.
    pub(crate) fn take_backup(&mut self) {
        self.backup = Backup::Taken(self.record);
        self.timers.back_up();
    }

    /// The store has lost it. The times in the record are as old as they are.
    pub(crate) fn restore(&mut self, backup: Record) {
        self.stop(Times::OF_RECORD);
        self.timers.restore();
        self.record = backup;
        self.backup = Backup::Restored;
        self.others_lose_their_writes(true);
    }
}

/// Returns which of the times have yet to become older.
fn age(record: &mut Record, times: Times) -> Times {
    let mut again = Times::NONE;
    if times.contains(Times::SEEN) {
        record.seen_for = Age::Grace;
    }
    for (time, age) in [(Times::ISSUED, &mut record.issued_for), (Times::BEGAN, &mut record.began_for)] {
        if times.contains(time) {
            *age = age.next();
            if *age != Age::TwoGraces {
                again = again.and(time);
            }
        }
    }
    again
}

/// One state for all that behave alike from here on.
impl State {
    pub(crate) fn normalize(&mut self, rules: &Rulebook) {
        if self.record.is_confirmed() {
            // Neither matters before the next generation, which begins them anew.
            self.stop(Times::ISSUED.and(Times::BEGAN));
            (self.record.issued_for, self.record.began_for) = (Age::New, Age::New);
        }
        let record = self.record;
        // What shows nothing now never will: an access cookie of an earlier generation does what its expiry does.
        let shows_something = |generation: u8| rules.sighting(generation, &record).is_some();
        if self.jar.access.is_some_and(|held| held < record.generation && !shows_something(held)) {
            self.jar.access = None;
        }
        self.thief.access.retain(shows_something);
        // The thief would only end the session.
        self.thief.refresh.retain(|held| rules.look(held, &record, false).decision != Decision::Revoke);
        for flight in &mut self.flights {
            match &mut flight.stage {
                Stage::Sent { access, .. } if access.is_some_and(|sent| !shows_something(sent)) => {
                    *access = None
                }
                Stage::Sight { generation } | Stage::Raise { generation, .. }
                    if !shows_something(*generation) =>
                {
                    *flight = FREE;
                }
                Stage::Handle { answer } => {
                    if rules.admit(answer, &record).admission == Admission::Superseded {
                        flight.stage = Stage::ReadAgain { presented: answer.presented };
                    } else if record.is_confirmed() {
                        answer.late = false;
                    }
                }
                Stage::Return { generation, refresh: false, .. } if *generation < record.generation => {
                    *flight = FREE;
                }
                Stage::Free => *flight = FREE,
                _ => {}
            }
        }
        let is_timed = |flight: &mut Flight| flight.stamped_at().is_some_and(|at| *at == StampedAt::Read);
        if !self.flights.iter_mut().any(is_timed) {
            self.stop(Times::READ);
        }
        self.flights.sort_unstable();
    }

    /// Whether a flight's time has been taken at a read: one at once is enough.
    pub(crate) fn has_stamp_of_a_read(&self) -> bool {
        let mut flights = self.flights;
        flights.iter_mut().any(|flight| flight.stamped_at().is_some_and(|at| *at != StampedAt::Write))
    }
}
