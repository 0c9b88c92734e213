//! The steps of a browser that has a key, and of a thief who meets one.
//!
//! The browser registers when it likes, until an answer arrives in full; an answer whose body is cut off leaves its
//! cookies and nothing else. Once registered, it holds back requests without an access cookie, and proves itself
//! first: as often as it likes, several times at once, with a challenge that may have been used up (an answer was
//! lost, or the proof sent again). When it cannot sign, the requests go without, and say so.

use super::{
    model::{Breach, Devices},
    rule::Removed,
    rulebook::Accepted,
    state::{Binding, Owner, Plan, Shown, Stage, StampedAt, State},
    steps::Steps,
    times::{Age, Times},
};

impl Steps<'_> {
    /// From now on, proofs enforce the binding, or no longer do.
    pub(super) fn policy_changes(&mut self) {
        if self.model.rules.devices == Devices::Changing {
            let mut next = self.from;
            next.enforces = !next.enforces;
            self.reach(next);
        }
    }

    pub(super) fn browser_sends(&mut self) {
        let State { jar, device, flights, timers, .. } = self.from;
        let is_registering =
            |stage: Stage| matches!(stage, Stage::Register { .. } | Stage::Registered { .. });
        if device.is_registered {
            self.send(if device.has_fresh_challenge { Shown::Proof } else { Shown::UsedProof });
        } else if !flights.iter().any(|flight| is_registering(flight.stage)) {
            let mut next = self.from;
            next.launch(Owner::Client, Stage::Register { ahead: timers.len() });
            self.reach(next);
        }
        self.send(match jar.access {
            Some(_) => Shown::Access,
            None if device.is_registered => Shown::Skipped,
            None => Shown::Nothing,
        });
    }

    /// The registration arrives. It needs no cookies, and writes nothing.
    pub(super) fn register(&mut self, index: usize) {
        let mut next = self.from;
        let (record, ahead) = (next.record, next.timers.len());
        let mut access = None;
        if self.model.rules.removed == Some(Removed::FirstProofBinds) {
            access = Some(record.generation);
            let plan = Plan {
                generation: record.generation,
                parent: record.parent,
                seen: record.seen,
                stamps: Times::BOUND,
                binding: Some(Binding::Enforced),
            };
            next.drop_flight(index);
            next.write(plan, StampedAt::Write, Times::NONE);
            next.others_lose_their_writes(true);
        }
        let is_fresh = next.record.binding == Binding::None;
        next.set(index, Stage::Registered { access, is_fresh, ahead });
        self.reach(next);
    }

    pub(super) fn registered(&mut self, index: usize, access: Option<u8>, is_fresh: bool) {
        let mut next = self.from;
        next.drop_flight(index);
        next.jar.access = access;
        // Cut off behind the headers.
        self.reach(next);
        next.device.is_registered = true;
        next.device.has_fresh_challenge = is_fresh;
        self.reach(next);
    }

    pub(super) fn challenged(&mut self, index: usize, is_fresh: bool) {
        let mut next = self.from;
        next.drop_flight(index);
        next.device.has_fresh_challenge = is_fresh;
        self.reach(next);
    }

    /// What the record says of the proof, if any. `None` where the token is not looked at: that step is taken here.
    pub(super) fn proof(&mut self, from: State, index: usize, shown: Shown) -> Option<Option<Accepted>> {
        let removed = self.model.rules.removed;
        let accepted = Some(if from.enforces { Accepted::Enforced } else { Accepted::Observed });
        let is_bound = from.record.binding != Binding::None;
        let mut next = from;
        next.drop_flight(index);
        match shown {
            Shown::Nothing | Shown::Skipped => return Some(None),
            // The browser's access cookie ends before its token does, by more than a request is on the way.
            Shown::Access if from.record.is_enforced() && removed != Some(Removed::AccessMargin) => {}
            Shown::Access => return Some(None),
            Shown::Proof => return Some(accepted),
            Shown::UsedProof if removed == Some(Removed::SingleUse) => return Some(accepted),
            Shown::UsedProof => {
                if from.flights[index].owner == Owner::Client {
                    let ahead = from.timers.len();
                    next.launch(Owner::Client, Stage::Challenged { is_fresh: true, ahead });
                }
            }
            Shown::OtherKey if is_bound && removed == Some(Removed::OneKey) => return Some(accepted),
            Shown::OtherKey if is_bound => {}
            Shown::OtherKey => self.breach(Breach::Captured, from),
        }
        self.reach(next);
        None
    }

    /// What a thief shows besides a cookie: a proof by his own key, with a challenge that he has asked for; or one of
    /// the browser's that he has seen used.
    pub(super) fn thief_shows(&self) -> &'static [Shown] {
        match (self.model.rules.devices, self.from.record.binding) {
            (Devices::None, _) => &[Shown::Nothing],
            (_, Binding::None) => &[Shown::Nothing, Shown::OtherKey],
            _ => &[Shown::Nothing, Shown::OtherKey, Shown::UsedProof],
        }
    }

    pub(super) fn is_time_to_copy(&self) -> bool {
        let record = self.from.record;
        !self.model.copies_late || (record.is_enforced() && record.bound_for != Age::New)
    }
}
