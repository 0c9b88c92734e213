//! Breadth-first search: every state, the shortest way to it, and what leads where.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use super::{
    model::{Breach, EVERY_BREACH, Model},
    state::State,
    steps::Steps,
};

/// All states of a model, or those up to the first breach.
pub(crate) struct Explored {
    states: Vec<State>,
    /// The state that each was reached from.
    parents: Vec<u32>,
    /// Where each state leads to: `edges[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    edges: Vec<u32>,
    pub(crate) breach: Option<(Breach, Trace)>,
}

/// Explores until something happens that must never.
pub(crate) fn explore(model: &Model) -> Explored {
    explore_for(model, EVERY_BREACH)
}

/// Explores until one of these happens.
pub(crate) fn explore_for(model: &Model, breaches: &[Breach]) -> Explored {
    explore_from(model, State::signed_in(), breaches)
}

/// Explores what follows from a state, until one of these happens.
pub(crate) fn explore_from(model: &Model, start: State, breaches: &[Breach]) -> Explored {
    let mut found = Explored::begin(start);
    let mut known = HashMap::<State, u32, BuildHasherDefault<FastHasher>>::default();
    known.insert(found.states[0], 0);
    let mut steps = Steps::new(model);
    let mut at = 0;
    while at < found.states.len() && found.breach.is_none() {
        steps.take(found.states[at]);
        for state in &steps.next {
            let index = *known.entry(*state).or_insert_with(|| found.add(*state, at));
            found.edges.push(index);
        }
        found.starts.push(small(found.edges.len()));
        let breach = steps.breaches.drain(..).find(|(breach, _)| breaches.contains(breach));
        found.breach = breach.map(|(breach, state)| (breach, found.trace(at).then(state)));
        at += 1;
    }
    println!("{}: {} states, {} steps", model.name, found.states.len(), found.edges.len());
    found
}

impl Explored {
    fn begin(start: State) -> Self {
        Self { states: vec![start], parents: vec![0], starts: vec![0], edges: Vec::new(), breach: None }
    }

    fn add(&mut self, state: State, parent: usize) -> u32 {
        self.states.push(state);
        self.parents.push(small(parent));
        small(self.states.len() - 1)
    }

    /// The shortest way to a state like this.
    pub(crate) fn way_to(&self, is_goal: impl Fn(&State) -> bool) -> Option<Trace> {
        self.states.iter().position(is_goal).map(|index| self.trace(index))
    }

    /// The shortest way to a state from which no path leads to a goal.
    pub(crate) fn way_to_stuck(&self, is_goal: impl Fn(&State) -> bool) -> Option<Trace> {
        let mut can: Vec<bool> = self.states.iter().map(is_goal).collect();
        let (starts, sources) = self.reversed();
        let mut open: Vec<usize> = (0..can.len()).filter(|index| can[*index]).collect();
        while let Some(index) = open.pop() {
            for source in &sources[starts[index]..starts[index + 1]] {
                let source = *source as usize;
                if !std::mem::replace(&mut can[source], true) {
                    open.push(source);
                }
            }
        }
        can.iter().position(|can| !can).map(|index| self.trace(index))
    }

    /// Which states lead to each: `sources[starts[i]..starts[i + 1]]`.
    fn reversed(&self) -> (Vec<usize>, Vec<u32>) {
        let mut starts = vec![0; self.states.len() + 1];
        for target in &self.edges {
            starts[*target as usize + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        let mut ends = starts.clone();
        let mut sources = vec![0; self.edges.len()];
        for (source, bounds) in self.starts.windows(2).enumerate() {
            for target in &self.edges[bounds[0] as usize..bounds[1] as usize] {
                let end = &mut ends[*target as usize];
                sources[*end] = small(source);
                *end += 1;
            }
        }
        (starts, sources)
    }

    fn trace(&self, mut index: usize) -> Trace {
        let mut trace = vec![self.states[index]];
        while index != 0 {
            index = self.parents[index] as usize;
            trace.push(self.states[index]);
        }
        trace.reverse();
        Trace(trace)
    }
}

/// The states on the way to a state.
pub(crate) struct Trace(pub(crate) Vec<State>);

impl Trace {
    pub(crate) fn end(&self) -> State {
        self.0[self.0.len() - 1]
    }

    fn then(mut self, state: State) -> Self {
        self.0.push(state);
        self
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("the bounds keep the search small")
}

/// Multiply and rotate: the states are no one's secret and no one's attack.
#[derive(Default)]
struct FastHasher(u64);

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_isize(&mut self, value: isize) {
        self.write_u64(value as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}
