//! Sessions, as far as they are specific to PostgreSQL.

use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tower_cookie_jwt::store::{NewRecord, PostgresStore, RefreshStore, SessionId, Stamps, Update};

use super::{open, sign_in};
use crate::servers::Postgres;

#[tokio::test]
async fn an_id_in_use_is_not_overwritten() {
    let server = Postgres::start();
    let store = open(&server).await;
    let record = sign_in(&store, "ada").await.expect("it writes");
    let again = store.create(NewRecord::new(record.id.clone(), "eve", [8; 32])).await;
    again.expect_err("the id is in use");
    assert_eq!(store.read(&record.id).await.expect("it reads").record, Some(record));
}

#[tokio::test]
async fn operators_can_read_texts() {
    let server = Postgres::start();
    let store = open(&server).await;
    let subject = "ada \u{1f980}\0\u{1}";
    let mut new = NewRecord::new(SessionId::new("id\0"), subject, [7; 32]);
    new.claims = r#"{"role":"admin"}"#.into();
    store.create(new).await.expect("it writes");
    server.run(
        "SELECT 1 / (count(*) = 1)::int FROM sessions WHERE claims::json ->> 'role' = 'admin' \
         AND subject = E'ada \u{1f980}\\x010\\x011' AND id = E'id\\x010' \
         AND abs(extract(epoch FROM now() - to_timestamp(created_at / 1000.0))) < 60",
    );
    let found = store.read(&SessionId::new("id\0")).await.expect("it reads").record;
    assert_eq!(found.expect("it is there").subject.as_ref(), subject);
    assert_eq!(store.list(subject).await.expect("it lists").len(), 1);
}

/// The update waits for another transaction, and its statement has seen the session as it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_that_waited_for_a_lock_reports_the_state_of_the_session() {
    let server = Postgres::start();
    let store = open(&server).await;
    for (change, expected) in [
        ("DELETE FROM sessions", Some(Update::Gone)),
        ("UPDATE sessions SET version = version + 1", Some(Update::Conflict)),
        ("UPDATE sessions SET label = 'same version'", None),
    ] {
        let record = sign_in(&store, "ada").await.expect("it writes");
        let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
        let mut transaction = other.begin().await.expect("it begins");
        sqlx::query(change).execute(&mut *transaction).await.expect("it changes the row");
        let (updating, waited) = (store.clone(), record.clone());
        let update = tokio::spawn(async move { updating.update(&waited, Stamps::default()).await });
        wait_for_a_lock(&server).await;
        transaction.commit().await.expect("it commits");
        let outcome = update.await.expect("no panic").expect("it answers");
        match expected {
            Some(expected) => assert_eq!(outcome, expected, "{change}"),
            None => assert!(outcome.is_done(), "{change}: {outcome:?}"),
        }
        store.remove(&record.id).await.expect("it removes");
    }
}

/// The statement begins long before it gets the row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_held_behind_a_lock_takes_the_time_at_which_it_gets_the_lock() {
    let server = Postgres::start();
    let store = open(&server).await;
    let idle = Duration::from_secs(20 * 24 * 60 * 60);
    let all = Stamps {
        confirmed_at: true,
        rotated_at: true,
        issued_at: true,
        last_seen_at: true,
        idle: Some(idle),
    };
    for change in ["SELECT 1 FROM sessions FOR UPDATE", "UPDATE sessions SET label = 'same version'"] {
        let record = sign_in(&store, "ada").await.expect("it writes");
        let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
        let mut transaction = other.begin().await.expect("it begins");
        sqlx::query(change).execute(&mut *transaction).await.expect("it locks the row");
        let (updating, waited) = (store.clone(), record.clone());
        let update = tokio::spawn(async move { updating.update(&waited, all).await });
        wait_for_a_lock(&server).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        let unlocked = store.read(&record.id).await.expect("reads do not wait").now;
        transaction.commit().await.expect("it commits");
        let Update::Done(written) = update.await.expect("no panic").expect("it answers") else {
            panic!("the version is the same");
        };
        let now = written.rotated_at;
        assert!(now >= unlocked, "{change}: {now:?} is before {unlocked:?}");
        assert_eq!(
            [written.confirmed_at, Some(written.issued_at), Some(written.last_seen_at)],
            [Some(now); 3]
        );
        assert_eq!(written.idle_expires_at, now + idle);
        let stored = store.read(&record.id).await.expect("it reads").record;
        assert_eq!(stored.as_ref(), Some(&*written), "{change}");
        store.remove(&record.id).await.expect("it removes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_sign_outs_everywhere_never_deadlock() {
    let server = Postgres::start();
    let (one, other) = (open(&server).await, open(&server).await);
    for _ in 0..10 {
        let mut records = Vec::new();
        for _ in 0..50 {
            records.push(sign_in(&one, "ada").await.expect("it writes"));
        }
        let updates = futures_util::future::join_all(
            records.iter().map(|record| other.update(record, Stamps::default())),
        );
        let (first, second, third, updates) = tokio::join!(
            one.remove_all("ada", None),
            other.remove_all("ada", None),
            one.remove_all("ada", None),
            updates
        );
        let removed = [first, second, third].map(|removed| removed.expect("no deadlock"));
        assert_eq!(removed.iter().sum::<u64>(), 50, "{removed:?}");
        assert!(updates.iter().all(Result::is_ok), "{updates:?}");
        assert!(other.list("ada").await.expect("it lists").is_empty());
    }
}

#[tokio::test]
async fn expired_sessions_are_removed_automatically() {
    let server = Postgres::start();
    let store = open(&server).await;
    let locked = insert_expired(&server, 1200);
    let mut other = PgConnection::connect(&server.url()).await.expect("it connects");
    let mut transaction = other.begin().await.expect("it begins");
    sqlx::query("SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE")
        .bind(locked)
        .execute(&mut *transaction)
        .await
        .expect("it locks");

    // More than two batches are removed, skipping the locked row.
    let began = Instant::now();
    let live = sign_in(&store, "ada").await.expect("it writes");
    assert!(began.elapsed() < Duration::from_secs(10), "sign-in does not wait for the sweep");
    wait_for_rows(&server, 2).await;
    transaction.commit().await.expect("it commits");
    assert_eq!(store.list("ada").await.expect("it lists"), [live]);

    // Not more than once a minute. One of these ten is the locked one, which is still there.
    insert_expired(&server, 10);
    sign_in(&store, "ada").await.expect("it writes");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rows(&server).await, 12);
}

