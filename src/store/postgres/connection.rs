//! Connections leased for one call, and the time limits of a call.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

use super::{
    abandoned::{Backend, Canceller, outlast},
    error::{PostgresStoreError, Reason},
    probe::{Finding, Leased, Probe},
};

/// A connection that returns to the pool only if it is known to be in a clean state.
///
/// After an error it is closed, so that after a failover the next connection reaches the new primary. After a timeout, and
/// if the future that uses it is dropped midway because the client has disconnected, it keeps its place in the pool until
/// the server is done with it: see [`outlast`]. No call ever receives a connection with the remains of another call's
/// response.
pub(super) struct Lease {
    connection: Option<PoolConnection<Postgres>>,
    /// How to cancel what the server does for it.
    cancelled_by: Option<(Canceller, Backend)>,
    counted: Option<Leased>,
}

impl Lease {
    /// Waits for a connection of the pool, or for `limit`. Fails earlier while the server refuses connections.
    pub(super) async fn of(
        pool: &PgPool,
        probe: &Probe,
        canceller: Option<&Canceller>,
        limit: Duration,
    ) -> Result<Self, PostgresStoreError> {
        let (of_pool, counting, canceller) = (pool.clone(), probe.clone(), canceller.cloned());
        // Spawned, so that it continues if the caller is dropped. Otherwise a connection that is being opened or
        // tried would be lost.
        let mut lease = tokio::spawn(async move { Self::acquire(of_pool, counting, canceller).await });
        let mut cause = None;
        let overdue = tokio::time::sleep(limit);
        tokio::pin!(overdue);
        loop {
            tokio::select! {
                lease = &mut lease => {
                    return match lease.unwrap_or(Err(sqlx::Error::PoolClosed)) {
                        Ok(lease) => Ok(lease),
                        Err(sqlx::Error::PoolTimedOut) => Err(cause.unwrap_or(Reason::NoAnswer.into())),
                        Err(error) => Err(error.into()),
                    };
                }
                () = &mut overdue => return Err(cause.unwrap_or(Reason::NoAnswer.into())),
                finding = probe.next(pool) => match finding {
                    Finding::Fatal(error) => return Err(error),
                    Finding::Passing(error) => cause = Some(error),
                    Finding::Clear => cause = None,
                },
            }
        }
    }

    /// Takes a connection that works from the pool.
    ///
    /// The pool's own test of idle connections has no time limit: a connection dropped by a firewall would use up the time
    /// of the call instead of being replaced.
    async fn acquire(
        pool: PgPool,
        counting: Probe,
        canceller: Option<Canceller>,
    ) -> Result<Self, sqlx::Error> {
        loop {
            let mut connection = pool.acquire().await?;
            let cancelled_by = match &canceller {
                None => None,
                Some(canceller) => match timeout(SIGN_OF_LIFE, Backend::of(&mut connection)).await {
                    Ok(Ok(backend)) => Some((canceller.clone(), backend)),
                    Ok(Err(_)) | Err(_) => {
                        drop(connection.detach());
                        continue;
                    }
                },
            };
            return Ok(Self { connection: Some(connection), cancelled_by, counted: Some(counting.lease()) });
        }
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a lease holds its connection until it ends")
    }

    /// Returns the connection to the pool if the work succeeded, and closes it after an error. After a timeout, the server
    /// may still be working.
    pub(super) fn end<T>(mut self, outcome: Result<T, PostgresStoreError>) -> Result<T, PostgresStoreError> {
        match &outcome {
            Ok(_) => self.give_back(),
            Err(error) if error.is_timeout() => {} // as if dropped midway
            Err(_) => drop(self.connection.take().map(PoolConnection::detach)),
        }
        outcome
    }

    /// Returns a connection that is done to the pool, which asks it once more. The pool itself would wait forever.
    fn give_back(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            tokio::spawn(async move { timeout(RETURN, connection.return_to_pool()).await });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let (cancelled_by, counted) = (self.cancelled_by.take(), self.counted.take());
        match Handle::try_current() {
            Ok(runtime) => {
                runtime.spawn(async move {
                    outlast(connection, cancelled_by).await;
                    drop(counted);
                });
            }
            Err(_) => drop(connection.detach()),
        }
    }
}

/// Runs `work`, and drops it and returns an error if it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, PostgresStoreError>>,
) -> Result<T, PostgresStoreError> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(Reason::NoAnswer.into()))
}

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const RETURN: Duration = Duration::from_secs(5);
/// How long an idle connection may take to show that it works.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
