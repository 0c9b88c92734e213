use std::{
    error::Error as StdError,
    fmt, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use sqlx::{
    ConnectOptions, Connection, Executor, Row, SqlSafeStr,
    query::Query,
    sqlite::{
        Sqlite, SqliteArguments, SqliteConnectOptions, SqliteConnection, SqlitePool, SqlitePoolOptions,
        SqliteRow, SqliteSynchronous,
    },
};

use super::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Update};
use crate::{
    Clock,
    clock::{END_OF_YEAR_9999, SharedClock, from_epoch, since_epoch},
};

/// Sessions in one SQLite file: for applications on one machine whose users stay signed in over a
/// restart.
///
/// Several processes of one machine may share the file; a network file system must not hold it.
/// The time is the machine's. Every write has reached the disk before it is answered, because a
/// sign-out that a power failure undoes would revive the session. There is no limit to the number
/// of sessions; expired ones are removed, some at a time, as others come. Clones share the
/// connections.
///
/// The file holds hashes of secrets, but claims and XSRF tokens as they are: let nobody else read
/// it. Two files named after it, with `-wal` and `-shm` at the end, belong to it.
///
/// Comes with the feature `sqlite`, which needs Rust 1.94 and runs on Tokio only.
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
///     assert!(store.list("alice").await?.is_empty());
///     # std::fs::remove_dir_all(&directory)?;
///     Ok(())
/// }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    reader: SqlitePool,
    /// One connection when the pools are ours: writers of one process then queue in order, instead
    /// of polling SQLite's lock against each other.
    writer: SqlitePool,
    clock: SharedClock,
    last_sweep: Arc<Mutex<Option<SystemTime>>>,
}

