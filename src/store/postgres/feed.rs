//! The feed of sessions that have ended or changed.
//!
//! A trigger writes the entry of a session that is deleted, by whomever, in the transaction that deletes it. A cursor is a
//! snapshot: new is what the former snapshot did not see, however late its transaction has committed. A sequence would
//! miss these.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sqlx::{ConnectOptions, PgConnection, Row, postgres::PgRow};

use super::{
    PostgresStore,
    connection::within,
    error::{PostgresStoreError, Reason},
    rows::unescape,
    sql::{EVERYBODY, MOST},
};
use crate::{
    keys::crypto::random,
    store::{
        feed::{Changes, Cursor, Page},
        millis::from_millis,
        record::SessionId,
    },
};

/// What a cursor consists of: `EPOCH MILLISECONDS SNAPSHOT`.
struct Place<'c> {
    epoch: &'c str,
    at: i64,
    snapshot: &'c str,
}

impl PostgresStore {
    pub(super) async fn poll(&self, cursor: Option<&Cursor>) -> Result<Changes, PostgresStoreError> {
        let mut kept = self.feed.0.clone().lock_owned().await;
        if self.source.pool.is_closed() {
            return Err(sqlx::Error::PoolClosed.into());
        }
        if kept.is_none() {
            let (options, limit) = (self.source.pool.connect_options(), self.timeout);
            // Spawned, since a poll has less time than a connection may take; the next poll finds it.
            let connecting = tokio::spawn(async move {
                *kept = Some(within(limit, async { Ok(options.connect().await?) }).await?);
                Ok::<_, PostgresStoreError>(kept)
            });
            kept = connecting.await.map_err(|_| sqlx::Error::PoolClosed)??;
        }
        // Taken out, so that a poll that is given up leaves no half answer behind.
        let mut connection = kept.take().ok_or(sqlx::Error::PoolClosed)?;
        let page = self.page(&mut connection, cursor).await?;
        *kept = Some(connection);
        if !page.sessions.is_empty() {
            self.pushes.found();
        }
        Ok(Changes::Since(page))
    }

    async fn page(
        &self,
        connection: &mut PgConnection,
        cursor: Option<&Cursor>,
    ) -> Result<Page, PostgresStoreError> {
        let former = cursor.and_then(|cursor| Place::parse(cursor.as_str()));
        let mut row = self.ask(connection, former.as_ref()).await?;
        if row.try_get::<Option<String>, _>("epoch")?.is_none() {
            // The table is new, or has been emptied by a crash of the server or by a promotion.
            let epoch = URL_SAFE_NO_PAD.encode(random::<12>());
            sqlx::query(self.sql.begin_epoch.clone()).bind(epoch).execute(&mut *connection).await?;
            row = self.ask(connection, former.as_ref()).await?;
        }
        if row.try_get("standby")? {
            return Err(Reason::Standby.into());
        }
        let epoch: String = row.try_get::<Option<_>, _>("epoch")?.unwrap_or_default();
        let (snapshot, now): (String, i64) = (row.try_get("snapshot")?, row.try_get("now")?);
        let ids: Vec<String> = row.try_get("ids")?;
        let is_continued = former.is_some_and(|former| {
            former.epoch == epoch
                && now.saturating_sub(former.at) < OLDEST_CURSOR
                && end_of(&snapshot) >= end_of(former.snapshot)
        });
        let is_whole = is_continued && ids.len() <= MOST && !ids.iter().any(|id| id == EVERYBODY);
        // An entry that cannot be read may stand for any session.
        let sessions: Option<Vec<SessionId>> = match is_whole {
            true => ids.into_iter().map(|id| Some(SessionId::new(unescape(id)?))).collect(),
            false => None,
        };
        Ok(Page {
            is_gap: sessions.is_none(),
            sessions: sessions.unwrap_or_default(),
            has_more: false,
            next: Cursor::new(format!("{epoch} {now} {snapshot}")),
            now: from_millis(now),
        })
    }

    async fn ask(
        &self,
        connection: &mut PgConnection,
        former: Option<&Place<'_>>,
    ) -> Result<PgRow, PostgresStoreError> {
        let snapshot = former.map(|former| former.snapshot);
        Ok(sqlx::query(self.sql.changes.clone()).bind(snapshot).fetch_one(connection).await?)
    }
}

impl<'c> Place<'c> {
    fn parse(cursor: &'c str) -> Option<Self> {
        let mut parts = cursor.split(' ');
        let place = Self { epoch: parts.next()?, at: parts.next()?.parse().ok()?, snapshot: parts.next()? };
        // The server must be able to read it.
        end_of(place.snapshot)?;
        let is_plain = place.snapshot.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b':' | b','));
        (is_plain && parts.next().is_none()).then_some(place)
    }
}

/// Returns the first transaction that has not begun in a snapshot, `XMIN:XMAX:RUNNING`: a later snapshot of the same server
/// has no lower one.
fn end_of(snapshot: &str) -> Option<u64> {
    snapshot.split(':').nth(1)?.parse().ok()
}

/// Half as old as entries become, in milliseconds.
const OLDEST_CURSOR: i64 = 30 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cursors_of_this_store_are_sent_to_the_server() {
        let place = Place::parse("71.x 1800 10:20:10,14").expect("it is whole");
        assert_eq!((place.epoch, place.at, place.snapshot), ("71.x", 1800, "10:20:10,14"));
        assert!(Place::parse("71.x 1800 10:20:").is_some(), "no transaction runs");
        for hostile in ["", "x", "x 1", "x y 1:2:", "x 1 1:2:'", "x 1 1:y:", "x 1 1:2: z", "x 1 nonsense"] {
            assert!(Place::parse(hostile).is_none(), "{hostile}");
        }
    }
}
