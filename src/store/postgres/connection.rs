//! Connections that are lent to one call, and how long a call may take.

use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::runtime::Handle;

use super::error::{PostgresStoreError, Reason};

/// A connection that goes back to the pool only when it is known to be whole.
///
/// It is closed after an error or when the server takes too long: after a failover the next connection
/// is one to the new primary, and a server that hangs does not keep the pool's connections. When the
/// future that works with it is dropped midway, because a client has hung up, it goes back once the
/// answer that nobody waits for has passed: closing it would let clients who hang up cost a connection
/// each. Nobody ever gets one with the rest of another's answer.
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(super) async fn of(pool: &PgPool) -> Result<Self, sqlx::Error> {
        let pool = pool.clone();
        // In a task of its own, which goes on when nobody waits for it any more: a connection that is being
        // made, or asked for a sign of life, would be lost.
        let lease =
            tokio::spawn(async move { pool.acquire().await.map(|connection| Self(Some(connection))) });
        lease.await.unwrap_or(Err(sqlx::Error::PoolClosed))
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("a lease that has ended is not there any more")
    }

    /// Gives the connection back after work that has ended well. Otherwise closes it, whatever it is waiting
    /// for; the pool has room for another from here on.
    pub(super) fn end<T, E>(mut self, outcome: Result<T, E>) -> Result<T, E> {
        let connection = self.0.take();
        match &outcome {
            Ok(_) => give_back(connection, RETURN),
            Err(_) => drop(connection.map(PoolConnection::detach)),
        }
        outcome
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        give_back(self.0.take(), RETURN_MIDWAY);
    }
}

/// Lets the pool have the connection when it has shown a sign of life within `limit`. The pool itself
/// would wait for that forever.
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

/// The outcome of `work`, which is dropped when it takes longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, PostgresStoreError>>,
) -> Result<T, PostgresStoreError> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(Reason::NoAnswer.into()))
}

pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
const RETURN: Duration = Duration::from_secs(5);
/// What nobody waits for is waited for shortly.
const RETURN_MIDWAY: Duration = Duration::from_secs(1);
