//! A server that hangs, dies, or changes its mind.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};
use tower_cookie_jwt::store::{PostgresStore, RefreshStore, SessionRecord, Stamps};

use super::{open, sessions::wait_for, sign_in};
use crate::servers::Postgres;

/// Each call is bounded by 5 seconds; the rest is for a busy machine.
const IN_TIME: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hung_server_is_a_timely_error_and_the_store_recovers() {
    let (server, store, record) = signed_in().await;
    fill(&store).await;
    let backends = server.backends("STOP");
    server.signal("STOP");
    // More calls than connections, twice: none waits for what the first have left behind.
    for _ in 0..2 {
        let began = Instant::now();
        let answers = join_all((0..15).map(|_| store.read(&record.id))).await;
        assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
        for answer in answers {
            let error = answer.expect_err("the server hangs");
            assert!(error.to_string().contains("in time"), "{error}");
        }
    }
    server.signal("CONT");
    server.signal_backends(&backends, "CONT");
    assert_eq!(store.read(&record.id).await.expect("it reads again").record, Some(record));
    assert!(join_all((0..30).map(|_| sign_in(&store, "ada"))).await.iter().all(Result::is_ok));
}

/// The connections stay hung; only new ones are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_hang_are_replaced() {
    let (server, store, record) = signed_in().await;
    fill(&store).await;
    let backends = server.backends("STOP");
    let mut failures = 0;
    let began = Instant::now();
    while store.read(&record.id).await.is_err() {
        failures += 1;
        assert!(began.elapsed() < 2 * IN_TIME, "it does not recover: {failures} failures");
    }
    join_all((0..15).map(|_| store.read(&record.id))).await;
    let began = Instant::now();
    let answers = join_all((0..15).map(|_| store.read(&record.id))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    server.signal_backends(&backends, "CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_hang_in_a_statement_are_replaced() {
    let (server, store, record) = signed_in().await;
    let _locked = lock(&server).await;
    let updates = join_all((0..10).map(|_| store.update(&record, Stamps::default())));
    let hang = async {
        wait_for(&server, MOST_WAIT).await;
        server.backends("STOP")
    };
    let began = Instant::now();
    let (outcomes, backends) = tokio::join!(updates, hang);
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert!(outcomes.iter().all(Result::is_err), "{outcomes:?}");
    let began = Instant::now();
    assert_eq!(store.read(&record.id).await.expect("it reads").record, Some(record));
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    server.signal_backends(&backends, "CONT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_call_leaves_no_response_for_the_next() {
    let server = Postgres::start();
    let store =
        PostgresStore::options().with_max_connections(1).connect(&server.url()).await.expect("it opens");
    let ada = sign_in(&store, "ada").await.expect("it writes");
    let eve = sign_in(&store, "eve").await.expect("it writes");
    for micros in (0..3000).step_by(10) {
        let patience = Duration::from_micros(micros);
        let _ = tokio::time::timeout(patience, store.read(&ada.id)).await;
        assert_eq!(store.read(&eve.id).await.expect("it reads").record.as_ref(), Some(&eve));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_a_timely_error_and_the_store_recovers() {
    let (mut server, store, record) = signed_in().await;
    fill(&store).await;
    server.kill();
    let began = Instant::now();
    store.update(&record, Stamps::default()).await.expect_err("connections are refused");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    server.restart();
    assert!(store.update(&record, Stamps::default()).await.expect("it writes again").is_done());
    assert!(join_all((0..30).map(|_| sign_in(&store, "ada"))).await.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stays_locked_is_a_timely_error() {
    let (server, store, record) = signed_in().await;
    let locked = lock(&server).await;
    let began = Instant::now();
    let error = store.update(&record, Stamps::default()).await.expect_err("it is locked");
    assert!(began.elapsed() < IN_TIME, "{:?}", began.elapsed());
    assert!(error.to_string().contains("too long"), "the server itself gives up: {error}");
    // Neither reads nor other sessions wait for the lock.
    assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
    let next = sign_in(&store, "ada").await.expect("it writes");
    assert!(store.update(&next, Stamps::default()).await.expect("it writes").is_done());
    locked.close().await.expect("it ends");
    assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_database_is_an_error_and_its_connections_are_replaced() {
    let server = Postgres::start();
    let store =
        PostgresStore::options().with_max_connections(1).connect(&server.url()).await.expect("it opens");
    let record = sign_in(&store, "ada").await.expect("it writes");
    server.run("ALTER DATABASE postgres SET default_transaction_read_only = on");
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tower%'");
    for _ in 0..3 {
        let error = store.update(&record, Stamps::default()).await.expect_err("it is read-only");
        assert!(error.to_string().contains("read-only"), "{error}");
        assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
    }
    store.update(&record, Stamps::default()).await.expect_err("it is read-only");
    server.run("BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT");
    // The pool's one connection would be read-only still.
    assert!(store.update(&record, Stamps::default()).await.expect("it writes again").is_done());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_not_queried_for_sessions() {
    let (mut server, store, record) = signed_in().await;
    server.run("COPY (SELECT 1) TO PROGRAM 'cat > standby.signal'");
    server.stop();
    server.restart();
    let error = store.read(&record.id).await.expect_err("what it knows may be old");
    assert!(error.to_string().contains("standby"), "{error}");
    store.list("ada").await.expect_err("what it knows may be old");
    store.list("nobody").await.expect_err("what it knows may be old");
    let error = store.update(&record, Stamps::default()).await.expect_err("it cannot write");
    assert!(error.to_string().contains("read-only"), "{error}");
    let error = PostgresStore::connect(&server.url()).await.expect_err("it is a standby");
    assert!(error.to_string().contains("standby"), "{error}");
    server.run("SELECT 1 / pg_promote()::int");
    assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
    assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
}

/// Whether most of the ten connections of a store wait for a lock.
const MOST_WAIT: &str = "SELECT count(*) > 5 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";

/// Returns a server, its store, and a session of ada's.
async fn signed_in() -> (Postgres, PostgresStore, SessionRecord) {
    let server = Postgres::start();
    let store = open(&server).await;
    let record = sign_in(&store, "ada").await.expect("it writes");
    (server, store, record)
}

/// Keeps all sessions locked for as long as the connection lasts.
pub(super) async fn lock(server: &Postgres) -> PgConnection {
    let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
    let locking = sqlx::raw_sql("BEGIN; SELECT 1 FROM sessions FOR UPDATE");
    locking.execute(&mut other).await.expect("it locks");
    other
}

/// Opens all connections of the store.
async fn fill(store: &PostgresStore) {
    let opened = join_all((0..20).map(|_| store.list("ada"))).await;
    assert!(opened.iter().all(Result::is_ok));
}

/// Clients hang up whenever they like: that must not cost the server a connection each.
#[tokio::test]
async fn dropped_calls_cost_no_connections() {
    let (server, store, record) = signed_in().await;
    let before = server.connections_made();
    for _ in 0..200 {
        // Often enough the statement has left, and its answer has not come.
        let read = store.read(&record.id);
        let _ = tokio::time::timeout(Duration::from_micros(300), read).await;
    }
    assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
    let made = server.connections_made() - before;
    assert!(made <= 30, "{made} new connections for 200 calls that were given up");
}
