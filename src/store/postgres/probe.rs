//! Finds out why the pool cannot open a connection.
//!
//! While a server refuses connections, sqlx's pool tries again for as long as a call may take, and then says only that
//! it took too long.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::sync::Mutex;

use super::error::{PostgresStoreError, Reason, Reported};

/// Tries to connect on behalf of calls that wait for the pool: one attempt at a time, at most two a second, and none
/// while all connections are in use. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Probe(Arc<State>);

#[derive(Default)]
struct State {
    last: Mutex<Option<(Instant, Outcome)>>,
    /// How many connections calls hold.
    leased: AtomicU32,
}

/// What an attempt to connect has shown.
#[derive(Clone)]
enum Outcome {
    /// There is no server, or none that can be reached.
    Refused(io::ErrorKind),
    /// The server has said why not, and may soon have room or have started.
    Reported(Reported),
    /// Whatever the pool waits for, it is not this.
    Clear,
}

/// What a call that waits for the pool learns.
pub(super) enum Finding {
    /// Waiting does not help: the call fails with this now.
    Fatal(PostgresStoreError),
    /// The call fails with this unless the pool has a connection for it in time.
    Passing(PostgresStoreError),
    /// What was found before does not count any more.
    Clear,
}

/// Counts a connection that a call holds, until it is dropped.
pub(super) struct Leased(Arc<State>);

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.leased.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Probe {
    pub(super) fn lease(&self) -> Leased {
        self.0.leased.fetch_add(1, Ordering::Relaxed);
        Leased(self.0.clone())
    }

    /// Returns the next finding on the pool's server, at the earliest after a moment: most calls get their connection by
    /// then.
    pub(super) async fn next(&self, pool: &PgPool) -> Finding {
        tokio::time::sleep(PATIENCE).await;
        let leased = self.0.leased.load(Ordering::Relaxed);
        if leased >= pool.options().get_max_connections() {
            // The call waits for others, not for the server.
            return Finding::Clear;
        }
        match self.outcome(pool).await {
            // As long as connections work, a call may get one of them.
            Outcome::Refused(kind) if leased > 0 => Finding::Passing(sqlx::Error::Io(kind.into()).into()),
            Outcome::Refused(kind) => Finding::Fatal(sqlx::Error::Io(kind.into()).into()),
            Outcome::Reported(reported) => Finding::Passing(Reason::Server(reported).into()),
            Outcome::Clear => Finding::Clear,
        }
    }

    async fn outcome(&self, pool: &PgPool) -> Outcome {
        let (state, options) = (self.0.clone(), pool.connect_options());
        // Spawned, so that an attempt is made to the end, and is the only one until then, though its call may not need it
        // any more.
        let attempt = tokio::spawn(async move {
            let mut last = state.last.lock().await;
            if let Some((at, outcome)) = &*last
                && at.elapsed() < FRESH
            {
                return outcome.clone();
            }
            let outcome = match tokio::time::timeout(LIMIT, options.connect()).await {
                Ok(Err(sqlx::Error::Io(error))) if is_refusal(error.kind()) => Outcome::Refused(error.kind()),
                Ok(Err(sqlx::Error::Database(error))) => Outcome::Reported(Reported::of(&*error)),
                Ok(Ok(connection)) => {
                    let _ = tokio::time::timeout(LIMIT, connection.close()).await;
                    Outcome::Clear
                }
                Ok(Err(_)) | Err(_) => Outcome::Clear,
            };
            *last = Some((Instant::now(), outcome.clone()));
            outcome
        });
        attempt.await.unwrap_or(Outcome::Clear)
    }
}

/// Whether no server listens there.
fn is_refusal(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotFound // of the socket's file
    )
}

/// How long a call waits for the pool before it asks why.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long an outcome counts for other calls.
const FRESH: Duration = Duration::from_millis(500);
/// How long an attempt may take.
const LIMIT: Duration = Duration::from_secs(1);
