//! The promise of the rotation, put to the test: a legitimate client, with any number of tabs, whatever
//! is lost, slow or reordered, is never revoked and never stuck; and a thief is noticed.
//!
//! * `table` compares the rules of device-bound sessions with a table that is written down by hand.
//! * `exhaustive` walks through *every* interleaving of a small abstract system, which decides by the
//!   crate's own rules.
//! * `random` plays long random schedules against the real layers.
//!
//! # What the exhaustive model covers
//!
//! Tabs that share one cookie jar, requests and answers lost at any point, clients that go away while a node is at
//! work, handlers and `ReloadClaims` of any duration, stores that keep a request waiting, the refresh service and
//! `RefreshLayer`, any number of nodes, and a thief who keeps every token. Each of these is a step of its own: a request
//! on the network, the first look at the record, the write by compare-and-set, reading again (a later look), the
//! handler, the second look, the write before the cookies go, the response on the network; and beside the handler,
//! reading and writing that an access token has been seen. What is decided in them is decided by
//! `src/session/rotation.rs` and `src/session/binding.rs`, compiled into this test. Breadth-first search finds every
//! state and the shortest way to it, and goes backwards from the good ones to find those from which no path leads there.
//!
//! A browser may have a key: it registers it, holds back requests without an access cookie for a proof, and proves
//! itself as often as it likes, several times at once, with challenges that may have been used. Registrations,
//! challenges and their answers are lost, cut off or reordered like everything else; the policy may change on the way.
//! The thief then has a key of his own, and every proof that has been used. How often a browser may sign, and how many
//! refusals in a row end its session, is left out, and so is a browser that loses its key. Its access cookie ends a
//! grace period before its token, so that the token does not expire on the way.
//!
//! # What it abstracts from
//!
//! Time is exact where the rules look at it: see `exhaustive/times.rs`. The one assumption is that a message is on the
//! network for less than the grace period: from the jar to the first look, and from the second look to the jar. What a
//! node remembers of sightings is left out, since a node that writes none is one whose sighting is lost; claims written by
//! others are a compare-and-set that fails. Not modelled: sign-out, expiry of the session, replicas that lag behind,
//! clocks that jump, signatures and secrets (the api tests do), and the bound of 32 late answers in a row. The
//! bounds are small numbers of requests in flight and of generations; equal requests, tabs and nodes are not told
//! apart, and what can do nothing any more is dropped.

// What the rules name as `crate::store`.
use tower_cookie_jwt::store;

// The very sources that run in production.
#[path = "../../src/session/binding.rs"]
#[allow(unreachable_pub, reason = "a part of the crate")]
mod binding;
#[path = "../../src/session/rotation.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the crate")]
mod rotation;

mod exhaustive;
#[path = "../kit/mod.rs"]
mod kit;
mod random;
mod table;
