//! Connections leased for one call, and the time limits of a call.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::runtime::Handle;

use super::{
    error::{PostgresStoreError, Reason},
    probe::{Finding, Leased, Probe},
};

/// A connection that returns to the pool only if it is known to be in a clean state.
///
/// After an error or a timeout the connection is closed, so that after a failover the next connection reaches the new
/// primary, and a server that hangs does not hold the pool's connections. If the future that uses the connection is
/// dropped midway because the client has disconnected, the connection returns to the pool once the unread response
/// has been drained; closing it would let every disconnecting client cost a connection. No call ever receives a
/// connection with the remains of another call's response.
pub(super) struct Lease {
    connection: Option<PoolConnection<Postgres>>,
    _counted: Leased,
}

impl Lease {
    /// Waits for a connection of the pool, or for `limit`. Fails earlier while the server refuses connections.
    pub(super) async fn of(
        pool: &PgPool,
        probe: &Probe,
        limit: Duration,
    ) -> Result<Self, PostgresStoreError> {
        let (of_pool, counting) = (pool.clone(), probe.clone());
        // Spawned, so that it continues if the caller is dropped. Otherwise a connection that is being opened or
        // pinged would be lost.
        let mut lease = tokio::spawn(async move {
            let connection = of_pool.acquire().await?;
            Ok(Self { connection: Some(connection), _counted: counting.lease() })
        });
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

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect("a lease holds its connection until it ends")
    }

    /// Returns the connection to the pool if the work succeeded. Otherwise closes it without waiting for the server,
    /// which frees its place in the pool immediately.
    pub(super) fn end<T, E>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        let connection = self.connection.take();
        match &outcome {
            Ok(_) => give_back(connection, RETURN),
            Err(_) => drop(connection.map(PoolConnection::detach)),
        }
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        give_back(self.connection.take(), RETURN_MIDWAY);
    }
}

/// Returns the connection to the pool if it responds to a ping within `limit`. The pool itself would wait forever.
fn give_back(connection: Option<PoolConnection<Postgres>>, limit: Duration) {
    let Some(mut connection) = connection else {
        return;
    };
    match Handle::try_current() {
        Ok(runtime) => {
            runtime.spawn(async move { tokio::time::timeout(limit, connection.return_to_pool()).await });
        }
        Err(_) => drop(connection.detach()),
    }
}

/// Runs `work`, and drops it and returns an error if it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, PostgresStoreError>>,
) -> Result<T, PostgresStoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Reason::NoAnswer.into()))
}

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const RETURN: Duration = Duration::from_secs(5);
/// Short, because no caller is waiting for the response.
const RETURN_MIDWAY: Duration = Duration::from_secs(1);
