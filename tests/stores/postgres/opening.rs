//! Opening a store: names, migrations, privileges.

use std::error::Error;

use tower_cookie_jwt::{
    store::{PostgresStore, PostgresStoreError, RefreshStore},
    testing::store_contract,
};

use super::{open, sign_in};
use crate::servers::Postgres;

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
    server.run("SELECT 1 / (count(*) = 3)::int FROM pg_indexes WHERE schemaname = 'Auth-2'");
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
        "SELECT 1 / (count(*) = 5)::int FROM pg_class JOIN before USING (oid, relfilenode) \
         WHERE relname LIKE 'sessions%'",
    );
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused() {
    let server = Postgres::start();
    open(&server).await;
    server.run("UPDATE sessions_version SET version = 1000");
    let error = PostgresStore::connect(&server.url()).await.expect_err("it is newer");
    assert!(error.to_string().contains("version 1000"), "{error}");
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
    let error = store.update(&record).await.expect_err("the constraint forbids it");
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
