//! The tables and their migrations.

use sqlx::{Connection, Executor, PgConnection, Row};

use super::{
    error::{PostgresStoreError, Reason},
    names::{Names, quoted},
    sql::{EVERYBODY, Statements, safe},
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
    check_primary(connection).await?;
    if is_outdated(connection, names).await? {
        migrate(connection, names, statements).await.map_err(PostgresStoreError::of_migration)?;
    }
    check_shape(connection, statements).await
}

/// Detects tables with other columns here rather than at the first sign-in.
async fn check_shape(
    connection: &mut PgConnection,
    statements: &Statements,
) -> Result<(), PostgresStoreError> {
    let of_feed = [&statements.update_announced, &statements.changes, &statements.begin_epoch];
    for statement in [&statements.insert, &statements.read, &statements.update].into_iter().chain(of_feed) {
        (*connection).prepare(statement.clone()).await?;
    }
    Ok(())
}

async fn check_encoding(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    let encoding: String =
        sqlx::query_scalar("SELECT current_setting('server_encoding')").fetch_one(connection).await?;
    if encoding == "UTF8" { Ok(()) } else { Err(Reason::Encoding(encoding).into()) }
}

async fn check_primary(connection: &mut PgConnection) -> Result<(), PostgresStoreError> {
    let is_standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    if is_standby { Err(Reason::Standby.into()) } else { Ok(()) }
}

async fn migrate(
    connection: &mut PgConnection,
    names: &Names,
    statements: &Statements,
) -> Result<(), PostgresStoreError> {
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
    if done == 0 && exists(&mut transaction, HAS_COLUMN, &[names.schema(), names.plain_table()]).await? {
        return Err(Reason::NoVersionTable(names.quoted_version_table(), PRESENT).into());
    }
    for migration in MIGRATIONS.iter().skip(done) {
        sqlx::raw_sql(safe(migration(names))).execute(&mut *transaction).await?;
    }
    // Before tables of another application are changed for good.
    check_shape(&mut transaction, statements).await?;
    transaction.commit().await?;
    Ok(())
}

async fn is_outdated(connection: &mut PgConnection, names: &Names) -> Result<bool, PostgresStoreError> {
    Ok(version(connection, names).await? < MIGRATIONS.len())
}

/// Returns how many migrations of this version the tables have had: all if a later version made them and declares them
/// compatible with this one.
///
/// Nodes of both versions can then run side by side during a deployment, and the older ones can restart.
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
    // Not by name, for the first version has no second column, nor with `*`, whose columns may change between the
    // statement's preparation and its execution, when another node migrates.
    let stored = safe(format!(
        "SELECT version, (to_jsonb(stored) ->> 'compatible_from')::integer AS compatible_from FROM {} AS stored",
        names.quoted_version_table()
    ));
    let stored = sqlx::query(stored).fetch_all(connection).await?;
    let [stored] = stored.as_slice() else {
        return Err(Reason::VersionRows(names.quoted_version_table(), stored.len(), PRESENT).into());
    };
    let version: i32 = stored.try_get("version")?;
    if let Some(known) = usize::try_from(version).ok().filter(|known| *known <= MIGRATIONS.len()) {
        return Ok(known);
    }
    let compatible_from: Option<i32> = stored.try_get("compatible_from")?;
    match compatible_from.map(usize::try_from) {
        Some(Ok(from)) if from <= MIGRATIONS.len() => Ok(MIGRATIONS.len()),
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

/// All that makes the tables, or brings them to the newest version, for `psql`.
pub(super) fn script(names: &Names) -> String {
    // The owner of the tables may not be allowed to create schemas, not even one that exists.
    let (schema, plain) = (quoted(names.schema()), names.schema());
    let mut script = format!(
        "BEGIN;\nDO $schema$ BEGIN IF NOT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = '{plain}') THEN\n\
         CREATE SCHEMA {schema};\nEND IF; END $schema$;\n"
    );
    let version_table = names.quoted_version_table();
    for (done, migration) in MIGRATIONS.iter().enumerate() {
        let is_missing = match done {
            // Names have neither quotes nor backslashes.
            0 => format!("to_regclass('{version_table}') IS NULL"),
            done => format!("(SELECT version FROM {version_table}) = {done}"),
        };
        let statements = migration(names);
        // No name has a dollar sign.
        script +=
            &format!("DO $migration$ BEGIN IF {is_missing} THEN\n{statements}END IF; END $migration$;\n");
    }
    script.push_str("COMMIT;\n");
    script
}

/// Whether the table of sessions is one of this crate's: no other has this column.
const HAS_COLUMN: &str = "SELECT EXISTS (
    SELECT 1 FROM information_schema.columns
    WHERE table_schema = $1 AND table_name = $2 AND column_name = 'secret_hash'
)";

