//! Finds out why the pool cannot open a connection.
//!
//! While a server refuses connections, sqlx's pool tries again for as long as a call may take, and then says only that
//! it took too long.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{ConnectOptions, Connection, PgPool};
use tokio::sync::Mutex;

use super::error::{PostgresStoreError, Reason, Reported};

/// Tries to connect on behalf of calls that wait for the pool: one at a time, and at most twice a second, so that a
/// server without room for connections is not asked for many more. Clones share the outcome.
#[derive(Clone, Default)]
pub(super) struct Probe(Arc<Mutex<Option<(Instant, Outcome)>>>);

/// What an attempt to connect has shown.
#[derive(Clone)]
enum Outcome {
    /// There is no server, or none that can be reached: waiting would not help a request.
    Refused(io::ErrorKind),
    /// The server has said why not, and may soon have room or have started.
    Reported(Reported),
    /// Whatever the pool waits for, it is not this.
    Unclear,
}

/// What a call that waits for the pool learns.
pub(super) enum Finding {
    /// The call fails with this now.
    Fatal(PostgresStoreError),
    /// The call fails with this unless the pool has a connection for it in time.
    Passing(PostgresStoreError),
}

impl Probe {
    /// Returns the next finding on the pool's server, at the earliest after a moment: most calls get their connection by
    /// then.
    pub(super) async fn next(&self, pool: &PgPool) -> Finding {
        loop {
            tokio::time::sleep(PATIENCE).await;
            match self.outcome(pool).await {
                Outcome::Refused(kind) => {
                    return Finding::Fatal(sqlx::Error::Io(kind.into()).into());
                }
                Outcome::Reported(reported) => return Finding::Passing(Reason::Server(reported).into()),
                Outcome::Unclear => {}
            }
        }
    }

    async fn outcome(&self, pool: &PgPool) -> Outcome {
        let mut last = self.0.lock().await;
        if let Some((at, outcome)) = &*last
            && at.elapsed() < FRESH
        {
            return outcome.clone();
        }
        let outcome = match tokio::time::timeout(LIMIT, pool.connect_options().connect()).await {
            Ok(Err(sqlx::Error::Io(error))) if is_refusal(error.kind()) => Outcome::Refused(error.kind()),
            Ok(Err(sqlx::Error::Database(error))) => Outcome::Reported(Reported::of(&*error)),
            Ok(Ok(connection)) => {
                let _ = tokio::time::timeout(LIMIT, connection.close()).await;
                Outcome::Unclear
            }
            Ok(Err(_)) | Err(_) => Outcome::Unclear,
        };
        *last = Some((Instant::now(), outcome.clone()));
        outcome
    }
}

/// Whether nobody listens there.
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
