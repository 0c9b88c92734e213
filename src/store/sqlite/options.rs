use std::{path::Path, time::Duration};

use sqlx::{ConnectOptions, Connection, sqlite::SqlitePoolOptions};

use super::{
    READERS, SqliteStore, enter_wal, error::SqliteStoreError, keep_from_others, options_for, schema,
};

/// Options for opening a [`SqliteStore`], created by [`SqliteStore::options`].
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use tower_cookie_jwt::store::SqliteStore;
///
/// # async fn open() -> Result<(), tower_cookie_jwt::store::SqliteStoreError> {
/// let store = SqliteStore::options().with_timeout(Duration::from_secs(2)).open("sessions.sqlite").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until the store is opened"]
pub struct SqliteStoreOptions {
    timeout: Duration,
}

impl SqliteStore {
    /// Returns options for opening a store with another timeout.
    pub const fn options() -> SqliteStoreOptions {
        SqliteStoreOptions { timeout: TIMEOUT }
    }
}

impl SqliteStoreOptions {
    /// Sets how long a call waits for a connection, and how long it then waits for other processes that write to the file.
    ///
    /// Defaults to 5 seconds, of each.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Opens the file at `path`, and creates the file and the table `sessions` if they do not exist.
    ///
    /// # Errors
    ///
    /// See [`SqliteStore::open`].
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStore, SqliteStoreError> {
        // SQLite counts milliseconds in 32 bits.
        let options = options_for(path.as_ref())?.busy_timeout(self.timeout.min(LONGEST));
        keep_from_others(options.get_filename());
        let mut first = options.clone().create_if_missing(true).connect().await?;
        enter_wal(&mut first, self.timeout).await?;
        schema::prepare(&mut first).await?;
        let writer = self.pool_of(1).connect_with(options.clone()).await?;
        let reader = self.pool_of(READERS).connect_lazy_with(options);
        first.close().await?;
        Ok(SqliteStore::new(reader, writer))
    }

    fn pool_of(&self, connections: u32) -> SqlitePoolOptions {
        SqlitePoolOptions::new().max_connections(connections).acquire_timeout(self.timeout.min(LONGEST))
    }
}

const TIMEOUT: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
