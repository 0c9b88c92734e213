//! Records as rows, and back.

use std::time::SystemTime;

use sqlx::{
    Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::{
    error::{PostgresStoreError, Reason},
    text::{escape, unescape},
};
use crate::store::{
    contract::Snapshot,
    millis::{begins, ends, from_millis, whole_millis},
    record::{NewRecord, SessionId, SessionRecord},
};

pub(super) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

pub(super) fn bind_new<'q>(query: PgQuery<'q>, new: &'q NewRecord) -> PgQuery<'q> {
    query
        .bind(escape(new.id.as_str()))
        .bind(escape(&new.subject))
        .bind(new.secret_hash.as_slice())
        .bind(whole_millis(new.idle))
        .bind(whole_millis(new.absolute))
        .bind(escape(&new.scope))
        .bind(escape(&new.claims))
        .bind(escape(&new.xsrf_token))
        .bind(escape(&new.label))
}

/// Binds the id, the expected version and all columns that can change.
pub(super) fn bind_update<'q>(query: PgQuery<'q>, record: &'q SessionRecord) -> PgQuery<'q> {
    query
        .bind(escape(record.id.as_str()))
        .bind(record.signed_version())
        .bind(record.secret_hash.as_slice())
        .bind(i64::from(record.generation))
        .bind(record.confirmed_at.map(begins))
        .bind(begins(record.rotated_at))
        .bind(begins(record.last_seen_at))
        .bind(ends(record.idle_expires_at))
        .bind(ends(record.absolute_expires_at))
        .bind(escape(&record.scope))
        .bind(escape(&record.claims))
        .bind(escape(&record.xsrf_token))
        .bind(escape(&record.label))
}

/// A row of the clock, joined with a session or with none.
pub(super) fn snapshot(row: &PgRow) -> Result<Snapshot, PostgresStoreError> {
    if row.try_get("standby")? {
        return Err(Reason::Standby.into());
    }
    let is_session = row.try_get::<Option<i64>, _>("version")?.is_some();
    let record = is_session.then(|| from_row(row)).transpose()?;
    Ok(Snapshot { record, now: time(row, "now")? })
}

fn from_row(row: &PgRow) -> Result<SessionRecord, PostgresStoreError> {
    Ok(SessionRecord {
        id: SessionId::new(text(row, "id")?),
        subject: text(row, "subject")?,
        secret_hash: row
            .try_get::<Vec<u8>, _>("secret_hash")?
            .try_into()
            .map_err(|_| PostgresStoreError::corrupt("secret_hash"))?,
        generation: number(row, "generation")?,
        confirmed_at: row
            .try_get::<Option<i64>, _>("confirmed_at")?
            .map(|millis| to_time(millis, "confirmed_at"))
            .transpose()?,
        rotated_at: time(row, "rotated_at")?,
        created_at: time(row, "created_at")?,
        last_seen_at: time(row, "last_seen_at")?,
        idle_expires_at: time(row, "idle_expires_at")?,
        absolute_expires_at: time(row, "absolute_expires_at")?,
        scope: text(row, "scope")?,
        claims: text(row, "claims")?,
        xsrf_token: text(row, "xsrf_token")?,
        label: text(row, "label")?,
        version: number(row, "version")?,
    })
}

pub(super) fn time(row: &PgRow, column: &'static str) -> Result<SystemTime, PostgresStoreError> {
    to_time(row.try_get(column)?, column)
}

fn text(row: &PgRow, column: &'static str) -> Result<Box<str>, PostgresStoreError> {
    unescape(row.try_get(column)?).ok_or_else(|| PostgresStoreError::corrupt(column))
}

fn number<T: TryFrom<i64>>(row: &PgRow, column: &'static str) -> Result<T, PostgresStoreError> {
    row.try_get::<i64, _>(column)?.try_into().map_err(|_| PostgresStoreError::corrupt(column))
}

fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, PostgresStoreError> {
    from_millis(millis).ok_or_else(|| PostgresStoreError::corrupt(column))
}
