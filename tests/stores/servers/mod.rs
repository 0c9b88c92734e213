//! Real servers of a test's own, each with a data folder of its own.

mod cluster;
mod postgres;
mod process;
mod redis;

pub(crate) use self::{cluster::RedisCluster, postgres::Postgres, redis::Redis};

use std::{
    net::{Ipv4Addr, TcpListener},
    thread::sleep,
    time::{Duration, Instant},
};

/// A loopback port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Waits for what a server needs a moment for.
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
