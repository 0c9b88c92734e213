//! The table and its versions.

use sqlx::{Connection, Executor, Row, SqlSafeStr, sqlite::SqliteConnection};

use super::{
    error::{Reason, SqliteStoreError},
    rows::{INSERT, SELECT, UPDATE},
};

/// Brings the table to the newest version, unless it has it, and checks it.
///
/// Several processes may do it at once: the first makes the table, the others find it made.
pub(super) async fn prepare(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    if version(connection).await? < MIGRATIONS.len() {
        migrate(connection).await?;
    }
    check_shape(connection).await
}

async fn migrate(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    // Another process may have done it meanwhile.
    let done = version(&mut transaction).await?;
    for migration in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(*migration).execute(&mut *transaction).await?;
    }
    // Before a table of another application is changed for good.
    check_shape(&mut transaction).await?;
    transaction.commit().await?;
    Ok(())
}

/// Finds a table of the application with the same name here and not at the first sign-in.
async fn check_shape(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    for statement in [INSERT, SELECT, UPDATE] {
        (*connection).prepare(statement.into_sql_str()).await?;
    }
    Ok(())
}

/// How many of our migrations the table has had: all when a later version has made it that says we can go on
/// with it.
async fn version(connection: &mut SqliteConnection) -> Result<usize, SqliteStoreError> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    if !is_there("sessions_version") {
        // The first version kept none.
        return Ok(is_there("sessions").into());
    }
    let stored = sqlx::query(VERSION).fetch_one(connection).await?;
    let (version, compatible_from): (i64, i64) =
        (stored.try_get("version")?, stored.try_get("compatible_from")?);
    let known = |number: i64| usize::try_from(number).ok().filter(|number| *number <= MIGRATIONS.len());
    match (known(version), known(compatible_from)) {
        (Some(version), _) => Ok(version),
        (None, Some(_)) => Ok(MIGRATIONS.len()),
        (None, None) => Err(SqliteStoreError { reason: Reason::Newer(version) }),
    }
}

const TABLES: &str =
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name IN ('sessions', 'sessions_version')";
const VERSION: &str = "SELECT version, compatible_from FROM sessions_version";

/// One for each version. What is released never changes: later versions append.
///
/// `compatible_from` is the oldest version that can go on with the table: its statements name the columns that they
/// read and write, and those that it does not know are nullable or have a default. A migration says which it is.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2];

const VERSION_1: &str = "
CREATE TABLE sessions (
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
CREATE INDEX sessions_by_subject ON sessions (subject);
CREATE INDEX sessions_by_expiry ON sessions (min(idle_expires_at, absolute_expires_at));
";

/// The parent and what has been seen, times that are counted from, and room for what comes.
///
/// Changes no row, so that it takes no longer with many: rows that lack a parent are read with what
/// follows from the rest. Who does not know of parents cannot go on beside those who do.
///
/// The version is in a table, not in `PRAGMA user_version`, which has room for one number only, and is
/// the application's where the sessions are in its own database.
const VERSION_2: &str = "
ALTER TABLE sessions ADD COLUMN parent INTEGER;
ALTER TABLE sessions ADD COLUMN seen INTEGER;
ALTER TABLE sessions ADD COLUMN issued_at INTEGER;
ALTER TABLE sessions ADD COLUMN claims_at INTEGER;
ALTER TABLE sessions ADD COLUMN extension BLOB NOT NULL DEFAULT x'';
CREATE TABLE sessions_version (version INTEGER NOT NULL, compatible_from INTEGER NOT NULL) STRICT;
INSERT INTO sessions_version VALUES (2, 2);
";
