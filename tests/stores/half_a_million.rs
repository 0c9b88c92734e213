//! Half a million sessions of one subject, such as a script without a limit has begun: they can be listed, and a
//! sign-out everywhere ends them, while other users go on.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use sqlx::{Executor, sqlite::SqlitePool};
use tower_cookie_jwt::store::{
    Created, NewRecord, PostgresStore, RedisStore, RefreshStore, SessionRecord, SqliteStore,
};

use crate::{
    postgres::sessions::generated,
    servers::{Postgres, Redis},
};

const MANY: usize = 500_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn half_a_million_sessions_of_one_subject_on_postgres() {
    let server = Postgres::start();
    let store = PostgresStore::connect(&server.url()).await.expect("it opens");
    server.run(&generated(MANY as u32, "ada", "extract(epoch FROM now()) * 1000 + 3600000"));
    check("PostgreSQL", &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn half_a_million_sessions_of_one_subject_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.sqlite");
    let store = SqliteStore::open(&path).await.expect("it opens");
    let pool = SqlitePool::connect(&format!("sqlite://{}", path.display())).await.expect("it opens");
    pool.execute(
        "WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 500000)
        INSERT INTO sessions (id, subject, secret_hash, generation, rotated_at, created_at, last_seen_at,
            idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, version)
        SELECT 'ada-' || i, 'ada', randomblob(32), 0, i, i, i, 9999999999999, 9999999999999, '', '{}', '', '', 0
        FROM number",
    )
    .await
    .expect("it writes");
    pool.close().await;
    check("SQLite", &store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn half_a_million_sessions_of_one_subject_on_redis() {
    let server = Redis::start();
    let store = RedisStore::connect(&server.url(), [7; 16]).await.expect("it opens");
    let begun = stream::iter(0..MANY).map(|_| begin(&store, "ada")).buffer_unordered(64).count().await;
    assert_eq!(begun, MANY);
    check("Redis", &store).await;
}

async fn begin<S: RefreshStore>(store: &S, subject: &str) -> SessionRecord {
    match store.create(NewRecord::new(store.new_id(subject), subject, [7; 32])).await.expect("it writes") {
        Created::Done(record) => record,
        Created::Full => panic!("the store is full"),
    }
}

async fn check<S: RefreshStore + Clone>(name: &str, store: &S) {
    let (kept, other) = (begin(store, "ada").await, begin(store, "bob").await);
    let (listed, took, longest) = beside_others(store, &other, store.list("ada")).await;
    println!("{name}: listed in {took:.1?}; the longest read of another user took {longest:.1?}");
    assert_eq!(listed.len(), MANY + 1);
    assert!(listed.is_sorted_by_key(|record| (record.created_at, record.id.clone())));
    let (removed, took, longest) =
        beside_others(store, &other, store.remove_all("ada", Some(&kept.id))).await;
    println!("{name}: removed in {took:.1?}; the longest read of another user took {longest:.1?}");
    assert_eq!(removed, MANY as u64);
    assert_eq!(store.list("ada").await.expect("it lists"), [kept]);
    assert_eq!(store.read(&other.id).await.expect("it reads").record, Some(other));
}

/// Awaits `work` while another user's session is read again and again; returns how long the work and the longest read
/// took.
async fn beside_others<S: RefreshStore + Clone, T>(
    store: &S,
    other: &SessionRecord,
    work: impl Future<Output = Result<T, S::Error>>,
) -> (T, Duration, Duration) {
    let (store, id) = (store.clone(), other.id.clone());
    let (done, mut is_done) = tokio::sync::oneshot::channel::<()>();
    let reader = tokio::spawn(async move {
        let mut longest = Duration::ZERO;
        while is_done.try_recv().is_err() {
            let began = Instant::now();
            assert!(store.read(&id).await.expect("it reads").record.is_some());
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        longest
    });
    let began = Instant::now();
    let result = work.await.expect("the store answers");
    let took = began.elapsed();
    done.send(()).expect("the reader waits for it");
    (result, took, reader.await.expect("no read fails"))
}
