//! Records as rows, and back.

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

fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, SqliteStoreError> {
    from_millis(millis).ok_or_else(|| SqliteStoreError::corrupt(column))
}
