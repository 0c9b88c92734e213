//! The tables and their migrations.

use sqlx::{Connection, Executor, PgConnection};

use super::{
    error::{PostgresStoreError, Reason},
    names::{Names, quoted},
    sql::{Statements, safe},
};

/// Migrates the tables to the newest version if they are older, and checks that they fit the statements.
///
/// Several nodes may call it at the same time: the first creates the tables, and the others wait for it.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    names: &Names,
    statements: &Statements,
) -> Result<(), PostgresStoreError> {
    check_encoding(connection).await?;
    if is_outdated(connection, names).await? {
        migrate(connection, names).await?;
    }
    // Detects tables with other columns now rather than at the first sign-in.
    for statement in [&statements.insert, &statements.update] {
        (*connection).prepare(statement.clone()).await?;
    }
    Ok(())
}

async fn check_encoding(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    let encoding: String =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await?;
    if encoding == "UTF8" { Ok(()) } else { Err(Reason::Encoding(encoding).into()) }
}

async fn migrate(connection: &mut PgConnection, names: &Names) -> Result<(), PostgresStoreError> {
    let mut transaction = connection.begin().await?;
    // The time limits of a call are too short for waiting until another node has migrated.
    let patience = "SET LOCAL statement_timeout = '25s'; SET LOCAL lock_timeout = '25s'";
    sqlx::raw_sql(patience).execute(&mut *transaction).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('tower-cookie-jwt ' || $1, 0))";
    sqlx::query(lock).bind(names.table()).execute(&mut *transaction).await?;
    // Another node may have migrated while this one waited for the lock.
    let done = version(&mut transaction, names).await?;
    // `CREATE SCHEMA IF NOT EXISTS` requires the privilege to create even if the schema exists.
    let schema_exists = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1)";
    if !exists(&mut transaction, schema_exists, &[names.schema()]).await? {
        let schema = safe(format!("CREATE SCHEMA {}", quoted(names.schema())));
        sqlx::raw_sql(schema).execute(&mut *transaction).await?;
    }
    for migration in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(safe(migration(names))).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn is_outdated(connection: &mut PgConnection, names: &Names) -> Result<bool, PostgresStoreError> {
    Ok(version(connection, names).await? < MIGRATIONS.len())
}

/// Returns how many migrations have been applied to the tables.
async fn version(connection: &mut PgConnection, names: &Names) -> Result<usize, PostgresStoreError> {
    let (schema, table) = (names.schema(), names.version_table());
    // Not `to_regclass`: its cache does not yet contain what was committed while this node waited for the lock.
    let table_exists = "SELECT EXISTS (
        SELECT 1 FROM pg_catalog.pg_class AS class
        JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
        WHERE namespace.nspname = $1 AND class.relname = $2
    )";
    if !exists(connection, table_exists, &[schema, &table]).await? {
        return Ok(0);
    }
    let version = safe(format!("SELECT version FROM {}.{}", quoted(schema), quoted(&table)));
    let version: i32 = sqlx::query_scalar(version).fetch_one(connection).await?;
    match usize::try_from(version) {
        Ok(known) if known <= MIGRATIONS.len() => Ok(known),
        _ => Err(Reason::Newer(version).into()),
    }
}

async fn exists(
    connection: &mut PgConnection,
    question: &'static str,
    names: &[&str],
) -> Result<bool, sqlx::Error> {
    let question = names.iter().fold(sqlx::query_scalar(question), |question, name| question.bind(*name));
    question.fetch_one(connection).await
}

/// Returns a script for `psql` that creates the schema and the tables.
pub(super) fn script(names: &Names) -> String {
    let mut script = format!("BEGIN;\nCREATE SCHEMA IF NOT EXISTS {};\n", quoted(names.schema()));
    script.extend(MIGRATIONS.iter().map(|migration| migration(names)));
    script.push_str("COMMIT;\n");
    script
}

type Migration = fn(&Names) -> String;

/// The migrations, one per version. Released ones never change; new ones are appended.
const MIGRATIONS: &[Migration] = &[version_1];

/// Creates the tables of version 1. Times are whole milliseconds since the epoch.
///
/// The index by subject covers only a prefix, because index entries have a maximum size. The index by expiry uses the
/// hour of expiry, which changes at most once per hour, instead of the exact time, which changes with every rotation.
/// The rotations in between update no index (they are heap-only, given the space that the fill factor reserves in
/// each page).
fn version_1(names: &Names) -> String {
    let table = names.table();
    let version_table = format!("{}.{}", quoted(names.schema()), quoted(&names.version_table()));
    let (by_subject, by_expiry) = (names.index("by_subject"), names.index("by_expiry"));
    format!(
        r#"CREATE TABLE {table} (
    id text COLLATE "C" PRIMARY KEY,
    subject text COLLATE "C" NOT NULL,
    secret_hash bytea NOT NULL,
    generation bigint NOT NULL,
    confirmed_at bigint,
    rotated_at bigint NOT NULL,
    created_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    idle_expires_at bigint NOT NULL,
    absolute_expires_at bigint NOT NULL,
    scope text NOT NULL,
    claims text NOT NULL,
    xsrf_token text NOT NULL,
    label text NOT NULL,
    version bigint NOT NULL,
    expiry_hour bigint NOT NULL
        GENERATED ALWAYS AS (LEAST(idle_expires_at, absolute_expires_at) / 3600000) STORED
) WITH (fillfactor = 80);
CREATE INDEX {by_subject} ON {table} (left(subject, 256));
CREATE INDEX {by_expiry} ON {table} (expiry_hour);
CREATE TABLE {version_table} (version integer NOT NULL);
INSERT INTO {version_table} VALUES (1);
"#
    )
}
