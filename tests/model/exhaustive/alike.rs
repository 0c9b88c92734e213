//! One state for all that behave alike from here on.

use super::{
    model::Devices,
    rulebook::Rulebook,
    state::{FREE, Flight, Shown, Stage, StampedAt, State},
    times::{Age, Times},
};
use crate::{
    binding::Verdict,
    rotation::{Admission, Decision},
};

impl State {
    pub(crate) fn normalize(&mut self, rules: &Rulebook) {
        if self.record.is_enforced() {
            self.normalize_bound(rules);
        }
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
        self.thief.refresh.retain(|held| {
            rules.look(held, &record, false, None).verdict != Verdict::Decided(Decision::Revoke)
                || record.is_enforced()
        });
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
                        flight.stage = answer.asked_again(answer.shown.used_up());
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

    /// Where cookies alone renew nothing, and will never again, it matters for one grace period only when cookies
    /// went, and not at all when the generation began.
    fn normalize_bound(&mut self, rules: &Rulebook) {
        if rules.removed.is_some() || rules.devices != Devices::Enforced {
            return;
        }
        self.stop(Times::BEGAN);
        self.record.began_for = Age::New;
        if self.record.is_confirmed() || self.record.issued_for > Age::New {
            self.stop(Times::ISSUED);
            self.record.issued_for = if self.record.is_confirmed() { Age::New } else { Age::Grace };
        }
        let is_past_grace = self.record.bound_for > Age::New;
        for flight in &mut self.flights {
            match flight.stage {
                Stage::Sent { access: None, shown: Shown::Access, .. }
                | Stage::ReadAgain { shown: Shown::Access, .. } => *flight = FREE,
                // A later look serves no more, and never revokes.
                Stage::ReadAgain { shown: Shown::Nothing | Shown::Skipped, .. } if is_past_grace => {
                    *flight = FREE;
                }
                _ => {}
            }
        }
    }
}
