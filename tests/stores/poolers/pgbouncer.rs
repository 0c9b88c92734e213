//! Through PgBouncer, which Debian 12 has in version 1.18.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sqlx::{
    Connection, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tower_cookie_jwt::{
    store::{NewRecord, PostgresStore, RefreshStore, SessionId, Stamps},
    testing::store_contract,
};

use super::{chain, documented, replaced, set_up, url};
use crate::servers::{PgBouncer, Postgres};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PgBouncer: see `tests/run long`"]
async fn the_store_keeps_the_contract_through_pgbouncer_in_session_mode() {
    let server = database();
    let pooler = before(&server, documented("session"));
    store_contract(&PostgresStore::connect(&url(pooler.port())).await.expect("it opens")).await;

    let strict =
        replaced(documented("session"), &[("\nignore_startup_parameters = extra_float_digits,options", "")]);
    let pooler = before(&server, &strict);
    let refused =
        chain(&PostgresStore::connect(&url(pooler.port())).await.expect_err("it asks for too much"));
    assert!(refused.contains("ignore_startup_parameters") && refused.contains("08P01"), "{refused}");
    let options: PgConnectOptions = url(pooler.port()).parse().expect("it is valid");
    let pool = PgPoolOptions::new()
        .max_connections(10)
        .acquire_timeout(Duration::from_secs(5))
        .connect_with(options.extra_float_digits(None))
        .await
        .expect("it connects");
    store_contract(&PostgresStore::from_pool(pool).await.expect("it opens")).await;
}

