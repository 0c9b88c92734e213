//! The crate's own rules, asked about the model's small records; a test may take one of them away.

use std::time::Duration;

use super::{
    model::Devices,
    rule::Removed,
    state::{Answer, Binding, Plan, Record},
    stored::{BOUND_OR_NOT, GRACE, IDLE, RULES, UNBOUND, bound, now, plan, record_index, records, stored},
    times::{Age, Times},
};
use crate::{
    binding::{self, Proof, Verdict, proven, verdict},
    rotation::{Admission, Decision, admit, decide, moved, reissued, sighting, successor, touched},
};

/// A good proof, and what the policy makes of the binding with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    Observed,
    Enforced,
}

/// The response to a refresh token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) verdict: Verdict,
    /// What is written first.
    pub(crate) plan: Option<Plan>,
    /// Whether the answer brings a refresh token.
    pub(crate) refresh: bool,
    /// Whether the second look counts the answer as late.
    pub(crate) late: bool,
}

/// Which cookies may go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) admission: Admission,
    /// What is written first.
    pub(crate) plan: Option<Plan>,
}

/// All answers of the rules, each asked for once.
///
/// The last generation neither rotates nor is an answer of it late: that is where the model ends.
pub(crate) struct Rulebook {
    pub(crate) removed: Option<Removed>,
    last: u8,
    pub(crate) devices: Devices,
    /// By record, then by presented generation, the first look before the later one, and without a proof before those
    /// with one.
    looks: Vec<Look>,
    /// By record, then by the generation of the answer, whether it brings a refresh token, whether it is late, and
    /// whether it answers a proof.
    admitted: Vec<Admitted>,
    /// By record, then by the generation of the access token.
    sightings: Vec<Option<Plan>>,
}

impl Rulebook {
    /// For generations up to and including this one.
    pub(crate) fn new(last: u8, devices: Devices, removed: Option<Removed>) -> Self {
        let mut book =
            Self { removed, last, devices, looks: Vec::new(), admitted: Vec::new(), sightings: Vec::new() };
        let both = [false, true];
        for record in records(last, book.bindings()) {
            for generation in 0..=last {
                for later in both {
                    for proof in book.proofs() {
                        book.looks.push(book.ask_look(generation, &record, later, *proof));
                    }
                }
                for refresh in both {
                    for late in both {
                        for proof in &both[..=usize::from(book.has_devices())] {
                            book.admitted
                                .push(book.ask_admission(generation, refresh, late, *proof, &record));
                        }
                    }
                }
                book.sightings.push(book.ask_sighting(generation, &record));
            }
        }
        book
    }

