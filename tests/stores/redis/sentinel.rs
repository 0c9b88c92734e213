//! A master that Sentinels watch.

use std::time::Instant;

use tokio::task::block_in_place;
use tower_cookie_jwt::{store::Stamps, testing::store_contract};

use super::*;
use crate::servers::RedisSentinel;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_name_the_master_and_its_successors() {
    let mut watched = block_in_place(RedisSentinel::start);
    let store = open_url(&watched.url()).await;
    store_contract(&store).await;

    let record = sign_in(&store, "ada").await;
    // An operator promotes the replica: the former master is demoted, and both run on.
    block_in_place(|| watched.wait_for_replica(0));
    watched.fail_over();
    write_on(&store, &record, || watched.is_master(1)).await;
    // The new master dies, once it has the first server as its replica: that is the master again.
    block_in_place(|| watched.wait_for_replica(1));
    watched.kill(1);
    write_on(&store, &record, || watched.is_master(0)).await;
}

/// Writes the record until another server is the master, and the store has followed.
async fn write_on(store: &RedisStore, record: &SessionRecord, is_done: impl Fn() -> bool) {
    let began = Instant::now();
    let (mut failures, mut longest) = (0, Duration::ZERO);
    let mut last = Instant::now();
    loop {
        assert!(began.elapsed() < Duration::from_secs(60), "there is a master again");
        tokio::time::sleep(Duration::from_millis(50)).await;
        let is_last = block_in_place(&is_done);
        let Ok(snapshot) = store.read(&record.id).await else {
            failures += 1;
            continue;
        };
        let present = snapshot.record.expect("a live session is never missing");
        if store.update(&present, Stamps::default()).await.is_err() {
            failures += 1;
            continue;
        }
        longest = longest.max(last.elapsed());
        last = Instant::now();
        if is_last {
            println!("Sentinel: {failures} calls failed, none succeeded for {longest:.1?}");
            return;
        }
    }
}

#[tokio::test]
async fn unknown_master_and_absent_sentinels_have_errors() {
    let watched = RedisSentinel::start();
    let unknown = watched.url().replace("/shop", "/forum");
    let error = RedisStore::connect(&unknown, TAG_KEY).await.expect_err("no such master");
    assert!(all_words(&error).contains("Master with given name not found"), "{}", all_words(&error));
    let absent = RedisStore::connect("redis+sentinel://127.0.0.1:1/shop", TAG_KEY).await;
    let absent = absent.expect_err("no Sentinel is there").to_string();
    assert!(absent.contains("cannot be reached"), "{absent}");
    // The port of a server instead of that of a Sentinel.
    let redis = Redis::start();
    let server = format!("redis+sentinel://127.0.0.1:{}/shop", redis.port());
    let error = RedisStore::connect(&server, TAG_KEY).await.expect_err("it is no Sentinel");
    assert!(all_words(&error).to_lowercase().contains("sentinel"), "{}", all_words(&error));
}
