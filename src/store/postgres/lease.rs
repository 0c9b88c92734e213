use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};

/// A connection that goes back to the pool only when its work is known to have ended well.
///
/// It is closed after an error, and when the future that works with it is dropped midway: nobody
/// gets a connection with the rest of another's answer, and after a failover the next connection
/// is one to the new primary. Without it a pool would wait for the answer of a server that hangs,
/// on each of its connections, until none is left.
pub(super) struct Lease(Option<PoolConnection<Postgres>>);

impl Lease {
    pub(super) async fn of(pool: &PgPool) -> Result<Self, sqlx::Error> {
        Ok(Self(Some(pool.acquire().await?)))
    }

    pub(super) fn connection(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("a lease that has ended is not there any more")
    }

    /// Gives the connection back.
    pub(super) fn end(mut self) {
        if let Some(mut connection) = self.0.take() {
            // The pool asks the server for a sign of life first, and would wait for it forever.
            tokio::spawn(async move { tokio::time::timeout(RETURN, connection.return_to_pool()).await });
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // The pool has room for another from here on; the server is not waited for.
            drop(connection.detach());
        }
    }
}

const RETURN: Duration = Duration::from_secs(5);
