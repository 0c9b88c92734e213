use std::{error::Error as StdError, fmt, io};

/// An error of a [`SqliteStore`](super::SqliteStore).
///
/// If the failure originates in SQLite or sqlx, `source()` returns their error.
pub struct SqliteStoreError {
    pub(super) reason: Reason,
}

pub(super) enum Reason {
    Database(sqlx::Error),
    Path(io::Error),
    NoWal,
    /// Another process reads what is in the write-ahead log.
    StillRead,
    /// A table of a later version of this crate; its version.
    Newer(i64),
    /// The table of sessions is missing, though its version is there.
    NoTable,
    /// The version is missing, though the table of sessions is there.
    NoVersionTable,
    /// The number of rows of the table that holds the version, which should be one.
    VersionRows(usize),
    /// A stored number or blob that no record can have; the column.
    Corrupt(&'static str),
}

impl SqliteStoreError {
    pub(super) const fn corrupt(column: &'static str) -> Self {
        Self { reason: Reason::Corrupt(column) }
    }
}

impl From<Reason> for SqliteStoreError {
    fn from(reason: Reason) -> Self {
        Self { reason }
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
                f.write_str("timed out waiting for a connection to the session database")
            }
            Reason::Database(error) if is_busy(error) => f.write_str("the session database is busy"),
            Reason::Database(sqlx::Error::ColumnDecode { .. }) => f.write_str("a stored session is corrupt"),
            Reason::Database(error) => f.write_str(meaning(error)),
            Reason::Path(_) => f.write_str("the path of the session database is unusable"),
            Reason::StillRead => f.write_str(
                "the session database was closed, but its write-ahead log is still in use by another process",
            ),
            Reason::NoWal => f.write_str("the session database cannot keep a write-ahead log"),
            Reason::Newer(version) => write!(
                f,
                "the sessions have schema version {version}, which a later version of tower-cookie-jwt has made: use that"
            ),
            Reason::NoTable => f.write_str(
                "the table `sessions` is missing: restore a backup, or, if no session is to be kept, drop the table \
                 `sessions_version`, so that both are created",
            ),
            Reason::NoVersionTable => f.write_str(
                "the table `sessions_version` is missing, which holds the version of the table `sessions`: restore a backup, or, if \
                 this version of tower-cookie-jwt made the sessions, run `CREATE TABLE sessions_version (version INTEGER NOT NULL, \
                 compatible_from INTEGER NOT NULL) STRICT; INSERT INTO sessions_version VALUES (3, 2)`",
            ),
            Reason::VersionRows(rows) => write!(
                f,
                "the table `sessions_version` has {rows} rows instead of one: restore a backup, or, if this version of \
                 tower-cookie-jwt made the sessions, run `DELETE FROM sessions_version; INSERT INTO sessions_version VALUES (3, 2)`"
            ),
            Reason::Corrupt(column) => write!(f, "a stored session is corrupt in column {column}"),
        }
    }
}

impl StdError for SqliteStoreError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &self.reason {
            Reason::Database(error) => Some(error),
            Reason::Path(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for SqliteStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The `Debug` output of the source is left out, since another crate decides what it reveals. Codes reveal
        // no stored values.
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

/// Describes an error for operators, according to SQLite's primary result code.
fn meaning(error: &sqlx::Error) -> &'static str {
    match code_of(error).map(|code| code & 0xff) {
        Some(8) => "the session database is read-only: let the process write to the file and its directory",
        Some(10) => "the session database cannot be read or written: see the system's log for its disk",
        Some(11) => {
            "the session database is damaged: restore a backup, or let users sign in again with a new file"
        }
        Some(13) => {
            "the disk of the session database is full: no user can sign in or out until there is room"
        }
        Some(14) => {
            "the session database cannot be opened: its directory must exist, and the process must be allowed to write to it"
        }
        Some(26) => "the session database is not an SQLite file: choose another path",
        _ => "the session database failed",
    }
}

/// Returns the extended result code of SQLite, if the error has one.
pub(super) fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error()?.code()?.parse().ok()
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    // The low byte holds the primary result code: SQLITE_BUSY or SQLITE_LOCKED.
    code_of(error).is_some_and(|code| matches!(code & 0xff, 5 | 6))
}
