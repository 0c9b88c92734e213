mod abandoned;
mod at_hand;
mod connection;
mod error;
mod feed;
mod listen;
mod marks;
mod names;
mod operate;
mod options;
mod probe;
mod rows;
mod schema;
mod sql;

pub use self::{error::PostgresStoreError, options::PostgresStoreOptions};

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::{Row, SqlStr, postgres::PgRow};

use self::{
    connection::{FeedConnection, Lease, Source, within},
    error::Effect,
    marks::Marks,
    rows::{PgQuery, bind_new, bind_update, escape, snapshot, time, written},
    sql::Statements,
};
use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    feed::{Changes, Cursor},
    push::Pushes,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
    sweep::Sweeps,
};

/// A store that keeps sessions in PostgreSQL, version 12 or later, for applications on several machines.
///
/// Times come from the server's clock, so the clocks of the nodes that share the database need not agree. Every call
/// fails after 5 seconds ([`with_timeout`](PostgresStoreOptions::with_timeout)), and the store recovers automatically once the server is back. The number of sessions is not
/// limited. Expired sessions are removed alongside requests, once the hour in which they ended is over. Clones share
/// the connections.
///
/// The table contains only hashes of the session secrets, but claims and XSRF tokens in plain text: restrict who can
/// read it. Times are stored in milliseconds since the epoch (convert them with, for example,
/// `to_timestamp(created_at / 1000.0)`). In text columns, U+0001 followed by `0` stands for NUL, and U+0001 followed
/// by `1` for U+0001 itself.
///
/// Requires the feature `postgres`, Rust 1.94 and a Tokio runtime.
///
/// # Operation
///
/// * **Primary.** All calls must reach the primary. A standby may not know of a sign-out yet, so the store refuses to
///   read from one. Connections that have failed are not reused, so that after a failover the next ones are opened to
///   wherever the host name then points. Configure one address that always leads to the primary: the URL must not name
///   several, and `target_session_attrs` must not ask for a standby. A failover to a standby that lacks the last writes (asynchronous replication)
///   revives sessions whose sign-out was among them and loses sessions whose sign-in was; it signs out no legitimate
///   user of an older session.
/// * **`synchronous_commit`** should stay `on`: with `off`, a server crash can lose the last writes in the same way.
/// * **Lost responses.** If the response to a write is lost, the write may have been applied. The call fails and is
///   not retried. A session created by such a call is never used, and expires.
/// * **Abandoned calls.** A call that has timed out keeps its connection until the server is done with it, so that a
///   server which hangs, waits for a lock or for a standby never has more connections than the pool has. Meanwhile the
///   statement is cancelled, over a connection that is kept for that. A write that is given up may have been applied.
///   Nothing is cancelled over a pool of the application, or where a pooler drops the start-up options.
/// * **PgBouncer** needs `ignore_startup_parameters = extra_float_digits,options`. In transaction mode, it also needs
///   `max_prepared_statements` above 0 (version 1.21 or later): without it, connections run each other's statements, and
///   the store refuses to open as soon as it notices. The page `poolers` of the module `recipes` has complete
///   configurations, also for HAProxy, and says how large the pools must be.
/// * **TLS** requires the feature `tls`. Without it, every `sslmode` that requires TLS is rejected, and `prefer`, the
///   default, is ignored. Use `sslmode=verify-full` on any network that you do not fully control, and name an authority
///   of your own with `sslrootcert`: `postgres://ada@db.shop.example/shop?sslmode=verify-full&sslrootcert=/etc/ca.pem`.
///   For client certificates, add `sslcert` and `sslkey`.
/// * **Privileges.** A role that may not create anything can use tables that are up to date.
///   [`PostgresStoreOptions::schema_sql`] returns the statements that create them and documents the privileges.
///
/// # Examples
///
/// ```no_run
/// use tower_cookie_jwt::{KeyRing, Sessions, store::PostgresStore};
///
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// let store = PostgresStore::connect("postgres://ada@127.0.0.1/shop").await?;
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, store).with_audience("shop").build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PostgresStore {
    source: Source,
    sql: Arc<Statements>,
    feed: FeedConnection,
    marks: Marks,
    pushes: Pushes,
    sweeps: Sweeps,
    timeout: Duration,
}

impl PostgresStore {
    fn new(source: Source, statements: Statements, timeout: Duration) -> Self {
        Self {
            source,
            sql: Arc::new(statements),
            feed: FeedConnection::default(),
            marks: Marks::default(),
            pushes: Pushes::default(),
            sweeps: Sweeps::default(),
            timeout,
        }
    }