    fn bindings(&self) -> &'static [(Binding, Age)] {
        if self.has_devices() { BOUND_OR_NOT } else { UNBOUND }
    }

    fn has_devices(&self) -> bool {
        self.devices != Devices::None
    }

    fn proofs(&self) -> &'static [Option<Accepted>] {
        let all = &[None, Some(Accepted::Observed), Some(Accepted::Enforced)];
        if self.has_devices() { all } else { &all[..1] }
    }

    /// What the refresh token of this generation means, with a good proof or without.
    pub(crate) fn look(&self, presented: u8, record: &Record, later: bool, proof: Option<Accepted>) -> Look {
        let later = self.index(presented, record) * 2 + usize::from(later);
        self.looks[later * self.proofs().len() + proof.map_or(0, |proof| proof as usize + 1)]
    }

    /// Which cookies of the answer may go.
    pub(crate) fn admit(&self, answer: &Answer, record: &Record) -> Admitted {
        let asked = (self.index(answer.generation, record) * 2 + usize::from(answer.refresh)) * 2
            + usize::from(answer.late);
        let proof = usize::from(answer.shown.is_proof());
        self.admitted[asked * (1 + usize::from(self.has_devices())) + proof]
    }

    /// What an access token of this generation lets be written.
    pub(crate) fn sighting(&self, generation: u8, record: &Record) -> Option<Plan> {
        self.sightings[self.index(generation, record)]
    }

    /// Whether answers of this generation may be late.
    pub(crate) fn has_late_answers(&self, generation: u8) -> bool {
        generation < self.last
    }

    fn ask_look(&self, presented: u8, record: &Record, later: bool, proof: Option<Accepted>) -> Look {
        let stored = stored(record);
        // The record is read in the step that decides: nothing has waited.
        let decision = decide(presented.into(), &stored, now(), Duration::ZERO, RULES);
        let decision = match (self.removed, decision) {
            (Some(Removed::Settling), Decision::RenewAccess) if record.is_confirmed() => Decision::Rotate,
            (Some(Removed::LaterLook), decision) => decision,
            (_, decision) if later => decision.of_later_look(),
            (_, decision) => decision,
        };
        let verdict = self.ask_verdict(decision, record, later, proof.is_some());
        let Verdict::Decided(decision) = verdict else {
            return Look { verdict, plan: None, refresh: false, late: false };
        };
        let is_last = proof.is_some() && decision == Decision::Rotate && record.generation == self.last;
        let decision = if is_last { Decision::RenewAccess } else { decision };
        let late =
            decision == Decision::AnswerAgain { late: true } && self.has_late_answers(record.generation);
        let write = match (self.removed, decision) {
            (Some(Removed::SeenGeneration), Decision::AnswerAgain { .. }) => None,
            (Some(Removed::ReissueAtSecondLook), _) if late && is_to_reissue(record) => {
                Some(reissued(stored.clone(), IDLE))
            }
            _ => successor(decision, presented.into(), &stored, now(), GRACE, IDLE),
        };
        let plan = match proof.filter(|_| is_answered(decision)) {
            Some(proof) => {
                let write = write.unwrap_or_else(|| touched(stored.clone(), Some(IDLE)));
                let bound = proven(bound(record), proof == Accepted::Enforced, now());
                let mut plan = plan(&stored, &write);
                plan.binding = Some(if bound.is_enforced { Binding::Enforced } else { Binding::Observed });
                if bound.bound_at == now() && record.binding == Binding::None {
                    plan.stamps = plan.stamps.and(Times::BOUND);
                }
                Some(plan)
            }
            None => write.map(|write| plan(&stored, &write)),
        };
        let look = Look { verdict, plan, refresh: decision.brings_refresh_token(), late };
        match plan {
            Some(plan) if plan.generation > self.last => Look { plan: None, refresh: false, ..look },
            Some(plan) if plan.generation > record.generation => Look { late: false, ..look },
            _ => look,
        }
    }

    fn ask_verdict(&self, decision: Decision, record: &Record, later: bool, has_proof: bool) -> Verdict {
        let bound = bound(record);
        let proof = if has_proof { Proof::Good } else { Proof::None };
        let verdict = verdict(decision, bound, proof, now(), Duration::ZERO, RULES);
        let is_enforced_and_proven = has_proof && record.is_enforced();
        let as_decided = Verdict::Decided(decision);
        match (self.removed, verdict) {
            (Some(Removed::Proving), Verdict::Serve | Verdict::Prove) => as_decided,
            (Some(Removed::EndOfGrace), Verdict::Prove) => Verdict::Serve,
            (Some(Removed::GraceOfBinding), Verdict::Serve) if !later => Verdict::Prove,
            (Some(Removed::LaterLook | Removed::LaterProof), verdict) => verdict,
            (Some(Removed::OlderWithProof), _) if is_enforced_and_proven && is_reuse(decision) => as_decided,
            (Some(Removed::ReuseWhileObserved), _) if has_proof && bound.is_some() && is_reuse(decision) => {
                Verdict::Decided(Decision::AnswerAgain { late: false })
            }
            (Some(Removed::NoRotation), _) if is_enforced_and_proven && decision == Decision::Rotate => {
                as_decided
            }
            (Some(Removed::NeverLate), _)
                if has_proof && decision == (Decision::AnswerAgain { late: true }) =>
            {
                as_decided
            }
            (_, verdict) if later => verdict.of_later_look(),
            (_, verdict) => verdict,
        }
    }

    fn ask_admission(
        &self,
        generation: u8,
        refresh: bool,
        late: bool,
        has_proof: bool,
        record: &Record,
    ) -> Admitted {
        let mut asked = *record;
        if self.removed == Some(Removed::TwoGraces) && late && asked.issued_for == Age::Grace {
            asked.issued_for = Age::TwoGraces;
        }
        let stored = stored(&asked);
        let with_refresh = Admission::Cookies { with_refresh: true };
        let admission =
            match (self.removed, admit(generation.into(), refresh, late, Some(&stored), now(), RULES)) {
                (Some(Removed::SecondLook), _) => Admission::Cookies { with_refresh: refresh },
                (Some(Removed::MovingIssued), Admission::MoveIssued) => with_refresh,
                (Some(Removed::Withholding), Admission::Withhold) => with_refresh,
                (Some(Removed::Bound), Admission::Withhold) => Admission::MoveIssued,
                (Some(Removed::KeepingBack), Admission::Cookies { .. }) if refresh => with_refresh,
                (Some(Removed::MovingWithProof), Admission::MoveIssued) if has_proof => with_refresh,
                (_, admission) => admission,
            };
        let proof = if has_proof { Proof::Good } else { Proof::None };
        let admission = match self.removed {
            Some(Removed::Strip) => admission,
            _ => binding::admission(admission, bound(record), proof),
        };
        let write = match admission {
            Admission::MoveIssued => Some(moved(stored.clone(), IDLE)),
            Admission::Reissue => Some(reissued(stored.clone(), IDLE)),
            _ => None,
        };
        Admitted { admission, plan: write.map(|write| plan(&stored, &write)) }
    }

    fn ask_sighting(&self, generation: u8, record: &Record) -> Option<Plan> {
        if self.removed == Some(Removed::SeenGeneration) && generation != record.generation {
            return None;
        }
        let stored = stored(record);
        let write = sighting(generation.into(), &stored, now(), GRACE, IDLE)?;
        Some(plan(&stored, &write))
    }

    fn index(&self, generation: u8, record: &Record) -> usize {
        record_index(self.last, self.bindings(), record) * (usize::from(self.last) + 1)
            + usize::from(generation)
    }
}

