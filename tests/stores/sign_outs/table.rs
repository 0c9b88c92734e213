//! What has been counted, by faults.

use std::time::Duration;

use super::{nodes::NAMES, user::Seen};

/// The lots of one fault.
#[derive(Default)]
pub(super) struct Row {
    fault: String,
    pub(super) sign_outs: usize,
    /// Sign-outs of which a node served a request too late, each with the first of its delays.
    pub(super) late: Vec<String>,
    pub(super) last_served: Duration,
    /// Until the nodes other than that of the sign-out refused.
    pub(super) refused: Vec<Duration>,
    pub(super) answered: usize,
    /// Sign-outs and sessions that the store has lost.
    pub(super) lost: usize,
    /// Users who did not sign out, and were refused.
    pub(super) signed_out: Vec<String>,
}

impl Row {
    /// Adds what a node has answered to a user, which is that of the sign-out or another.
    pub(super) fn add(&mut self, user: &str, node: usize, seen: &Seen, is_writer: bool) {
        if !seen.late.is_empty() {
            self.late.push(format!("{user} at {}: {:.0?}", NAMES[node], seen.late));
        }
        self.last_served = self.last_served.max(seen.last_served.unwrap_or_default());
        if !is_writer {
            self.refused.extend(seen.first_refused);
        }
        self.answered += seen.answered;
    }

    fn median(&self) -> Duration {
        let mut sorted = self.refused.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

pub(super) struct Table {
    store: &'static str,
    rows: Vec<Row>,
}

impl Table {
    pub(super) fn of(store: &'static str) -> Self {
        Self { store, rows: Vec::new() }
    }

    pub(super) fn row(&mut self, fault: &str) -> &mut Row {
        let present = self.rows.iter().position(|row| row.fault == fault);
        let row = present.unwrap_or_else(|| {
            self.rows.push(Row { fault: fault.to_owned(), ..Row::default() });
            self.rows.len() - 1
        });
        &mut self.rows[row]
    }

    /// Prints the table.
    ///
    /// # Panics
    ///
    /// If a sign-out was late, a user was signed out, or too few sign-outs have been counted.
    pub(super) fn check(&self) {
        println!(
            "{:<11}{:<34}{:>9}{:>5}{:>5}{:>12}{:>8}{:>9}{:>9}",
            "store", "fault", "sign-outs", "late", "lost", "last served", "median", "longest", "answers"
        );
        for row in &self.rows {
            let longest = row.refused.iter().max().copied().unwrap_or_default();
            println!(
                "{:<11}{:<34}{:>9}{:>5}{:>5}{:>9} ms{:>5} ms{:>6} ms{:>9}",
                self.store,
                row.fault,
                row.sign_outs,
                row.late.len(),
                row.lost,
                row.last_served.as_millis(),
                row.median().as_millis(),
                longest.as_millis(),
                row.answered
            );
        }
        for row in &self.rows {
            assert!(row.late.is_empty(), "{}, {}: late: {:#?}", self.store, row.fault, row.late);
            assert!(row.signed_out.is_empty(), "{}, {}: {:#?}", self.store, row.fault, row.signed_out);
        }
        let sign_outs: usize = self.rows.iter().map(|row| row.sign_outs).sum();
        println!("{}: {sign_outs} sign-outs, none late, no other user signed out", self.store);
        assert!(sign_outs >= 1000, "{sign_outs}");
        let median = self.rows[0].median();
        assert!(median <= Duration::from_millis(100), "{median:?} without a fault");
    }
}
