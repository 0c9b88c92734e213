//! Real servers that a test starts, each with a separate data folder.

mod backup;
mod cluster;
mod postgres;
mod process;
mod redis;

pub(crate) use self::{backup::Backup, cluster::RedisCluster, postgres::Postgres, redis::Redis};

use std::{
    collections::hash_map::RandomState,
    hash::BuildHasher,
    net::{Ipv4Addr, TcpListener},
    thread::sleep,
    time::{Duration, Instant},
};

/// A loopback port that no process listens on, nor will while a server is down for a moment: below those
/// that the system gives to connections.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let first = RandomState::new().hash_one(()) % 20_000;
    (0..20_000)
        .map(|step| u16::try_from(10_000 + (first + step) % 20_000).expect("below 30,000"))
        .find(is_free)
        .expect("loopback has a free port")
}

/// Waits until the condition holds.
///
/// # Panics
///
/// When it takes more than half a minute.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < deadline, "{what} takes too long");
        sleep(Duration::from_millis(20));
    }
}
