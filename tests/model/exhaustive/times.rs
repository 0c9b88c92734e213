//! Time, exactly: all that the rules ask is whether something was one or two grace periods ago, and no message is on
//! the network for longer than one.
//!
//! So each time in the record has a timer of one grace period, which is started again for the second. Timers are all
//! equally long, and end in the order in which they were started: they are a queue. A message ends before the
//! timers that were started after it was sent. This is the region graph of the timed system: no two moments that
//! could be told apart fall together, and nothing is possible here that no schedule of real times allows.

/// How long ago something was, in whole grace periods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Age {
    /// Less than one.
    New,
    /// One, and less than two; where two do not matter, one or more.
    Grace,
    /// Two or more.
    TwoGraces,
}

impl Age {
    pub(crate) const ALL: [Self; 3] = [Self::New, Self::Grace, Self::TwoGraces];

    pub(crate) fn next(self) -> Self {
        match self {
            Self::New => Self::Grace,
            Self::Grace | Self::TwoGraces => Self::TwoGraces,
        }
    }
}

/// A set of times that timers measure.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Times(u16);

impl Times {
    pub(crate) const NONE: Self = Self(0);
    /// The record's `confirmed_at`.
    pub(crate) const SEEN: Self = Self(1);
    /// The record's `issued_at`.
    pub(crate) const ISSUED: Self = Self(2);
    /// The record's `rotated_at`.
    pub(crate) const BEGAN: Self = Self(4);
    pub(crate) const OF_RECORD: Self = Self(7);
    /// The same three of the record that a store which loses writes goes back to.
    const OF_BACKUP: Self = Self(7 << 3);
    /// The use by a thief that the client must notice.
    pub(crate) const USED: Self = Self(64);
    /// The read before a write whose time the record is going to hold.
    pub(crate) const READ: Self = Self(128);
    /// The binding's `bound_at`.
    pub(crate) const BOUND: Self = Self(256);

    pub(crate) fn contains(self, times: Self) -> bool {
        self.0 & times.0 == times.0
    }

    pub(crate) fn and(self, times: Self) -> Self {
        Self(self.0 | times.0)
    }

    pub(crate) fn without(self, times: Self) -> Self {
        Self(self.0 & !times.0)
    }

    /// The times of the backup among these, as those of a record.
    pub(crate) fn of_backup(self) -> Self {
        Self((self.0 & Self::OF_BACKUP.0) >> 3)
    }

    /// The record's times among these, as those of the backup.
    pub(crate) fn for_backup(self) -> Self {
        Self((self.0 & Self::OF_RECORD.0) << 3)
    }
}

const MAX_TIMERS: usize = 6;

/// The running timers, those first that end first. What began at the same moment shares one.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Timers([Times; MAX_TIMERS]);

impl Timers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0[0] == Times::NONE
    }

    pub(crate) fn len(&self) -> u8 {
        self.iter().fold(0, |count, _| count + 1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Times> {
        self.0.into_iter().take_while(|times| *times != Times::NONE)
    }

    pub(crate) fn start(&mut self, times: Times) {
        if times != Times::NONE {
            let free = self.0.iter().position(|times| *times == Times::NONE);
            self.0[free.expect("few times")] = times;
        }
    }

    pub(crate) fn end_first(&mut self) -> Times {
        let first = self.0[0];
        self.remove(0);
        first
    }

    /// Stops measuring these times up to the first timer that is left with nothing to measure, and returns its
    /// position: the caller goes on until there is none.
    pub(crate) fn stop(&mut self, times: Times) -> Option<usize> {
        for position in 0..MAX_TIMERS {
            let left = self.0[position].without(times);
            if self.0[position] != Times::NONE && left == Times::NONE {
                self.remove(position);
                return Some(position);
            }
            self.0[position] = left;
        }
        None
    }

    fn remove(&mut self, position: usize) {
        self.0.copy_within(position + 1.., position);
        self.0[MAX_TIMERS - 1] = Times::NONE;
    }

    pub(crate) fn rename(&mut self, from: Times, to: Times) {
        for times in self.0.iter_mut().filter(|times| times.contains(from)) {
            *times = times.without(from).and(to);
        }
    }

    pub(crate) fn back_up(&mut self) {
        for times in &mut self.0 {
            *times = times.and(times.for_backup());
        }
    }

    pub(crate) fn restore(&mut self) {
        for times in &mut self.0 {
            *times = times.without(Times::OF_BACKUP).and(times.of_backup());
        }
    }
}
