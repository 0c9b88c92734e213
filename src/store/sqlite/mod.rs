mod error;
mod feed;
mod operate;
mod options;
mod rows;
mod schema;
mod watch;

pub use self::{error::SqliteStoreError, options::SqliteStoreOptions};

use std::{
    fmt,
    path::Path,
    time::{Duration, Instant},
};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePool, SqliteSynchronous};

use self::{
    error::{Reason, is_busy},
    rows::{
        ANNOUNCE, DELETE, DELETE_ALL, EXISTS, INSERT, LIST, LIST_IDS, SELECT, SELECT_PAGE, UPDATE, WAL,
        bind_fields, from_row,
    },
};
use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    feed::{Changes, Cursor},
    millis::ends,
    push::Pushes,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
    sweep::Sweeps,
};
use crate::clock::{Clock, SharedClock};

/// A store that keeps sessions in one SQLite file, for applications on one machine whose users stay signed in across
/// restarts.
///
/// Several processes on one machine can share the file; it must not be on a network file system. Times come from the
/// machine's clock. Every write is synced to disk before the call returns, because a sign-out undone by a power
/// failure would revive the session. The number of sessions is not limited; expired ones are removed alongside
/// requests, in small batches. Clones share the connections.
///
/// The file contains only hashes of the session secrets, but claims and XSRF tokens in plain text. On Unix, a new file
/// can be read only by the user of the process (mode 0600); an existing one keeps its mode. The files with the same name and the suffixes `-wal` and `-shm` are part of the database.
///
/// Requires the feature `sqlite`, Rust 1.94 and a Tokio runtime.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::store::{RefreshStore, SqliteStore};
///
/// #[tokio::main]
/// async fn main() -> Result<(), Box<dyn std::error::Error>> {
///     # let directory = std::env::temp_dir().join(format!("tower-cookie-jwt-{}", std::process::id()));
///     # std::fs::create_dir_all(&directory)?;
///     let store = SqliteStore::open(directory.join("sessions.sqlite")).await?;
///     assert!(store.list("ada").await?.is_empty());
///     # std::fs::remove_dir_all(&directory)?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    reader: SqlitePool,
    /// A single connection, unless the application supplies the pool. The writers of one process then queue in
    /// order instead of competing for SQLite's lock by polling it.
    writer: SqlitePool,
    /// Whether both are the pool of the application.
    is_one_pool: bool,
    clock: SharedClock,
    pushes: Pushes,
    sweeps: Sweeps,
}

impl SqliteStore {
    /// Opens the file at `path`, and creates the file and the table `sessions` if they do not exist.
    ///
    /// The directory must exist. A call to the store fails after waiting 5 seconds for a connection, or 5 more
    /// seconds for other processes that write to the file ([`with_timeout`](SqliteStoreOptions::with_timeout)).
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be opened or created, if it is not an SQLite database in a regular file
    /// (`:memory:` is not accepted), or if it contains a table `sessions` with other columns or of a later version
    /// that is not compatible.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        Self::options().open(path).await
    }

    /// Creates a store over the database of `pool`, and creates the table `sessions` if it does not exist; a second
    /// table, `sessions_version`, contains the schema's version.
    ///
    /// The pool determines how its connections are configured. For the guarantees of [`open`](Self::open), use the
    /// journal mode WAL, `synchronous` FULL, and short timeouts: by default, sqlx waits 30 seconds for a connection.
    /// A pool over `:memory:` works only with exactly one connection that is never closed, because each connection
    /// has a separate in-memory database.
    ///
    /// # Errors
    ///
    /// Returns an error if the database cannot be written, or if it contains a table `sessions` with other columns or
    /// of a later version that is not compatible.
    pub async fn from_pool(pool: SqlitePool) -> Result<Self, SqliteStoreError> {
        let mut connection = pool.acquire().await?;
        schema::prepare(&mut connection).await?;
        drop(connection);
        Ok(Self { is_one_pool: true, ..Self::new(pool.clone(), pool) })
    }

    /// Sets the clock that the store reads the time from.
    ///
    /// Defaults to the operating system's clock. All processes that share the file must agree on the time.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    fn new(reader: SqlitePool, writer: SqlitePool) -> Self {
        Self {
            reader,
            writer,
            is_one_pool: false,
            clock: SharedClock::default(),
            pushes: Pushes::default(),
            sweeps: Sweeps::default(),
        }
    }

    async fn write(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
        is_announced: bool,
    ) -> Result<Update, SqliteStoreError> {
        let mut writing = self.writer.begin_with(WRITE).await?;
        // No other connection writes until the commit, so this is the time of the write.
        let written = record.clone().stamped(stamps, self.clock.now()).in_whole_millis();
        let updated = bind_fields(sqlx::query(UPDATE), &written)
            .bind(record.id.as_str())
            .bind(record.signed_version())
            .execute(&mut *writing)
            .await?;
        if updated.rows_affected() > 0 {
            if is_announced {
                sqlx::query(ANNOUNCE).bind(record.id.as_str()).execute(&mut *writing).await?;
            }
            writing.commit().await?;
            return Ok(Update::Done(Box::new(written)));
        }
        let exists =
            sqlx::query(EXISTS).bind(record.id.as_str()).fetch_optional(&mut *writing).await?.is_some();
        writing.rollback().await?;
        Ok(Update::not_written(exists))
    }

    /// Lists any number of sessions; other readers get the connection between the pages.
    async fn list_in_pages(&self, subject: &str, now: i64) -> Result<Vec<SessionRecord>, SqliteStoreError> {
        let ids = sqlx::query_scalar::<_, String>(LIST_IDS).bind(subject).bind(now);
        let ids = ids.fetch_all(&self.reader).await?;
        let mut listed = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let page = serde_json::json!(page).to_string();
            let rows = sqlx::query(SELECT_PAGE).bind(page).fetch_all(&self.reader).await?;
            for row in &rows {
                listed.push(from_row(row)?);
            }
        }
        Ok(listed)
    }

    /// Removes expired sessions in batches, alongside requests; other writers can proceed between batches.
    fn sweep_alongside(&self) {
        let store = self.clone();
        self.sweeps.start(move || {
            let store = store.clone();
            async move {
                // Old entries of the feed first, which are asked for no more.
                let _ = store.sweep_changes().await;
                // After a failure, the next sweep tries again. Expired sessions are not accepted in the meantime.
                store.sweep_batch().await.is_ok_and(|removed| removed >= SWEEP_SIZE.unsigned_abs().into())
            }
        });
    }
}

