//! The promise of the rotation, put to the test: a legitimate client, with any number of tabs, whatever
//! is lost, slow or reordered, is never revoked and never stuck; and a thief is noticed.
//!
//! * `exhaustive` walks through *every* interleaving of a small abstract system, which decides by the
//!   crate's own rules.
//! * `random` plays long random schedules against the real layers.
//!
//! # What the exhaustive model covers
//!
//! Tabs that share one cookie jar, requests and answers lost at any point, clients that go away while a node
//! is at work, handlers and `ReloadClaims` of any duration, the refresh service and `RefreshLayer`, two nodes
//! and what each believes to have confirmed, a store, and a thief. Reading, deciding, writing by
//! compare-and-set, reading again after a conflict, the second look before cookies go out, and the
//! confirmation beside the handler (read and write) are steps of their own. What is decided in them is
//! decided by `src/session/rotation.rs`, compiled into this test. Reads see the record as it is or, where a test
//! says so, an earlier one or none. Breadth-first search finds every state and the shortest way to it, and
//! goes backwards from the good ones to find those from which no path leads there.
//!
//! # What it abstracts from
//!
//! Time is three facts: whether the generation is confirmed, whether it has been for the grace period, and
//! which messages were on the network before; these end, delivered or lost, before the period does. That is
//! the one assumption: request to first look, and second look to client, each take less than the grace
//! period. A node may forget that it has confirmed something, or never try, since a request that does
//! nothing is one that is lost; claims written by others are a compare-and-set that fails. Not modelled:
//! sign-out, expiry of the session, a store that fails or loses writes, signatures and secrets (the api
//! tests do). The bounds are small numbers of requests in flight and of rotations; equal requests, tabs and
//! nodes are not told apart, and what can do nothing any more is dropped.

// What the rules name as `crate::store`.
use tower_cookie_jwt::store;

// The very source that runs in production.
#[path = "../../src/session/rotation.rs"]
#[expect(unreachable_pub, reason = "public in the crate")]
mod rotation;

mod exhaustive;
#[path = "../kit/mod.rs"]
mod kit;
mod random;