fn is_answered(decision: Decision) -> bool {
    !matches!(decision, Decision::Refuse | Decision::Revoke | Decision::TooLate)
}

fn is_reuse(decision: Decision) -> bool {
    matches!(decision, Decision::Revoke | Decision::TooLate)
}

fn is_to_reissue(record: &Record) -> bool {
    let admission = admit(record.generation.into(), true, true, Some(&stored(record)), now(), RULES);
    admission == Admission::Reissue
}

/// The model keeps no account of how long a first look has waited for the store: it takes it for a later one.
#[test]
fn a_first_look_that_has_waited_for_long_is_a_later_look() {
    let book = Rulebook::new(3, Devices::Enforced, None);
    for record in records(3, book.bindings()) {
        for (presented, proof) in
            (0..=3).flat_map(|presented| book.proofs().iter().map(move |proof| (presented, *proof)))
        {
            let (waited, stored) = (4 * GRACE, stored(&record));
            let shown = if proof.is_some() { Proof::Good } else { Proof::None };
            let decision = decide(presented.into(), &stored, now(), waited, RULES);
            let verdict = verdict(decision, bound(&record), shown, now(), waited, RULES);
            let later = book.look(presented, &record, true, proof).verdict;
            assert_eq!(verdict, later, "{presented} for {record:?}, {proof:?}");
        }
    }
}

/// So the model has no narrowing: it does what a request does that is lost after its write.
#[test]
fn a_narrowing_writes_what_a_refresh_would_except_for_the_next_generation() {
    let book = Rulebook::new(4, Devices::None, None);
    for record in records(4, UNBOUND).filter(is_possible) {
        for presented in 0..=record.generation {
            let look = book.look(presented, &record, false, None);
            let is_narrowed = matches!(
                look.verdict,
                Verdict::Decided(Decision::RenewAccess | Decision::AnswerAgain { late: false })
            );
            if is_narrowed {
                let before = stored(&record);
                let write = crate::rotation::narrowed(presented.into(), &before, now(), GRACE);
                let narrowed = plan(&before, &write);
                let touched = plan(&before, &crate::rotation::touched(before.clone(), None));
                assert_eq!(narrowed, look.plan.unwrap_or(touched), "{presented} for {record:?}");
            }
        }
    }
}

fn is_possible(record: &Record) -> bool {
    record.parent <= record.generation && record.seen <= Some(record.generation)
}
