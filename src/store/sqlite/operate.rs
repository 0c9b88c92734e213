//! What operators do with a store besides keeping sessions in it.

use super::{
    SWEEP_SIZE, SqliteStore, WRITE,
    error::{Reason, SqliteStoreError},
    rows::{FORGET_CHANGES, LAST_CHANGE, SWEEP, SWEEP_CHANGES},
};
use crate::store::{RefreshStore, SessionId, millis::ends};

impl SqliteStore {
    /// Asks the file for a session that does not exist, as a health check.
    ///
    /// # Errors
    ///
    /// Returns an error if a read of a session would fail.
    pub async fn ping(&self) -> Result<(), SqliteStoreError> {
        self.read(&SessionId::new("")).await.map(drop)
    }

    /// Removes expired sessions until there are none, and returns their number. The store does this alongside requests, so
    /// it is needed only where there are none.
    ///
    /// The file does not shrink: what is free is used for new sessions. `VACUUM` returns it to the file system.
    ///
    /// # Errors
    ///
    /// Returns an error if a statement fails. What has been removed by then stays removed.
    pub async fn sweep(&self) -> Result<u64, SqliteStoreError> {
        let mut removed = 0;
        loop {
            let batch = self.sweep_batch().await?;
            removed += batch;
            if batch < SWEEP_SIZE.unsigned_abs().into() {
                return Ok(removed);
            }
        }
    }

    /// Writes the write-ahead log into the file, empties it, and closes the file. Calls after that fail, also those of
    /// clones and, after [`from_pool`](Self::from_pool), those of the application.
    ///
    /// Waits for calls that are being served, so shut down the server of the application first.
    ///
    /// # Errors
    ///
    /// Returns an error if the log could not be emptied, for example because another process is reading. The file is closed
    /// nevertheless, and nothing is lost.
    pub async fn close(&self) -> Result<(), SqliteStoreError> {
        if self.writer.is_closed() {
            return Ok(());
        }
        self.pushes.close().await;
        if !self.is_one_pool {
            // Its readers would keep the log from being emptied.
            self.reader.close().await;
        }
        let checkpoint = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&self.writer).await;
        self.writer.close().await;
        match checkpoint? {
            0 => Ok(()),
            _busy => Err(Reason::StillRead.into()),
        }
    }

    /// Removes old entries of the feed.
    pub(super) async fn sweep_changes(&self) -> Result<(), SqliteStoreError> {
        sqlx::query(SWEEP_CHANGES).execute(&self.writer).await?;
        Ok(())
    }

    /// Removes expired sessions, at most [`SWEEP_SIZE`], and the entries of the feed that the trigger has made of them: who
    /// has an expired session has no token to be asked about.
    pub(super) async fn sweep_batch(&self) -> Result<u64, SqliteStoreError> {
        let mut writing = self.writer.begin_with(WRITE).await?;
        let before: i64 = sqlx::query_scalar(LAST_CHANGE).fetch_one(&mut *writing).await?;
        let sweep = sqlx::query(SWEEP).bind(ends(self.clock.now())).bind(SWEEP_SIZE);
        let removed = sweep.execute(&mut *writing).await?.rows_affected();
        sqlx::query(FORGET_CHANGES).bind(before).execute(&mut *writing).await?;
        writing.commit().await?;
        Ok(removed)
    }
}
