//! Every step that the system can take from a state.

use super::{
    model::{Breach, Devices, LostWrites, Model},
    rule::Removed,
    rulebook::Look,
    state::{Answer, Backup, Jar, Owner, Plan, Shown, Stage, StampedAt, State},
    times::{Age, Times},
};
use crate::{binding::Verdict, rotation::Decision};

/// The states that one state leads to.
pub(crate) struct Steps<'a> {
    pub(super) model: &'a Model,
    pub(super) from: State,
    pub(crate) next: Vec<State>,
    /// The breaches of a step, each with the state it led to.
    pub(crate) breaches: Vec<(Breach, State)>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        Self { model, from: State::signed_in(true), next: Vec::new(), breaches: Vec::new() }
    }

    /// Finds them all. A session that has ended is not followed any further.
    pub(crate) fn take(&mut self, from: State) {
        self.from = from;
        self.next.clear();
        if from.ended {
            return;
        }
        self.time_passes();
        self.store_loses_writes();
        self.policy_changes();
        self.client_sends();
        self.thief_acts();
        for index in 0..from.flights.len() {
            // Equals do what their first does.
            let is_first = index == 0 || from.flights[index] != from.flights[index - 1];
            if is_first && from.flights[index].stage != Stage::Free {
                self.flight_ends(index);
                self.flight_goes_on(index);
            }
        }
    }

    /// Another state to go to.
    pub(super) fn reach(&mut self, mut state: State) {
        state.normalize(&self.model.rules);
        self.next.push(state);
    }

    pub(super) fn breach(&mut self, breach: Breach, mut state: State) {
        state.normalize(&self.model.rules);
        self.breaches.push((breach, state));
    }

    fn time_passes(&mut self) {
        if self.from.is_next_timer_free() {
            let mut next = self.from;
            next.timer_ends();
            self.reach(next);
        }
        if self.from.jar.access.is_some() {
            let mut next = self.from;
            next.jar.access = None;
            self.reach(next);
        }
    }

    fn store_loses_writes(&mut self) {
        let may_lose = match self.model.lost_writes {
            LostWrites::Never => return,
            LostWrites::WhileNothingIsInFlight => self.from.in_flight(Owner::Client) == 0,
            LostWrites::AtAnyTime => true,
        };
        let mut next = self.from;
        match self.from.backup {
            Backup::None => next.take_backup(),
            Backup::Taken(record) if may_lose => next.restore(record),
            Backup::Taken(_) | Backup::Restored => return,
        }
        self.reach(next);
    }

    fn client_sends(&mut self) {
        if self.from.in_flight(Owner::Client) >= self.model.flights {
            return;
        }
        match self.model.rules.devices {
            Devices::None => self.send(Shown::Nothing),
            Devices::Enforced | Devices::Changing => self.browser_sends(),
        }
    }

    /// A request leaves, with the cookies that the jar has.
    pub(super) fn send(&mut self, shown: Shown) {
        let mut next = self.from;
        let (Jar { refresh, access }, ahead) = (next.jar, next.timers.len());
        next.launch(Owner::Client, Stage::Sent { refresh, access, shown, ahead });
        self.reach(next);
    }

    /// The thief copies the jar, or uses one of the tokens: the refresh token in a cookie, the access token in a
    /// header. The network takes no time.
    fn thief_acts(&mut self) {
        if self.model.thieves == 0 {
            return;
        }
        let State { jar, thief, .. } = self.from;
        if !thief.has_copied && self.is_time_to_copy() {
            let mut next = self.from;
            next.thief.has_copied = true;
            next.thief.refresh.insert(jar.refresh);
            jar.access.into_iter().for_each(|access| next.thief.access.insert(access));
            self.reach(next);
        }
        if self.from.in_flight(Owner::Thief) >= self.model.thieves {
            return;
        }
        for refresh in thief.refresh.iter() {
            for shown in self.thief_shows() {
                let mut next = self.from;
                let sent = Stage::Sent { refresh, access: None, shown: *shown, ahead: 0 };
                let index = next.launch(Owner::Thief, sent);
                self.look(next, index, refresh, *shown, false);
            }
        }
        for generation in thief.access.iter() {
            let mut next = self.from;
            let index = next.launch(Owner::Thief, Stage::Sight { generation });
            self.read_to_raise(next, index, generation);
        }
    }

    /// A message is lost; or the client goes away, and the node drops the request wherever it is; or the store fails.
    fn flight_ends(&mut self, index: usize) {
        let mut next = self.from;
        next.drop_flight(index);
        self.reach(next);
    }

    fn flight_goes_on(&mut self, index: usize) {
        let from = self.from;
        match from.flights[index].stage {
            Stage::Sent { refresh, access, shown, .. } => {
                if let Some(generation) = access {
                    let mut next = from;
                    next.set(index, Stage::Sight { generation });
                    self.reach(next);
                }
                // Also where there is an access token: it may have expired on the way, or the request may be
                // for the refresh service.
                self.look(from, index, refresh, shown, false);
                // Or the store keeps it waiting for longer than the grace period.
                let mut next = from;
                next.set(index, Stage::ReadAgain { presented: refresh, shown });
                self.reach(next);
            }
            Stage::ReadAgain { presented, shown } => self.look(from, index, presented, shown, true),
            Stage::Write { answer, plan, stamped_at } => {
                self.loses_its_write(index);
                // One read at once is measured: the one whose write is going to bind the session.
                if stamped_at != StampedAt::Write || !plan.stamps.contains(Times::BOUND) {
                    self.write(index, plan, stamped_at, Stage::Handle { answer });
                }
            }
            Stage::Handle { answer } => {
                self.token_is_sighted_elsewhere(answer);
                self.second_look(index, answer);
            }
            Stage::BeforeCookies { answer, plan } => {
                self.loses_its_write(index);
                self.write_before_cookies(index, answer, plan);
            }
            Stage::Return { generation, refresh, .. } => self.arrive(index, generation, refresh),
            Stage::Sight { generation } => self.read_to_raise(from, index, generation),
            Stage::Raise { plan, stamped_at, .. } => {
                self.loses_its_write(index);
                self.write(index, plan, stamped_at, Stage::Free);
            }
            Stage::Register { .. } => self.register(index),
            Stage::Registered { access, is_fresh, .. } => self.registered(index, access, is_fresh),
            Stage::Challenged { is_fresh, .. } => self.challenged(index, is_fresh),
            Stage::Free => {}
        }
    }

    /// Reads the record, and decides what the refresh token means, given what the request shows besides.
    fn look(&mut self, from: State, index: usize, presented: u8, shown: Shown, later: bool) {
        let Some(proof) = self.proof(from, index, shown) else { return };
        let Look { verdict, plan, refresh, late } =
            self.model.rules.look(presented, &from.record, later, proof);
        let mut next = from;
        let owner = from.flights[index].owner;
        match verdict {
            Verdict::Decided(Decision::Revoke) => {
                next.drop_flight(index);
                next.ended = true;
                let is_innocent = self.model.thieves == 0 || self.model.copies_late;
                let has_key = shown.is_proof() && from.record.is_enforced();
                if owner == Owner::Client && (is_innocent || has_key) {
                    self.breach(Breach::Revoked, next);
                }
                return self.reach(next);
            }
            Verdict::Decided(Decision::Refuse | Decision::TooLate) => {
                next.drop_flight(index);
                return self.reach(next);
            }
            Verdict::Serve | Verdict::Prove => {
                next.drop_flight(index);
                match (verdict, owner) {
                    (Verdict::Prove, Owner::Client) if shown != Shown::Skipped => {
                        self.breach(Breach::Refused, next);
                    }
                    (Verdict::Serve, Owner::Thief) if from.record.bound_for != Age::New => {
                        self.breach(Breach::Served, next);
                    }
                    _ => {}
                }
                return self.reach(next);
            }
            Verdict::Decided(_) => {}
        }
        let is_past_grace = from.record.is_enforced() && from.record.bound_for != Age::New;
        if owner == Owner::Thief && is_past_grace {
            self.breach(Breach::Served, from);
        }
        let is_unproven = proof.is_none() && !later && owner == Owner::Client;
        if is_unproven && is_to_be_noticed(&from, presented) {
            self.breach(Breach::Unnoticed, from);
        }
        let generation = plan.map_or(from.record.generation, |plan| plan.generation);
        let answer = Answer { presented, generation, refresh, late, shown };
        match plan {
            Some(plan) => self.is_to_write(next, index, plan, |plan, stamped_at| Stage::Write {
                answer,
                plan,
                stamped_at,
            }),
            None => {
                next.set(index, Stage::Handle { answer });
                self.reach(next);
            }
        }
    }

    /// The record has been read; it is to be written.
    fn is_to_write(
        &mut self,
        from: State,
        index: usize,
        plan: Plan,
        stage: impl Fn(Plan, StampedAt) -> Stage,
    ) {
        let mut next = from;
        next.set(index, stage(plan, StampedAt::Write));
        self.reach(next);
        if self.times_of_read(plan) != Times::NONE && !from.has_stamp_of_a_read() {
            let mut next = from;
            next.set(index, stage(plan, StampedAt::Read));
            next.restart(Times::READ);
            self.reach(next);
        }
    }

    /// The times that a write takes from the read before it.
    fn times_of_read(&self, plan: Plan) -> Times {
        if plan.stamps.contains(Times::BOUND) {
            Times::BOUND
        } else if self.model.rules.removed == Some(Removed::StampAtWrite) && plan.stamps == Times::SEEN {
            Times::SEEN
        } else {
            Times::NONE
        }
    }

    /// Another writer has won: some other request, or one that the model does not have, such as a change of claims.
    fn loses_its_write(&mut self, index: usize) {
        let mut next = self.from;
        next.lose_write(index);
        self.reach(next);
    }

    /// The compare-and-set succeeds.
    fn write(&mut self, index: usize, plan: Plan, stamped_at: StampedAt, then: Stage) {
        let mut next = self.from;
        self.store(&mut next, index, plan, stamped_at);
        if then == Stage::Free {
            next.drop_flight(index);
        } else {
            next.set(index, then);
        }
        self.reach(next);
    }

    pub(super) fn store(&mut self, next: &mut State, index: usize, plan: Plan, stamped_at: StampedAt) {
        let begins = plan.stamps.contains(Times::BEGAN.and(Times::ISSUED));
        if begins && plan.generation <= self.from.record.generation {
            self.breach(Breach::Forked, *next);
        }
        let owner = next.flights[index].owner;
        // It has succeeded, whatever the others come to.
        next.set(index, Stage::ReadAgain { presented: 0, shown: Shown::Nothing });
        next.write(plan, stamped_at, self.times_of_read(plan));
        next.others_lose_their_writes(self.model.rules.removed != Some(Removed::CompareAndSet));
        if owner == Owner::Thief && plan.stamps.contains(Times::SEEN) && next.record.is_confirmed() {
            next.thief_has_used(plan.generation);
        }
    }

    /// Another server has been handed the token of an answer, and asks about its session.
    fn token_is_sighted_elsewhere(&mut self, answer: Answer) {
        if self.model.rules.removed != Some(Removed::NoGeneration) {
            return;
        }
        if let Some(plan) = self.model.rules.sighting(answer.generation, &self.from.record) {
            let mut next = self.from;
            next.write(plan, StampedAt::Write, Times::NONE);
            next.others_lose_their_writes(true);
            self.reach(next);
        }
    }

    /// Reads whether the access token shows anything new.
    fn read_to_raise(&mut self, from: State, index: usize, generation: u8) {
        match self.model.rules.sighting(generation, &from.record) {
            Some(plan) => self.is_to_write(from, index, plan, |plan, stamped_at| Stage::Raise {
                generation,
                plan,
                stamped_at,
            }),
            None => {
                let mut next = from;
                next.drop_flight(index);
                self.reach(next);
            }
        }
    }
}

/// Whether the thief has left the client behind for a grace period.
fn is_to_be_noticed(state: &State, presented: u8) -> bool {
    state.thief.used_for == Age::Grace && state.thief.used.is_some_and(|used| presented < used)
}