impl SqliteStore {
    /// Opens the sessions in the file at `path`, and creates file and table when they are missing.
    ///
    /// The directory must exist. Each call waits at most 5 seconds for a connection and 5 more for
    /// other processes that write to the file, then it fails.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or created, when it is not a SQLite database in a real file
    /// (`:memory:` is none), or when it has a table `sessions` of another shape.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, SqliteStoreError> {
        let options = options_for(path.as_ref())?;
        let mut first = options.clone().create_if_missing(true).connect().await?;
        enter_wal(&mut first).await?;
        create_schema(&mut first).await?;
        let writer = pool_of(1).connect_with(options.clone()).await?;
        let reader = pool_of(READERS).connect_lazy_with(options);
        first.close().await?;
        Ok(Self::new(reader, writer))
    }

    /// Keeps the sessions in the database of `pool`, in a table `sessions` that is created when it
    /// is missing.
    ///
    /// How the connections are set up is the pool's business. To keep what [`open`](Self::open)
    /// gives, let them use the journal mode WAL, `synchronous` FULL, and short timeouts: sqlx waits
    /// 30 seconds for a connection by default. A pool over `:memory:` works with exactly one
    /// connection that is never closed, because each has a database of its own.
    ///
    /// # Errors
    ///
    /// When the database cannot be written, or when it has a table `sessions` of another shape.
    pub async fn from_pool(pool: SqlitePool) -> Result<Self, SqliteStoreError> {
        let mut connection = pool.acquire().await?;
        create_schema(&mut connection).await?;
        drop(connection);
        Ok(Self::new(pool.clone(), pool))
    }

    /// Takes the time from `clock`.
    ///
    /// Defaults to the operating system's clock. All processes that share the file must agree on
    /// the time.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    fn new(reader: SqlitePool, writer: SqlitePool) -> Self {
        Self { reader, writer, clock: SharedClock::default(), last_sweep: Arc::default() }
    }

    /// Removes some of the expired sessions, now and then. A failure is left to the next sweep: the
    /// sessions are dead anyway.
    async fn sweep(&self, connection: &mut SqliteConnection, now: SystemTime) {
        if !self.begin_sweep(now) {
            return;
        }
        let removed = sqlx::query(SWEEP).bind(ends(now)).bind(SWEEP_SIZE).execute(connection).await;
        if removed.is_ok_and(|done| done.rows_affected() >= SWEEP_SIZE.unsigned_abs().into()) {
            // There may be more: the next sign-in goes on, so that no rate of sign-ins outruns this.
            *self.last_sweep.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn begin_sweep(&self, now: SystemTime) -> bool {
        let mut last = self.last_sweep.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back is a reason to sweep, not to stop.
        let due =
            last.is_none_or(|last| now.duration_since(last).map_or(true, |since| since >= SWEEP_INTERVAL));
        if due {
            *last = Some(now);
        }
        due
    }
}

impl RefreshStore for SqliteStore {
    type Error = SqliteStoreError;

    async fn create(&self, session: NewRecord) -> Result<Created, SqliteStoreError> {
        let mut connection = self.writer.acquire().await?;
        let now = self.clock.now();
        let record = as_stored(session.begin(now));
        bind_fields(sqlx::query(INSERT).bind(record.id.as_str()), &record)
            .bind(version(&record))
            .execute(&mut *connection)
            .await?;
        self.sweep(&mut connection, now).await;
        Ok(Created::Done(record))
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, SqliteStoreError> {
        let row = sqlx::query(SELECT).bind(id.as_str()).fetch_optional(&self.reader).await?;
        let record = row.as_ref().map(from_row).transpose()?;
        Ok(Snapshot { record, now: self.clock.now() })
    }

    async fn update(&self, record: &SessionRecord) -> Result<Update, SqliteStoreError> {
        let updated = bind_fields(sqlx::query(UPDATE), record)
            .bind(record.id.as_str())
            .bind(version(record))
            .execute(&self.writer)
            .await?;
        if updated.rows_affected() > 0 {
            return Ok(Update::Done);
        }
        // Ids are never used again and versions only grow: what is true now was true a moment ago,
        // or the session has been removed since, which is as true an answer.
        let exists =
            sqlx::query(EXISTS).bind(record.id.as_str()).fetch_optional(&self.reader).await?.is_some();
        Ok(if exists { Update::Conflict } else { Update::Gone })
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, SqliteStoreError> {
        let removed = sqlx::query(DELETE).bind(id.as_str()).execute(&self.writer).await?;
        Ok(removed.rows_affected() > 0)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, SqliteStoreError> {
        let now = self.clock.now();
        let rows = sqlx::query(LIST).bind(subject).bind(ends(now)).fetch_all(&self.reader).await?;
        rows.iter().map(from_row).collect()
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, SqliteStoreError> {
        let removed = sqlx::query(DELETE_ALL)
            .bind(subject)
            .bind(keep.map(SessionId::as_str))
            .execute(&self.writer)
            .await?;
        Ok(removed.rows_affected())
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

/// Why a [`SqliteStore`] could not answer.
///
/// `source()` is what SQLite or sqlx reports, if the failure began there.
pub struct SqliteStoreError {
    reason: Reason,
}

enum Reason {
    Database(sqlx::Error),
    Path(io::Error),
    NoWal,
    /// A stored number or blob that no record can have; the column.
    Corrupt(&'static str),
}

impl SqliteStoreError {
    const fn corrupt(column: &'static str) -> Self {
        Self { reason: Reason::Corrupt(column) }
    }
}

impl From<sqlx::Error> for SqliteStoreError {
    fn from(error: sqlx::Error) -> Self {
        Self { reason: Reason::Database(error) }
    }
}

impl fmt::Display for SqliteStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Database(sqlx::Error::PoolTimedOut) => {
                f.write_str("no connection to the session database came free in time")
            }
            Reason::Database(error) if is_busy(error) => f.write_str("the session database is busy"),
            Reason::Database(sqlx::Error::ColumnDecode { .. }) => f.write_str("a stored session is corrupt"),
            Reason::Database(_) => f.write_str("the session database failed"),
            Reason::Path(_) => f.write_str("the path of the session database is unusable"),
            Reason::NoWal => f.write_str("the session database cannot keep a write-ahead log"),
            Reason::Corrupt(column) => write!(f, "a stored session is corrupt in column {column}"),
        }
    }
}

impl StdError for SqliteStoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            Reason::Database(error) => Some(error),
            Reason::Path(error) => Some(error),
            Reason::NoWal | Reason::Corrupt(_) => None,
        }
    }
}

impl fmt::Debug for SqliteStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the source's `Debug`, whose contents are up to another crate. Codes have no values.
        let code = match &self.reason {
            Reason::Database(error) => code_of(error),
            _ => None,
        };
        let mut debug = f.debug_struct("SqliteStoreError");
        debug.field("message", &self.to_string());
        if let Some(code) = code {
            debug.field("code", &code);
        }
        debug.finish_non_exhaustive()
    }
}

