//! What time and writes do to a state.

use super::{
    state::{Backup, Binding, Plan, Record, Stage, StampedAt, State},
    times::{Age, Times},
};

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
    ///
    /// The times `of_read` are those that are not taken at the write, but at the read before it.
    pub(crate) fn write(&mut self, plan: Plan, stamped_at: StampedAt, of_read: Times) {
        let stamped_before = if stamped_at == StampedAt::OldRead { of_read } else { Times::NONE };
        let record = &mut self.record;
        (record.generation, record.parent, record.seen) = (plan.generation, plan.parent, plan.seen);
        if plan.stamps.contains(Times::SEEN) {
            record.seen_for = if stamped_before.contains(Times::SEEN) { Age::Grace } else { Age::New };
        }
        if plan.stamps.contains(Times::ISSUED) {
            record.issued_for = Age::New;
        }
        if plan.stamps.contains(Times::BEGAN) {
            record.began_for = Age::New;
        }
        if plan.stamps.contains(Times::BOUND) {
            record.bound_for = if stamped_before.contains(Times::BOUND) { Age::Grace } else { Age::New };
        }
        match stamped_at {
            StampedAt::Write => self.restart(plan.stamps),
            StampedAt::Read => {
                self.stop(of_read);
                self.timers.rename(Times::READ, of_read);
                self.restart(plan.stamps.without(of_read));
            }
            StampedAt::OldRead => {
                self.stop(of_read);
                self.restart(plan.stamps.without(of_read));
            }
        }
        if let Some(binding) = plan.binding {
            self.record.binding = binding;
            self.use_up_challenges();
        }
    }

    /// A proof has been accepted.
    fn use_up_challenges(&mut self) {
        self.device.has_fresh_challenge = false;
        for flight in &mut self.flights {
            match &mut flight.stage {
                Stage::Sent { shown, .. } | Stage::ReadAgain { shown, .. } => *shown = shown.used_up(),
                Stage::Write { answer, .. } => answer.shown = answer.shown.used_up(),
                Stage::Registered { is_fresh, .. } | Stage::Challenged { is_fresh, .. } => *is_fresh = false,
                _ => {}
            }
        }
    }

    /// Whether a flight's time has been taken at a read: one at once is enough.
    pub(crate) fn has_stamp_of_a_read(&self) -> bool {
        let mut flights = self.flights;
        flights.iter_mut().any(|flight| flight.stamped_at().is_some_and(|at| *at != StampedAt::Write))
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
        self.stop(Times::BOUND);
        self.record = backup;
        if self.record.binding != Binding::None {
            // Nothing is in flight that the grace period would be for.
            self.record.bound_for = Age::Grace;
        }
        // So as not to tell which number of proofs each challenge names: the browser asks for another.
        self.use_up_challenges();
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
    if times.contains(Times::BOUND) {
        record.bound_for = Age::Grace;
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
