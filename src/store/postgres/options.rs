use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    PostgresStore,
    abandoned::Canceller,
    at_hand::AtHand,
    connection::{Lease, Source, TIMEOUT, within},
    error::{PostgresStoreError, Reason},
    names::Names,
    probe::Probe,
    schema,
    sql::Statements,
};

/// Options for opening a [`PostgresStore`], created by [`PostgresStore::options`].
///
/// # Examples
///
/// ```no_run
/// use tower_cookie_jwt::store::PostgresStore;
///
/// # async fn open() -> Result<(), tower_cookie_jwt::store::PostgresStoreError> {
/// let store = PostgresStore::options()
///     .with_schema("auth")
///     .with_table("user_sessions")
///     .with_max_connections(20)
///     .connect("postgres://ada@127.0.0.1/shop")
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "options do nothing until the store is opened"]
pub struct PostgresStoreOptions {
    schema: String,
    table: String,
    max_connections: u32,
    timeout: Duration,
}

impl PostgresStore {
    /// Connects to the database at `url` and opens the table `sessions` in the schema `public`, creating it if it
    /// does not exist.
    ///
    /// # Errors
    ///
    /// See [`PostgresStoreOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, PostgresStoreError> {
        Self::options().connect(url).await
    }

    /// Creates a store over a connection pool of the application, with the table `sessions` in the schema `public`.
    ///
    /// # Errors
    ///
    /// See [`PostgresStoreOptions::from_pool`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, PostgresStoreError> {
        Self::options().from_pool(pool).await
    }

    /// Returns options for opening a store with other names or more connections.
    pub fn options() -> PostgresStoreOptions {
        PostgresStoreOptions::new()
    }
}

impl PostgresStoreOptions {
    pub(super) fn new() -> Self {
        Self {
            schema: "public".to_owned(),
            table: "sessions".to_owned(),
            max_connections: 10,
            timeout: TIMEOUT,
        }
    }

    /// Sets the schema that contains the tables. The schema is created if it does not exist.
    ///
    /// The name consists of 1 to 48 ASCII letters, digits, `_` and `-`, and is case-sensitive. Defaults to `public`.
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the name of the table of sessions.
    ///
    /// A second table, with the suffix `_version`, holds the schema version. The same characters are allowed as in
    /// [`with_schema`](Self::with_schema). Defaults to `sessions`.
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets the maximum number of connections that a store opened with [`connect`](Self::connect) uses at a time.
    ///
    /// Zero counts as one. One more is kept to cancel statements whose calls have been given up. All nodes together must
    /// stay below the server's `max_connections`. Defaults to 10.
    pub const fn with_max_connections(mut self, connections: u32) -> Self {
        self.max_connections = if connections == 0 { 1 } else { connections };
        self
    }

    /// Sets the time after which a call fails. Listing and ending many sessions apply it to each batch.
    ///
    /// The server itself cancels a statement of a store opened with [`connect`](Self::connect) after four fifths of it, and
    /// a wait for a lock after three fifths.
    ///
    /// Defaults to 5 seconds.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The statements that make schema, tables and indexes, or bring them up to date, for those who do
    /// so by hand.
    ///
    /// Run them as the owner of the tables, with each version of this crate, then give the application's role `USAGE` on the schema,
    /// `SELECT, INSERT, UPDATE, DELETE` on the table of sessions and, on the tables with these suffixes, `SELECT` on
    /// `_version`, `SELECT, INSERT, DELETE` on `_changes` and `SELECT, INSERT` on `_epoch`.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_cookie_jwt::store::PostgresStore;
    ///
    /// let script = PostgresStore::options().with_schema("auth").schema_sql()?;
    /// assert!(script.contains(r#"CREATE TABLE "auth"."sessions""#));
    /// # Ok::<(), tower_cookie_jwt::store::PostgresStoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if a name is invalid.
    pub fn schema_sql(&self) -> Result<String, PostgresStoreError> {
        Ok(schema::script(&self.names()?))
    }