fn options_for(path: &Path) -> Result<SqliteConnectOptions, SqliteStoreError> {
    // The pool opens connections later as well, when the working directory may be another. A name
    // that SQLite would take for a database in memory stays as it is, and fails to enter WAL.
    let path = if path == Path::new(":memory:") { Ok(path.to_owned()) } else { std::path::absolute(path) };
    let path = path.map_err(|error| SqliteStoreError { reason: Reason::Path(error) })?;
    Ok(SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Full).busy_timeout(TIMEOUT))
}

fn pool_of(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new().max_connections(connections).acquire_timeout(TIMEOUT)
}

/// Gives the file a write-ahead log, for good.
async fn enter_wal(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        match sqlx::query_scalar::<_, String>(WAL).fetch_one(&mut *connection).await {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(_) => return Err(SqliteStoreError { reason: Reason::NoWal }),
            Err(error) if is_busy(&error) && Instant::now() < deadline => {
                // Another process opens the file, too. SQLite does not wait for the lock that the
                // change needs, but it does for this one.
                sqlx::raw_sql("BEGIN EXCLUSIVE; COMMIT").execute(&mut *connection).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn create_schema(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    sqlx::raw_sql(SCHEMA).execute(&mut *connection).await?;
    // A table of the application with the same name is found here and not at the first sign-in.
    (*connection).prepare(INSERT.into_sql_str()).await?;
    Ok(())
}

/// Binds all columns that can change, in the order of `INSERT` and `UPDATE`.
fn bind_fields<'q>(
    query: Query<'q, Sqlite, SqliteArguments>,
    record: &'q SessionRecord,
) -> Query<'q, Sqlite, SqliteArguments> {
    query
        .bind(&*record.subject)
        .bind(record.secret_hash.as_slice())
        .bind(i64::from(record.generation))
        .bind(record.confirmed_at.map(begins))
        .bind(begins(record.rotated_at))
        .bind(begins(record.created_at))
        .bind(begins(record.last_seen_at))
        .bind(ends(record.idle_expires_at))
        .bind(ends(record.absolute_expires_at))
        .bind(&*record.scope)
        .bind(&*record.claims)
        .bind(&*record.xsrf_token)
        .bind(&*record.label)
}

fn from_row(row: &SqliteRow) -> Result<SessionRecord, SqliteStoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column).map(String::into_boxed_str);
    Ok(SessionRecord {
        id: SessionId::new(row.try_get::<String, _>("id")?),
        subject: text("subject")?,
        secret_hash: row
            .try_get::<Vec<u8>, _>("secret_hash")?
            .try_into()
            .map_err(|_| SqliteStoreError::corrupt("secret_hash"))?,
        generation: row
            .try_get::<i64, _>("generation")?
            .try_into()
            .map_err(|_| SqliteStoreError::corrupt("generation"))?,
        confirmed_at: row
            .try_get::<Option<i64>, _>("confirmed_at")?
            .map(|millis| to_time(millis, "confirmed_at"))
            .transpose()?,
        rotated_at: to_time(row.try_get("rotated_at")?, "rotated_at")?,
        created_at: to_time(row.try_get("created_at")?, "created_at")?,
        last_seen_at: to_time(row.try_get("last_seen_at")?, "last_seen_at")?,
        idle_expires_at: to_time(row.try_get("idle_expires_at")?, "idle_expires_at")?,
        absolute_expires_at: to_time(row.try_get("absolute_expires_at")?, "absolute_expires_at")?,
        scope: text("scope")?,
        claims: text("claims")?,
        xsrf_token: text("xsrf_token")?,
        label: text("label")?,
        version: row
            .try_get::<i64, _>("version")?
            .try_into()
            .map_err(|_| SqliteStoreError::corrupt("version"))?,
    })
}

