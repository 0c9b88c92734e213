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
        .bind(i64::from(record.parent))
        .bind(record.seen.map(i64::from))
        .bind(record.confirmed_at.map(begins))
        .bind(begins(record.rotated_at))
        .bind(begins(record.issued_at))
        .bind(begins(record.claims_at))
        .bind(begins(record.created_at))
        .bind(begins(record.last_seen_at))
        .bind(ends(record.idle_expires_at))
        .bind(ends(record.absolute_expires_at))
        .bind(&*record.scope)
        .bind(&*record.claims)
        .bind(&*record.xsrf_token)
        .bind(&*record.label)
        .bind(&*record.extension)
}

pub(super) fn from_row(row: &SqliteRow) -> Result<SessionRecord, SqliteStoreError> {
    let text = |column: &'static str| row.try_get::<String, _>(column).map(String::into_boxed_str);
    let rotated_at = time(row, "rotated_at")?;
    let parent = number_if_any(row, "parent")?;
    let record = SessionRecord {
        id: SessionId::new(row.try_get::<String, _>("id")?),
        subject: text("subject")?,
        secret_hash: row
            .try_get::<Vec<u8>, _>("secret_hash")?
            .try_into()
            .map_err(|_| SqliteStoreError::corrupt("secret_hash"))?,
        generation: number(row, "generation")?,
        parent: parent.unwrap_or_default(),
        seen: number_if_any(row, "seen")?,
        confirmed_at: time_if_any(row, "confirmed_at")?,
        rotated_at,
        issued_at: time_if_any(row, "issued_at")?.unwrap_or(rotated_at),
        claims_at: time_if_any(row, "claims_at")?.unwrap_or(rotated_at),
        created_at: time(row, "created_at")?,
        last_seen_at: time(row, "last_seen_at")?,
        idle_expires_at: time(row, "idle_expires_at")?,
        absolute_expires_at: time(row, "absolute_expires_at")?,
        scope: text("scope")?,
        claims: text("claims")?,
        xsrf_token: text("xsrf_token")?,
        label: text("label")?,
        extension: row.try_get::<Vec<u8>, _>("extension")?.into_boxed_slice(),
        version: number(row, "version")?,
    };
    // A row that has not been written since records have parents.
    Ok(if parent.is_none() { record.of_first_version() } else { record })
}

fn time(row: &SqliteRow, column: &'static str) -> Result<SystemTime, SqliteStoreError> {
    time_if_any(row, column)?.ok_or_else(|| SqliteStoreError::corrupt(column))
}

fn time_if_any(row: &SqliteRow, column: &'static str) -> Result<Option<SystemTime>, SqliteStoreError> {
    let to_time = |millis| from_millis(millis).ok_or_else(|| SqliteStoreError::corrupt(column));
    row.try_get::<Option<i64>, _>(column)?.map(to_time).transpose()
}

fn number<T: TryFrom<i64>>(row: &SqliteRow, column: &'static str) -> Result<T, SqliteStoreError> {
    row.try_get::<i64, _>(column)?.try_into().map_err(|_| SqliteStoreError::corrupt(column))
}

fn number_if_any(row: &SqliteRow, column: &'static str) -> Result<Option<u32>, SqliteStoreError> {
    let number = row.try_get::<Option<i64>, _>(column)?;
    number.map(u32::try_from).transpose().map_err(|_| SqliteStoreError::corrupt(column))
}

pub(super) const WAL: &str = "PRAGMA journal_mode = WAL";

pub(super) const INSERT: &str = "
INSERT INTO sessions (
    id, subject, secret_hash, generation, parent, seen, confirmed_at, rotated_at, issued_at, claims_at, created_at,
    last_seen_at, idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, extension, version
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

pub(super) const UPDATE: &str = "
UPDATE sessions SET
    subject = ?, secret_hash = ?, generation = ?, parent = ?, seen = ?, confirmed_at = ?, rotated_at = ?,
    issued_at = ?, claims_at = ?, created_at = ?, last_seen_at = ?, idle_expires_at = ?,
    absolute_expires_at = ?, scope = ?, claims = ?, xsrf_token = ?, label = ?, extension = ?,
    version = version + 1
WHERE id = ? AND version = ?";

// By name: a later version may add columns while this one runs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, subject, secret_hash, generation, parent, seen, confirmed_at, rotated_at, issued_at, \
             claims_at, created_at, last_seen_at, idle_expires_at, absolute_expires_at, scope, claims, \
             xsrf_token, label, extension, version FROM sessions ",
            $rest
        )
    };
}

pub(super) const SELECT: &str = select!("WHERE id = ?");

pub(super) const EXISTS: &str = "SELECT 1 FROM sessions WHERE id = ?";

/// The limit is one more than a page. It is not bound, since SQLite prepares a statement anew whenever its limit is.
pub(super) const LIST: &str =
    select!("WHERE subject = ? AND min(idle_expires_at, absolute_expires_at) > ? LIMIT 1001");

/// The ids alone: of half a million sessions, these take less than a second.
pub(super) const LIST_IDS: &str = "
SELECT id FROM sessions
WHERE subject = ? AND min(idle_expires_at, absolute_expires_at) > ? ORDER BY created_at, id";

/// Binds the ids as a JSON array.
pub(super) const SELECT_PAGE: &str =
    select!("WHERE id IN (SELECT value FROM json_each(?)) ORDER BY created_at, id");

pub(super) const ANNOUNCE: &str = "INSERT INTO sessions_changes (id) VALUES (?)";

pub(super) const CHANGES: &str =
    "SELECT seq, id FROM sessions_changes WHERE seq > ? ORDER BY seq LIMIT 10000";

pub(super) const LAST_CHANGE: &str = "SELECT coalesce(max(seq), 0) FROM sessions_changes";

pub(super) const FORGET_CHANGES: &str = "DELETE FROM sessions_changes WHERE seq > ?";

/// Keeps the last hundred thousand.
pub(super) const SWEEP_CHANGES: &str = "
DELETE FROM sessions_changes WHERE seq <= (SELECT max(seq) FROM sessions_changes) - 100000";

pub(super) const DELETE: &str = "DELETE FROM sessions WHERE id = ?";

// Binding NULL removes every session: `id IS NOT NULL` holds for all rows.
pub(super) const DELETE_ALL: &str = "
DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE subject = ? AND id IS NOT ? LIMIT ?)";

pub(super) const SWEEP: &str = "
DELETE FROM sessions WHERE id IN (
    SELECT id FROM sessions
    WHERE min(idle_expires_at, absolute_expires_at) <= ?
    ORDER BY min(idle_expires_at, absolute_expires_at)
    LIMIT ?
)";
