//! Opening a store: names, migrations, privileges.

use std::error::Error;

use tower_cookie_jwt::{
    store::{PostgresStore, PostgresStoreError, RefreshStore, Stamps},
    testing::store_contract,
};

use super::{open, sign_in};
use crate::{kit::first_version::check_migrated, servers::Postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_start_concurrently_create_the_tables_once() {
    let server = Postgres::start();
    let nodes = (0..8).map(|_| {
        let options = PostgresStore::options().with_schema("auth");
        let url = server.url();
        async move { options.connect(&url).await.expect("it opens") }
    });
    let nodes = futures_util::future::join_all(nodes).await;
    let record = sign_in(&nodes[0], "ada").await.expect("it writes");
    for node in nodes {
        assert_eq!(node.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn table_names_are_configurable_and_separate_stores() {
    let server = Postgres::start();
    let other = open(&server).await;
    let longest = "T".repeat(48);
    let store = PostgresStore::options()
        .with_schema("Auth-2")
        .with_table(longest.as_str())
        .connect(&server.url())
        .await
        .expect("it opens");
    store_contract(&store).await;
    let record = sign_in(&store, "ada").await.expect("it writes");
    assert_eq!(other.read(&record.id).await.expect("it reads").record, None);
    assert!(other.list("ada").await.expect("it reads").is_empty());
    server.run(&format!("SELECT 1 / count(*) FROM \"Auth-2\".\"{longest}\""));
    // No index name of the store was truncated to that of another.
    server.run("SELECT 1 / (count(*) = 5)::int FROM pg_indexes WHERE schemaname = 'Auth-2'");
}

#[tokio::test]
async fn hostile_names_are_refused() {
    let server = Postgres::start();
    let url = server.url();
    for name in
        ["", "a\"; DROP SCHEMA public CASCADE; --", "sessions$1", "a b", "a\0", "\u{e9}", &"a".repeat(49)]
    {
        for options in [PostgresStore::options().with_table(name), PostgresStore::options().with_schema(name)]
        {
            assert!(options.schema_sql().is_err(), "{name:?}");
            let error = options.connect(&url).await.expect_err(name);
            assert!(error.to_string().contains("ASCII letters, digits"), "{error}");
        }
    }
    server.run("SELECT 1 / (count(*) = 0)::int FROM pg_tables WHERE schemaname = 'public'");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_without_create_privileges_uses_existing_tables() {
    let server = Postgres::start();
    server.run("CREATE ROLE web LOGIN");
    let url = server.url().replace("postgres@", "web@");
    let options = PostgresStore::options().with_schema("auth");
    let error = options.clone().connect(&url).await.expect_err("it may not make the tables");
    assert!(error.to_string().contains("privilege"), "{error}");

    server.run(&options.schema_sql().expect("the names are plain"));
    server.run("GRANT USAGE ON SCHEMA auth TO web");
    server.run("GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sessions TO web");
    server.run("GRANT SELECT ON auth.sessions_version TO web");
    server.run("GRANT SELECT, INSERT, DELETE ON auth.sessions_changes TO web; GRANT SELECT, INSERT ON auth.sessions_epoch TO web");
    store_contract(&options.connect(&url).await.expect("it opens")).await;
}

#[tokio::test]
async fn opening_again_changes_nothing() {
    let server = Postgres::start();
    let record = sign_in(&open(&server).await, "ada").await.expect("it writes");
    server.run("CREATE TABLE before AS SELECT oid, relfilenode FROM pg_class WHERE relname LIKE 'sessions%'");
    let again = open(&server).await;
    assert_eq!(again.read(&record.id).await.expect("it reads").record, Some(record));
    server.run(
        "SELECT 1 / (count(*) = 9)::int FROM pg_class JOIN before USING (oid, relfilenode) \
         WHERE relname LIKE 'sessions%'",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_later_version_are_used_if_that_says_so() {
    let server = Postgres::start();
    let running = open(&server).await;
    let former = sign_in(&running, "ada").await.expect("it writes");
    server.run(&format!("{NEXT_VERSION} UPDATE sessions_version SET version = 4, compatible_from = 3"));
    // A node that runs goes on, and one of the former version may start.
    for store in [running, open(&server).await] {
        assert_eq!(store.read(&former.id).await.expect("it reads").record.as_ref(), Some(&former));
        let record = sign_in(&store, "eve").await.expect("it writes");
        server.run("UPDATE sessions SET added = 'mine' WHERE subject = 'eve'");
        assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
        // What it does not know, it leaves as it is.
        server.run("SELECT 1 / (count(*) = 1)::int FROM sessions WHERE added = 'mine'");
        assert_eq!(store.remove_all("eve", None).await.expect("it removes"), 1);
        store_contract(&store).await;
    }
    server.run(
        "SELECT 1 / (count(*) = 1)::int FROM sessions_version WHERE version = 4 AND compatible_from = 3",
    );
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_if_that_is_not_compatible() {
    let server = Postgres::start();
    open(&server).await;
    for (version, compatible_from) in [(4, 4), (1000, 4), (1000, 1000), (-1, -1)] {
        server.run(&format!(
            "UPDATE sessions_version SET version = {version}, compatible_from = {compatible_from}"
        ));
        let error = PostgresStore::connect(&server.url()).await.expect_err("it is newer");
        assert!(error.to_string().contains(&format!("version {version}")), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_the_first_version_are_migrated() {
    let server = Postgres::start();
    server.run(VERSION_1);
    let rows = [("new", 0, "NULL"), ("begun", 0, "5000"), ("rotated", 7, "NULL"), ("used", 7, "5000")];
    for (id, generation, confirmed_at) in rows {
        server.run(&format!(
            "INSERT INTO sessions VALUES ('{id}', 'ada', decode(repeat('07', 32), 'hex'), {generation}, \
             {confirmed_at}, 4000, 1000, 6000, 4102444800000, 4102444800000, 'read', '{{\"a\":1}}', 'x', 'l', 9)"
        ));
    }
    let nodes = futures_util::future::join_all((0..8).map(|_| open(&server))).await;
    check_migrated(&nodes, "{\"a\":1}").await;
    store_contract(&nodes[4]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_brought_up_to_date_by_hand() {
    let server = Postgres::start();
    server.run(VERSION_1);
    server.run("CREATE ROLE web LOGIN");
    server.run(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO web; GRANT SELECT ON sessions_version TO web",
    );
    let url = server.url().replace("postgres@", "web@");
    let error = PostgresStore::connect(&url).await.expect_err("it may not change the tables");
    assert!(error.to_string().contains("privilege") && error.to_string().contains("schema_sql"), "{error}");
    let script = PostgresStore::options().schema_sql().expect("the names are plain");
    // A second time changes nothing.
    for _ in 0..2 {
        server.run(&script);
        sign_in(&PostgresStore::connect(&url).await.expect("it opens"), "ada").await.expect("it writes");
    }
    server.run("SELECT 1 / (count(*) = 2)::int FROM sessions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owner_who_may_create_no_schema_runs_the_script() {
    let server = Postgres::start();
    server.run("CREATE ROLE owner LOGIN; CREATE ROLE web LOGIN; CREATE SCHEMA auth AUTHORIZATION owner");
    let options = PostgresStore::options().with_schema("auth");
    let script = options.schema_sql().expect("the names are plain");
    // Also once the tables are there.
    for _ in 0..2 {
        server.run_as("owner", &script);
    }
    server.run_as(
        "owner",
        "GRANT USAGE ON SCHEMA auth TO web; GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sessions TO web;
        GRANT SELECT ON auth.sessions_version TO web; GRANT SELECT, INSERT, DELETE ON auth.sessions_changes TO web;
        GRANT SELECT, INSERT ON auth.sessions_epoch TO web",
    );
    let url = server.url().replace("postgres@", "web@");
    store_contract(&options.connect(&url).await.expect("it opens")).await;
}

#[tokio::test]
async fn missing_version_or_table_is_named_with_the_way_out() {
    let server = Postgres::start();
    let record = sign_in(&open(&server).await, "ada").await.expect("it writes");
    let refused =
        async || PostgresStore::connect(&server.url()).await.expect_err("it is incomplete").to_string();

    for (damage, rows) in
        [("DELETE FROM sessions_version", 0), ("INSERT INTO sessions_version VALUES (3, 2)", 2)]
    {
        server.run(damage);
        let words = refused().await;
        assert!(words.contains(&format!("has {rows} rows")), "{words}");
        server.run(way_out(&words));
        let read = open(&server).await.read(&record.id).await.expect("it reads");
        assert_eq!(read.record.as_ref(), Some(&record), "what the words say helps");
    }
    server.run("DROP TABLE sessions_version");
    let words = refused().await;
    assert!(words.contains("\"sessions_version\" is missing"), "{words}");
    server.run(way_out(&words));
    let read = open(&server).await.read(&record.id).await.expect("it reads");
    assert_eq!(read.record, Some(record), "what the words say helps");

    server.run("DROP TABLE sessions");
    let words = refused().await;
    assert!(words.contains("the table of sessions is missing") && words.contains("drop"), "{words}");
    server.run(
        "DROP TABLE sessions_version, sessions_changes, sessions_epoch; DROP FUNCTION sessions_announce",
    );
    sign_in(&open(&server).await, "ada").await.expect("both have been created");
}

/// Returns the statements that an error's words recommend.
fn way_out(words: &str) -> &str {
    words.split('`').nth(1).expect("the words have statements")
}

#[tokio::test]
async fn foreign_tables_are_refused_and_left_unchanged() {
    let server = Postgres::start();
    server.run("CREATE TABLE sessions (id text)");
    let error = PostgresStore::connect(&server.url()).await.expect_err("it is another's");
    assert!(error.to_string().contains("with_table"), "{error}");
    server.run("SELECT 1 / (count(*) = 1)::int FROM pg_tables WHERE schemaname = 'public'");

    server.run("CREATE TABLE sessions_version AS SELECT 1 AS version");
    let error = PostgresStore::connect(&server.url()).await.expect_err("it has another shape");
    assert!(error.to_string().contains("other columns"), "{error}");
}

#[tokio::test]
async fn url_that_asks_for_a_standby_or_names_several_hosts_is_refused() {
    let server = Postgres::start();
    let with = |attribute: &str| format!("{}?target_session_attrs={attribute}", server.url());
    for attribute in ["any", "read-write", "primary"] {
        PostgresStore::connect(&with(attribute)).await.map(drop).expect(attribute);
    }
    for attribute in ["standby", "prefer-standby", "read-only", "", "anything"] {
        let error = PostgresStore::connect(&with(attribute)).await.expect_err(attribute).to_string();
        assert!(error.contains("target_session_attrs") && error.contains("read-write"), "{error}");
    }
    let several = [
        "postgres://ada:hunter2@db1.shop.example,db2.shop.example/shop",
        "postgres://ada@db1.shop.example:5432,db2.shop.example:5432/shop?sslmode=prefer",
        "postgres:///shop?user=ada&host=db1.shop.example,db2.shop.example",
        "postgres:///shop?host=db1.shop.example%2Cdb2.shop.example",
    ];
    for url in several {
        let error = PostgresStore::connect(url).await.expect_err(url).to_string();
        assert!(error.contains("several hosts") && error.contains("primary"), "{error}");
    }
    // A comma in the password or in the name of the database is none between hosts.
    let comma = server.url().replace("postgres@", "postgres:a,b@");
    PostgresStore::connect(&comma).await.map(drop).expect("trust asks for no password");
}

#[tokio::test]
async fn a_database_that_is_not_in_utf8_is_refused() {
    let server = Postgres::start();
    server.run("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let url = server.url().replace("/postgres", "/latin").replace("://web", "://postgres");
    let url = url.replacen("latin@", "postgres@", 1);
    let error = PostgresStore::connect(&url).await.expect_err("it cannot hold every text");
    assert!(error.to_string().contains("LATIN1") && error.to_string().contains("UTF8"), "{error}");
}

#[tokio::test]
async fn the_password_is_in_no_error_and_no_debug_output() {
    let server = Postgres::start();
    let with_password = server.url().replace("postgres@", "postgres:hunter2@");
    let store = PostgresStore::connect(&with_password).await.expect("trust asks for none");
    assert!(!format!("{store:?}").contains("hunter2"));
    for url in [
        with_password.replace("/postgres:", "/nobody:"),
        with_password.replace("@127.0.0.1:", "@127.0.0.1:1"),
        with_password.replace("/postgres?", "/missing?") + "?sslmode=hunter",
        with_password.replace("hunter2@", "hunter2#@"),
        with_password.replace("hunter2@", "hunter2/@"),
        "hunter2".to_owned(),
        "postgres://ada:hunter2@[::1".to_owned(),
    ] {
        let error = PostgresStore::connect(&url).await.expect_err(&url);
        let said = everything_of(&error);
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[tokio::test]
async fn no_row_value_is_in_an_error() {
    let server = Postgres::start();
    let store = open(&server).await;
    server.run("ALTER TABLE sessions ADD CONSTRAINT mine CHECK (label <> 'shadow')");
    let mut record = sign_in(&store, "ada").await.expect("it writes");
    record.label = "shadow".into();
    record.claims = r#"{"secret":"hunter2"}"#.into();
    let error = store.update(&record, Stamps::default()).await.expect_err("the constraint forbids it");
    let said = everything_of(&error);
    assert!(said.contains("mine") && !said.contains("hunter2"), "{said}");
}

fn everything_of(error: &PostgresStoreError) -> String {
    let mut said = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        said += &format!(" {cause} {cause:?}");
        source = cause.source();
    }
    said
}

/// What the next version might do to the tables.
const NEXT_VERSION: &str =
    "ALTER TABLE sessions ADD COLUMN added text, ADD COLUMN counted bigint NOT NULL DEFAULT 7;
    ALTER TABLE sessions_version ADD COLUMN note text;";

/// The tables as the first version made them.
const VERSION_1: &str = r#"
CREATE TABLE sessions (
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
CREATE INDEX sessions_by_subject ON sessions (left(subject, 256));
CREATE INDEX sessions_by_expiry ON sessions (expiry_hour);
CREATE TABLE sessions_version (version integer NOT NULL);
INSERT INTO sessions_version VALUES (1);
"#;
