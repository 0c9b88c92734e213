//! Every store keeps the contract.

use tower_cookie_jwt::{
    MemoryStore,
    testing::{TestClock, store_contract, store_contract_at_size, store_contract_with_clock},
};

#[tokio::test]
async fn the_memory_store_keeps_the_contract() {
    let clock = TestClock::new();
    store_contract(&MemoryStore::new()).await;
    store_contract_at_size(&MemoryStore::new(), 10_000).await;
    store_contract_with_clock(&MemoryStore::new().with_clock(clock.clone()), &clock).await;
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::time::{Duration, Instant};

    use sqlx::Connection;
    use tower_cookie_jwt::store::{Created, NewRecord, RefreshStore, SessionRecord, SqliteStore, Update};

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_sqlite_store_keeps_the_contract() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = TestClock::new();
        let store = SqliteStore::open(folder.path().join("one.sqlite")).await.expect("it opens");
        store_contract(&store).await;
        store_contract_at_size(&store, 10_000).await;
        let driven = SqliteStore::open(folder.path().join("two.sqlite")).await.expect("it opens");
        store_contract_with_clock(&driven.with_clock(clock.clone()), &clock).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_independent_handles_share_one_file() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("shared.sqlite");
        let (one, other) = tokio::join!(SqliteStore::open(&path), SqliteStore::open(&path));
        let (one, other) = (one.expect("it opens"), other.expect("it opens"));
        let new = NewRecord::new(one.new_id("ada"), "ada", [7; 32]);
        let Created::Done(record) = one.create(new).await.expect("it writes") else {
            panic!("there is room");
        };
        let seen = other.read(&record.id).await.expect("it reads").record;
        assert_eq!(seen.as_ref(), Some(&record));
        let results = futures_util::future::join_all((0..32).map(|turn| {
            let store = if turn % 2 == 0 { &one } else { &other };
            store.update(&record)
        }))
        .await;
        let done = results.iter().filter(|result| matches!(result, Ok(Update::Done))).count();
        assert_eq!(done, 1, "exactly one writer wins: {results:?}");
    }

    #[tokio::test]
    async fn sessions_are_still_there_when_the_file_is_opened_again() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("again.sqlite");
        let (store, record) = signed_in(&path).await;
        drop(store);
        let store = SqliteStore::open(&path).await.expect("it opens again");
        assert_eq!(store.read(&record.id).await.expect("it reads").record, Some(record));
    }

    #[tokio::test]
    async fn expired_sessions_are_removed_from_the_file_automatically() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let clock = TestClock::new();
        let path = folder.path().join("swept.sqlite");
        let store = SqliteStore::open(&path).await.expect("it opens").with_clock(clock.clone());
        for _ in 0..250 {
            let new = NewRecord::new(store.new_id("ada"), "ada", [7; 32]);
            store.create(new).await.expect("it writes");
        }
        let ended = store.list("ada").await.expect("it lists");
        assert_eq!(ended.len(), 250);
        clock.advance(Duration::from_secs(100 * 24 * 60 * 60));
        // The first store has swept already, less than a minute ago.
        let store = SqliteStore::open(&path).await.expect("it opens").with_clock(clock);
        let new = NewRecord::new(store.new_id("ada"), "ada", [7; 32]);
        store.create(new).await.expect("it writes");
        for record in &ended {
            while store.read(&record.id).await.expect("it reads").record.is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        assert_eq!(store.list("ada").await.expect("it lists").len(), 1);
    }

    /// Another process, which writes to the file until its transaction ends.
    async fn writer(path: &std::path::Path) -> sqlx::SqliteConnection {
        let address = format!("sqlite:{}", path.display());
        let mut other = sqlx::SqliteConnection::connect(&address).await.expect("it opens");
        sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("it locks");
        other
    }

    async fn signed_in(path: &std::path::Path) -> (SqliteStore, SessionRecord) {
        let store = SqliteStore::open(path).await.expect("it opens");
        let new = NewRecord::new(store.new_id("ada"), "ada", [7; 32]);
        let Created::Done(record) = store.create(new).await.expect("it writes") else {
            panic!("there is room");
        };
        (store, record)
    }

    #[tokio::test]
    async fn a_write_waits_for_another_process_and_reads_do_not() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("busy.sqlite");
        let (store, record) = signed_in(&path).await;
        let mut other = writer(&path).await;
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut other).await.expect("it answers");
        assert_eq!(mode, "wal");
        let ended = async {
            assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
            tokio::time::sleep(Duration::from_millis(100)).await;
            sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("it ends");
            Instant::now()
        };
        let written = async { (store.update(&record).await, Instant::now()) };
        let (ended, (outcome, written)) = tokio::join!(ended, written);
        assert_eq!(outcome.expect("it writes"), Update::Done);
        assert!(written >= ended, "it has waited");
    }

    #[tokio::test]
    async fn a_busy_file_is_a_timely_error_and_the_store_recovers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("stuck.sqlite");
        let (store, record) = signed_in(&path).await;
        let mut other = writer(&path).await;
        let began = Instant::now();
        let error = store.update(&record).await.expect_err("another process is writing").to_string();
        // The sweep after the sign-in may have the one connection that writes, and wait as well.
        let reasons =
            ["the session database is busy", "timed out waiting for a connection to the session database"];
        assert!(reasons.contains(&error.as_str()), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it ends");
        assert_eq!(store.update(&record).await.expect("it writes again"), Update::Done);
    }
}
