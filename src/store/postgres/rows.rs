//! Conversion between records and rows.

use std::{borrow::Cow, time::SystemTime};

use sqlx::{
    Postgres, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};

use super::error::{PostgresStoreError, Reason};
use crate::store::{
    contract::Snapshot,
    millis::{begins, ends, from_millis, whole_millis},
    record::{NewRecord, SessionId, SessionRecord, Stamps},
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
        .bind(&*new.extension)
}

/// Binds the id, the expected version and all columns that can change, those with a stamp behind it.
pub(super) fn bind_update<'q>(query: PgQuery<'q>, record: &'q SessionRecord, stamps: Stamps) -> PgQuery<'q> {
    query
        .bind(escape(record.id.as_str()))
        .bind(record.signed_version())
        .bind(record.secret_hash.as_slice())
        .bind(i64::from(record.generation))
        .bind(i64::from(record.parent))
        .bind(record.seen.map(i64::from))
        .bind(stamps.confirmed_at)
        .bind(record.confirmed_at.map(begins))
        .bind(stamps.rotated_at)
        .bind(begins(record.rotated_at))
        .bind(stamps.issued_at)
        .bind(begins(record.issued_at))
        .bind(begins(record.claims_at))
        .bind(stamps.last_seen_at)
        .bind(begins(record.last_seen_at))
        .bind(stamps.idle.map(whole_millis))
        .bind(ends(record.idle_expires_at))
        .bind(ends(record.absolute_expires_at))
        .bind(escape(&record.scope))
        .bind(escape(&record.claims))
        .bind(escape(&record.xsrf_token))
        .bind(escape(&record.label))
        .bind(&*record.extension)
}

/// Converts a row of the clock, joined with a session if there is one.
pub(super) fn snapshot(row: &PgRow) -> Result<Snapshot, PostgresStoreError> {
    if row.try_get("standby")? {
        return Err(Reason::Standby.into());
    }
    let is_session = row.try_get::<Option<i64>, _>("version")?.is_some();
    let record = is_session.then(|| from_row(row)).transpose()?;
    Ok(Snapshot { record, now: time(row, "now")? })
}

fn from_row(row: &PgRow) -> Result<SessionRecord, PostgresStoreError> {
    let rotated_at = time(row, "rotated_at")?;
    let parent = number_if_any(row, "parent")?;
    let record = SessionRecord {
        id: SessionId::new(text(row, "id")?),
        subject: text(row, "subject")?,
        secret_hash: row
            .try_get::<Vec<u8>, _>("secret_hash")?
            .try_into()
            .map_err(|_| PostgresStoreError::corrupt("secret_hash"))?,
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
        scope: text(row, "scope")?,
        claims: text(row, "claims")?,
        xsrf_token: text(row, "xsrf_token")?,
        label: text(row, "label")?,
        extension: row.try_get::<Vec<u8>, _>("extension")?.into_boxed_slice(),
        version: number(row, "version")?,
    };
    // A row that has not been written since records have parents.
    Ok(if parent.is_none() { record.of_first_version() } else { record })
}

/// The time of a write; `None` when nothing was written.
pub(super) fn written(row: &PgRow) -> Result<Option<SystemTime>, PostgresStoreError> {
    time_if_any(row, "now")
}

pub(super) fn time(row: &PgRow, column: &'static str) -> Result<SystemTime, PostgresStoreError> {
    to_time(row.try_get(column)?, column)
}

fn time_if_any(row: &PgRow, column: &'static str) -> Result<Option<SystemTime>, PostgresStoreError> {
    row.try_get::<Option<i64>, _>(column)?.map(|millis| to_time(millis, column)).transpose()
}

fn text(row: &PgRow, column: &'static str) -> Result<Box<str>, PostgresStoreError> {
    unescape(row.try_get(column)?).ok_or_else(|| PostgresStoreError::corrupt(column))
}

fn number<T: TryFrom<i64>>(row: &PgRow, column: &'static str) -> Result<T, PostgresStoreError> {
    row.try_get::<i64, _>(column)?.try_into().map_err(|_| PostgresStoreError::corrupt(column))
}

fn number_if_any(row: &PgRow, column: &'static str) -> Result<Option<u32>, PostgresStoreError> {
    let number = row.try_get::<Option<i64>, _>(column)?;
    number.map(u32::try_from).transpose().map_err(|_| PostgresStoreError::corrupt(column))
}

fn to_time(millis: i64, column: &'static str) -> Result<SystemTime, PostgresStoreError> {
    from_millis(millis).ok_or_else(|| PostgresStoreError::corrupt(column))
}

/// Escapes NUL, which PostgreSQL does not store, with U+0001 as the escape character.
///
/// Text that contains neither character is unchanged, and so stays readable for operators.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains([NUL, ESCAPE]) {
        return Cow::Borrowed(text);
    }
    // U+0001 is replaced first, because replacing NUL inserts more of it.
    Cow::Owned(text.replace(ESCAPE, "\u{1}1").replace(NUL, "\u{1}0"))
}

/// Returns the original text, or `None` if `stored` is not the output of [`escape`].
pub(super) fn unescape(stored: String) -> Option<Box<str>> {
    if !stored.contains(ESCAPE) {
        return Some(stored.into_boxed_str());
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars();
    while let Some(character) = characters.next() {
        text.push(match character {
            ESCAPE => match characters.next()? {
                '0' => NUL,
                '1' => ESCAPE,
                _ => return None,
            },
            other => other,
        });
    }
    Some(text.into_boxed_str())
}

const NUL: char = '\0';
const ESCAPE: char = '\u{1}';

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_round_trips_without_nul(text in "[\\x00\\x01\\x0201a\u{1f980}]{0,12}", other in ".*") {
            for text in [text, other] {
                let stored = escape(&text).into_owned();
                prop_assert!(!stored.contains('\0'));
                prop_assert_eq!(unescape(stored), Some(text.into_boxed_str()));
            }
        }

        #[test]
        fn escaping_reverses_unescaping(stored in "[\\x0101a]{0,8}") {
            if let Some(text) = unescape(stored.clone()) {
                prop_assert_eq!(escape(&text), stored);
            }
        }
    }

    #[test]
    fn ordinary_text_is_not_changed() {
        for text in ["", "ada", "{\"role\":\"admin\"}", "\u{1f980}", "\\0 \\u0001"] {
            assert!(matches!(escape(text), Cow::Borrowed(same) if same == text), "{text}");
        }
        assert_eq!(escape("a\0b\u{1}c"), "a\u{1}0b\u{1}1c");
    }

    #[test]
    fn an_invalid_escape_is_detected() {
        for stored in ["\u{1}", "a\u{1}", "\u{1}2", "\u{1}\u{1}1", "\u{1}00\u{1}"] {
            assert_eq!(unescape(stored.to_owned()), None, "{stored:?}");
        }
    }
}
