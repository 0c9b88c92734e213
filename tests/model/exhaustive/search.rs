//! Breadth-first search: every state, the shortest way to it, and what leads where.

use std::{
    hash::{Hash, Hasher},
    time::Instant,
};

use super::{
    model::{Breach, Devices, EVERY_BREACH, Model},
    state::State,
    steps::Steps,
};

/// All states of a model, or those up to the first breach.
pub(crate) struct Explored {
    states: Vec<State>,
    /// The state that each was reached from.
    parents: Vec<u32>,
    /// Where each state leads to: `edges[starts[i]..starts[i + 1]]`.
    starts: Vec<usize>,
    edges: Vec<u32>,
    pub(crate) breach: Option<(Breach, Trace)>,
}

/// Explores until something happens that must never.
pub(crate) fn explore(model: &Model) -> Explored {
    explore_for(model, EVERY_BREACH)
}

/// Explores until one of these happens.
pub(crate) fn explore_for(model: &Model, breaches: &[Breach]) -> Explored {
    let begun = Instant::now();
    let mut found = Explored {
        states: Vec::new(),
        parents: Vec::new(),
        starts: vec![0],
        edges: Vec::new(),
        breach: None,
    };
    let mut known = Known::default();
    known.index_of(State::signed_in(model.rules.devices != Devices::Changing), &mut found.states);
    found.parents.push(0);
    let mut steps = Steps::new(model);
    let mut at = 0;
    while at < found.states.len() && found.breach.is_none() {
        steps.take(found.states[at]);
        for state in &steps.next {
            found.edges.push(known.index_of(*state, &mut found.states));
            found.parents.resize(found.states.len(), small(at));
        }
        found.starts.push(found.edges.len());
        let breach = steps.breaches.drain(..).find(|(breach, _)| breaches.contains(breach));
        found.breach = breach.map(|(breach, state)| (breach, found.trace(at).then(state)));
        at += 1;
    }
    let (states, edges) = (found.states.len(), found.edges.len());
    println!("{}: {states} states, {edges} steps, {:.1} s", model.name, begun.elapsed().as_secs_f32());
    found
}

impl Explored {
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

    /// A cycle with a step like this, among the steps between states that are `alike`: the way to it, and once around.
    pub(crate) fn cycle(
        &self,
        is_wanted: impl Fn(&State, &State) -> bool,
        are_alike: impl Fn(&State, &State) -> bool,
    ) -> Option<(Trace, Trace)> {
        let component = self.components(&are_alike);
        (0..self.states.len()).find_map(|index| {
            let is_around = |next: &&u32| {
                let next = **next as usize;
                component[index] == component[next] && is_wanted(&self.states[index], &self.states[next])
            };
            let next = self.leads_to(index).iter().find(is_around)?;
            Some((self.trace(index), self.way_back(*next as usize, index, &component)))
        })
    }

    fn leads_to(&self, index: usize) -> &[u32] {
        &self.edges[self.starts[index]..self.starts[index + 1]]
    }

    /// The shortest way from one state to another in the same component.
    fn way_back(&self, from: usize, to: usize, component: &[u32]) -> Trace {
        let mut parents = std::collections::HashMap::from([(from, from)]);
        let mut open = std::collections::VecDeque::from([from]);
        while let Some(index) = open.pop_front().filter(|index| *index != to) {
            for next in self.leads_to(index).iter().map(|next| *next as usize) {
                if component[next] == component[to] && !parents.contains_key(&next) {
                    parents.insert(next, index);
                    open.push_back(next);
                }
            }
        }
        let mut way = vec![self.states[to]];
        let mut index = to;
        while index != from {
            index = parents[&index];
            way.push(self.states[index]);
        }
        way.reverse();
        Trace(way)
    }

    /// The strongly connected component of each state, by the steps between states that are alike (Kosaraju).
    fn components(&self, are_alike: impl Fn(&State, &State) -> bool) -> Vec<u32> {
        const NONE: u32 = u32::MAX;
        let are_joined = |one: usize, other: usize| are_alike(&self.states[one], &self.states[other]);
        let mut finished = Vec::new();
        let mut visited = vec![false; self.states.len()];
        for root in 0..self.states.len() {
            let mut path = if visited[root] { vec![] } else { vec![(root, 0)] };
            visited[root] = true;
            while let Some((index, edge)) = path.last_mut() {
                let Some(next) = self.leads_to(*index).get(*edge).map(|next| *next as usize) else {
                    finished.push(*index);
                    path.pop();
                    continue;
                };
                *edge += 1;
                if are_joined(*index, next) && !std::mem::replace(&mut visited[next], true) {
                    path.push((next, 0));
                }
            }
        }
        let (starts, sources) = self.reversed();
        let mut component = vec![NONE; self.states.len()];
        for root in finished.into_iter().rev() {
            let mut open = if component[root] == NONE { vec![root] } else { vec![] };
            while let Some(index) = open.pop() {
                component[index] = small(root);
                let before = sources[starts[index]..starts[index + 1]].iter().map(|source| *source as usize);
                open.extend(before.filter(|source| component[*source] == NONE && are_joined(*source, index)));
            }
        }
        component
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
            for target in &self.edges[bounds[0]..bounds[1]] {
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
    fn then(mut self, state: State) -> Self {
        self.0.push(state);
        self
    }
}

fn small(index: usize) -> u32 {
    u32::try_from(index).expect("the bounds keep the search small")
}

/// A hash table of the indices of states: a map would keep each state twice.
#[derive(Default)]
struct Known {
    /// Each is one more than an index, or nought; a power of two of them, at most half of them taken.
    slots: Vec<u32>,
}

impl Known {
    /// The index of this state among `states`, to which it is added if need be.
    fn index_of(&mut self, state: State, states: &mut Vec<State>) -> u32 {
        if self.slots.len() < 2 * (states.len() + 1) {
            self.slots = vec![0; (4 * (states.len() + 1)).next_power_of_two()];
            for (index, state) in states.iter().enumerate() {
                let slot = self.slot_of(state, states);
                self.slots[slot] = small(index) + 1;
            }
        }
        let slot = self.slot_of(&state, states);
        if self.slots[slot] == 0 {
            states.push(state);
            self.slots[slot] = small(states.len());
        }
        self.slots[slot] - 1
    }

    /// Where the state is, or would be.
    fn slot_of(&self, state: &State, states: &[State]) -> usize {
        let mut hasher = FastHasher::default();
        state.hash(&mut hasher);
        let last = self.slots.len() - 1;
        let mut slot = hasher.finish() as usize & last;
        while self.slots[slot] != 0 && states[self.slots[slot] as usize - 1] != *state {
            slot = (slot + 1) & last;
        }
        slot
    }
}

/// Multiply and rotate: the states are no one's secret and no one's attack.
#[derive(Default)]
struct FastHasher(u64);

impl Hasher for FastHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            self.write_u64(u64::from_le_bytes(word));
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
