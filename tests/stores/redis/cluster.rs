//! A cluster of three masters.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::Instant,
};

use futures_util::future::join_all;
use tower_cookie_jwt::{
    store::{RedisStore, RefreshStore, Stamps, Update},
    testing::{store_contract, store_contract_at_size},
};

use super::*;
use crate::servers::RedisCluster;

async fn open_cluster(cluster: &RedisCluster) -> RedisStore {
    RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect("the cluster answers")
}

#[tokio::test]
async fn cluster_keeps_the_contract() {
    let cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    store_contract(&store).await;
    store_contract_at_size(&store, 10_000).await;
    let mut left = Vec::new();
    for url in cluster.urls() {
        left.extend(run::<Vec<String>>(&mut admin(&url).await, "KEYS *").await);
    }
    assert_eq!(left, ["sessions:{changes}"], "nothing else is left behind");
}

#[tokio::test]
async fn keys_of_a_subject_share_a_slot_and_subjects_spread_over_all_masters() {
    let cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    for subject in 0..60 {
        for _ in 0..2 {
            sign_in(&store, &format!("ada {subject}")).await;
        }
    }
    let mut slots: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let mut keys = 0;
    for url in cluster.urls() {
        let mut admin = admin(&url).await;
        let here: Vec<String> = run(&mut admin, "KEYS *").await;
        assert!(here.len() > 12, "each master has its part: {} of 180", here.len());
        keys += here.len();
        for key in here {
            let slot = run(&mut admin, &format!("CLUSTER KEYSLOT {key}")).await;
            let tag = key.split(['{', '}']).nth(1).expect("a key has its tag in braces");
            slots.entry(tag.to_owned()).or_default().insert(slot);
        }
    }
    assert_eq!((keys, slots.len()), (180, 60), "two records and an index for each subject");
    assert!(slots.values().all(|slots| slots.len() == 1), "{slots:?}");
}

#[tokio::test]
async fn one_of_64_updates_through_two_handles_wins() {
    let cluster = RedisCluster::start();
    let stores = [open_cluster(&cluster).await, open_cluster(&cluster).await];
    let record = sign_in(&stores[0], "ada").await;
    for url in cluster.urls() {
        run::<()>(&mut admin(&url).await, "SCRIPT FLUSH").await;
    }
    let outcomes = join_all((0..64).map(|racer| stores[racer % 2].update(&record, Stamps::default()))).await;
    let outcomes: Vec<_> =
        outcomes.into_iter().map(|outcome| outcome.expect("the cluster answers")).collect();
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_done()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Update::Conflict).count(), 63);
}

#[tokio::test]
async fn existing_cluster_connection_is_used() {
    let cluster = RedisCluster::start();
    let client = ::redis::cluster::ClusterClient::new(cluster.urls()).expect("plain URLs");
    let connection = client.get_async_connection().await.expect("the cluster answers");
    let store = RedisStore::from_cluster(connection, TAG_KEY).expect("the key is long enough");
    let record = sign_in(&store, "ada").await;
    assert_eq!(read(&open_cluster(&cluster).await, &record).await, Some(record));
}