/// `record` with its times as they will be read back.
fn as_stored(record: SessionRecord) -> SessionRecord {
    let time = |millis: i64| from_epoch(Duration::from_millis(millis.unsigned_abs()));
    SessionRecord {
        confirmed_at: record.confirmed_at.map(|at| time(begins(at))),
        rotated_at: time(begins(record.rotated_at)),
        created_at: time(begins(record.created_at)),
        last_seen_at: time(begins(record.last_seen_at)),
        idle_expires_at: time(ends(record.idle_expires_at)),
        absolute_expires_at: time(ends(record.absolute_expires_at)),
        ..record
    }
}

/// Milliseconds of a time from which something is counted: rounded up, so that nothing settles
/// early.
fn begins(time: SystemTime) -> i64 {
    let rest = since_epoch(time).subsec_nanos() % NANOS_PER_MILLI;
    let millis = ends(time);
    if rest == 0 || millis == MAX_MILLIS { millis } else { millis + 1 }
}

/// Milliseconds of a time at which something ends, and of the present: rounded down.
fn ends(time: SystemTime) -> i64 {
    i64::try_from(since_epoch(time).as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, SqliteStoreError> {
    match u64::try_from(millis) {
        Ok(positive) if millis <= MAX_MILLIS => Ok(from_epoch(Duration::from_millis(positive))),
        _ => Err(SqliteStoreError::corrupt(column)),
    }
}

/// The version as SQLite has it; one that it cannot have is NULL, which equals no stored one.
fn version(record: &SessionRecord) -> Option<i64> {
    record.version.try_into().ok()
}

/// The extended result code of SQLite, if the error has one.
fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

fn is_busy(error: &sqlx::Error) -> bool {
    // The primary code is in the lowest byte: SQLITE_BUSY or SQLITE_LOCKED.
    code_of(error).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}

const TIMEOUT: Duration = Duration::from_secs(5);
const READERS: u32 = 4;
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
const SWEEP_SIZE: i32 = 100;
const NANOS_PER_MILLI: u32 = 1_000_000;
const MAX_MILLIS: i64 = END_OF_YEAR_9999 as i64 * 1000;

const WAL: &str = "PRAGMA journal_mode = WAL";

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT NOT NULL PRIMARY KEY,
    subject TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    generation INTEGER NOT NULL,
    confirmed_at INTEGER,
    rotated_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    last_seen_at INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    absolute_expires_at INTEGER NOT NULL,
    scope TEXT NOT NULL,
    claims TEXT NOT NULL,
    xsrf_token TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS sessions_by_subject ON sessions (subject);
CREATE INDEX IF NOT EXISTS sessions_by_expiry ON sessions (min(idle_expires_at, absolute_expires_at));
";

const INSERT: &str = "
INSERT INTO sessions (
    id, subject, secret_hash, generation, confirmed_at, rotated_at, created_at, last_seen_at,
    idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, version
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const UPDATE: &str = "
UPDATE sessions SET
    subject = ?, secret_hash = ?, generation = ?, confirmed_at = ?, rotated_at = ?, created_at = ?,
    last_seen_at = ?, idle_expires_at = ?, absolute_expires_at = ?, scope = ?, claims = ?,
    xsrf_token = ?, label = ?, version = version + 1
WHERE id = ? AND version = ?";

const SELECT: &str = "SELECT * FROM sessions WHERE id = ?";

const EXISTS: &str = "SELECT 1 FROM sessions WHERE id = ?";

const LIST: &str = "
SELECT * FROM sessions
WHERE subject = ? AND min(idle_expires_at, absolute_expires_at) > ?
ORDER BY created_at, id";

const DELETE: &str = "DELETE FROM sessions WHERE id = ?";

// `IS NOT NULL` holds for every id: without one to keep, all go.
const DELETE_ALL: &str = "DELETE FROM sessions WHERE subject = ? AND id IS NOT ?";

const SWEEP: &str = "
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE min(idle_expires_at, absolute_expires_at) <= ?
    ORDER BY min(idle_expires_at, absolute_expires_at)
    LIMIT ?
)";
