//! The steps that bring cookies: the second look, and what follows.

use super::{
    model::Breach,
    rulebook::Admitted,
    state::{Answer, Owner, Plan, Stage, StampedAt, State},
    steps::Steps,
};
use crate::rotation::Admission;

impl Steps<'_> {
    /// The handler is done: the record is read once more, and says which cookies may go.
    pub(super) fn second_look(&mut self, index: usize, answer: Answer) {
        let mut next = self.from;
        let Admitted { admission, plan } = self.model.rules.admit(&answer, &next.record);
        match admission {
            Admission::Cookies { with_refresh } => {
                let refresh = answer.refresh && with_refresh;
                return self.hand_over(next, index, answer.generation, refresh);
            }
            Admission::MoveIssued | Admission::Reissue => {
                let plan = plan.expect("something to write");
                next.set(index, Stage::BeforeCookies { answer, plan });
            }
            Admission::Withhold | Admission::Ended => next.drop_flight(index),
            // The refresh service asks again with the same token; the layer sends no cookies, which is as good as
            // lost.
            Admission::Superseded => next.set(index, answer.asked_again(answer.shown.used_up())),
        }
        self.reach(next);
    }

    /// The second look is followed by a write that succeeds. A node that took too long for it looks again.
    pub(super) fn write_before_cookies(&mut self, index: usize, answer: Answer, plan: Plan) {
        let mut next = self.from;
        self.store(&mut next, index, plan, StampedAt::Write);
        self.hand_over(next, index, plan.generation, true);
        let late = answer.late && self.model.rules.has_late_answers(plan.generation);
        next.set(index, Stage::Handle { answer: Answer { generation: plan.generation, late, ..answer } });
        self.reach(next);
    }

    /// The cookies leave for their owner.
    fn hand_over(&mut self, mut next: State, index: usize, generation: u8, refresh: bool) {
        match next.flights[index].owner {
            Owner::Client => {
                let ahead = next.timers.len();
                next.set(index, Stage::Return { generation, refresh, ahead });
            }
            Owner::Thief => {
                if next.record.is_enforced() {
                    self.breach(Breach::Renewed, next);
                }
                next.drop_flight(index);
                next.thief.access.insert(generation);
                if refresh {
                    next.thief.refresh.insert(generation);
                }
            }
        }
        self.reach(next);
    }

    /// The client's jar takes the cookies.
    pub(super) fn arrive(&mut self, index: usize, generation: u8, refresh: bool) {
        let mut next = self.from;
        next.drop_flight(index);
        next.jar.access = Some(generation);
        if refresh {
            next.jar.refresh = generation;
            if self.from.jar.refresh > generation {
                self.breach(Breach::Overwritten, next);
            }
            if next.thief.used.is_some_and(|used| used <= generation) {
                self.breach(Breach::Rejoined, next);
            }
        }
        self.reach(next);
    }
}
