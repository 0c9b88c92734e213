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
    use tower_cookie_jwt::store::{
        Changes, Created, Cursor, NewRecord, RefreshStore, SessionRecord, SqliteStore, Stamps, Update,
    };

    use super::*;
    use crate::kit::first_version::check_migrated;

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
            store.update(&record, Stamps::default())
        }))
        .await;
        let done = results.iter().filter(|result| matches!(result, Ok(Update::Done(_)))).count();
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
        let written = async { (store.update(&record, Stamps::default()).await, Instant::now()) };
        let (ended, (outcome, written)) = tokio::join!(ended, written);
        assert!(outcome.expect("it writes").is_done());
        assert!(written >= ended, "it has waited");
    }

    #[tokio::test]
    async fn a_busy_file_is_a_timely_error_and_the_store_recovers() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("stuck.sqlite");
        let (store, record) = signed_in(&path).await;
        let mut other = writer(&path).await;
        let began = Instant::now();
        let error = store
            .update(&record, Stamps::default())
            .await
            .expect_err("another process is writing")
            .to_string();
        // The sweep after the sign-in may have the one connection that writes, and wait as well.
        let reasons =
            ["the session database is busy", "timed out waiting for a connection to the session database"];
        assert!(reasons.contains(&error.as_str()), "{error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("it ends");
        assert!(store.update(&record, Stamps::default()).await.expect("it writes again").is_done());
    }

    /// The call begins long before it is its turn to write.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_timeout_can_be_chosen() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("hurried.sqlite");
        let (_, record) = signed_in(&path).await;
        let hurried = SqliteStore::options().with_timeout(Duration::from_millis(200)).open(&path).await;
        let hurried = hurried.expect("it opens");
        let patient = SqliteStore::options().with_timeout(Duration::MAX).open(&path).await.expect("it opens");
        let other = writer(&path).await;
        let began = Instant::now();
        hurried.update(&record, Stamps::default()).await.expect_err("another process writes");
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        drop(other);
        assert!(patient.update(&record, Stamps::default()).await.expect("it writes").is_done());
    }

    #[tokio::test]
    async fn a_write_held_behind_a_lock_takes_the_time_at_which_it_gets_the_lock() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("held.sqlite");
        let (store, record) = signed_in(&path).await;
        let idle = Duration::from_secs(20 * 24 * 60 * 60);
        let all = Stamps {
            confirmed_at: true,
            rotated_at: true,
            issued_at: true,
            last_seen_at: true,
            idle: Some(idle),
        };
        let mut other = writer(&path).await;
        let unlocked = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            let unlocked = store.read(&record.id).await.expect("reads do not wait").now;
            sqlx::raw_sql("COMMIT").execute(&mut other).await.expect("it ends");
            unlocked
        };
        let new = NewRecord::new(store.new_id("eve"), "eve", [7; 32]);
        let (unlocked, written, created) =
            tokio::join!(unlocked, store.update(&record, all), store.create(new));
        let Update::Done(written) = written.expect("it writes") else {
            panic!("the version is the same");
        };
        let now = written.rotated_at;
        assert!(now >= unlocked, "{now:?} is before {unlocked:?}");
        assert_eq!(
            [written.confirmed_at, Some(written.issued_at), Some(written.last_seen_at)],
            [Some(now); 3]
        );
        // Rounded down, while the others are rounded up.
        let ends = now + idle;
        assert!([ends, ends - Duration::from_millis(1)].contains(&written.idle_expires_at));
        assert_eq!(store.read(&record.id).await.expect("it reads").record, Some(*written));
        let Created::Done(created) = created.expect("it writes") else {
            panic!("there is room");
        };
        assert!(created.created_at >= unlocked, "a session begins when it is written");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn sessions_of_the_first_version_are_migrated() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("first.sqlite");
        let mut first = raw(&path, "rwc").await;
        sqlx::raw_sql(VERSION_1).execute(&mut first).await.expect("it is made");
        first.close().await.expect("it closes");
        let nodes = futures_util::future::join_all((0..4).map(|_| SqliteStore::open(&path))).await;
        let nodes: Vec<_> = nodes.into_iter().map(|node| node.expect("it opens")).collect();
        check_migrated(&nodes, "{}").await;
        store_contract(&nodes[0]).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_table_of_a_later_version_is_used_if_that_says_so() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("later.sqlite");
        let (running, former) = signed_in(&path).await;
        let mut later = raw(&path, "rw").await;
        sqlx::raw_sql(NEXT_VERSION).execute(&mut later).await.expect("it is changed");
        // A process that runs goes on, and one of the former version may start.
        for store in [running, SqliteStore::open(&path).await.expect("it opens")] {
            assert_eq!(store.read(&former.id).await.expect("it reads").record.as_ref(), Some(&former));
            let new = NewRecord::new(store.new_id("eve"), "eve", [7; 32]);
            let Created::Done(record) = store.create(new).await.expect("it writes") else {
                panic!("there is room");
            };
            let mine = "UPDATE sessions SET added = 'mine' WHERE subject = 'eve'";
            sqlx::raw_sql(mine).execute(&mut later).await.expect("it writes");
            assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
            // What it does not know, it leaves as it is.
            let left: i64 = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE added = 'mine'")
                .fetch_one(&mut later)
                .await
                .expect("it counts");
            assert_eq!(left, 1);
            assert_eq!(store.remove_all("eve", None).await.expect("it removes"), 1);
            store_contract(&store).await;
        }

        let refused = "UPDATE sessions_version SET version = 1000, compatible_from = 4";
        sqlx::raw_sql(refused).execute(&mut later).await.expect("it writes");
        let error = SqliteStore::open(&path).await.expect_err("it is newer");
        assert!(error.to_string().contains("version 1000"), "{error}");
    }

    #[tokio::test]
    async fn missing_version_or_table_is_named_with_the_way_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("incomplete.sqlite");
        let (store, record) = signed_in(&path).await;
        store.close().await.expect("it closes");
        let mut other = raw(&path, "rw").await;
        for (damage, expected) in [
            ("DELETE FROM sessions_version", "has 0 rows"),
            ("INSERT INTO sessions_version VALUES (2, 2)", "has 2 rows"),
            ("DROP TABLE sessions_version", "`sessions_version` is missing"),
        ] {
            sqlx::raw_sql(damage).execute(&mut other).await.expect("it is damaged");
            let words = SqliteStore::open(&path).await.expect_err(damage).to_string();
            assert!(words.contains(expected), "{words}");
            let way_out =
                words.split("run `").nth(1).and_then(|rest| rest.split('`').next()).expect("statements");
            sqlx::raw_sql(sqlx::AssertSqlSafe(way_out.to_owned()))
                .execute(&mut other)
                .await
                .expect("it is mended");
            let store = SqliteStore::open(&path).await.expect("what the words say helps");
            assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
            store.close().await.expect("it closes");
        }
        sqlx::raw_sql("DROP TABLE sessions").execute(&mut other).await.expect("it is damaged");
        let words = SqliteStore::open(&path).await.expect_err("it is incomplete").to_string();
        assert!(words.contains("`sessions` is missing"), "{words}");
        sqlx::raw_sql("DROP TABLE sessions_version").execute(&mut other).await.expect("it is dropped");
        SqliteStore::open(&path).await.expect("both are created");
    }

    #[tokio::test]
    async fn what_is_deleted_by_hand_is_in_the_feed_and_old_entries_are_a_gap() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("feed.sqlite");
        let (store, record) = signed_in(&path).await;
        let page = async |cursor: Option<&Cursor>| match store.changes(cursor).await.expect("it answers") {
            Changes::Since(page) => page,
            Changes::Unsupported => panic!("it has a feed"),
        };
        let begun = page(None).await.next;
        let mut other = raw(&path, "rw").await;
        sqlx::raw_sql("BEGIN; DELETE FROM sessions; ROLLBACK").execute(&mut other).await.expect("it runs");
        assert!(page(Some(&begun)).await.sessions.is_empty(), "rolled back");
        // SQLite has a shortcut for deleting everything, which would skip triggers.
        sqlx::raw_sql("DELETE FROM sessions").execute(&mut other).await.expect("it deletes");
        let first = page(Some(&begun)).await;
        assert_eq!((first.sessions, first.is_gap), (vec![record.id], false));
        assert!(page(Some(&first.next)).await.sessions.is_empty());
        let many =
            "WITH RECURSIVE number (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM number WHERE i < 25000)
            INSERT INTO sessions_changes (id) SELECT 'id ' || i FROM number";
        sqlx::raw_sql(many).execute(&mut other).await.expect("it writes");
        let (mut cursor, mut heard) = (first.next, 0);
        loop {
            let page = page(Some(&cursor)).await;
            assert!(!page.is_gap && page.sessions.len() <= 10_000);
            heard += page.sessions.len();
            cursor = page.next;
            if !page.has_more {
                break;
            }
        }
        assert_eq!(heard, 25_000);
        sqlx::raw_sql("DELETE FROM sessions_changes WHERE seq < 20000")
            .execute(&mut other)
            .await
            .expect("it deletes");
        assert!(page(Some(&begun)).await.is_gap, "what came after it is not there any more");
        assert!(!page(Some(&cursor)).await.is_gap, "nothing has come after it");
        sqlx::raw_sql("DELETE FROM sessions_changes").execute(&mut other).await.expect("it deletes");
        assert!(!page(Some(&cursor)).await.is_gap);
        assert!(page(Some(&begun)).await.is_gap);
    }

    #[tokio::test]
    async fn a_table_of_the_application_is_refused_and_left_unchanged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("foreign.sqlite");
        let mut other = raw(&path, "rwc").await;
        let made = sqlx::raw_sql("CREATE TABLE sessions (id TEXT)").execute(&mut other).await;
        made.expect("it is made");
        SqliteStore::open(&path).await.expect_err("it is another's");
        let left: Vec<String> = sqlx::query_scalar("SELECT sql FROM sqlite_master")
            .fetch_all(&mut other)
            .await
            .expect("it lists");
        assert_eq!(left, ["CREATE TABLE sessions (id TEXT)"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn other_users_of_the_machine_cannot_read_a_new_file() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("private.sqlite");
        let (_store, _) = signed_in(&path).await;
        let modes = std::fs::read_dir(folder.path()).expect("it lists").map(|entry| {
            let entry = entry.expect("it lists");
            let mode = entry.metadata().expect("it is there").permissions().mode() & 0o777;
            (entry.file_name().into_string().expect("text"), mode)
        });
        let mut modes: Vec<_> = modes.collect();
        modes.sort();
        let names = ["private.sqlite", "private.sqlite-shm", "private.sqlite-wal"];
        assert_eq!(modes, names.map(|name| (name.to_owned(), 0o600)));

        let chosen = folder.path().join("chosen.sqlite");
        std::fs::write(&chosen, "").expect("it is writable");
        std::fs::set_permissions(&chosen, std::fs::Permissions::from_mode(0o640)).expect("it is ours");
        signed_in(&chosen).await;
        let mode = std::fs::metadata(&chosen).expect("it is there").permissions().mode() & 0o777;
        assert_eq!(mode, 0o640, "an existing file keeps its mode");

        let link = folder.path().join("link.sqlite");
        std::os::unix::fs::symlink("target.sqlite", &link).expect("the folder is writable");
        signed_in(&link).await;
        let target = std::fs::metadata(folder.path().join("target.sqlite")).expect("it is there");
        assert_eq!(target.permissions().mode() & 0o777, 0o600, "what a link leads to");
    }

    #[tokio::test]
    async fn causes_have_words_of_their_own_and_a_way_out() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let nowhere = SqliteStore::open(folder.path().join("missing/sessions.sqlite")).await;
        let nowhere = nowhere.expect_err("the folder is missing").to_string();
        assert!(nowhere.contains("cannot be opened: its directory must exist"), "{nowhere}");
        let text = folder.path().join("text");
        std::fs::write(&text, "not a database, but long enough to be read as the header of one".repeat(9))
            .unwrap();
        let text = SqliteStore::open(text).await.expect_err("it is text").to_string();
        assert!(text.contains("is not an SQLite file: choose another path"), "{text}");
    }

    /// Whoever is signed in stays so, and can still be signed out.
    #[tokio::test]
    async fn a_full_disk_refuses_sign_ins_says_so_and_still_ends_sessions() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("full.sqlite");
        let (store, record) = signed_in(&path).await;
        store.close().await.expect("it closes");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool =
            sqlx::SqlitePool::connect_with(options.pragma("max_page_count", "30")).await.expect("it opens");
        let store = SqliteStore::from_pool(pool).await.expect("it opens");
        let mut full = None;
        for number in 0..1_000 {
            let new = NewRecord::new(store.new_id("eve"), format!("eve-{number}"), [7; 32]);
            if let Err(error) = store.create(new).await {
                full = Some(error.to_string());
                break;
            }
        }
        let full = full.expect("30 pages are soon full");
        assert!(full.contains("disk of the session database is full"), "{full}");
        assert_eq!(store.read(&record.id).await.expect("it reads").record.as_ref(), Some(&record));
        assert!(store.remove(&record.id).await.expect("it removes"));
        assert_eq!(store.remove_all("eve-1", None).await.expect("it removes"), 1);
    }

    #[tokio::test]
    async fn operators_ping_sweep_and_close() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("operated.sqlite");
        let clock = TestClock::new();
        let store = SqliteStore::open(&path).await.expect("it opens").with_clock(clock.clone());
        store.ping().await.expect("it is there");
        for _ in 0..250 {
            store.create(NewRecord::new(store.new_id("ada"), "ada", [7; 32])).await.expect("it writes");
        }
        assert_eq!(store.sweep().await.expect("it sweeps"), 0, "all are live");
        clock.advance(Duration::from_secs(100 * 24 * 60 * 60));
        assert_eq!(store.sweep().await.expect("it sweeps"), 250);
        let (_other, record) = signed_in(&path).await;
        store.close().await.expect("it closes");
        store.ping().await.expect_err("no call after the end");
        drop(_other);
        let again = SqliteStore::open(&path).await.expect("it opens again");
        assert_eq!(again.read(&record.id).await.expect("it reads").record, Some(record));
        again.close().await.expect("it closes");
        again.close().await.expect("it is closed already");
        let log = std::fs::metadata(folder.path().join("operated.sqlite-wal")).map_or(0, |log| log.len());
        assert_eq!(log, 0, "the log is in the file");

        let mut reader = raw(&path, "rw").await;
        sqlx::raw_sql("BEGIN; SELECT count(*) FROM sessions").execute(&mut reader).await.expect("it reads");
        let hurried = SqliteStore::options().with_timeout(Duration::from_millis(200));
        let store = hurried.open(&path).await.expect("it opens");
        store.create(NewRecord::new(store.new_id("ada"), "ada", [7; 32])).await.expect("it writes");
        let busy = store.close().await.expect_err("another process reads what is in the log").to_string();
        assert!(busy.contains("still in use by another process"), "{busy}");
    }

    async fn raw(path: &std::path::Path, mode: &str) -> sqlx::SqliteConnection {
        let address = format!("sqlite:{}?mode={mode}", path.display());
        sqlx::SqliteConnection::connect(&address).await.expect("it opens")
    }

    /// What the next version might do to the table.
    const NEXT_VERSION: &str = "
        ALTER TABLE sessions ADD COLUMN added TEXT;
        ALTER TABLE sessions ADD COLUMN counted INTEGER NOT NULL DEFAULT 7;
        ALTER TABLE sessions_version ADD COLUMN note TEXT;
        UPDATE sessions_version SET version = 4, compatible_from = 3;
    ";

    /// The table as the first version made it, and sessions in it.
    const VERSION_1: &str = "
        CREATE TABLE sessions (
            id TEXT NOT NULL PRIMARY KEY,
            subject TEXT NOT NULL,
            secret_hash BLOB NOT NULL,
            generation INTEGER NOT NULL,
            confirmed_at INTEGER,
            rotated_at INTEGER NOT NULL,
            created_at INTEGER NOT NULL,
            last_seen_at INTEGER NOT NULL,
            idle_expires_at INTEGER NOT NULL,
            absolute_expires_at INTEGER NOT NULL,
            scope TEXT NOT NULL,
            claims TEXT NOT NULL,
            xsrf_token TEXT NOT NULL,
            label TEXT NOT NULL,
            version INTEGER NOT NULL
        ) STRICT;
        CREATE INDEX sessions_by_subject ON sessions (subject);
        CREATE INDEX sessions_by_expiry ON sessions (min(idle_expires_at, absolute_expires_at));
        INSERT INTO sessions
        SELECT column1, 'ada', zeroblob(32), column2, column3, 4000, 1000, 6000, 4102444800000, 4102444800000,
            'read', '{}', 'x', 'l', 9
        FROM (VALUES ('new', 0, NULL), ('begun', 0, 5000), ('rotated', 7, NULL), ('used', 7, 5000));
    ";
}
