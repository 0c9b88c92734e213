//! The feed of sessions that have ended or changed, on a real server: what no caller announces, late commits, crashes.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{Connection, PgConnection};
use tower_cookie_jwt::store::{Changes, Cursor, Page, PostgresStore, RefreshStore, SessionId};

use super::{open, sign_in};
use crate::{
    bounded::{Node, none_is_late_under_faults, sign_out_on_both},
    proxy::Proxy,
    servers::{Postgres, wait_until},
};

async fn page(store: &PostgresStore, cursor: Option<&Cursor>) -> Page {
    match store.changes(cursor).await.expect("it answers") {
        Changes::Since(page) => page,
        Changes::Unsupported => panic!("it has a feed"),
    }
}

fn names(page: &Page, id: &SessionId) -> bool {
    page.sessions.contains(id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_by_hand_or_by_the_former_version_is_in_the_feed() {
    let server = Postgres::start();
    let store = open(&server).await;
    let begun = page(&store, None).await.next;
    let (one, two) =
        (sign_in(&store, "ada").await.expect("it writes"), sign_in(&store, "eve").await.expect("it writes"));
    server.run("CREATE ROLE web LOGIN; GRANT SELECT, DELETE ON sessions TO web");
    server.run_as("web", "DELETE FROM sessions WHERE subject = 'ada'");
    let first = page(&store, Some(&begun)).await;
    assert!(names(&first, &one.id) && !names(&first, &two.id) && !first.is_gap);
    // Rolled back: nothing has changed.
    server.run("BEGIN; DELETE FROM sessions; ROLLBACK");
    let second = page(&store, Some(&first.next)).await;
    assert_eq!((second.sessions.len(), second.is_gap), (0, false));
    server.run("TRUNCATE sessions");
    assert!(page(&store, Some(&second.next)).await.is_gap, "everyone has been signed out");
    // What expired long ago needs no entry.
    let third = page(&store, Some(&second.next)).await;
    sign_in(&store, "ada").await.expect("it writes");
    server.run("UPDATE sessions SET idle_expires_at = 1000; DELETE FROM sessions");
    assert!(page(&store, Some(&third.next)).await.sessions.is_empty());
}

/// A transaction may commit long after others that began later, and long after its entry was written.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_late_commit_is_missed_and_none_comes_twice() {
    let server = Postgres::start();
    let store = open(&server).await;
    let mut ids = Vec::new();
    for number in 0..400 {
        ids.push(sign_in(&store, &format!("user-{number}")).await.expect("it writes").id);
    }
    // One that stays open keeps the snapshots of all others old.
    let mut old = PgConnection::connect(&server.url()).await.expect("it connects");
    sqlx::raw_sql("BEGIN; SELECT txid_current()").execute(&mut old).await.expect("it begins");
    let mut cursor = page(&store, None).await.next;
    let url = server.url();
    let writers = ids.chunks(50).enumerate().map(|(writer, ids)| {
        let (url, ids) = (url.clone(), ids.to_vec());
        tokio::spawn(async move {
            let mut connection = PgConnection::connect(&url).await.expect("it connects");
            for (number, id) in ids.iter().enumerate() {
                // Every fifth is first deleted in vain.
                for ends in if number % 5 == 0 { &["ROLLBACK", "COMMIT"][..] } else { &["COMMIT"] } {
                    sqlx::raw_sql("BEGIN").execute(&mut connection).await.expect("it begins");
                    let delete = sqlx::query("DELETE FROM sessions WHERE id = $1").bind(id.as_str());
                    delete.execute(&mut connection).await.expect("it deletes");
                    let pause = (number * 7 + writer * 3) % 11;
                    tokio::time::sleep(Duration::from_millis(pause as u64)).await;
                    sqlx::raw_sql(*ends).execute(&mut connection).await.expect("it ends");
                }
            }
        })
    });
    let writing = tokio::spawn(join_all(writers.collect::<Vec<_>>()));
    let mut heard = Vec::new();
    loop {
        let is_over = writing.is_finished();
        let page = page(&store, Some(&cursor)).await;
        assert!(!page.is_gap);
        heard.extend(page.sessions);
        cursor = page.next;
        if is_over {
            break;
        }
    }
    let distinct: std::collections::BTreeSet<_> = heard.iter().collect();
    assert_eq!((heard.len(), distinct.len()), (400, 400), "each exactly once");
    assert!(ids.iter().all(|id| distinct.contains(id)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crash_and_restored_backup_are_gaps_and_a_clean_restart_is_none() {
    let mut server = Postgres::start();
    let store = open(&server).await;
    let begun = page(&store, None).await.next;
    server.stop();
    server.restart();
    let store = open(&server).await;
    let clean = page(&store, Some(&begun)).await;
    assert!(!clean.is_gap, "a clean restart keeps the feed");
    server.kill();
    server.restart();
    let store = open(&server).await;
    let crashed = page(&store, Some(&clean.next)).await;
    assert!(crashed.is_gap, "a crash may have lost transaction numbers");
    assert!(!page(&store, Some(&crashed.next)).await.is_gap);
    // The cursor of another server.
    let other = Postgres::start();
    let elsewhere = page(&open(&other).await, None).await.next;
    assert!(page(&store, Some(&elsewhere)).await.is_gap);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_without_the_privileges_of_the_feed_still_keeps_sessions() {
    let server = Postgres::start();
    open(&server).await;
    server.run("CREATE ROLE web LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO web; GRANT SELECT ON sessions_version TO web");
    let store = PostgresStore::connect(&server.url().replace("postgres@", "web@")).await.expect("it opens");
    let record = sign_in(&store, "ada").await.expect("it writes");
    let error = store.changes(None).await.expect_err("it may not read the feed").to_string();
    assert!(error.contains("privilege"), "{error}");
    assert!(store.remove(&record.id).await.expect("the trigger has the rights of the owner"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_count_on_the_other_node_within_the_bound() {
    let server = Postgres::start();
    let nodes = [Node::new(open(&server).await).await, Node::new(open(&server).await).await];
    let (median, longest) = sign_out_on_both(&nodes).await;
    assert!(nodes.iter().all(Node::is_pushed), "they listen");
    println!("PostgreSQL: sign-outs heard of after {median:.1?} by the median, {longest:.1?} at most");
    assert!(median <= Duration::from_millis(100), "{median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn node_listens_again_after_its_connection_was_lost() {
    let server = Postgres::start();
    let nodes = [Node::new(open(&server).await).await, Node::new(open(&server).await).await];
    let listening = || {
        let pids =
            "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
        server.ask(pids)
    };
    wait_until("both to listen", || listening().split(' ').count() == 2);
    let former = listening();
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
    wait_until("both to listen again", || {
        let present = listening();
        present.split(' ').count() == 2 && present.split(' ').all(|pid| !former.contains(pid))
    });
    sign_out_on_both(&nodes).await;
    assert!(nodes.iter().all(Node::is_pushed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sign_out_is_late_under_faults() {
    let server = Postgres::start();
    let proxy = Proxy::before(server.port()).await;
    let url = server.url().replace(&server.port().to_string(), &proxy.port().to_string());
    let through = PostgresStore::connect(&url).await.expect("it opens");
    let (steady, disturbed) = (Node::new(open(&server).await).await, Node::new(through).await);
    none_is_late_under_faults("PostgreSQL", &steady, &disturbed, &proxy).await;
}