#[tokio::test]
async fn a_failing_sweep_does_not_fail_a_sign_in() {
    let server = Postgres::start();
    open(&server).await;
    server.run("CREATE ROLE web LOGIN; GRANT SELECT, INSERT, UPDATE ON sessions, sessions_version TO web");
    let store = PostgresStore::connect(&server.url().replace("postgres@", "web@")).await.expect("it opens");
    insert_expired(&server, 1);
    for _ in 0..3 {
        sign_in(&store, "ada").await.expect("it writes");
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(rows(&server).await, 4, "the role may not delete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_sessions_of_one_subject_work() {
    let server = Postgres::start();
    let store = open(&server).await;
    server.run(&generated(10_000, "ada", "extract(epoch FROM now()) * 1000 + 3600000"));
    server.run(&generated(20_000, "eve' || i || '", "extract(epoch FROM now()) * 1000 + 3600000"));
    server.run("ANALYZE sessions");
    let record = sign_in(&store, "ada").await.expect("it writes");
    let began = Instant::now();
    let listed = store.list("ada").await.expect("it lists");
    assert_eq!(listed.len(), 10_001);
    assert!(listed.is_sorted_by_key(|record| (record.created_at, record.id.clone())));
    assert_eq!(listed.last(), Some(&record));
    assert_eq!(store.remove_all("ada", Some(&record.id)).await.expect("it removes"), 10_000);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(store.list("ada").await.expect("it lists"), [record]);
    assert_eq!(rows(&server).await, 20_001);
}

/// Writes to the indexes are what a rotation costs most.
#[tokio::test]
async fn rotations_do_not_write_to_the_indexes() {
    let server = Postgres::start();
    let store = open(&server).await;
    let mut record = sign_in(&store, "ada").await.expect("it writes");
    for turn in 0..50 {
        record.last_seen_at += Duration::from_millis(turn);
        // Within one hour of the epoch, whatever the hour is now.
        let hour = Duration::from_secs(4_000_000_000 / 3600 * 3600);
        record.idle_expires_at = std::time::UNIX_EPOCH + hour + Duration::from_secs(turn);
        let stamps = Stamps { issued_at: true, ..Stamps::default() };
        assert!(store.update(&record, stamps).await.expect("it writes").is_done());
        record.version += 1;
    }
    drop(store);
    let hot = "SELECT n_tup_hot_upd >= 40 FROM pg_stat_user_tables WHERE relname = 'sessions'";
    wait_for(&server, hot).await;
}

/// Rows whose sessions ended long ago; the id of the first.
fn insert_expired(server: &Postgres, count: u32) -> String {
    server.run(&generated(count, "ada", "1000"));
    "ada-1".to_owned()
}

pub(crate) fn generated(count: u32, subject: &str, expiry: &str) -> String {
    format!(
        "INSERT INTO sessions (id, subject, secret_hash, generation, confirmed_at, rotated_at, created_at, \
         last_seen_at, idle_expires_at, absolute_expires_at, scope, claims, xsrf_token, label, version) \
         SELECT '{subject}-' || i, '{subject}', decode(repeat('07', 32), 'hex'), 0, NULL, \
         i, i, i, {expiry}, {expiry}, '', '{{}}', '', '', 0 FROM generate_series(1, {count}) AS i \
         ON CONFLICT DO NOTHING"
    )
}

async fn rows(server: &Postgres) -> i64 {
    let mut connection = PgConnection::connect(&server.url()).await.expect("it connects");
    sqlx::query_scalar("SELECT count(*) FROM sessions").fetch_one(&mut connection).await.expect("it counts")
}

async fn wait_for_rows(server: &Postgres, expected: i64) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while rows(server).await != expected {
        assert!(Instant::now() < deadline, "{} rows, not {expected}", rows(server).await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn wait_for_a_lock(server: &Postgres) {
    wait_for(server, "SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock')").await;
}

pub(super) async fn wait_for(server: &Postgres, question: &'static str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let mut connection = PgConnection::connect(&server.url()).await.expect("it connects");
        if sqlx::query_scalar(question).fetch_one(&mut connection).await.expect("it answers") {
            return;
        }
        assert!(Instant::now() < deadline, "{question}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
