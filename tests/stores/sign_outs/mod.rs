//! Sign-outs count on every node within the bound, with processes on real servers, through faults.
//!
//! Two processes of the `spa` example reach the store directly, a third through a proxy. Users sign out at the first; all
//! requests and answers are timed by this process. Whatever is sent later than the bound after the answer to a sign-out
//! must not be served, and whoever did not sign out must not be refused.

mod cluster;
mod faults;
mod lot;
mod nodes;
mod postgres;
mod redis;
mod sqlite;
mod table;
mod user;

use std::{hash::BuildHasher, time::Duration};

pub(crate) use crate::bounded::BOUND;

/// A moment between two others, in milliseconds.
fn random(from: u64, to: u64) -> Duration {
    Duration::from_millis(from + std::hash::RandomState::new().hash_one(()) % (to - from))
}
