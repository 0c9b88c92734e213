//! What operators do with a store besides keeping sessions in it.

use sqlx::{PgPool, Row};

use super::{
    PostgresStore, SWEEP_SIZE,
    error::{Effect, PostgresStoreError},
    sql::MOST,
};
use crate::store::{RefreshStore, SessionId};

impl PostgresStore {
    /// Asks the database for a session that does not exist, as a health check: it needs a connection, the primary, the
    /// table, and the privilege to read it.
    ///
    /// A readiness probe that asks takes a node out of service while the database is down, although requests with a valid
    /// access token need no database: let it report rather than decide.
    ///
    /// # Errors
    ///
    /// Returns an error if a read of a session would fail.
    pub async fn ping(&self) -> Result<(), PostgresStoreError> {
        self.read(&SessionId::new("")).await.map(drop)
    }

    /// Returns the pool of connections, for its statistics. One that a call has just used counts as in use for a tenth of a
    /// second more.
    pub fn pool(&self) -> &PgPool {
        &self.source.pool
    }

    /// Removes expired sessions until there are none, and returns their number. The store does this alongside requests, so
    /// it is needed only where there are none.
    ///
    /// # Errors
    ///
    /// Returns an error if a statement fails. What has been removed by then stays removed.
    pub async fn sweep(&self) -> Result<u64, PostgresStoreError> {
        let mut removed = 0;
        loop {
            let batch = self.sweep_batch().await?;
            removed += batch.unsigned_abs();
            if batch < SWEEP_SIZE {
                return Ok(removed);
            }
        }
    }

    /// Closes the connections: the server hears of it, and logs no broken pipes. Calls after that fail, also those of
    /// clones and, after [`from_pool`](Self::from_pool), those of the application.
    ///
    /// Waits for calls that are being served, so shut down the server of the application first.
    pub async fn close(&self) {
        if let Some(at_hand) = &self.source.at_hand {
            at_hand.close();
        }
        self.pushes.close().await;
        self.source.pool.close().await;
        self.feed.close().await;
        if let Some(canceller) = &self.source.canceller {
            canceller.close().await;
        }
    }

    /// Removes entries of the feed whose transactions were over an hour ago: each follower has heard of them, or has a gap.
    pub(super) async fn sweep_changes(&self) -> Result<(), PostgresStoreError> {
        loop {
            let over = self.marks.over();
            let row =
                self.row(Effect::Writes, || sqlx::query(self.sql.sweep_changes.clone()).bind(over)).await?;
            self.marks.note(row.try_get("running")?);
            if row.try_get::<i64, _>("gone")? < MOST as i64 {
                return Ok(());
            }
        }
    }

    /// Removes expired sessions, at most [`SWEEP_SIZE`].
    pub(super) async fn sweep_batch(&self) -> Result<i64, PostgresStoreError> {
        let row = self.row(Effect::Writes, || sqlx::query(self.sql.sweep.clone()).bind(SWEEP_SIZE)).await?;
        Ok(row.try_get(0)?)
    }
}
