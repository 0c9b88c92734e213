//! Conversion between records and rows, and the SQL statements.

use std::time::SystemTime;

use sqlx::{
    Row,
    query::Query,
    sqlite::{Sqlite, SqliteArguments, SqliteRow},
};

use super::error::SqliteStoreError;
use crate::store::{
    millis::{begins, ends, from_millis},
    record::{SessionId, SessionRecord},
};

/// Binds all columns except the id and the version, in the order of `INSERT` and `UPDATE`.
pub(super) fn bind_fields<'q>(
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

pub(super) fn from_row(row: &SqliteRow) -> Result<SessionRecord, SqliteStoreError> {
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

fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, SqliteStoreError> {
    from_millis(millis).ok_or_else(|| SqliteStoreError::corrupt(column))
}

pub(super) const WAL: &str = "PRAGMA journal_mode = WAL";

pub(super) const SCHEMA: &str = "
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

pub(super) const INSERT: &str = "
INSERT INTO sessions (
    id, subject, secret_hash, generation, confirmed_at, rotated_at, created_at, last_seen_at,
    idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, version
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) const UPDATE: &str = "
UPDATE sessions SET
    subject = ?, secret_hash = ?, generation = ?, confirmed_at = ?, rotated_at = ?, created_at = ?,
    last_seen_at = ?, idle_expires_at = ?, absolute_expires_at = ?, scope = ?, claims = ?,
    xsrf_token = ?, label = ?, version = version + 1
WHERE id = ? AND version = ?";

pub(super) const SELECT: &str = "SELECT * FROM sessions WHERE id = ?";

pub(super) const EXISTS: &str = "SELECT 1 FROM sessions WHERE id = ?";

pub(super) const LIST: &str = "
SELECT * FROM sessions
WHERE subject = ? AND min(idle_expires_at, absolute_expires_at) > ?
ORDER BY created_at, id";

pub(super) const DELETE: &str = "DELETE FROM sessions WHERE id = ?";

// Binding NULL removes every session: `id IS NOT NULL` holds for all rows.
pub(super) const DELETE_ALL: &str = "DELETE FROM sessions WHERE subject = ? AND id IS NOT ?";

pub(super) const SWEEP: &str = "
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE min(idle_expires_at, absolute_expires_at) <= ?
    ORDER BY min(idle_expires_at, absolute_expires_at)
    LIMIT ?
)";
