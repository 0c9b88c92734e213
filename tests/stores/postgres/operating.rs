//! What operators see: words for causes, calls that fail fast, and what they ask the store to do.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tower_cookie_jwt::store::{PostgresStore, PostgresStoreError, RefreshStore, Stamps};

use super::{open, sign_in};
use crate::servers::Postgres;

fn chain(error: &PostgresStoreError) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn causes_have_words_of_their_own_and_a_way_out() {
    let server = Postgres::start();
    let url = server.url();
    let open_at = async |url: &str| chain(&PostgresStore::connect(url).await.expect_err("it cannot open"));

    let unknown = open_at(&url.replace("postgres@", "nobody:secret-word@")).await;
    assert!(unknown.contains("rejected the user or the password: correct the URL"), "{unknown}");
    assert!(unknown.contains("SQLSTATE 28000") && !unknown.contains("secret-word"), "{unknown}");
    let missing = open_at(&format!("{}/missing", url.trim_end_matches("/postgres"))).await;
    assert!(missing.contains("does not exist: create it, or correct its name"), "{missing}");
    assert!(missing.contains("SQLSTATE 3D000"), "{missing}");
    let nobody = open_at("postgres://postgres@127.0.0.1:1/postgres").await;
    assert!(nobody.contains("refuses connections: is it running, and at this address?"), "{nobody}");

    server.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'");
    server
        .run("CREATE ROLE web LOGIN PASSWORD 'right' CONNECTION LIMIT 1; GRANT ALL ON SCHEMA public TO web");
    server.demand_passwords();
    let wrong = open_at(&url.replace("postgres@", "web:wrong@")).await;
    assert!(wrong.contains("rejected the user or the password"), "{wrong}");
    assert!(wrong.contains("28P01") && !wrong.contains("wrong@"), "{wrong}");
}

/// The pool waits for room as long as it may; then the cause is the server's, not the clock's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_finds_no_room_for_a_connection_says_so() {
    let server = Postgres::start();
    server.run("CREATE ROLE web LOGIN; GRANT ALL ON SCHEMA public TO web");
    let url = server.url().replace("postgres@", "web@");
    let store = PostgresStore::connect(&url).await.expect("it opens");
    server.run("ALTER ROLE web CONNECTION LIMIT 2"); // one is kept to cancel with
    let other = PgConnection::connect(&url).await.expect("the last one");
    let full = chain(&store.list("ada").await.expect_err("there is no room"));
    assert!(full.contains("no room for another connection: raise its `max_connections`"), "{full}");
    assert!(full.contains("SQLSTATE 53300"), "{full}");
    other.close().await.expect("it ends");
    assert!(store.list("ada").await.expect("there is room").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_fail_fast_while_the_server_refuses_connections() {
    let mut server = Postgres::start();
    let store = open(&server).await;
    store.ping().await.expect("it is there");
    server.kill();
    for _ in 0..3 {
        let began = Instant::now();
        let calls = (0..30).map(|_| store.list("ada"));
        for call in futures_util::future::join_all(calls).await {
            let error = chain(&call.expect_err("it is down"));
            assert!(error.contains("session database"), "{error}");
        }
        assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    }
    let error = chain(&store.ping().await.expect_err("it is down"));
    assert!(error.contains("refuses connections: is it running"), "{error}");
    server.restart();
    store.ping().await.expect("it is there again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_timeout_can_be_chosen_and_the_server_gives_up_before_it() {
    let server = Postgres::start();
    let hurried = PostgresStore::options().with_timeout(Duration::from_secs(1)).connect(&server.url()).await;
    let hurried = hurried.expect("it opens");
    let record = sign_in(&hurried, "ada").await.expect("it writes");
    let lock = super::faults::lock(&server).await;
    let began = Instant::now();
    let error = hurried.update(&record, Stamps::default()).await.expect_err("the row is locked");
    assert!(error.to_string().contains("too long"), "the server itself gives up: {error}");
    assert!(began.elapsed() < FAST, "{:?}", began.elapsed());
    lock.close().await.expect("it ends");
    let patient = PostgresStore::options().with_timeout(Duration::MAX).connect(&server.url()).await;
    patient.expect("it opens").ping().await.expect("it is there");
}

/// `statement_timeout` does not cover a commit's wait for a standby: each call that is given up would leave a backend
/// behind, until the server has no room for anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abandoned_commits_do_not_fill_the_server() {
    let server = Postgres::start();
    let options = PostgresStore::options().with_max_connections(5).with_timeout(Duration::from_secs(1));
    let store = options.connect(&server.url()).await.expect("it opens");
    let record = sign_in(&store, "ada").await.expect("it writes");
    server.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
    server.run("SELECT pg_reload_conf()");
    // Another process of the server reads it, and until then commits are confirmed.
    let unconfirmed = async { while sign_in(&store, "eve").await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), unconfirmed).await.expect("commits wait in the end");
    let began = Instant::now();
    let mut most = 0;
    while began.elapsed() < Duration::from_secs(10) {
        // Each of a session of its own, as calls for one session wait for its row instead.
        let calls = futures_util::future::join_all((0..10).map(|_| sign_in(&store, "eve")));
        let (outcomes, backends) = tokio::join!(calls, async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            server.backends_waiting_for("SyncRep")
        });
        assert!(outcomes.iter().all(Result::is_err), "no commit is confirmed");
        most = most.max(backends);
    }
    assert!((1..=5).contains(&most), "{most} backends for five connections");
    server.run("ALTER SYSTEM RESET synchronous_standby_names");
    server.run("SELECT pg_reload_conf()");
    tokio::time::sleep(Duration::from_secs(2)).await;
    let read = store.read(&record.id).await.expect("it reads").record.expect("the session lives on");
    assert!(store.update(&read, Stamps::default()).await.expect("it writes again").is_done());
    assert_eq!(server.backends_waiting_for("SyncRep"), 0);
}