    /// Returns the rows of one statement, and leaves no connection in an unclean state.
    ///
    /// A connection that another call has just used may have been closed since: the statement is then sent again, over one
    /// that works, unless it may have been carried out.
    async fn rows<'q>(
        &self,
        effect: Effect,
        query: impl Fn() -> PgQuery<'q>,
    ) -> Result<Vec<PgRow>, PostgresStoreError> {
        let began = Instant::now();
        let mut lease = Lease::of(&self.source, self.timeout).await?;
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            let rows = within(left, async { Ok(query().fetch_all(lease.connection()).await?) }).await;
            let is_untested = lease.is_untested();
            match lease.end(rows) {
                Err(error) if is_untested && error.is_repeatable(effect) => {
                    lease = Lease::tested(&self.source, self.timeout.saturating_sub(began.elapsed())).await?;
                }
                rows => return rows,
            }
        }
    }

    /// Returns the only row of a statement that always returns one.
    async fn row<'q>(
        &self,
        effect: Effect,
        query: impl Fn() -> PgQuery<'q>,
    ) -> Result<PgRow, PostgresStoreError> {
        let first = self.rows(effect, query).await?.into_iter().next();
        first.ok_or_else(|| sqlx::Error::RowNotFound.into())
    }

    async fn update_by(
        &self,
        statement: &SqlStr,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> Result<Update, PostgresStoreError> {
        let row =
            self.row(Effect::Writes, || bind_update(sqlx::query(statement.clone()), record, stamps)).await?;
        if let Some(now) = written(&row)? {
            return Ok(Update::Done(Box::new(record.clone().stamped(stamps, now).in_whole_millis())));
        }
        match row.try_get::<Option<i64>, _>("version")? {
            None => Ok(Update::Gone),
            seen if seen != record.signed_version() => Ok(Update::Conflict),
            _ => self.since_changed(&record.id).await,
        }
    }

    /// Returns the outcome of an update that saw the expected version but lost the race for the row.
    async fn since_changed(&self, id: &SessionId) -> Result<Update, PostgresStoreError> {
        // Ids are never reused and versions only grow, so this answer also held when the update ran, unless the
        // session has been removed since; `Gone` is then correct as well.
        let found = self
            .rows(Effect::Reads, || sqlx::query(self.sql.exists.clone()).bind(escape(id.as_str())))
            .await?;
        Ok(Update::not_written(!found.is_empty()))
    }

    /// Lists any number of sessions, such as those that a script has begun, with a time limit for each page.
    async fn list_in_pages(&self, subject: &str) -> Result<Vec<SessionRecord>, PostgresStoreError> {
        let ids = self.row(Effect::Reads, || sqlx::query(self.sql.list_ids.clone()).bind(escape(subject)));
        let ids = ids.await?;
        let ids: Vec<String> = ids.try_get::<Option<_>, _>(0)?.unwrap_or_default();
        let mut listed = Vec::with_capacity(ids.len());
        for page in ids.chunks(PAGE) {
            let rows = self.rows(Effect::Reads, || sqlx::query(self.sql.read_page.clone()).bind(page));
            listed.extend(records(&rows.await?)?);
        }
        Ok(listed)
    }

    /// Removes expired sessions alongside requests.
    fn sweep_alongside(&self) {
        let store = self.clone();
        self.sweeps.start(move || {
            let store = store.clone();
            async move {
                // Old entries of the feed first, which are asked for no more.
                let _ = store.sweep_changes().await;
                // After a failure, the next sweep tries again. Expired sessions are not accepted in the meantime.
                store.sweep_batch().await.is_ok_and(|removed| removed >= SWEEP_SIZE)
            }
        });
    }
}

impl RefreshStore for PostgresStore {
    type Error = PostgresStoreError;

    async fn create(&self, session: NewRecord) -> Result<Created, PostgresStoreError> {
        let row = self.row(Effect::Writes, || bind_new(sqlx::query(self.sql.insert.clone()), &session));
        let row = row.await?;
        self.sweep_alongside();
        Ok(Created::Done(session.begin(time(&row, "created_at")?).in_whole_millis()))
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, PostgresStoreError> {
        let row = self.row(Effect::Reads, || sqlx::query(self.sql.read.clone()).bind(escape(id.as_str())));
        snapshot(&row.await?)
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, PostgresStoreError> {
        self.update_by(&self.sql.update, record, stamps).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, PostgresStoreError> {
        within(self.timeout, self.poll(cursor)).await
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        self.next_push()
    }

    async fn update_announced(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> Result<Update, PostgresStoreError> {
        let update = self.update_by(&self.sql.update_announced, record, stamps).await?;
        if update.is_done() {
            self.tell();
        }
        Ok(update)
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, PostgresStoreError> {
        let removed =
            self.rows(Effect::Writes, || sqlx::query(self.sql.delete.clone()).bind(escape(id.as_str())));
        let removed = !removed.await?.is_empty();
        if removed {
            self.tell();
        }
        Ok(removed)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, PostgresStoreError> {
        let first = || sqlx::query(self.sql.list.clone()).bind(escape(subject)).bind(PAGE as i64 + 1);
        let rows = self.rows(Effect::Reads, first).await?;
        if rows.len() > PAGE {
            return self.list_in_pages(subject).await;
        }
        records(&rows)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, PostgresStoreError> {
        let mut removed = 0;
        loop {
            let batch = || {
                sqlx::query(self.sql.delete_all.clone())
                    .bind(escape(subject))
                    .bind(keep.map(|id| escape(id.as_str())))
                    .bind(BATCH)
            };
            let row = self.row(Effect::Writes, batch).await?;
            removed += row.try_get::<i64, _>("gone")?.unsigned_abs();
            self.tell();
            if row.try_get::<i64, _>("picked")? < BATCH {
                return Ok(removed);
            }
        }
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

fn records(rows: &[PgRow]) -> Result<Vec<SessionRecord>, PostgresStoreError> {
    rows.iter().filter_map(|row| snapshot(row).map(|snapshot| snapshot.record).transpose()).collect()
}

const SWEEP_SIZE: i64 = 500;
/// The number of records of a subject that one statement reads.
const PAGE: usize = 1_000;
/// The number of sessions of a subject that one statement removes.
const BATCH: i64 = 5_000;
