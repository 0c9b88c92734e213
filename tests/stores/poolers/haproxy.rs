//! Through HAProxy, which follows the primary.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{
    task::{JoinHandle, block_in_place},
    time::sleep,
};
use tower_cookie_jwt::store::{NewRecord, PostgresStore, RefreshStore};

use super::{chain, documented, replaced, set_up, url};
use crate::{
    clients::{LegitimateClient, Nodes},
    servers::{HaProxy, Postgres},
};

const USERS: usize = 20;
/// From the end of the primary.
const IN_TIME: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute: see `tests/run long`"]
async fn users_stay_signed_in_while_haproxy_moves_to_the_promoted_standby() {
    let refused = follow("killed", Postgres::kill).await;
    assert!(refused.contains("is there a primary behind its proxy"), "{refused}");
}

/// Its connections stay open, and are never answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes half a minute: see `tests/run long`"]
async fn users_stay_signed_in_while_haproxy_leaves_a_frozen_primary() {
    follow("frozen", |primary| primary.signal("STOP")).await;
}

/// Returns the words of the last call before the standby is promoted.
async fn follow(how: &str, end: fn(&mut Postgres)) -> String {
    let (mut primary, standby, haproxy) = block_in_place(start);
    let url = url(haproxy.port());
    let mut nodes = Nodes::new();
    for _ in 0..3 {
        nodes.add(PostgresStore::connect(&url).await.expect("it opens"));
    }
    let store = PostgresStore::connect(&url).await.expect("it opens");
    let browsers = join_all((0..USERS).map(|number| {
        let browser = LegitimateClient::new(&nodes);
        async move {
            browser.sign_in(&format!("ada-{number}")).await;
            browser
        }
    }))
    .await;
    let ledger = nodes.ledger().clone();
    // A rotation of each falls due every two seconds, on a machine that also starts servers.
    ledger.set_faulty(true);
    let tabs: Vec<_> = browsers.iter().map(|browser| browser.walk(Duration::ZERO, PAUSE)).collect();
    let is_done = Arc::new(AtomicBool::new(false));
    let reader = read_until(store.clone(), is_done.clone()).await;
    sleep(Duration::from_secs(4)).await;
    assert_eq!(ledger.unavailable(), 0, "the primary is up");

    let before: Vec<_> = browsers.iter().map(LegitimateClient::generation).collect();
    let ended = Instant::now();
    block_in_place(|| end(&mut primary));
    sleep(Duration::from_secs(4)).await;
    let refused = chain(&store.ping().await.expect_err("there is no primary"));
    block_in_place(|| standby.run("SELECT 1 / pg_promote()::int"));
    let promoted = ended.elapsed();
    let rotated = || browsers.iter().zip(&before).all(|(browser, before)| browser.generation() > *before + 1);
    while !rotated() {
        assert_eq!(ledger.complaints(), Vec::<String>::new());
        assert!(ended.elapsed() < IN_TIME, "it does not recover: {} unavailable", ledger.unavailable());
        sleep(Duration::from_millis(50)).await;
    }
    let recovered = ended.elapsed();
    is_done.store(true, Ordering::SeqCst);
    let (longest, failures) = reader.await.expect("no wrong answers");
    tabs.iter().for_each(JoinHandle::abort);
    println!(
        "promoted {promoted:.1?} after the primary was {how}; the longest outage for reads took {longest:.1?}, with \
         {failures} failed reads; all users had rotated after {recovered:.1?}; {} requests answered, {} with 503",
        ledger.answered(),
        ledger.unavailable()
    );
    assert_eq!(ledger.complaints(), Vec::<String>::new());
    assert!(ledger.unavailable() > 0 && failures > 0, "there was no outage");
    for number in 0..USERS {
        assert_eq!(store.list(&format!("ada-{number}")).await.expect("it lists").len(), 1);
    }
    refused
}

/// Returns a primary, its synchronous standby and HAProxy in front of both.
fn start() -> (Postgres, Postgres, HaProxy) {
    let primary = Postgres::start();
    primary.run("ALTER SYSTEM SET password_encryption = 'scram-sha-256'");
    set_up(&primary);
    primary.run(documented("checker"));
    let rules = documented("pg_hba").to_owned() + "\n";
    primary.set_rules(&replaced(&rules, &[("10.0.0.5/32", "127.0.0.1/32")]));
    let standby = Postgres::start_standby_of(&primary);
    primary.commit_on_standby();
    let [first, second] = [&primary, &standby].map(|server| format!("127.0.0.1:{}", server.port()));
    let configuration = documented("haproxy").to_owned() + "\n";
    let haproxy =
        HaProxy::start(&replaced(&configuration, &[("10.0.0.1:5432", &first), ("10.0.0.2:5432", &second)]));
    // It takes each server for the primary until the first check.
    std::thread::sleep(Duration::from_secs(2));
    (primary, standby, haproxy)
}

/// Signs a user in and reads the session until `is_done`: returns the longest time without an answer, and the number of
/// failed reads.
async fn read_until(store: PostgresStore, is_done: Arc<AtomicBool>) -> JoinHandle<(Duration, u32)> {
    let new = NewRecord::new(store.new_id("eve"), "eve", [7; 32]);
    let id = new.id.clone();
    store.create(new).await.expect("it writes");
    tokio::spawn(async move {
        let (mut last, mut longest, mut failures) = (Instant::now(), Duration::ZERO, 0);
        while !is_done.load(Ordering::SeqCst) {
            match store.read(&id).await {
                Ok(snapshot) => {
                    assert!(snapshot.record.is_some(), "a session that was confirmed is gone");
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                }
                Err(_) => failures += 1,
            }
            sleep(Duration::from_millis(20)).await;
        }
        (longest, failures)
    })
}

/// Between two requests of a user.
const PAUSE: Duration = Duration::from_millis(400);