    /// Opens a store in the database at `url`, with a connection pool of its own.
    ///
    /// The URL has the format of sqlx: `postgres://user:password@host:port/database?sslmode=verify-full`. It names one host,
    /// which must be the primary whatever `target_session_attrs` says; a value of that which asks for a standby is refused.
    ///
    /// # Errors
    ///
    /// When a name or the URL is unusable, when the server cannot be reached, is a standby, refuses the user or
    /// does not let the tables be made or brought up to date, when the database is not encoded in UTF-8, when a pooler
    /// mixes up prepared statements, or when its tables belong to another application, or to a later version that is
    /// not compatible.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, PostgresStoreError> {
        let (names, options) = (self.names()?, options_for(url, self.timeout)?);
        let statements = Statements::new(&names);
        let (first, is_direct) = within(OPENING, async {
            // Not through the pool, which retries for a while and then cannot tell what failed.
            let mut first = options.connect().await?;
            schema::prepare(&mut first, &names, &statements).await?;
            // A pooler that drops the options may also give each transaction another backend.
            let is_direct = obeys_options(&mut first).await?;
            if !is_direct {
                check_isolation(&options).await?;
            }
            Ok((first, is_direct))
        })
        .await?;
        let canceller = is_direct.then(|| Canceller::new(options.clone(), first));
        let source = Source {
            pool: pool_of(self.max_connections, self.timeout).connect_lazy_with(options),
            probe: Probe::default(),
            canceller,
            at_hand: Some(AtHand::new(self.max_connections)),
        };
        Ok(PostgresStore::new(source, statements, self.timeout))
    }

    /// Opens a store in the database of `pool`.
    ///
    /// The pool determines how its connections are configured. Each call still fails after the timeout; to make the
    /// server give up before that, set `statement_timeout` and `lock_timeout` to less. The isolation level must be
    /// PostgreSQL's default, `read committed`. Opening makes one connection beside the pool, to find out whether a
    /// pooler mixes up prepared statements.
    ///
    /// # Errors
    ///
    /// Returns an error in the cases listed for [`connect`](Self::connect), except for the URL.
    pub async fn from_pool(self, pool: PgPool) -> Result<PostgresStore, PostgresStoreError> {
        let names = self.names()?;
        let statements = Statements::new(&names);
        let source = Source::of_application(pool);
        within(OPENING, async {
            let mut lease = Lease::of(&source, OPENING).await?;
            let prepared = async {
                schema::prepare(lease.connection(), &names, &statements).await?;
                check_isolation(&source.pool.connect_options()).await
            };
            let prepared = prepared.await;
            lease.end(prepared)
        })
        .await?;
        Ok(PostgresStore::new(source, statements, self.timeout))
    }

    fn names(&self) -> Result<Names, PostgresStoreError> {
        Names::new(&self.schema, &self.table)
    }
}

impl fmt::Debug for PostgresStoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreOptions")
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("max_connections", &self.max_connections)
            .field("timeout", &self.timeout)
            .finish()
    }
}

fn options_for(url: &str, timeout: Duration) -> Result<PgConnectOptions, PostgresStoreError> {
    check_target(url)?;
    let options = PgConnectOptions::from_str(url).map_err(Reason::Url)?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tower-cookie-jwt"),
    };
    let in_millis = |count| format!("{}ms", fifths(timeout, count));
    Ok(options.options([
        // Shorter than the timeout, because the server's own error says more.
        ("statement_timeout", &*in_millis(4)),
        ("lock_timeout", &*in_millis(3)),
        ("idle_in_transaction_session_timeout", "30s"),
        // A database may have a stricter default, under which concurrent updates fail with errors.
        ("default_transaction_isolation", "read committed"),
    ]))
}

/// Refuses what `libpq` reads in a URL and sqlx would ignore: without it, the store would not do what the URL says.
fn check_target(url: &str) -> Result<(), Reason> {
    let (authority, query) = url.split_once('?').unwrap_or((url, ""));
    let hosts = authority.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    if hosts.rsplit('@').next().unwrap_or_default().contains(',') {
        return Err(Reason::SeveralHosts);
    }
    for pair in query.split('&') {
        match pair.split_once('=') {
            // The store uses only a primary.
            Some(("target_session_attrs", "any" | "read-write" | "primary")) => {}
            Some(("target_session_attrs", _)) => return Err(Reason::Target),
            Some(("host" | "hostaddr", hosts)) if hosts.contains(',') || hosts.contains("%2C") => {
                return Err(Reason::SeveralHosts);
            }
            _ => {}
        }
    }
    Ok(())
}

/// So many fifths of the timeout in milliseconds: at least one, as zero would mean no limit.
fn fifths(timeout: Duration, count: u32) -> u128 {
    (timeout.min(LONGEST) * count / 5).as_millis().max(1)
}

/// Returns whether the limit of a statement is the one that this connection has asked for.
///
/// Its value does not tell: the role may have the same.
async fn obeys_options(connection: &mut PgConnection) -> Result<bool, PostgresStoreError> {
    let source = "SELECT source FROM pg_settings WHERE name = 'statement_timeout'";
    let source: String = sqlx::query_scalar(source).fetch_one(connection).await?;
    Ok(source == "client")
}

/// Fails if a second connection meets the prepared statements of the first, which is still open.
///
/// They then share a backend, through a pooler that gives each transaction another one and does not tell the statements
/// of its clients apart. All connections number their statements alike, so that sooner or later one would run another's
/// statement in place of its own: removing a session instead of reading it.
async fn check_isolation(options: &PgConnectOptions) -> Result<(), PostgresStoreError> {
    let second = within(SECOND, async {
        let mut second = options.connect().await?;
        sqlx::query("SELECT 1").execute(&mut second).await?;
        Ok(second.close().await?)
    });
    match second.await {
        Err(error) if error.is_mix_up() => Err(error),
        // The first works. There may be no room for a second.
        _ => Ok(()),
    }
}

fn pool_of(connections: u32, timeout: Duration) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(timeout.min(LONGEST))
        // A lease tests them, with a time limit.
        .test_before_acquire(false)
}

/// PostgreSQL counts milliseconds in 32 bits, and clocks end, too.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Longer than the limit of a call, because nodes that start at the same time wait for each other's migrations.
const OPENING: Duration = Duration::from_secs(30);
/// How long a second connection may take when a store is opened.
const SECOND: Duration = Duration::from_secs(1);
