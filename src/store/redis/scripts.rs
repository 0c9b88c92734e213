//! The scripts that run on the server. Each is one operation on keys of one slot, and is applied entirely or not at all.

use std::sync::LazyLock;

/// A script and its SHA-1 hash, by which servers cache it.
pub(super) struct Script {
    pub(super) code: &'static str,
    pub(super) hash: String,
}

impl Script {
    fn new(code: &'static str) -> Self {
        Self { code, hash: redis::Script::new(code).get_hash().to_owned() }
    }
}

macro_rules! script {
    ($name:ident, $file:literal) => {
        pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!(include_str!("lua/shared.lua"), include_str!($file))));
    };
}

script!(CREATE, "lua/create.lua");
script!(READ, "lua/read.lua");
script!(UPDATE, "lua/update.lua");
script!(REMOVE, "lua/remove.lua");
script!(SCAN, "lua/scan.lua");
script!(FIRST, "lua/first.lua");
script!(FETCH, "lua/fetch.lua");
script!(UNLINK, "lua/unlink.lua");
script!(ANNOUNCE, "lua/announce.lua");
script!(CHANGES, "lua/changes.lua");
script!(LISTEN, "lua/listen.lua");
script!(PROBE, "lua/probe.lua");
