//! Contenders that take turns: whatever slows the machine down for a while slows all of them.
//!
//! Times are those of the thread on its core: it does not count while others have it.

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::counting::allocations;

const ROUNDS: usize = 51;
/// So long that each of many tokens comes a dozen times, as on a server that goes on serving the same
/// users: the first time, others' memory is in the way.
const SLICE: Duration = Duration::from_millis(24);
/// So long, and so often that each of many tokens has come many times; but not for ever.
const WARM_UP: Duration = Duration::from_millis(100);
const WARM_UP_CALLS: u128 = 40_000;
const WARM_UP_LIMIT: Duration = Duration::from_millis(400);
const COUNTED: u64 = 512;

/// A contender, by its place in the [`Suite`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(usize);

#[derive(Default)]
pub(crate) struct Suite {
    contenders: Vec<Contender>,
}

struct Contender {
    base: Option<Id>,
    /// Makes this many calls.
    run: Box<dyn FnMut(u64)>,
    calls: u64,
}

/// What a whole suite took.
pub(crate) struct Outcome {
    rows: Vec<Row>,
}

struct Row {
    /// Nanoseconds a call, one for each round, without the base's of the same round.
    rounds: Vec<f64>,
    allocations: f64,
}

impl Suite {
    /// Adds what others are measured beyond: a request and the inner service alone.
    pub(crate) fn base<T>(&mut self, call: impl FnMut() -> T + 'static) -> Id {
        self.push(None, call)
    }

    /// Adds a contender whose cost is what it takes beyond `base`.
    pub(crate) fn add<T>(&mut self, base: Id, call: impl FnMut() -> T + 'static) -> Id {
        self.push(Some(base), call)
    }

    /// Measures all of them in turns.
    pub(crate) fn run(mut self) -> Outcome {
        let counts: Vec<f64> = self.contenders.iter_mut().map(Contender::prepare).collect();
        let mut times = vec![Vec::with_capacity(ROUNDS); counts.len()];
        for round in 0..ROUNDS {
            // Another one begins each round, so that no contender always follows the same neighbour.
            for turn in 0..counts.len() {
                let index = (turn + round * 7) % counts.len();
                times[index].push(self.contenders[index].time());
            }
        }
        let rows = (0..counts.len()).map(|index| self.row(index, &times, &counts)).collect();
        Outcome { rows }
    }

    fn push<T>(&mut self, base: Option<Id>, mut call: impl FnMut() -> T + 'static) -> Id {
        let run = Box::new(move |calls| {
            for _ in 0..calls {
                black_box(call());
            }
        });
        self.contenders.push(Contender { base, run, calls: 1 });
        Id(self.contenders.len() - 1)
    }

    fn row(&self, index: usize, times: &[Vec<f64>], counts: &[f64]) -> Row {
        match self.contenders[index].base {
            None => Row { rounds: times[index].clone(), allocations: counts[index] },
            Some(Id(base)) => Row {
                rounds: times[index].iter().zip(&times[base]).map(|(all, base)| all - base).collect(),
                allocations: counts[index] - counts[base],
            },
        }
    }
}

impl Contender {
    /// Warms up, finds out how many calls fill a slice, and counts the allocations of a call.
    fn prepare(&mut self) -> f64 {
        let began = now();
        let mut calls = 0;
        let mut took = Duration::ZERO;
        while took < WARM_UP || (calls < WARM_UP_CALLS && took < WARM_UP_LIMIT) {
            (self.run)(16);
            calls += 16;
            took = now() - began;
        }
        let call = took.as_nanos() / calls;
        self.calls = (SLICE.as_nanos() / call.max(1)).clamp(8, 1 << 20) as u64;
        let before = allocations();
        (self.run)(COUNTED);
        (allocations() - before) as f64 / COUNTED as f64
    }

    fn time(&mut self) -> f64 {
        let began = now();
        (self.run)(self.calls);
        (now() - began).as_nanos() as f64 / self.calls as f64
    }
}

/// The time that this thread has had a core.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

impl Outcome {
    /// Nanoseconds a call: the median of the rounds.
    pub(crate) fn nanoseconds(&self, id: Id) -> f64 {
        median(self.rows[id.0].rounds.clone())
    }

    /// How many times as long as `other` it takes: the median of the rounds' ratios.
    pub(crate) fn ratio(&self, id: Id, other: Id) -> f64 {
        let rounds = self.rows[id.0].rounds.iter().zip(&self.rows[other.0].rounds);
        median(rounds.map(|(one, other)| one / other).collect())
    }

    /// Allocations a call.
    pub(crate) fn allocations(&self, id: Id) -> f64 {
        self.rows[id.0].allocations
    }
}

/// The middle one of `values`.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
