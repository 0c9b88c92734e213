//! Shared by the test binaries: sessions in a shop, a store with faults, migrated sessions, a cookie jar, tokens, and servers on
//! loopback.
//!
//! For a browser there is [`Browser`](tower_cookie_jwt::testing::Browser). The [`jar`] is for clients that
//! speak to a socket, and for what a sign-in has set.

#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub(crate) mod device;
pub(crate) mod first_version;
pub(crate) mod forge;
pub(crate) mod handler;
pub(crate) mod jar;
pub(crate) mod log;
pub(crate) mod loopback;
pub(crate) mod shop;
pub(crate) mod store;
