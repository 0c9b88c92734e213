use std::{fmt, str::FromStr, time::Duration};

use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    PostgresStore,
    connection::{Lease, TIMEOUT, within},
    error::{PostgresStoreError, Reason},
    names::Names,
    schema,
    sql::Statements,
};

/// How a [`PostgresStore`] is opened: made by [`PostgresStore::options`].
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
}

impl PostgresStore {
    /// Opens the sessions in the table `sessions` of the schema `public`, and creates it when it is
    /// missing.
    ///
    /// # Errors
    ///
    /// See [`PostgresStoreOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, PostgresStoreError> {
        Self::options().connect(url).await
    }

    /// The same over connections that the application has already.
    ///
    /// # Errors
    ///
    /// See [`PostgresStoreOptions::from_pool`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, PostgresStoreError> {
        Self::options().from_pool(pool).await
    }

    /// Opens it with other names or more connections.
    pub fn options() -> PostgresStoreOptions {
        PostgresStoreOptions::new()
    }
}

impl PostgresStoreOptions {
    pub(super) fn new() -> Self {
        Self { schema: "public".to_owned(), table: "sessions".to_owned(), max_connections: 10 }
    }

    /// Keeps the tables in this schema, which is created when it is missing.
    ///
    /// Defaults to `public`. Up to 48 ASCII letters, digits, `_` and `-`; upper and lower case are
    /// different.
    pub fn with_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Keeps the sessions in this table; a second one, with `_version` after the name, has the
    /// schema's version.
    ///
    /// Defaults to `sessions`. The same characters as in [`with_schema`](Self::with_schema).
    pub fn with_table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Opens at most this many connections at a time with [`connect`](Self::connect), at least one.
    ///
    /// Defaults to 10. All nodes together must stay below the server's `max_connections`.
    pub const fn with_max_connections(mut self, connections: u32) -> Self {
        self.max_connections = if connections == 0 { 1 } else { connections };
        self
    }

    /// The statements that make schema, tables and indexes, or bring them up to date, for those who do
    /// so by hand.
    ///
    /// Run them as the owner of the tables, with each version of this crate, then give the application's role `USAGE` on the schema,
    /// `SELECT, INSERT, UPDATE, DELETE` on the table of sessions and `SELECT` on the table with
    /// `_version` after its name.
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
    /// When a name is unusable.
    pub fn schema_sql(&self) -> Result<String, PostgresStoreError> {
        Ok(schema::script(&self.names()?))
    }

    /// Opens the sessions in the database at `url`, with connections of its own.
    ///
    /// The URL is sqlx's: `postgres://user:password@host:port/database?sslmode=verify-full`. The
    /// server ends a statement of these connections after 4 seconds, and each call fails after 5.
    ///
    /// # Errors
    ///
    /// When a name or the URL is unusable, when the server cannot be reached, refuses the user or
    /// does not let the tables be made or brought up to date, when the database is not encoded in UTF-8, or
    /// when its tables are not ours or of a later version that this one cannot go on with.
    pub async fn connect(self, url: &str) -> Result<PostgresStore, PostgresStoreError> {
        let (names, options) = (self.names()?, options_for(url)?);
        let statements = Statements::new(&names);
        within(OPENING, async {
            // Not from the pool, which tries again for a while and then cannot say what failed.
            let mut first = options.connect().await?;
            schema::prepare(&mut first, &names, &statements).await?;
            first.close().await?;
            Ok(())
        })
        .await?;
        Ok(PostgresStore::new(pool_of(self.max_connections).connect_lazy_with(options), statements))
    }

    /// Keeps the sessions in the database of `pool`.
    ///
    /// How the connections are set up is the pool's business. Each call fails after 5 seconds
    /// here, too; to have the server give up as well, set `statement_timeout` and `lock_timeout`
    /// below that. The isolation level must be PostgreSQL's default, `read committed`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_pool(self, pool: PgPool) -> Result<PostgresStore, PostgresStoreError> {
        let names = self.names()?;
        let statements = Statements::new(&names);
        within(OPENING, async {
            let mut lease = Lease::of(&pool).await?;
            let prepared = schema::prepare(lease.connection(), &names, &statements).await;
            lease.end(prepared)
        })
        .await?;
        Ok(PostgresStore::new(pool, statements))
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
            .finish()
    }
}

fn options_for(url: &str) -> Result<PgConnectOptions, PostgresStoreError> {
    let options = PgConnectOptions::from_str(url).map_err(Reason::Url)?;
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("tower-cookie-jwt"),
    };
    Ok(options.options([
        // Below `TIMEOUT`: the server's own answer says more.
        ("statement_timeout", "4s"),
        ("lock_timeout", "3s"),
        ("idle_in_transaction_session_timeout", "30s"),
        // A database may have another default, under which the losers of a race get errors.
        ("default_transaction_isolation", "read committed"),
    ]))
}

fn pool_of(connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(TIMEOUT)
        // The pool's own test of idle connections waits for as long as the call has time: one that a
        // firewall has dropped would fail the call instead of being replaced.
        .test_before_acquire(false)
        .before_acquire(|connection, _| {
            Box::pin(async {
                let answer = tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await;
                Ok(matches!(answer, Ok(Ok(()))))
            })
        })
}

/// How long an idle connection may take to show that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Longer than a call, because nodes that start at once wait for each other.
const OPENING: Duration = Duration::from_secs(30);
