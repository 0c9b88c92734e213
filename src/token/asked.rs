//! What the store has said about the session of a token, and when it was asked.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use crate::clock::since_epoch;

/// A moment by two clocks. Either of them shows that time has passed: the monotonic one stands still while a machine is
/// suspended, and the other one may be set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Nanoseconds since the process began to ask, at least one.
    pub(crate) monotonic: u64,
    /// Milliseconds since the epoch.
    pub(crate) wall: u64,
}

impl Moment {
    /// The present moment; `wall` is the application's clock.
    pub(crate) fn now(wall: SystemTime) -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let monotonic = u64::try_from(START.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let wall = u64::try_from(since_epoch(wall).as_millis()).unwrap_or(u64::MAX);
        Self { monotonic: monotonic.saturating_add(1), wall }
    }

    /// Returns how long ago it was, by the clock that has moved further.
    pub(crate) fn age(self, now: Self) -> Duration {
        let monotonic = Duration::from_nanos(now.monotonic.saturating_sub(self.monotonic));
        monotonic.max(Duration::from_millis(now.wall.saturating_sub(self.wall)))
    }

    /// Returns whether `limit` has passed since then, by either clock.
    pub(crate) const fn is_longer_ago_than(self, limit: Duration, now: Self) -> bool {
        now.monotonic.saturating_sub(self.monotonic) as u128 > limit.as_nanos()
            || now.wall.saturating_sub(self.wall) as u128 > limit.as_millis()
    }
}

/// The last answer of the store about the session of a token. It is shared by all claims of the token for as long as the
/// token is cached.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// When the question was sent: zero if it never was. The lowest two bits are the answer.
    monotonic: AtomicU64,
    wall: AtomicU64,
    /// The hash of the session's id: zero if it has not been needed yet.
    fingerprint: AtomicU64,
}

/// What is known about the session of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Live,
    Ended,
    /// It is live, but its claims, its scope or its XSRF token are no longer those of the token.
    Changed,
    /// The last answer is too old, or there is none.
    Nothing,
}

impl Asked {
    /// Returns what the last answer says, if the question was sent at most `limit` ago.
    pub(crate) fn known(&self, limit: Duration, now: Moment) -> Known {
        let monotonic = self.monotonic.load(Ordering::Acquire);
        let asked = Moment { monotonic, wall: self.wall.load(Ordering::Relaxed) };
        if monotonic == 0 || asked.is_longer_ago_than(limit, now) {
            return Known::Nothing;
        }
        match monotonic & ANSWER {
            LIVE => Known::Live,
            ENDED => Known::Ended,
            _ => Known::Changed,
        }
    }

    /// Returns when the last question that has been answered was sent, in nanoseconds as in [`Moment`]; zero if there is
    /// none.
    pub(crate) fn when(&self) -> u64 {
        self.monotonic.load(Ordering::Acquire) & !ANSWER
    }

    /// Whether the last answer, however old, was that the session is live and unchanged.
    pub(crate) fn is_live(&self) -> bool {
        self.monotonic.load(Ordering::Relaxed) & ANSWER == LIVE
    }

    /// Returns the hash of the session's id, computed by `hash` at first.
    pub(crate) fn fingerprint(&self, hash: impl FnOnce() -> u64) -> u64 {
        match self.fingerprint.load(Ordering::Relaxed) {
            0 => {
                let fingerprint = hash();
                self.fingerprint.store(fingerprint, Ordering::Relaxed);
                fingerprint
            }
            fingerprint => fingerprint,
        }
    }

    /// As if nothing had been asked.
    #[cfg(test)]
    pub(crate) fn forget(&self) {
        self.monotonic.store(0, Ordering::Relaxed);
        self.wall.store(0, Ordering::Relaxed);
        self.fingerprint.store(0, Ordering::Relaxed);
    }

    /// Keeps the answer to a question that was sent at `asked`, unless a later question has been answered.
    ///
    /// Of two answers at the same moment, one may be kept with the other's wall clock. The monotonic clock is exact.
    pub(crate) fn answered(&self, asked: Moment, known: Known) {
        let answer = match known {
            Known::Live => LIVE,
            Known::Ended => ENDED,
            Known::Changed => CHANGED,
            Known::Nothing => return,
        };
        let monotonic = (asked.monotonic & !ANSWER).max(ANSWER + 1) | answer;
        self.wall.store(asked.wall, Ordering::Relaxed);
        self.monotonic.fetch_max(monotonic, Ordering::Release);
    }
}

const ANSWER: u64 = 3;
const LIVE: u64 = 0;
const ENDED: u64 = 1;
const CHANGED: u64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    const SECOND: u64 = 1_000_000_000;

    fn moment(nanos: u64, millis: u64) -> Moment {
        Moment { monotonic: nanos, wall: millis }
    }

    #[test]
    fn an_answer_counts_from_when_it_was_asked_for_by_either_clock() {
        let asked = Asked::default();
        assert_eq!(asked.known(LIMIT, moment(5, 0)), Known::Nothing, "never asked");
        asked.answered(moment(10 * SECOND, 10_000), Known::Live);
        for (name, now, known) in [
            ("at once", moment(10 * SECOND, 10_000), Known::Live),
            ("after the limit", moment(11 * SECOND, 11_000), Known::Live),
            ("later by the monotonic clock", moment(11 * SECOND + 1, 11_000), Known::Nothing),
            ("suspended: later by the wall clock alone", moment(10 * SECOND, 11_001), Known::Nothing),
            ("the wall clock was set back", moment(10 * SECOND + 5, 3_000), Known::Live),
            ("the wall clock was set back long ago", moment(12 * SECOND, 3_000), Known::Nothing),
        ] {
            assert_eq!(asked.known(LIMIT, now), known, "{name}");
        }
    }

    #[test]
    fn the_later_question_counts_whichever_answer_comes_first() {
        for order in [[(10, Known::Live), (11, Known::Ended)], [(11, Known::Ended), (10, Known::Live)]] {
            let asked = Asked::default();
            for (second, known) in order {
                asked.answered(moment(second * SECOND, second * 1000), known);
            }
            assert_eq!(asked.known(LIMIT, moment(11 * SECOND, 11_000)), Known::Ended, "{order:?}");
        }
    }
}
