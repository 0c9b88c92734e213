//! Every step that the system can take from a state.

use super::{
    model::{Breach, Model, Reads, is_left_behind},
    rulebook::Removed,
    state::{Jar, Owner, Stage, State, Version, View},
};
use crate::rotation::{Admission, Decision};

/// The states that one state leads to.
pub(crate) struct Steps<'a> {
    model: &'a Model,
    from: State,
    pub(crate) next: Vec<State>,
    /// The breaches of a step, each with the state it led to.
    pub(crate) breaches: Vec<(Breach, State)>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(model: &'a Model) -> Self {
        Self { model, from: State::signed_in(), next: Vec::new(), breaches: Vec::new() }
    }

    /// Finds them all. A session that has ended is not followed any further.
    pub(crate) fn take(&mut self, from: State) {
        self.from = from;
        self.next.clear();
        if from.ended {
            return;
        }
        self.time_passes();
        self.somebody_sends();
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
    fn reach(&mut self, mut state: State) {
        let rejoins = self.has_victim() && !is_left_behind(&state) && !state.ended;
        state.normalize();
        if rejoins {
            self.breaches.push((Breach::Rejoined, state));
        }
        self.next.push(state);
    }

    /// Returns whether the thief is ahead of the client, as every node can know.
    fn has_victim(&self) -> bool {
        let is_known = match self.model.reads {
            Reads::Linearizable => true,
            _ => {
                self.from.settled
                    || self.from.thief.used.is_some_and(|used| used < self.from.stored.generation)
            }
        };
        is_known && is_left_behind(&self.from)
    }

    fn breach(&mut self, breach: Breach, state: &State) {
        let mut state = *state;
        state.normalize();
        self.breaches.push((breach, state));
    }

    fn time_passes(&mut self) {
        if self.from.jar.access {
            let mut next = self.from;
            next.jar.access = false;
            self.reach(next);
        }
        let settles = match self.model.rules.removed {
            Some(Removed::Confirmation) if !self.from.stored.confirmed => !self.from.is_network_busy(),
            _ => self.from.stored.confirmed && !self.from.waits_for_old(),
        };
        if settles && !self.from.settled {
            let mut next = self.from;
            next.settled = true;
            self.reach(next);
        }
    }

    fn somebody_sends(&mut self) {
        for owner in [Owner::Client, Owner::Thief] {
            let mut next = self.from;
            let Jar { refresh, access } = *next.jar_of(owner);
            if let Some(refresh) = refresh
                && next.in_flight(owner) < self.model.room(owner)
            {
                next.launch(owner, Stage::Sent { refresh, access, old: false });
                self.reach(next);
            }
        }
        if self.model.thieves > 0 && self.from.thief.jar.refresh.is_none() {
            let mut next = self.from;
            next.thief.jar.refresh = next.jar.refresh;
            self.reach(next);
        }
    }

    /// A message is lost; or the client goes away, and the node drops the request wherever it is.
    fn flight_ends(&mut self, index: usize) {
        let mut next = self.from;
        if let Stage::Note { node } | Stage::Confirm { node, .. } = next.flights[index].stage {
            next.remembers[usize::from(node)] = false;
        }
        next.drop_flight(index);
        self.reach(next);
    }

    fn flight_goes_on(&mut self, index: usize) {
        match self.from.flights[index].stage {
            Stage::Sent { refresh, access, .. } => {
                if access {
                    self.access_token_arrives(index);
                }
                // Also where there is an access token: it may have expired on the way, or the request may be
                // for the refresh service.
                for view in self.views() {
                    self.look(index, refresh, view, false);
                }
            }
            Stage::Write { presented, seen, next, brings_refresh } => {
                self.write(index, presented, (seen, next), brings_refresh);
            }
            Stage::ReadAgain { presented } => {
                for view in self.views() {
                    self.look(index, presented, view, true);
                }
            }
            Stage::Remove => self.remove(index),
            Stage::Handle { generation, refresh } => self.handler_ends(index, generation, refresh),
            Stage::Return { generation, refresh, .. } => self.arrive(index, generation, refresh),
            Stage::Clear { .. } => self.clear(index),
            Stage::Note { node } => self.read_to_confirm(index, node),
            Stage::Confirm { node, seen } => self.confirm(index, node, seen),
            Stage::Free => {}
        }
    }

    /// Returns the records that a node may read now; `None` stands for a missing one.
    fn views(&self) -> Vec<Option<View>> {
        let present = self.from.view();
        let mut views = vec![Some(present)];
        let oldest = match self.model.reads {
            Reads::Linearizable => return views,
            Reads::StaleForLessThanGrace if present.settled => return views,
            // Before it there was a settled generation, and that took a grace period.
            Reads::StaleForLessThanGrace => Version {
                generation: present.version.generation.saturating_sub(1),
                confirmed: present.version.generation > 0,
            },
            Reads::Stale | Reads::FreshSecondLook | Reads::StaleOrMissing => {
                Version { generation: 0, confirmed: false }
            }
        };
        let earlier = (oldest.generation..=present.version.generation)
            .flat_map(|generation| [false, true].map(|confirmed| Version { generation, confirmed }));
        for version in earlier.filter(|version| *version >= oldest && *version < present.version) {
            let settled = version.confirmed && version.generation < present.version.generation;
            views.push(Some(View { version, settled }));
        }
        if self.model.reads == Reads::StaleOrMissing {
            views.push(None);
        }
        views
    }

    /// The token is good, so its generation is to be confirmed beside the handler; by a node that believes
    /// to have done so, it is not.
    fn access_token_arrives(&mut self, index: usize) {
        for node in 0..self.model.nodes {
            let mut next = self.from;
            if !std::mem::replace(&mut next.remembers[usize::from(node)], true) {
                next.set(index, Stage::Note { node });
                self.reach(next);
            }
        }
    }

    /// Reads the record and judges the refresh token by it.
    fn look(&mut self, index: usize, presented: u8, view: Option<View>, later: bool) {
        let mut next = self.from;
        let Some(view) = view else {
            next.set(index, Stage::Clear { old: false });
            return self.reach(next);
        };
        let judged = self.model.rules.judge(presented, view, later);
        if !later && self.is_reuse(index, presented) && judged.verdict != Decision::Revoke {
            self.breach(Breach::Unnoticed, &next);
        }
        match (judged.verdict, judged.next) {
            (Decision::Refuse, _) => next.set(index, Stage::Clear { old: false }),
            (Decision::TooLate, _) => next.drop_flight(index),
            (Decision::Revoke, _) => next.set(index, Stage::Remove),
            (_, Some(written)) if written.generation > self.model.generations => {
                next.set(index, Stage::Handle { generation: view.version.generation, refresh: false });
            }
            (verdict, Some(written)) => {
                let brings_refresh = verdict.brings_refresh_token();
                next.set(
                    index,
                    Stage::Write { presented, seen: view.version, next: written, brings_refresh },
                );
            }
            (verdict, None) => {
                let generation = view.version.generation;
                if verdict == Decision::RenewAccess && next.flights[index].owner == Owner::Thief {
                    next.thief.used = next.thief.used.max(Some(generation));
                }
                next.set(index, Stage::Handle { generation, refresh: verdict.brings_refresh_token() });
            }
        }
        self.reach(next);
    }

    /// Returns whether a token, as every node can know by now, is not the one that its sender should hold.
    fn is_reuse(&self, index: usize, presented: u8) -> bool {
        let State { stored, settled, thief, .. } = self.from;
        let is_victim = self.from.flights[index].owner == Owner::Client && is_left_behind(&self.from);
        let is_far_behind = is_victim && thief.used.is_some_and(|used| used < stored.generation);
        presented < stored.generation && (settled || is_far_behind)
    }

    fn write(&mut self, index: usize, presented: u8, (seen, written): (Version, Version), refresh: bool) {
        let mut next = self.from;
        // Also where no other request has moved the session: its claims may have been written.
        next.set(index, Stage::ReadAgain { presented });
        self.reach(next);
        if seen == self.from.stored || self.model.rules.removed == Some(Removed::CompareAndSet) {
            let mut next = self.from;
            next.set(index, Stage::Handle { generation: written.generation, refresh });
            self.store(&mut next, index, written);
            self.reach(next);
        }
    }

    /// The compare-and-set has succeeded.
    fn store(&mut self, next: &mut State, index: usize, written: Version) {
        if written <= self.from.stored {
            self.breach(Breach::Forked, next);
        }
        if written.confirmed && self.from.flights[index].owner == Owner::Thief {
            next.thief.used = Some(written.generation);
        }
        next.write(written);
    }

    fn remove(&mut self, index: usize) {
        let mut next = self.from;
        next.set(index, Stage::Clear { old: false });
        next.ended = true;
        if self.model.thieves == 0 {
            self.breach(Breach::Revoked, &next);
        }
        self.reach(next);
    }

    /// The record is read once more, and says which cookies may go.
    fn handler_ends(&mut self, index: usize, generation: u8, refresh: bool) {
        if generation > self.from.stored.generation {
            let from = self.from;
            self.breach(Breach::Uncommitted, &from);
        }
        if self.model.rules.removed == Some(Removed::SecondLook) {
            let mut next = self.from;
            next.set(index, Stage::Return { generation, refresh, old: false });
            return self.reach(next);
        }
        let views = match self.model.reads {
            Reads::FreshSecondLook => vec![Some(self.from.view())],
            _ => self.views(),
        };
        for view in views {
            let Some(view) = view else {
                let mut next = self.from;
                next.set(index, Stage::Clear { old: false });
                self.reach(next);
                continue;
            };
            let mut next = self.from;
            match self.model.rules.admit(generation, view) {
                Admission::Cookies { with_refresh } => {
                    // It dates from what was read.
                    let old = self.model.reads == Reads::StaleForLessThanGrace
                        && self.from.flights[index].owner == Owner::Client
                        && view.version < self.from.stored
                        && self.from.stored.confirmed;
                    next.set(index, Stage::Return { generation, refresh: refresh && with_refresh, old });
                }
                // The refresh service asks again, with the token that it was asked with; the layer sends
                // no cookies, which is as good as lost.
                Admission::Superseded => {
                    next.set(index, Stage::ReadAgain { presented: generation - u8::from(refresh) });
                }
                Admission::Ended => next.set(index, Stage::Clear { old: false }),
            }
            self.reach(next);
        }
    }

    fn arrive(&mut self, index: usize, generation: u8, refresh: bool) {
        let mut next = self.from;
        let owner = next.flights[index].owner;
        let is_current = generation == next.stored.generation;
        next.drop_flight(index);
        let jar = next.jar_of(owner);
        let overwrites = refresh && jar.refresh.is_some_and(|held| held > generation);
        jar.access = is_current;
        if refresh {
            jar.refresh = Some(generation);
        }
        if overwrites && owner == Owner::Client {
            self.breach(Breach::Overwritten, &next);
        }
        self.reach(next);
    }

    fn clear(&mut self, index: usize) {
        let mut next = self.from;
        let owner = next.flights[index].owner;
        next.drop_flight(index);
        *next.jar_of(owner) = Jar { refresh: None, access: false };
        if owner == Owner::Client {
            self.breach(Breach::Cleared, &next);
        }
        self.reach(next);
    }

    fn read_to_confirm(&mut self, index: usize, node: u8) {
        let generation = self.from.stored.generation;
        for view in self.views().into_iter().flatten() {
            let mut next = self.from;
            match self.model.rules.confirm(generation, view) {
                Some(_) => next.set(index, Stage::Confirm { node, seen: view.version }),
                // Nothing is left to do, the node believes.
                None => next.drop_flight(index),
            }
            self.reach(next);
        }
    }

    fn confirm(&mut self, index: usize, node: u8, seen: Version) {
        let mut next = self.from;
        next.drop_flight(index);
        if seen == self.from.stored {
            let confirmed = Version { confirmed: true, ..seen };
            self.store(&mut next, index, confirmed);
        } else {
            next.remembers[usize::from(node)] = false;
        }
        self.reach(next);
    }
}
