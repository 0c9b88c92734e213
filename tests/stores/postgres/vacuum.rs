//! What rotations cost the table: how many touch no index, and how far it grows. Measured, for the advice in the docs.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use sqlx::{Connection, PgConnection};
use tower_cookie_jwt::store::{PostgresStore, RefreshStore, SessionRecord, Stamps};

use super::{open, sign_in};
use crate::servers::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn most_rotations_touch_no_index() {
    for fillfactor in [80, 60] {
        let server = Postgres::start();
        let store = open(&server).await;
        server.run(&format!("ALTER TABLE sessions SET (fillfactor = {fillfactor})"));
        let mut sessions = begin(&store).await;
        rotate(&store, &mut sessions, ROUNDS).await;
        let hot = report(&server, &format!("fillfactor {fillfactor}"));
        assert!(hot > 70.0, "{hot} % of the updates were heap-only at fillfactor {fillfactor}");
    }
}

/// An open transaction, such as that of a backup or of a forgotten console, keeps all that rotations leave behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn table_grows_under_an_open_transaction_and_autovacuum_makes_the_room_usable_again() {
    let server = Postgres::start();
    let store = open(&server).await;
    server.run("ALTER SYSTEM SET autovacuum_naptime = '1s'");
    server.run("ALTER TABLE sessions SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000)");
    server.run("SELECT pg_reload_conf()");
    let mut sessions = begin(&store).await;
    let before = size(&server);
    let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
    let snapshot = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sessions";
    sqlx::raw_sql(snapshot).execute(&mut other).await.expect("it reads");
    rotate(&store, &mut sessions, ROUNDS).await;
    let held = size(&server);
    other.close().await.expect("it ends");
    wait_for_vacuum(&server).await;
    rotate(&store, &mut sessions, ROUNDS).await;
    let after = size(&server);
    println!(
        "PostgreSQL: table of {before} kB, {held} kB under an open transaction, {after} kB after as many rotations more"
    );
    assert!(held > 2 * before, "rotations under an open transaction leave their rows");
    assert!(after < held + held / 4, "what autovacuum has freed is used again");
}

async fn begin(store: &PostgresStore) -> Vec<SessionRecord> {
    let signing_in = (0..SESSIONS).map(|number| async move {
        let mut record = sign_in(store, &format!("user-{number}")).await.expect("it writes");
        record.claims = r#"{"name":"Ada","roles":["customer"],"tenant":"shop.example"}"#.into();
        record
    });
    stream::iter(signing_in).buffer_unordered(AT_ONCE).collect().await
}

/// Writes every session so often.
async fn rotate(store: &PostgresStore, sessions: &mut Vec<SessionRecord>, rounds: u32) {
    let idle = Some(Duration::from_secs(14 * 24 * 60 * 60));
    for _ in 0..rounds {
        let writing = std::mem::take(sessions).into_iter().map(|mut record| async move {
            record.generation += 1;
            let stamps =
                Stamps { rotated_at: true, issued_at: true, last_seen_at: true, idle, ..Stamps::default() };
            match store.update(&record, stamps).await.expect("it writes") {
                tower_cookie_jwt::store::Update::Done(written) => *written,
                other => panic!("no other writer: {other:?}"),
            }
        });
        *sessions = stream::iter(writing).buffer_unordered(AT_ONCE).collect().await;
    }
}

async fn wait_for_vacuum(server: &Postgres) {
    let began = Instant::now();
    while server
        .ask("SELECT count(*) FROM pg_stat_user_tables WHERE relname = 'sessions' AND n_dead_tup < 1000")
        != "1"
    {
        assert!(began.elapsed() < Duration::from_secs(60), "autovacuum takes its turn");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Prints how many updates were heap-only, and returns it in percent.
fn report(server: &Postgres, what: &str) -> f64 {
    // The server counts within a second.
    std::thread::sleep(Duration::from_millis(1500));
    let counted =
        "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'";
    let counted = server.ask(counted);
    let (all, hot) = counted.split_once(' ').expect("two numbers");
    let (all, hot): (f64, f64) = (all.parse().expect("a number"), hot.parse().expect("a number"));
    println!(
        "PostgreSQL, {what}: {:.1} % of {all} updates heap-only, table of {} kB",
        100.0 * hot / all,
        size(server)
    );
    100.0 * hot / all
}

/// The size of the table, in kB.
fn size(server: &Postgres) -> u64 {
    server.ask("SELECT pg_relation_size('sessions') / 1024").parse().expect("a number")
}

const SESSIONS: usize = 4096;
const AT_ONCE: usize = 64;
const ROUNDS: u32 = 12;
