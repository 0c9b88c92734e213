//! Real servers that a test starts, each with a separate data folder.

mod authority;
mod backup;
mod cluster;
mod haproxy;
mod pgbouncer;
mod port;
mod postgres;
mod process;
mod redis;
mod sentinel;

pub(crate) use self::{
    authority::Authority, backup::Backup, cluster::RedisCluster, haproxy::HaProxy, pgbouncer::PgBouncer,
    postgres::Postgres, redis::Redis, sentinel::RedisSentinel,
};

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

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
