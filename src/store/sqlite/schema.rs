//! The table and its versions.

use sqlx::{Connection, Executor, Row, SqlSafeStr, sqlite::SqliteConnection};

use super::{
    error::{Reason, SqliteStoreError},
    rows::{ANNOUNCE, CHANGES, INSERT, SELECT, UPDATE},
};

/// Migrates the table to the newest version if necessary, and checks it.
///
/// Several processes may do so at once: the first creates the table, and the others find it.
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

/// Detects tables with other columns here rather than at the first sign-in.
async fn check_shape(connection: &mut SqliteConnection) -> Result<(), SqliteStoreError> {
    for statement in [INSERT, SELECT, UPDATE, ANNOUNCE, CHANGES] {
        (*connection).prepare(statement.into_sql_str()).await?;
    }
    Ok(())
}

/// Returns how many migrations of this version the table has had: all if a later version made it and declares it
/// compatible with this one.
async fn version(connection: &mut SqliteConnection) -> Result<usize, SqliteStoreError> {
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
    let is_there = |name: &str| tables.iter().any(|table| table == name);
    if !is_there("sessions_version") {
        // The first version kept none, and had no such column.
        let is_later: bool = sqlx::query_scalar(HAS_EXTENSION).fetch_one(connection).await?;
        return match is_later {
            true => Err(Reason::NoVersionTable.into()),
            false => Ok(is_there("sessions").into()),
        };
    }
    if !is_there("sessions") {
        return Err(Reason::NoTable.into());
    }
    let stored = sqlx::query(VERSION).fetch_all(connection).await?;
    let [stored] = stored.as_slice() else {
        return Err(Reason::VersionRows(stored.len()).into());
    };
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
const HAS_EXTENSION: &str =
    "SELECT EXISTS (SELECT 1 FROM pragma_table_info('sessions') WHERE name = 'extension')";
const VERSION: &str = "SELECT version, compatible_from FROM sessions_version";

/// One for each version. Released migrations never change; later versions append their own.
///
/// `compatible_from` is the oldest version of this crate that can still use the table: its statements name the columns
/// that they read and write, and columns that it does not know are nullable or have a default. Each migration sets it.
const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2, VERSION_3];

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

/// Adds the parent, the generation seen, two times, and bytes for later fields.
///
/// Changes no row, so it takes equally long for any number of them: for rows without a parent, the missing fields are
/// derived when they are read. Nodes of the first version must not run beside later ones, which rely on parents.
///
/// The version is stored in a table rather than in `PRAGMA user_version`, which holds a single number and belongs to the
/// application if the sessions share its database.
const VERSION_2: &str = "
ALTER TABLE sessions ADD COLUMN parent INTEGER;
ALTER TABLE sessions ADD COLUMN seen INTEGER;
ALTER TABLE sessions ADD COLUMN issued_at INTEGER;
ALTER TABLE sessions ADD COLUMN claims_at INTEGER;
ALTER TABLE sessions ADD COLUMN extension BLOB NOT NULL DEFAULT x'';
CREATE TABLE sessions_version (version INTEGER NOT NULL, compatible_from INTEGER NOT NULL) STRICT;
INSERT INTO sessions_version VALUES (2, 2);
";

/// Adds the feed of sessions that have ended or changed.
///
/// The trigger also announces what processes of the former version delete, or anyone else by hand.
const VERSION_3: &str = "
CREATE TABLE IF NOT EXISTS sessions_changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL) STRICT;
CREATE TRIGGER sessions_announce AFTER DELETE ON sessions BEGIN
    INSERT INTO sessions_changes (id) VALUES (OLD.id);
END;
UPDATE sessions_version SET version = 3, compatible_from = 2;
";