/// A lock that is held for long, and a pool of the application without limits of its own at the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_abandoned_behind_a_lock_do_not_fill_the_server() {
    let server = Postgres::start();
    let pool = sqlx::postgres::PgPoolOptions::new().max_connections(5);
    let pool = pool.connect(&server.url()).await.expect("it connects");
    let options = PostgresStore::options().with_timeout(Duration::from_millis(500));
    let store = options.from_pool(pool).await.expect("it opens");
    let record = sign_in(&store, "ada").await.expect("it writes");
    let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
    sqlx::raw_sql("BEGIN; LOCK TABLE sessions IN ACCESS EXCLUSIVE MODE")
        .execute(&mut other)
        .await
        .expect("it locks");
    for _ in 0..5 {
        let calls = (0..10).map(|_| store.read(&record.id));
        assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_err));
    }
    let backends = server.backends_waiting_for("Lock");
    assert!((1..=5).contains(&backends), "{backends} backends for five connections");
    other.close().await.expect("it ends");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.read(&record.id).await.expect("it reads").record, Some(record));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_ping_sweep_and_close() {
    let server = Postgres::start();
    let store = open(&server).await;
    for subject in ["ada", "eve"] {
        sign_in(&store, subject).await.expect("it writes");
    }
    assert_eq!(store.sweep().await.expect("it sweeps"), 0, "both are live");
    server.run("UPDATE sessions SET idle_expires_at = 1, absolute_expires_at = 1, created_at = 0 WHERE subject = 'eve'");
    assert_eq!(store.sweep().await.expect("it sweeps"), 1);
    server.run("SELECT 1 / (count(*) = 1)::int FROM sessions");
    assert!(store.pool().size() > 0);
    store.changes(None).await.expect("it answers");

    store.close().await;
    assert!(store.ping().await.is_err(), "no call after the end");
    assert!(store.changes(None).await.is_err(), "nor a connection for the feed");
    let log = server.log();
    for broken in ["unexpected EOF", "Broken pipe", "Connection reset"] {
        assert!(!log.contains(broken), "{broken}: {log}");
    }
}

/// Well below the 5 seconds that a call may take, on a busy machine.
const FAST: Duration = Duration::from_secs(3);
