//! The feed of sessions that have ended or changed.
//!
//! A trigger writes the entry of a session that is deleted, by whomever, in the transaction that deletes it. There is one
//! writer at a time, so the numbers of entries are in the order of their commits.

use sqlx::{Connection, Row, sqlite::SqliteConnection};

use super::{error::SqliteStoreError, rows::CHANGES};
use crate::store::{
    feed::{Cursor, Page},
    record::SessionId,
};

/// Returns the changes after `cursor`, the number of an entry.
pub(super) async fn page(
    connection: &mut SqliteConnection,
    cursor: Option<&Cursor>,
) -> Result<Page, SqliteStoreError> {
    // One snapshot for both.
    let mut reading = connection.begin().await?;
    let ends = sqlx::query(ENDS).fetch_one(&mut *reading).await?;
    let (before_first, last): (i64, i64) = (ends.try_get(0)?, ends.try_get(1)?);
    let number = cursor.and_then(|cursor| cursor.as_str().parse().ok());
    let Some(from) = number.filter(|number| (before_first..=last).contains(number)) else {
        return Ok(Page {
            sessions: Vec::new(),
            is_gap: true,
            has_more: false,
            next: Cursor::new(last.to_string()),
            now: None,
        });
    };
    let rows = sqlx::query(CHANGES).bind(from).fetch_all(&mut *reading).await?;
    let next = rows.last().map_or(Ok(last), |row| row.try_get("seq"))?;
    let sessions = rows.iter().map(|row| Ok(SessionId::new(row.try_get::<String, _>("id")?)));
    Ok(Page {
        sessions: sessions.collect::<Result<_, SqliteStoreError>>()?,
        is_gap: false,
        has_more: next < last,
        next: Cursor::new(next.to_string()),
        // The file has no clock.
        now: None,
    })
}

/// The numbers before the first entry that is kept, and of the last one that there has been.
const ENDS: &str = "
SELECT coalesce((SELECT min(seq) - 1 FROM sessions_changes), last.seq), last.seq
FROM (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'sessions_changes'), 0) AS seq) AS last";
