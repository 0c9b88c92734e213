//! The crate's own rules, asked about the model's small records; a test may take one of them away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::state::{Version, View};
use crate::{
    rotation::{Admission, Decision, LostResponse, Rules, admit, confirmation, decide, successor},
    store::{NewRecord, SessionRecord},
};

/// A rule that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// A mere time window takes the place of the confirmation.
    Confirmation,
    /// A confirmed generation is rotated before the grace period is over.
    Settling,
    /// The cookies of a slow handler go out without another look at the record.
    SecondLook,
    /// The second look lets the refresh cookie of a confirmed generation go out again.
    KeepingBack,
    /// Writes do not compare versions.
    CompareAndSet,
    /// A token that lost a race is judged in the next round as in the first, and revoked.
    LaterRound,
}

/// The response to a refresh token.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Judged {
    pub(crate) verdict: Decision,
    /// What is written first.
    pub(crate) next: Option<Version>,
}

/// All answers of the rules, each asked for once.
pub(crate) struct Rulebook {
    pub(crate) removed: Option<Removed>,
    generations: u8,
    judged: Vec<Judged>,
    admitted: Vec<Admission>,
    confirmed: Vec<Option<Version>>,
}

impl Rulebook {
    /// For generations up to and including this one.
    pub(crate) fn new(generations: u8, removed: Option<Removed>) -> Self {
        let mut book =
            Self { removed, generations, judged: Vec::new(), admitted: Vec::new(), confirmed: Vec::new() };
        for presented in 0..=generations {
            for view in book.views() {
                let record = record(view);
                book.judged.extend([false, true].map(|later| book.ask(presented, &record, later)));
                book.admitted.push(book.ask_admission(presented, &record));
                let confirmed = confirmation(presented.into(), Some(record), now(), IDLE);
                book.confirmed.push(confirmed.as_ref().map(version));
            }
        }
        book
    }

    /// Evaluates a refresh token of this generation.
    pub(crate) fn judge(&self, presented: u8, view: View, later: bool) -> Judged {
        self.judged[self.index(presented, view) * 2 + usize::from(later)]
    }

    /// Which cookies of this generation may go out.
    pub(crate) fn admit(&self, generation: u8, view: View) -> Admission {
        self.admitted[self.index(generation, view)]
    }

    /// Returns what the confirmation by an access token of this generation writes.
    pub(crate) fn confirm(&self, generation: u8, view: View) -> Option<Version> {
        self.confirmed[self.index(generation, view)]
    }

    fn ask(&self, presented: u8, record: &SessionRecord, later: bool) -> Judged {
        let lost_response = match self.removed {
            Some(Removed::Confirmation) => LostResponse::Within(GRACE),
            _ => LostResponse::UntilConfirmed,
        };
        // The record is read in the step that judges: nothing has waited.
        let rules = Rules { grace: GRACE, lost_response };
        let verdict = decide(presented.into(), record, now(), Duration::ZERO, rules);
        let verdict = match (self.removed, verdict) {
            (Some(Removed::Settling), Decision::RenewAccess) => Decision::Rotate,
            (Some(Removed::LaterRound), verdict) => verdict,
            (_, verdict) if later => verdict.of_later_look(),
            (_, verdict) => verdict,
        };
        let next = successor(verdict, presented.into(), record, now(), IDLE);
        Judged { verdict, next: next.as_ref().map(version) }
    }

    fn ask_admission(&self, generation: u8, record: &SessionRecord) -> Admission {
        match (self.removed, admit(generation.into(), Some(record), now())) {
            (Some(Removed::KeepingBack), Admission::Cookies { .. }) => {
                Admission::Cookies { with_refresh: true }
            }
            (_, admission) => admission,
        }
    }

    fn views(&self) -> impl Iterator<Item = View> + use<> {
        (0..=self.generations).flat_map(|generation| {
            [(false, false), (false, true), (true, false), (true, true)]
                .map(|(confirmed, settled)| View { version: Version { generation, confirmed }, settled })
        })
    }

    fn index(&self, presented: u8, View { version, settled }: View) -> usize {
        let row =
            usize::from(presented) * (usize::from(self.generations) + 1) + usize::from(version.generation);
        row * 4 + usize::from(version.confirmed) * 2 + usize::from(settled)
    }
}

/// A record that looks like this at `now`.
fn record(View { version, settled }: View) -> SessionRecord {
    let since = if settled { now() - GRACE } else { now() };
    let mut record = NewRecord::new("s".into(), "ada", [0; 32]).begin(UNIX_EPOCH);
    record.generation = version.generation.into();
    record.rotated_at = since;
    record.confirmed_at = version.confirmed.then_some(since);
    record
}

fn version(record: &SessionRecord) -> Version {
    let generation = u8::try_from(record.generation).expect("few generations");
    Version { generation, confirmed: record.confirmed_at.is_some() }
}

/// The store's present time, for every question.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(600)
}

const GRACE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(3600);
