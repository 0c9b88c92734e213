mod connection;
mod error;
mod names;
mod options;
mod rows;
mod schema;
mod sql;

pub use self::{error::PostgresStoreError, options::PostgresStoreOptions};

use std::{fmt, sync::Arc, time::Instant};

use sqlx::{PgPool, Row, postgres::PgRow};

use self::{
    connection::{Lease, TIMEOUT, within},
    rows::{PgQuery, bind_new, bind_update, escape, snapshot, time, written},
    sql::Statements,
};
use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    millis::as_stored,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
    sweep::Sweeps,
};

/// Sessions in PostgreSQL, version 12 or later: for applications on several machines.
///
/// Nodes that share the database need not agree on the time: the server's clock decides. Every
/// call fails after 5 seconds, and the store goes on by itself when the server is back. There is no
/// limit to the number of sessions. Those that have ended are removed beside the requests, once
/// the hour of their end is over. Clones share the connections.
///
/// The table holds hashes of secrets, but claims and XSRF tokens as they are: let nobody else read
/// it. Times are milliseconds since the epoch, for example `to_timestamp(created_at / 1000.0)`; in
/// texts, U+0001 followed by `0` stands for NUL, by `1` for itself.
///
/// Comes with the feature `postgres`, which needs Rust 1.94 and runs on Tokio only.
///
/// # What to know in operation
///
/// * **The primary answers everything.** A standby may not know of a sign-out yet, so that the store
///   refuses to read from one, and connections that have failed are not used again: after a failover
///   the next ones go where the host's name leads. sqlx knows no `target_session_attrs`: give one
///   address that always leads to the primary. A failover to a standby that lacks the last writes
///   (asynchronous replication) revives sessions that were signed out in them, and forgets new
///   ones; no honest user of an older session is signed out.
/// * **`synchronous_commit`** stays `on`: with `off`, a crash of the server has the same effect.
/// * **A write whose answer was lost** may have been done: the call fails, and nothing is tried twice.
///   A session that was created this way is never used, and expires.
/// * **PgBouncer** in transaction mode needs `max_prepared_statements` above 0 (version 1.21 or
///   later), and knows neither `options` nor `extra_float_digits` at start-up: use
///   [`from_pool`](Self::from_pool) with connections set up for it.
/// * **TLS** comes with a feature of sqlx that the application turns on, such as `tls-rustls-ring`;
///   without one `sslmode` is refused, or ignored when it is `prefer`, as it is by default. Use
///   `sslmode=verify-full` wherever the network is not yours alone.
/// * **Privileges.** A role that may create nothing can use tables that are up to date;
///   [`PostgresStoreOptions::schema_sql`] has what makes them, and names the privileges.
///
/// # Examples
///
/// ```no_run
/// use tower_cookie_jwt::{KeyRing, Sessions, store::PostgresStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://ada@127.0.0.1/shop").await?;
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, store).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    pool: PgPool,
    sql: Arc<Statements>,
    sweeps: Sweeps,
}

impl PostgresStore {
    fn new(pool: PgPool, statements: Statements) -> Self {
        Self { pool, sql: Arc::new(statements), sweeps: Sweeps::default() }
    }

    /// The rows of one statement, in a connection that is whole afterwards.
    async fn rows(&self, query: PgQuery<'_>) -> Result<Vec<PgRow>, PostgresStoreError> {
        let began = Instant::now();
        let mut lease = within(TIMEOUT, async { Ok(Lease::of(&self.pool).await?) }).await?;
        let left = TIMEOUT.saturating_sub(began.elapsed());
        let rows = within(left, async { Ok(query.fetch_all(lease.connection()).await?) }).await;
        lease.end(rows)
    }

    /// The only row of a statement that always has one.
    async fn row(&self, query: PgQuery<'_>) -> Result<PgRow, PostgresStoreError> {
        let first = self.rows(query).await?.into_iter().next();
        first.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    /// What a session is that an update has not found as it was although it had seen it.
    async fn since_changed(&self, id: &SessionId) -> Result<Update, PostgresStoreError> {
        // Ids are never used again and versions only grow: what is true now was true a moment ago,
        // or the session has been removed since, which is as true an answer.
        let found = self.rows(sqlx::query(self.sql.exists.clone()).bind(escape(id.as_str()))).await?;
        Ok(if found.is_empty() { Update::Gone } else { Update::Conflict })
    }

    fn sweep(&self) {
        let store = self.clone();
        self.sweeps.start(move || {
            let store = store.clone();
            async move {
                let removed = store.row(sqlx::query(store.sql.sweep.clone()).bind(SWEEP_SIZE)).await;
                // A failure is left to the next sweep: the sessions are dead anyway.
                removed.is_ok_and(|row| row.try_get::<i64, _>(0).is_ok_and(|removed| removed >= SWEEP_SIZE))
            }
        });
    }
}

impl RefreshStore for PostgresStore {
    type Error = PostgresStoreError;

    async fn create(&self, session: NewRecord) -> Result<Created, PostgresStoreError> {
        let row = self.row(bind_new(sqlx::query(self.sql.insert.clone()), &session)).await?;
        self.sweep();
        Ok(Created::Done(as_stored(session.begin(time(&row, "created_at")?))))
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, PostgresStoreError> {
        let row = self.row(sqlx::query(self.sql.read.clone()).bind(escape(id.as_str()))).await?;
        snapshot(&row)
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, PostgresStoreError> {
        let row = self.row(bind_update(sqlx::query(self.sql.update.clone()), record, stamps)).await?;
        if let Some(now) = written(&row)? {
            return Ok(Update::Done(Box::new(as_stored(record.clone().stamped(stamps, now)))));
        }
        match row.try_get::<Option<i64>, _>("version")? {
            None => Ok(Update::Gone),
            seen if seen != record.signed_version() => Ok(Update::Conflict),
            _ => self.since_changed(&record.id).await,
        }
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, PostgresStoreError> {
        let removed = self.rows(sqlx::query(self.sql.delete.clone()).bind(escape(id.as_str()))).await?;
        Ok(!removed.is_empty())
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, PostgresStoreError> {
        let rows = self.rows(sqlx::query(self.sql.list.clone()).bind(escape(subject))).await?;
        rows.iter().filter_map(|row| snapshot(row).map(|snapshot| snapshot.record).transpose()).collect()
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, PostgresStoreError> {
        let query = sqlx::query(self.sql.delete_all.clone())
            .bind(escape(subject))
            .bind(keep.map(|id| escape(id.as_str())));
        let removed: i64 = self.row(query).await?.try_get(0)?;
        Ok(removed.unsigned_abs())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

const SWEEP_SIZE: i64 = 500;