/// The version of the tables after all migrations, and the oldest one that can use them.
const PRESENT: &str = "3, 2";

type Migration = fn(&Names) -> String;

/// One for each version. Released migrations never change; later versions append their own.
///
/// `compatible_from` is the oldest version of this crate that can still use the tables: its statements name the columns
/// that they read and write, and columns that it does not know are nullable or have a default. Each migration sets it.
const MIGRATIONS: &[Migration] = &[version_1, version_2, version_3];

/// Creates the tables of version 1. Times are whole milliseconds since the epoch.
///
/// The index by subject covers only a prefix, because index entries have a maximum size. The index by expiry uses the
/// hour of expiry, which changes at most once per hour, instead of the exact time, which changes with every rotation.
/// The rotations in between update no index (they are heap-only, given the space that the fill factor reserves in
/// each page).
fn version_1(names: &Names) -> String {
    let table = names.table();
    let version_table = names.quoted_version_table();
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

/// Adds the parent, the generation seen, two times, and bytes for later fields.
///
/// Changes no row, so it takes equally long for any number of them: for rows without a parent, the missing fields are
/// derived when they are read. Nodes of the first version must not run beside later ones, which rely on parents.
fn version_2(names: &Names) -> String {
    let (table, version_table) = (names.table(), names.quoted_version_table());
    format!(
        r"ALTER TABLE {table}
    ADD COLUMN parent bigint,
    ADD COLUMN seen bigint,
    ADD COLUMN issued_at bigint,
    ADD COLUMN claims_at bigint,
    ADD COLUMN extension bytea NOT NULL DEFAULT '';
ALTER TABLE {version_table} ADD COLUMN compatible_from integer NOT NULL DEFAULT 1;
UPDATE {version_table} SET version = 2, compatible_from = 2;
"
    )
}

/// Adds the feed of sessions that have ended or changed.
///
/// The trigger also announces what nodes of the former version delete, or anyone else by hand: it runs with the rights of
/// the owner of the tables. Sessions that ended long ago by themselves need no entry.
fn version_3(names: &Names) -> String {
    let (table, version_table) = (names.table(), names.quoted_version_table());
    let (changes, epoch, by_txid) = (names.changes(), names.epoch(), names.index("by_txid"));
    let announce = names.beside("announce");
    format!(
        r#"CREATE TABLE IF NOT EXISTS {changes} (
    txid bigint NOT NULL DEFAULT txid_current(),
    at bigint NOT NULL,
    id text COLLATE "C" NOT NULL
);
CREATE INDEX IF NOT EXISTS {by_txid} ON {changes} (txid);
CREATE UNLOGGED TABLE IF NOT EXISTS {epoch} (one boolean PRIMARY KEY DEFAULT true CHECK (one), epoch text NOT NULL);
CREATE OR REPLACE FUNCTION {announce}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $announce$
DECLARE
    millis constant bigint := floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        INSERT INTO {changes} (at, id) VALUES (millis, '{EVERYBODY}');
    ELSE
        INSERT INTO {changes} (at, id) SELECT millis, gone.id FROM gone
        WHERE LEAST(gone.idle_expires_at, gone.absolute_expires_at) > millis - 3600000;
    END IF;
    RETURN NULL;
END $announce$;
REVOKE EXECUTE ON FUNCTION {announce}() FROM PUBLIC;
CREATE TRIGGER announce_deletion AFTER DELETE ON {table}
    REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION {announce}();
CREATE TRIGGER announce_truncation AFTER TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {announce}();
UPDATE {version_table} SET version = 3, compatible_from = 2;
"#
    )
}