/// Signs in so many subjects that each master has some of them.
async fn signed_in_on_all_masters(store: &RedisStore) -> Vec<SessionRecord> {
    let mut records = Vec::new();
    for subject in 0..12 {
        records.push(sign_in(store, &format!("ada {subject}")).await);
    }
    records
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_master_still_has_its_sessions() {
    let mut cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    let records = signed_in_on_all_masters(&store).await;
    cluster.masters()[1].kill();
    let began = Instant::now();
    let outcomes = join_all(records.iter().map(|record| store.read(&record.id))).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(outcomes.iter().any(Result::is_err), "the sessions of the dead master cannot be read");
    for snapshot in outcomes.into_iter().flatten() {
        assert!(snapshot.record.is_some(), "no session is called gone");
    }
    cluster.masters()[1].restart();
    cluster.wait();
    for record in &records {
        assert_eq!(read(&store, record).await.as_ref(), Some(record));
        assert!(store.update(record, Stamps::default()).await.expect("the cluster answers").is_done());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hung_master_is_a_timely_error() {
    let mut cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    let records = signed_in_on_all_masters(&store).await;
    cluster.masters()[1].signal("STOP");
    let began = Instant::now();
    let outcomes = join_all(records.iter().map(|record| store.read(&record.id))).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    assert!(outcomes.iter().any(Result::is_err), "the sessions of the hung master cannot be read");
    cluster.masters()[1].signal("CONT");
    cluster.wait();
    for record in &records {
        assert_eq!(read(&store, record).await.as_ref(), Some(record));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_all_its_slots_says_so_and_what_to_do() {
    let mut cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    let records = signed_in_on_all_masters(&store).await;
    cluster.masters()[1].kill();
    let mut other = admin(&cluster.urls()[0]).await;
    while !run::<String>(&mut other, "cluster info").await.contains("cluster_state:fail") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let began = Instant::now();
    let outcomes = join_all(records.iter().map(|record| store.read(&record.id))).await;
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    let errors: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().map(drop).expect_err("no slot is served")).collect();
    let told = errors.iter().filter(|error| {
        let error = error.to_string();
        error.contains("CLUSTERDOWN") && error.contains("`cluster-require-full-coverage no`")
    });
    assert!(told.count() > errors.len() / 2, "{errors:?}");
    cluster.masters()[1].restart();
    cluster.wait();
    for record in &records {
        assert_eq!(read(&store, record).await.as_ref(), Some(record));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slots_that_move_are_followed_while_in_use() {
    let mut cluster = RedisCluster::start();
    let store = open_cluster(&cluster).await;
    let mut first = admin(&cluster.urls()[0]).await;
    // A subject in one of the slots that will move.
    let mut subject = String::new();
    for number in 0.. {
        subject = format!("ada {number}");
        let tag = store.new_id(&subject).as_str()[..16].to_owned();
        if run::<u16>(&mut first, &format!("CLUSTER KEYSLOT {tag}")).await < MOVED_SLOTS {
            break;
        }
    }
    let mut records = Vec::new();
    for _ in 0..400 {
        records.push(sign_in(&store, &subject).await);
    }
    let before: usize = run(&mut first, "DBSIZE").await;

    let ports: Vec<_> = cluster.masters().iter().map(Redis::port).collect();
    let moving = tokio::task::spawn_blocking(move || reshard(&ports));
    let mut rounds = 0;
    while !moving.is_finished() || rounds < 2 {
        for record in records.iter_mut().take(40) {
            let snapshot = store.read(&record.id).await.expect("a session that moves can be read");
            assert_eq!(snapshot.record.as_ref(), Some(&*record));
            assert!(store.update(record, Stamps::default()).await.expect("and written").is_done());
            record.version += 1;
        }
        records.push(sign_in(&store, &subject).await);
        rounds += 1;
    }
    moving.await.expect("the slots have moved");
    let after: usize = run(&mut first, "DBSIZE").await;
    assert!(before > 400 && after == 0, "{before} keys have left the first master, {after} stay");
    assert_eq!(store.list(&subject).await.expect("the cluster answers").len(), records.len());
    assert_eq!(store.remove_all(&subject, None).await.expect("the cluster answers"), records.len() as u64);
}

/// Moves the first slots of the first master to the second.
fn reshard(ports: &[u16]) {
    let id = |port: u16| {
        let id = Command::new("redis-cli").args(["-p", &port.to_string(), "cluster", "myid"]).output();
        String::from_utf8(id.expect("redis-cli runs").stdout).expect("a plain id").trim().to_owned()
    };
    let slots = MOVED_SLOTS.to_string();
    let moved = Command::new("redis-cli")
        .args(["--cluster", "reshard", &format!("127.0.0.1:{}", ports[0])])
        .args(["--cluster-from", &id(ports[0]), "--cluster-to", &id(ports[1])])
        .args(["--cluster-slots", &slots, "--cluster-yes"])
        .output()
        .expect("redis-cli runs");
    assert!(moved.status.success(), "{}", String::from_utf8_lossy(&moved.stdout));
}

const MOVED_SLOTS: u16 = 60;

#[tokio::test]
async fn cluster_with_one_master_that_evicts_is_refused() {
    let mut cluster = RedisCluster::start();
    cluster.masters()[2].configure("maxmemory-policy", "volatile-ttl");
    let error =
        RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect_err("one evicts").to_string();
    assert!(error.contains("volatile-ttl"), "{error}");
    let allowed =
        RedisStore::options().with_eviction_allowed().connect_cluster(cluster.urls(), TAG_KEY).await;
    sign_in(&allowed.expect("it is allowed"), "ada").await;
}
