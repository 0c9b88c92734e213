//! Which transactions were over an hour ago.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What was seen at times in the last hour: all transactions before a number were over. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Marks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    seen: VecDeque<(Instant, i64)>,
    over: i64,
}

impl Marks {
    /// Notes that all transactions before this number are over now.
    pub(super) fn note(&self, number: i64) {
        self.note_at(Instant::now(), number);
    }

    /// Returns the number before which all transactions were over an hour ago; zero if that is not known yet.
    pub(super) fn over(&self) -> i64 {
        self.over_at(Instant::now())
    }

    fn note_at(&self, now: Instant, number: i64) {
        let mut state = self.state();
        if state.seen.back().is_none_or(|(at, _)| now.duration_since(*at) >= APART) {
            state.seen.push_back((now, number));
        }
    }

    fn over_at(&self, now: Instant) -> i64 {
        let mut state = self.state();
        while let Some((at, number)) = state.seen.front().copied()
            && now.duration_since(at) >= KEPT
        {
            state.seen.pop_front();
            state.over = number;
        }
        state.over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const KEPT: Duration = Duration::from_secs(60 * 60);
const APART: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_count_as_over_after_an_hour() {
        let marks = Marks::default();
        let start = Instant::now();
        let at = |minutes: u64| start + Duration::from_secs(60 * minutes);
        for minute in 0..90 {
            marks.note_at(at(minute), 100 + minute as i64);
            let expected = minute.checked_sub(60).map_or(0, |before| 100 + before as i64);
            assert_eq!(marks.over_at(at(minute)), expected, "{minute}");
        }
        // Numbers that have gone back, after a crash, only make it wait.
        marks.note_at(at(200), 7);
        assert_eq!(marks.over_at(at(300)), 7);
    }
}
