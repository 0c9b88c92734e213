//! Interleaved measurement of all candidates, so that a temporary slowdown of the machine affects all of them.
//!
//! Times are CPU times of the thread, which exclude the time that other threads use the core.

use std::{hint::black_box, time::Duration};

use rustix::time::{ClockId, clock_gettime};

use crate::counting::allocations;

const ROUNDS: usize = 51;
/// Long enough that each of many tokens is used a dozen times, as on a server that keeps serving the same users. The
/// first use is slower, because the memory of other candidates still fills the processor's caches.
const SLICE: Duration = Duration::from_millis(24);
/// The warm-up lasts at least this long, and until each of many tokens has been used many times, up to a limit.
const WARM_UP: Duration = Duration::from_millis(100);
const WARM_UP_CALLS: u128 = 40_000;
const WARM_UP_LIMIT: Duration = Duration::from_millis(400);
const COUNTED: u64 = 512;

/// The index of a candidate in a [`Suite`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Id(usize);

#[derive(Default)]
pub(crate) struct Suite {
    candidates: Vec<Candidate>,
    /// How often each candidate is called first, however long it takes.
    warm_up: u128,
}

struct Candidate {
    base: Option<Id>,
    /// Performs the given number of calls.
    run: Box<dyn FnMut(u64)>,
    calls: u64,
}

/// The results of a suite.
pub(crate) struct Outcome {
    rows: Vec<Row>,
}

struct Row {
    /// The nanoseconds per call in each round, net of those of the base in the same round.
    rounds: Vec<f64>,
    allocations: f64,
}

impl Suite {
    /// Creates a suite whose candidates are called at least so often before they are measured.
    pub(crate) fn warmed_up_by(calls: u128) -> Self {
        Self { warm_up: calls, ..Self::default() }
    }

    /// Adds a baseline, such as a request to the bare inner service, whose cost is subtracted from that of
    /// candidates.
    pub(crate) fn base<T>(&mut self, call: impl FnMut() -> T + 'static) -> Id {
        self.push(None, call)
    }

    /// Adds a candidate whose cost is measured net of `base`.
    pub(crate) fn add<T>(&mut self, base: Id, call: impl FnMut() -> T + 'static) -> Id {
        self.push(Some(base), call)
    }

    /// Measures all candidates, interleaved.
    pub(crate) fn run(mut self) -> Outcome {
        let warm_up = self.warm_up;
        let prepared = self.candidates.iter_mut().map(|candidate| candidate.prepare(warm_up));
        let counts: Vec<f64> = prepared.collect();
        let mut times = vec![Vec::with_capacity(ROUNDS); counts.len()];
        for round in 0..ROUNDS {
            // Each round begins with a different candidate, which varies what runs before each of them.
            for turn in 0..counts.len() {
                let index = (turn + round * 7) % counts.len();
                times[index].push(self.candidates[index].time());
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
        self.candidates.push(Candidate { base, run, calls: 1 });
        Id(self.candidates.len() - 1)
    }

    fn row(&self, index: usize, times: &[Vec<f64>], counts: &[f64]) -> Row {
        match self.candidates[index].base {
            None => Row { rounds: times[index].clone(), allocations: counts[index] },
            Some(Id(base)) => Row {
                rounds: times[index].iter().zip(&times[base]).map(|(all, base)| all - base).collect(),
                allocations: counts[index] - counts[base],
            },
        }
    }
}

impl Candidate {
    /// Warms up, determines how many calls fill a slice, and returns the allocations per call.
    fn prepare(&mut self, least: u128) -> f64 {
        let began = now();
        let mut calls = 0;
        let mut took = Duration::ZERO;
        while took < WARM_UP || calls < least || (calls < WARM_UP_CALLS && took < WARM_UP_LIMIT) {
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

/// Returns the CPU time of this thread.
fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

impl Outcome {
    /// Returns the median over all rounds of the nanoseconds per call.
    pub(crate) fn nanoseconds(&self, id: Id) -> f64 {
        median(self.rows[id.0].rounds.clone())
    }

    /// Returns the median over all rounds of the time of `id` divided by that of `other`.
    pub(crate) fn ratio(&self, id: Id, other: Id) -> f64 {
        let rounds = self.rows[id.0].rounds.iter().zip(&self.rows[other.0].rounds);
        median(rounds.map(|(one, other)| one / other).collect())
    }

    /// Returns the allocations per call.
    pub(crate) fn allocations(&self, id: Id) -> f64 {
        self.rows[id.0].allocations
    }
}

/// Returns the median of `values`.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
