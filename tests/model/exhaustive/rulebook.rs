//! The crate's own rules, asked about the model's small records; a test may take one of them away.

use std::time::Duration;

use super::{
    state::{Answer, Plan, Record},
    stored::{GRACE, IDLE, RULES, now, plan, record_index, records, stored},
    times::Age,
};
use crate::rotation::{Admission, Decision, admit, decide, moved, reissued, sighting, successor};

/// A rule that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Exchanges write without comparing versions.
    CompareAndSet,
    /// A confirmed generation is rotated before the grace period is over.
    Settling,
    /// A late answer begins a generation one grace period after the last cookies, not two.
    TwoGraces,
    /// Cookies of a slow handler go without moving issued-at.
    MovingIssued,
    /// A late answer goes between one and two grace periods after the last cookies.
    Withholding,
    /// A late answer moves issued-at between one and two grace periods after the last cookies.
    Bound,
    /// The cookies of a slow handler go without another look at the record.
    SecondLook,
    /// The second look lets the refresh cookie of a confirmed generation go again.
    KeepingBack,
    /// A later look at a token revokes as the first does.
    LaterLook,
    /// Confirmed-at is the time of the read before the write.
    StampAtWrite,
    /// A token that is handed to other servers carries its generation, and they let it be sighted.
    NoGeneration,
    /// Only tokens of the current generation count as seen.
    SeenGeneration,
    /// A late answer begins its generation at the first look, before the handler.
    ReissueAtSecondLook,
}

/// The response to a refresh token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) decision: Decision,
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
    /// By record, then by presented generation, the first look before the later one.
    looks: Vec<Look>,
    /// By record, then by the generation of the answer, whether it brings a refresh token, and whether it is late.
    admitted: Vec<Admitted>,
    /// By record, then by the generation of the access token.
    sightings: Vec<Option<Plan>>,
}

impl Rulebook {
    /// For generations up to and including this one.
    pub(crate) fn new(last: u8, removed: Option<Removed>) -> Self {
        let mut book = Self { removed, last, looks: Vec::new(), admitted: Vec::new(), sightings: Vec::new() };
        for record in records(last) {
            for generation in 0..=last {
                let looks = [false, true].map(|later| book.ask_look(generation, &record, later));
                book.looks.extend(looks);
                for (refresh, late) in [(false, false), (false, true), (true, false), (true, true)] {
                    book.admitted.push(book.ask_admission(generation, refresh, late, &record));
                }
                book.sightings.push(book.ask_sighting(generation, &record));
            }
        }
        book
    }

    /// What the refresh token of this generation means.
    pub(crate) fn look(&self, presented: u8, record: &Record, later: bool) -> Look {
        self.looks[self.index(presented, record) * 2 + usize::from(later)]
    }

    /// Which cookies of the answer may go.
    pub(crate) fn admit(&self, answer: &Answer, record: &Record) -> Admitted {
        let asked = usize::from(answer.refresh) * 2 + usize::from(answer.late);
        self.admitted[self.index(answer.generation, record) * 4 + asked]
    }

    /// What an access token of this generation lets be written.
    pub(crate) fn sighting(&self, generation: u8, record: &Record) -> Option<Plan> {
        self.sightings[self.index(generation, record)]
    }

    /// Whether answers of this generation may be late.
    pub(crate) fn has_late_answers(&self, generation: u8) -> bool {
        generation < self.last
    }

    fn ask_look(&self, presented: u8, record: &Record, later: bool) -> Look {
        let stored = stored(record);
        // The record is read in the step that decides: nothing has waited.
        let decision = decide(presented.into(), &stored, now(), Duration::ZERO, RULES);
        let decision = match (self.removed, decision) {
            (Some(Removed::Settling), Decision::RenewAccess) if record.is_confirmed() => Decision::Rotate,
            (Some(Removed::LaterLook), decision) => decision,
            (_, decision) if later => decision.of_later_look(),
            (_, decision) => decision,
        };
        let late =
            decision == Decision::AnswerAgain { late: true } && self.has_late_answers(record.generation);
        let write = match (self.removed, decision) {
            (Some(Removed::SeenGeneration), Decision::AnswerAgain { .. }) => None,
            (Some(Removed::ReissueAtSecondLook), _) if late && is_to_reissue(record) => {
                Some(reissued(stored.clone(), IDLE))
            }
            _ => successor(decision, presented.into(), &stored, now(), GRACE, IDLE),
        };
        let plan = write.map(|write| plan(&stored, &write));
        let look = Look { decision, plan, refresh: decision.brings_refresh_token(), late };
        match plan {
            Some(plan) if plan.generation > self.last => Look { plan: None, refresh: false, ..look },
            Some(plan) if plan.generation > record.generation => Look { late: false, ..look },
            _ => look,
        }
    }

    fn ask_admission(&self, generation: u8, refresh: bool, late: bool, record: &Record) -> Admitted {
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
                (_, admission) => admission,
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
        record_index(self.last, record) * (usize::from(self.last) + 1) + usize::from(generation)
    }
}

fn is_to_reissue(record: &Record) -> bool {
    let admission = admit(record.generation.into(), true, true, Some(&stored(record)), now(), RULES);
    admission == Admission::Reissue
}

/// The model keeps no account of how long a first look has waited for the store: it takes it for a later one.
#[test]
fn a_first_look_that_has_waited_for_long_is_a_later_look() {
    let book = Rulebook::new(4, None);
    for record in records(4) {
        for presented in 0..=4 {
            let waited = decide(presented.into(), &stored(&record), now(), 4 * GRACE, RULES);
            assert_eq!(waited, book.look(presented, &record, true).decision, "{presented} for {record:?}");
        }
    }
}

/// So the model has no narrowing: it does what a request does that is lost after its write.
#[test]
fn a_narrowing_writes_what_a_refresh_would_except_for_the_next_generation() {
    let book = Rulebook::new(4, None);
    for record in records(4).filter(is_possible) {
        for presented in 0..=record.generation {
            let look = book.look(presented, &record, false);
            let is_narrowed =
                matches!(look.decision, Decision::RenewAccess | Decision::AnswerAgain { late: false });
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