/// A session that is read must never be one that is removed, because two connections number their statements alike.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PgBouncer: see `tests/run long`"]
async fn a_pooler_that_mixes_up_prepared_statements_is_refused_when_the_store_is_opened() {
    let server = database();
    let former = replaced(documented("transaction"), &[("\nmax_prepared_statements = 200", "")]);
    let names_the_way_out = |error: &str| {
        assert!(error.contains("max_prepared_statements") && error.contains("session mode"), "{error}");
    };
    for _ in 0..3 {
        let pooler = before(&server, &former);
        // First on a pooler whose connections are fresh, then on used ones.
        for _ in 0..3 {
            let refused =
                PostgresStore::connect(&url(pooler.port())).await.expect_err("it would be mixed up");
            names_the_way_out(&chain(&refused));
        }
        for capacity in [100, 0] {
            let pooler = before(&server, &former);
            let options: PgConnectOptions = url(pooler.port()).parse().expect("it is valid");
            let options = options.statement_cache_capacity(capacity);
            let pool = PgPoolOptions::new().max_connections(10).connect_lazy_with(options);
            let refused = PostgresStore::from_pool(pool).await.expect_err("it would be mixed up");
            names_the_way_out(&chain(&refused));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PgBouncer: see `tests/run long`"]
async fn the_time_outs_of_the_role_apply_through_pgbouncer() {
    let server = database();
    let pooler = before(&server, documented("session"));
    let store = PostgresStore::connect(&url(pooler.port())).await.expect("it opens");
    let new = NewRecord::new(store.new_id("ada"), "ada", [7; 32]);
    let id = new.id.clone();
    store.create(new).await.expect("it writes");
    let record = store.read(&id).await.expect("it reads").record.expect("it is there");

    let direct = server.url().replace("/postgres", "/shop").replace("//shop", "//postgres");
    let mut other = PgConnection::connect(&direct).await.expect("it connects");
    let locking = sqlx::raw_sql("BEGIN; SELECT 1 FROM sessions FOR UPDATE");
    locking.execute(&mut other).await.expect("it locks");
    let began = Instant::now();
    let waited = chain(&store.update(&record, Stamps::default()).await.expect_err("the row is locked"));
    println!("gave up waiting for a lock after {:.1?}", began.elapsed());
    assert!(waited.contains("too long") && waited.contains("55P03"), "{waited}");
    // The equal time-out of the role is not taken for that of a direct connection: behind a pooler, the backend of an
    // abandoned call may serve another one, and is not cancelled.
    let abandoned = store.update(&record, Stamps::default());
    tokio::time::timeout(Duration::from_millis(500), abandoned).await.expect_err("the row is locked");
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.run(
        "SELECT 1 / (count(*) = 0)::int FROM pg_stat_activity \
         WHERE query LIKE '%pg_cancel_backend(pid)%' AND pid <> pg_backend_pid()",
    );
    assert_eq!(server.backends_waiting_for("Lock"), 1);
    other.close().await.expect("it ends");

    let began = Instant::now();
    let slept = sqlx::query("SELECT pg_sleep(30)").execute(store.pool()).await.expect_err("too long");
    println!("gave up a statement after {:.1?}", began.elapsed());
    assert_eq!(slept.as_database_error().and_then(|error| error.code()).as_deref(), Some("57014"));
}

/// A server connection belongs to a client until that disconnects, which a pool does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes a minute: see `tests/run long`"]
async fn a_pool_that_is_too_small_starves_nodes_in_session_mode_and_the_error_says_so() {
    const NODES: usize = 2;
    for (size, enough) in [("20", true), ("5", false)] {
        let server = database();
        let small = replaced(
            documented("session"),
            &[("default_pool_size = 40", &format!("default_pool_size = {size}"))],
        );
        let pooler = before(&server, &small);
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(PostgresStore::connect(&url(pooler.port())).await.expect("it opens"));
        }
        let mut errors = Vec::new();
        // The first one comes first.
        for (number, took) in join_all(nodes.iter().enumerate().map(async |(number, node)| {
            tokio::time::sleep(Duration::from_millis(500) * number as u32).await;
            (number, load(node, 10).await)
        }))
        .await
        {
            println!(
                "two nodes with 10 connections each on {size}: node {number} had {:.0} answers a second, \
                 {} failed calls, the slowest took {:.1?}",
                f64::from(took.answered) / LOAD.as_secs_f64(),
                took.errors.len(),
                took.slowest
            );
            errors.extend(took.errors);
        }
        assert_eq!(errors.is_empty(), enough, "{errors:?}");
        for error in errors {
            assert!(error.contains("default_pool_size") || error.contains("in time"), "{error}");
        }
        // Ten calls at a time, as pages make them: each lot takes as long as the call that gets no connection.
        let (began, mut answered) = (Instant::now(), 0);
        while began.elapsed() < LOAD {
            let lot = join_all((0..10).map(|_| nodes[0].list("ada"))).await;
            answered += lot.iter().filter(|call| call.is_ok()).count();
        }
        let took = began.elapsed().as_secs_f64();
        println!("lots of ten calls to node 0 on {size}: {:.1} answers a second", answered as f64 / took);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PgBouncer: see `tests/run long`"]
async fn what_pgbouncer_reports_has_words_and_a_way_out() {
    let mut server = database();
    let session = documented("session");
    let open = async |configuration: &str, change: fn(String) -> String| {
        let pooler = before(&server, configuration);
        let error = PostgresStore::connect(&change(url(pooler.port()))).await.expect_err("it cannot open");
        chain(&error)
    };
    let password = open(session, |url| url.replace("correct%20horse", "wrong")).await;
    assert!(password.contains("rejected the user or the password"), "{password}");
    let database = open(session, |url| url.replace("/shop", "/missing")).await;
    assert!(database.contains("add it to PgBouncer's `[databases]`"), "{database}");
    let crowded = replaced(session, &[("max_client_conn = 200", "max_client_conn = 0")]);
    let crowded = open(&crowded, |url| url).await;
    assert!(crowded.contains("raise PgBouncer's `max_client_conn`"), "{crowded}");

    let pooler = before(&server, session);
    let store = PostgresStore::connect(&url(pooler.port())).await.expect("it opens");
    server.kill();
    let mut last = String::new();
    for _ in 0..5 {
        last = chain(&store.read(&SessionId::new("id")).await.expect_err("it is down"));
        println!("PostgreSQL is down behind PgBouncer: {last}");
        assert!(last.contains("session database"), "{last}");
    }
    assert!(last.contains("the pooler cannot connect"), "{last}");
    server.restart();
    let began = Instant::now();
    while store.ping().await.is_err() {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not recover");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("and up again after {:.1?}", began.elapsed());
}

struct Load {
    answered: u32,
    errors: Vec<String>,
    slowest: Duration,
}

/// So many clients, each of which calls again as soon as it has its answer.
async fn load(store: &PostgresStore, clients: usize) -> Load {
    let began = Instant::now();
    let loads = join_all((0..clients).map(|_| async {
        let mut load = Load { answered: 0, errors: Vec::new(), slowest: Duration::ZERO };
        while began.elapsed() < LOAD {
            let called = Instant::now();
            match store.list("ada").await {
                Ok(listed) => {
                    assert!(listed.is_empty(), "no wrong answers");
                    load.answered += 1;
                }
                Err(error) => load.errors.push(chain(&error)),
            }
            load.slowest = load.slowest.max(called.elapsed());
        }
        load
    }))
    .await;
    Load {
        answered: loads.iter().map(|load| load.answered).sum(),
        slowest: loads.iter().map(|load| load.slowest).max().unwrap_or_default(),
        errors: loads.into_iter().flat_map(|load| load.errors).collect(),
    }
}

pub(crate) fn database() -> Postgres {
    let server = Postgres::start();
    server.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'");
    set_up(&server);
    server.demand_passwords();
    server
}

pub(crate) fn before(server: &Postgres, configuration: &str) -> PgBouncer {
    let address = format!("host=127.0.0.1 port={}", server.port());
    let configuration = replaced(configuration, &[("host=127.0.0.1 port=5432", &address)]);
    PgBouncer::start(&configuration, documented("users"))
}

const LOAD: Duration = Duration::from_secs(10);