impl RefreshStore for SqliteStore {
    type Error = SqliteStoreError;

    async fn create(&self, session: NewRecord) -> Result<Created, SqliteStoreError> {
        let mut writing = self.writer.begin_with(WRITE).await?;
        // Not before it is our turn to write: sessions begin in the order of their times.
        let record = session.begin(self.clock.now()).in_whole_millis();
        bind_fields(sqlx::query(INSERT).bind(record.id.as_str()), &record)
            .bind(record.signed_version())
            .execute(&mut *writing)
            .await?;
        writing.commit().await?;
        self.sweep_alongside();
        Ok(Created::Done(record))
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, SqliteStoreError> {
        let row = sqlx::query(SELECT).bind(id.as_str()).fetch_optional(&self.reader).await?;
        let record = row.as_ref().map(from_row).transpose()?;
        Ok(Snapshot { record, now: self.clock.now() })
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, SqliteStoreError> {
        self.write(record, stamps, false).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, SqliteStoreError> {
        let mut connection = self.reader.acquire().await?;
        Ok(Changes::Since(feed::page(&mut connection, cursor).await?))
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.next_push()
    }

    async fn update_announced(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> Result<Update, SqliteStoreError> {
        self.write(record, stamps, true).await
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, SqliteStoreError> {
        let removed = sqlx::query(DELETE).bind(id.as_str()).execute(&self.writer).await?;
        Ok(removed.rows_affected() > 0)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, SqliteStoreError> {
        let now = ends(self.clock.now());
        let first = sqlx::query(LIST).bind(subject).bind(now);
        let rows = first.fetch_all(&self.reader).await?;
        if rows.len() > PAGE {
            return self.list_in_pages(subject, now).await;
        }
        let mut listed = rows.iter().map(from_row).collect::<Result<Vec<_>, _>>()?;
        listed.sort_by(SessionRecord::by_sign_in);
        Ok(listed)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, SqliteStoreError> {
        let mut removed = 0;
        loop {
            let batch =
                sqlx::query(DELETE_ALL).bind(subject).bind(keep.map(SessionId::as_str)).bind(BATCH as i64);
            let gone = batch.execute(&self.writer).await?.rows_affected();
            removed += gone;
            if gone < BATCH {
                return Ok(removed);
            }
        }
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

fn options_for(path: &Path) -> Result<SqliteConnectOptions, SqliteStoreError> {
    // The path is made absolute because the pool may open connections after the working directory has changed.
    // `:memory:` stays unchanged: it must fail to enter WAL, not become the name of a file.
    let path = if path == Path::new(":memory:") { Ok(path.to_owned()) } else { std::path::absolute(path) };
    let path = path.map_err(|error| SqliteStoreError { reason: Reason::Path(error) })?;
    Ok(SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Full))
}

/// Creates the file, unless it exists, so that no other user of the machine can read it. SQLite gives the files beside it
/// the same mode.
///
/// A failure is left to SQLite, whose error says more.
fn keep_from_others(path: &Path) {
    #[cfg(unix)]
    if path != Path::new(":memory:") {
        use std::os::unix::fs::OpenOptionsExt;
        // Of a link that leads nowhere yet, SQLite would create the target.
        let target = std::fs::read_link(path).ok();
        let path =
            target.and_then(|target| Some(path.parent()?.join(target))).unwrap_or_else(|| path.to_owned());
        let _ = std::fs::OpenOptions::new().append(true).create_new(true).mode(0o600).open(path);
    }
    #[cfg(not(unix))]
    let _ = path;
}

/// Switches the database to a write-ahead log. The setting is stored in the file.
async fn enter_wal(connection: &mut SqliteConnection, limit: Duration) -> Result<(), SqliteStoreError> {
    let began = Instant::now();
    loop {
        match sqlx::query_scalar::<_, String>(WAL).fetch_one(&mut *connection).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(SqliteStoreError { reason: Reason::NoWal }),
            Err(error) if is_busy(&error) && began.elapsed() < limit => {
                // Another process is opening the file. SQLite does not wait for the lock that changing the
                // journal mode requires, but it does wait for this one.
                sqlx::raw_sql("BEGIN EXCLUSIVE; COMMIT").execute(&mut *connection).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for its turn to write here, and not at the first statement that writes.
const WRITE: &str = "BEGIN IMMEDIATE";
const READERS: u32 = 4;
const SWEEP_SIZE: i32 = 100;
/// The number of records of a subject that one statement reads.
const PAGE: usize = 1_000;
/// The number of sessions of a subject that one statement removes, while which no other writer gets its turn.
const BATCH: u64 = 1_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_shows_whether_there_is_another() {
        assert!(LIST.ends_with(&format!("LIMIT {}", PAGE + 1)), "{LIST}");
    }
}
