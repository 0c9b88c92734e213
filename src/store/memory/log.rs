//! The feed of changes of a [`MemoryStore`](super::MemoryStore).

use std::{collections::VecDeque, task::Waker};

use crate::store::{
    feed::{Cursor, Page},
    record::SessionId,
};

/// The sessions that have ended or changed, numbered in this order, and who waits for more.
#[derive(Default)]
pub(super) struct Log {
    entries: VecDeque<SessionId>,
    /// The number of the first one.
    first: u64,
    wakers: Vec<Waker>,
}

impl Log {
    pub(super) fn add(&mut self, id: &SessionId) {
        self.entries.push_back(id.clone());
        if self.entries.len() > MOST {
            self.entries.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Returns those after the cursor, up to a page.
    pub(super) fn after(&self, cursor: Option<&Cursor>) -> Page {
        let number = cursor.and_then(|cursor| cursor.as_str().parse().ok());
        let from = number.filter(|number| (self.first..=self.end()).contains(number));
        let begin = from.unwrap_or(self.end());
        let skipped = usize::try_from(begin - self.first).unwrap_or(usize::MAX);
        let sessions: Vec<_> = self.entries.iter().skip(skipped).take(PAGE).cloned().collect();
        let next = begin + sessions.len() as u64;
        Page {
            sessions,
            is_gap: from.is_none(),
            has_more: next < self.end(),
            next: Cursor::new(next.to_string()),
            now: None,
        }
    }

    pub(super) fn wait(&mut self, waker: &Waker) {
        if !self.wakers.iter().any(|other| other.will_wake(waker)) {
            self.wakers.push(waker.clone());
        }
    }

    /// Returns who waits, to be woken once the lock is released: a waker is code of the runtime.
    pub(super) fn waiting(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakers)
    }
}

/// A follower that is behind by more has a gap.
const MOST: usize = 100_000;
const PAGE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_comes_once_and_what_is_lost_is_a_gap() {
        let mut log = Log::default();
        let first = log.after(None);
        assert!(first.is_gap && first.sessions.is_empty(), "nothing is said of what was before");
        for number in 0..PAGE + 5 {
            log.add(&SessionId::new(number.to_string()));
        }
        let page = log.after(Some(&first.next));
        assert_eq!((page.sessions.len(), page.is_gap, page.has_more), (PAGE, false, true));
        let rest = log.after(Some(&page.next));
        assert_eq!((rest.sessions.len(), rest.is_gap, rest.has_more), (5, false, false));
        assert_eq!(rest.sessions[0], *PAGE.to_string());
        assert_eq!(log.after(Some(&rest.next)).sessions.len(), 0);
        for number in 0..MOST {
            log.add(&SessionId::new(number.to_string()));
        }
        assert!(!log.after(Some(&rest.next)).is_gap, "exactly what is kept");
        log.add(&SessionId::new("one more"));
        for lost in ["5", "", "-1", "x", "99999999999"] {
            let page = log.after(Some(&Cursor::new(lost)));
            assert!(page.is_gap && page.sessions.is_empty(), "{lost}");
        }
    }
}
