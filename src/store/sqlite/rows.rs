//! Records as rows, and back.

use std::time::{Duration, SystemTime};

use sqlx::{
    Row,
    query::Query,
    sqlite::{Sqlite, SqliteArguments, SqliteRow},
};

use super::SqliteStoreError;
use crate::{
    clock::{END_OF_YEAR_9999, from_epoch, since_epoch},
    store::{SessionId, SessionRecord},
};

/// Binds all columns that can change, in the order of `INSERT` and `UPDATE`.
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

/// `record` with its times as they will be read back.
pub(super) fn as_stored(record: SessionRecord) -> SessionRecord {
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
pub(super) fn begins(time: SystemTime) -> i64 {
    let rest = since_epoch(time).subsec_nanos() % NANOS_PER_MILLI;
    let millis = ends(time);
    if rest == 0 || millis == MAX_MILLIS { millis } else { millis + 1 }
}

/// Milliseconds of a time at which something ends, and of the present: rounded down.
pub(super) fn ends(time: SystemTime) -> i64 {
    i64::try_from(since_epoch(time).as_millis()).map_or(MAX_MILLIS, |millis| millis.min(MAX_MILLIS))
}

pub(super) fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, SqliteStoreError> {
    match u64::try_from(millis) {
        Ok(positive) if millis <= MAX_MILLIS => Ok(from_epoch(Duration::from_millis(positive))),
        _ => Err(SqliteStoreError::corrupt(column)),
    }
}

/// The version as SQLite has it; one that it cannot have is NULL, which equals no stored one.
pub(super) fn version(record: &SessionRecord) -> Option<i64> {
    record.version.try_into().ok()
}

pub(super) const NANOS_PER_MILLI: u32 = 1_000_000;
pub(super) const MAX_MILLIS: i64 = END_OF_YEAR_9999 as i64 * 1000;
