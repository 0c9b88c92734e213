//! Every interleaving of a small system: one client with several tabs, a thief if need be, nodes, a store.
//!
//! To read in this order: `state` (what there is) with `times`, `clock` and `alike`, `steps` (what can happen) with
//! `cookies` and `device`, `rulebook` (the crate's rules, asked) with `stored` and `rule`, `model` (what is explored,
//! and what must never happen), `search`; then the tests: `legitimate`, `removed` (each rule is needed), `thief`, and
//! the same for a browser with a key in `bound` and `bound_thief`.

mod alike;
mod bound;
mod bound_thief;
mod clock;
mod cookies;
mod device;
mod legitimate;
mod model;
mod removed;
mod rule;
mod rulebook;
mod search;
mod show;
mod state;
mod steps;
mod stored;
mod thief;
mod times;
