//! Every interleaving of a small system: one client with several tabs, a thief if need be, two nodes, a store.
//!
//! To read in this order: `state` (what there is), `steps` (what can happen), `rulebook` (the crate's rules,
//! asked), `model` (what is explored, and what must never happen), `search`; then the tests: `legitimate`,
//! `removed` (each rule is needed), `stale` (reads from a replica), `thief`.

mod legitimate;
mod model;
mod removed;
mod rulebook;
mod search;
mod show;
mod stale;
mod state;
mod steps;
mod thief;
