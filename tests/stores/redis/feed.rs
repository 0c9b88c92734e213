//! The feed of sessions that have ended or changed: what it says, and what it says after faults.

use std::time::Instant;

use tokio::task::block_in_place;
use tower_cookie_jwt::store::{Changes, Cursor, Page, SessionId, Stamps, Update};

use super::{gate::Gate, opening::PERMISSIONS, *};
use crate::{
    bounded::{Node, none_is_late_under_faults, sign_out_on_both},
    proxy::Proxy,
    servers::{RedisCluster, RedisSentinel},
};

async fn page(store: &RedisStore, cursor: Option<&Cursor>) -> Page {
    match store.changes(cursor).await.expect("it answers") {
        Changes::Since(page) => page,
        Changes::Unsupported => panic!("it has a feed"),
    }
}

async fn end(store: &RedisStore) -> Cursor {
    page(store, None).await.next
}

async fn sign_out(store: &RedisStore, record: &SessionRecord) {
    assert!(store.remove(&record.id).await.expect("it removes"));
}

/// Signs a new session in and out.
async fn come_and_go(store: &RedisStore) -> SessionId {
    let record = sign_in(store, "ada").await;
    sign_out(store, &record).await;
    record.id
}

/// Checks that the feed goes on after the cursor without a gap.
async fn hears(store: &RedisStore, cursor: &Cursor, ids: &[SessionId]) -> Cursor {
    let page = page(store, Some(cursor)).await;
    assert_eq!((&*page.sessions, page.is_gap, page.has_more), (ids, false, false));
    page.next
}

#[tokio::test]
async fn what_no_node_follows_takes_no_memory() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    come_and_go(&store).await;
    assert_eq!(run::<u64>(&mut admin, "DBSIZE").await, 0);
    let begun = end(&store).await;
    let id = come_and_go(&store).await;
    hears(&store, &begun, &[id]).await;
    assert_eq!(run::<u64>(&mut admin, "DBSIZE").await, 1);
    let left = Duration::from_millis(run(&mut admin, &format!("PTTL {FEED}")).await);
    assert!(left <= 60 * MINUTE && left > 59 * MINUTE, "it ends in {left:?}");
}

#[tokio::test]
async fn update_that_ends_a_session_is_announced_and_one_that_does_not_is_not() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut record = sign_in(&store, "ada").await;
    let begun = end(&store).await;
    assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
    let unchanged = hears(&store, &begun, &[]).await;
    assert_eq!(unchanged, begun);
    record.version += 1;
    record.idle_expires_at = record.created_at;
    assert!(store.update(&record, Stamps::default()).await.expect("it writes").is_done());
    hears(&store, &begun, &[record.id]).await;
}

#[tokio::test]
async fn what_is_signed_out_again_is_announced_again() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let begun = end(&store).await;
    let record = sign_in(&store, "ada").await;
    // Removed by hand, which nothing announces.
    let mut admin = admin(&redis.url()).await;
    let (tag, member) = record.id.as_str().split_at(16);
    run::<()>(&mut admin, &format!("DEL sessions:{{{tag}}}:{member}")).await;
    let next = hears(&store, &begun, &[]).await;
    assert!(!store.remove(&record.id).await.expect("it answers"), "it is gone");
    let next = hears(&store, &next, std::slice::from_ref(&record.id)).await;
    assert_eq!(store.remove_all("ada", None).await.expect("it answers"), 0);
    assert!(!store.remove(&record.id).await.expect("it answers"));
    hears(&store, &next, &[record.id]).await;
}

#[tokio::test]
async fn feed_that_is_lost_or_of_another_server_is_a_gap() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    let lose = [
        "FLUSHDB".to_owned(),
        format!("DEL {FEED}"),
        format!("PEXPIRE {FEED} 0"),
        // What removes the entry of the cursor.
        format!("ZREMRANGEBYRANK {FEED} -1 -1"),
        format!("ZREMRANGEBYRANK {FEED} 0 -1"),
    ];
    for lost in lose {
        end(&store).await;
        come_and_go(&store).await;
        let cursor = end(&store).await;
        assert_eq!(hears(&store, &cursor, &[]).await, cursor);
        run::<()>(&mut admin, &lost).await;
        come_and_go(&store).await;
        let after = page(&store, Some(&cursor)).await;
        assert!(after.is_gap, "{lost}");
        let id = come_and_go(&store).await;
        hears(&store, &after.next, &[id]).await;
    }
    let other = Redis::start();
    let elsewhere = end(&open(&other).await).await;
    assert!(page(&store, Some(&elsewhere)).await.is_gap, "the cursor of another server");
    let shop = store.clone().with_key_prefix("shop:").expect("it has no braces");
    assert!(page(&shop, Some(&end(&store).await)).await.is_gap, "the cursor of another prefix");
}

/// With such a clock, entries would be counted, and two servers could count the same.
#[tokio::test]
async fn clock_that_goes_back_is_a_gap() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    end(&store).await;
    let (now, _): (u64, u64) = run(&mut admin, "TIME").await;
    for (ahead, is_gap) in [(0, false), (60, true)] {
        let number = (now + ahead) * 1_000_000;
        let mut add = ::redis::cmd("ZADD");
        add.arg(FEED).arg(number).arg(format!("{number} {}", "a".repeat(38)));
        add.query_async::<()>(&mut admin).await.expect("it is added");
        let cursor = end(&store).await;
        come_and_go(&store).await;
        assert_eq!(page(&store, Some(&cursor)).await.is_gap, is_gap, "{ahead} seconds");
    }
}

#[tokio::test]
async fn feed_keeps_the_last_100_000_entries_and_comes_in_pages() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    let begun = end(&store).await;
    for _ in 0..12 {
        come_and_go(&store).await;
    }
    let first = end(&store).await;
    let id = come_and_go(&store).await;
    hears(&store, &first, &[id]).await;
    // As many as are kept, in the past.
    let fill = "for n = 1, 100000 do redis.call('ZADD', KEYS[1], n, n .. ' ' .. string.rep('a', 38)) end";
    let mut eval = ::redis::cmd("EVAL");
    eval.arg(fill).arg(1).arg(FEED).query_async::<()>(&mut admin).await.expect("it fills");
    let mut cursor = Cursor::new(format!("- 1 {}", "a".repeat(38)));
    let (mut pages, mut heard) = (0, 0);
    loop {
        let page = page(&store, Some(&cursor)).await;
        assert!(!page.is_gap && page.sessions.len() <= 10_000);
        (pages, heard, cursor) = (pages + 1, heard + page.sessions.len(), page.next);
        if !page.has_more {
            break;
        }
    }
    assert_eq!((pages, heard), (11, 100_012), "each once, without the beginning");
    come_and_go(&store).await;
    assert_eq!(run::<u64>(&mut admin, &format!("ZCARD {FEED}")).await, 100_000);
    assert!(
        page(&store, Some(&Cursor::new(format!("- 1 {}", "a".repeat(38))))).await.is_gap,
        "it is no longer kept"
    );
    assert_eq!(page(&store, Some(&begun)).await.sessions.len(), 14, "the last ones are");
    let bytes: u64 = run(&mut admin, &format!("MEMORY USAGE {FEED} SAMPLES 0")).await;
    println!("Redis: 100,000 entries of the feed take {bytes} bytes");
    assert!(bytes < 20_000_000);
}

#[tokio::test]
async fn full_server_still_signs_out_and_announces_it() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let records = [sign_in(&store, "ada").await, sign_in(&store, "ada").await, sign_in(&store, "eve").await];
    let begun = end(&store).await;
    redis.configure("maxmemory", "1");
    let error = store.create(new_session(&store, "ada")).await.expect_err("it is full").to_string();
    assert!(error.contains("full"), "{error}");
    sign_out(&store, &records[0]).await;
    let next = hears(&store, &begun, &[records[0].id.clone()]).await;
    assert_eq!(store.remove_all("ada", None).await.expect("it removes"), 1);
    let next = hears(&store, &next, &[records[1].id.clone()]).await;
    // Also if there is nothing to remove, and no feed.
    store.remove(&records[0].id).await.expect("it answers");
    hears(&store, &next, &[records[0].id.clone()]).await;
    run::<()>(&mut admin(&redis.url()).await, &format!("DEL {FEED}")).await;
    let begun = page(&store, Some(&next)).await;
    assert!(begun.is_gap);
    sign_out(&store, &records[2]).await;
    hears(&store, &begun.next, &[records[2].id.clone()]).await;
}

#[tokio::test]
async fn master_that_must_not_write_does_not_say_that_nothing_has_changed() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let begun = end(&store).await;
    redis.configure("min-replicas-to-write", "1");
    let error = store.changes(Some(&begun)).await.expect_err("it may have been replaced").to_string();
    assert!(error.contains("NOREPLICAS"), "{error}");
    redis.configure("min-replicas-to-write", "0");
    hears(&store, &begun, &[]).await;
    let other = Redis::start();
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, &format!("REPLICAOF 127.0.0.1 {}", other.port())).await;
    store.changes(Some(&begun)).await.expect_err("it has been demoted");
}

/// A script that has run on a server whose answer was lost is run again.
#[tokio::test]
async fn call_whose_response_was_lost_is_announced() {
    let redis = Redis::start();
    let gate = Gate::to(redis.port()).await;
    let store = open_url(&gate.url()).await;
    come_and_go(&store).await;
    let begun = end(&store).await;
    let record = sign_in(&store, "ada").await;
    gate.lose_next_answer();
    store.remove(&record.id).await.expect("it removes");
    assert!(!gate.will_lose(), "an answer was lost");
    let removed = page(&store, Some(&begun)).await;
    assert!(removed.sessions.contains(&record.id) && !removed.is_gap);

    let record = sign_in(&store, "ada").await;
    gate.lose_next_answer();
    let outcome = store.update_announced(&record, Stamps::default()).await.expect("it writes");
    assert!(matches!(outcome, Update::Done(_)) && !gate.will_lose());
    let next = hears(&store, &removed.next, std::slice::from_ref(&record.id)).await;

    sign_out(&store, &record).await;
    gate.lose_next_answer();
    hears(&store, &next, &[record.id]).await;
    assert!(!gate.will_lose());
}

#[tokio::test]
async fn server_that_is_killed_and_keeps_its_data_has_no_gap() {
    let mut redis = Redis::start();
    let store = open(&redis).await;
    let begun = end(&store).await;
    let one = come_and_go(&store).await;
    redis.kill();
    redis.restart();
    let two = come_and_go(&store).await;
    hears(&store, &begun, &[one, two]).await;
}

/// The server goes back to an earlier state and goes on from there, as a promoted replica does.
#[tokio::test]
async fn lost_writes_are_a_gap_for_those_who_have_seen_them_and_for_no_other() {
    let mut redis = Redis::start();
    let store = open(&redis).await;
    let [ada, eve, kim] = ["ada", "eve", "kim"].map(|subject| sign_in(&store, subject));
    let (ada, eve, kim) = (ada.await, eve.await, kim.await);
    let slow = end(&store).await;
    let log = redis.folder().join("appendonlydir/appendonly.aof.1.incr.aof");
    let log = if log.exists() { log } else { redis.folder().join("appendonly.aof") };
    let kept = std::fs::metadata(&log).expect("it is there").len();
    sign_out(&store, &kim).await;
    sign_out(&store, &ada).await;
    let fast = hears(&store, &slow, &[kim.id, ada.id.clone()]).await;
    redis.kill();
    let file = std::fs::OpenOptions::new().write(true).open(&log).expect("it is there");
    file.set_len(kept).expect("it is shortened");
    redis.restart();
    assert!(read(&store, &ada).await.is_some(), "it is live again");
    // Counted, the entry of ada would have the same number as before.
    sign_out(&store, &eve).await;
    sign_out(&store, &ada).await;
    assert!(page(&store, Some(&fast)).await.is_gap, "the end of eve's session is not missed");
    hears(&store, &slow, &[eve.id, ada.id]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_at_a_promoted_replica_are_heard_or_a_gap() {
    let mut watched = block_in_place(RedisSentinel::start);
    let store = open_url(&watched.url()).await;
    let mut cursor = end(&store).await;
    for (present, is_killed) in [(0, false), (1, true)] {
        let before = come_and_go(&store).await;
        block_in_place(|| watched.wait_for_replica(present));
        match is_killed {
            true => watched.kill(present),
            false => watched.fail_over(),
        }
        let deadline = Instant::now() + MINUTE;
        while !block_in_place(|| watched.is_master(1 - present)) {
            assert!(Instant::now() < deadline, "there is a master again");
            // Errors are right as long as there is none.
            let _ = store.changes(Some(&cursor)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let after = loop {
            assert!(Instant::now() < deadline, "there is a master again");
            let new = new_session(&store, "ada");
            let id = new.id.clone();
            if store.create(new).await.is_ok() && matches!(store.remove(&id).await, Ok(true)) {
                break id;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let page = page(&store, Some(&cursor)).await;
        println!("Sentinel: the feed after the promotion is a gap: {}", page.is_gap);
        assert!(page.is_gap || (page.sessions.contains(&before) && page.sessions.contains(&after)));
        cursor = page.next;
    }
}

/// A server that is alone in its cluster, behind the address of a single one, lets no script write to two slots.
#[tokio::test]
async fn server_with_slots_has_no_feed_and_still_signs_out() {
    let redis = Redis::start_with(&["--cluster-enabled", "yes"]);
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, "CLUSTER ADDSLOTSRANGE 0 16383").await;
    let deadline = Instant::now() + BOUND;
    while !run::<String>(&mut admin, "CLUSTER INFO").await.contains("cluster_state:ok") {
        assert!(Instant::now() < deadline, "it serves its slots");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let client = ::redis::Client::open(redis.url()).expect("a plain URL");
    let manager = client.get_connection_manager().await.expect("the server answers");
    let given = || RedisStore::from_manager(manager.clone(), TAG_KEY).expect("the key is long enough");
    for store in [open(&redis).await, given()] {
        let mut record = sign_in(&store, "ada").await;
        record.label = "used".into();
        let outcome = store.update_announced(&record, Stamps::default()).await.expect("it writes");
        assert!(outcome.is_done());
        sign_out(&store, &record).await;
        assert_eq!(store.changes(None).await.expect("it answers"), Changes::Unsupported);
    }
    assert_eq!(given().changes(None).await.expect("it answers"), Changes::Unsupported);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_count_on_the_other_node_within_the_bound() {
    let redis = Redis::start();
    let nodes = [Node::new(open(&redis).await).await, Node::new(open(&redis).await).await];
    let (median, longest) = sign_out_on_both(&nodes).await;
    assert!(nodes.iter().all(Node::is_pushed), "they listen");
    println!("Redis: sign-outs heard of after {median:.1?} by the median, {longest:.1?} at most");
    assert!(median <= Duration::from_millis(150), "{median:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_permissions_more_let_a_node_hear_of_changes_at_once() {
    for (more, is_pushed) in [("", false), (" +xadd +xread", true)] {
        let redis = Redis::start();
        let mut admin = admin(&redis.url()).await;
        run::<()>(&mut admin, &format!("ACL SETUSER shop on >password {PERMISSIONS}{more}")).await;
        let url = redis.url().replace("//", "//shop:password@");
        let nodes = [Node::new(open_url(&url).await).await, Node::new(open_url(&url).await).await];
        let (median, _) = sign_out_on_both(&nodes).await;
        assert!(median <= Duration::from_millis(150), "{median:?}");
        assert!(nodes.iter().all(|node| node.is_pushed() == is_pushed), "{more}");
        assert_eq!(run::<u64>(&mut admin, &format!("EXISTS {FEED}:push")).await, u64::from(is_pushed));
    }
}

/// A cluster whose first master has the feed, and a session on another one.
async fn cluster_and_session() -> (RedisCluster, RedisStore, SessionRecord) {
    let cluster = RedisCluster::start();
    let store = RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect("the cluster answers");
    let mut first = admin(&cluster.urls()[0]).await;
    assert!(run::<u16>(&mut first, &format!("CLUSTER KEYSLOT {FEED}")).await < 16_384 / 3);
    for number in 0.. {
        let subject = format!("ada {number}");
        let tag = store.new_id(&subject).as_str()[..16].to_owned();
        if run::<u16>(&mut first, &format!("CLUSTER KEYSLOT {tag}")).await > 16_384 / 3 {
            let record = sign_in(&store, &subject).await;
            return (cluster, store, record);
        }
    }
    unreachable!("two of three subjects are there")
}

/// The feed and the session lose writes separately.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_of_the_master_that_has_the_feed_of_a_cluster_is_a_gap() {
    let (mut cluster, store, record) = cluster_and_session().await;
    let begun = end(&store).await;
    sign_out(&store, &record).await;
    let next = hears(&store, &begun, std::slice::from_ref(&record.id)).await;
    block_in_place(|| {
        cluster.masters()[1].kill();
        cluster.masters()[1].restart();
        cluster.wait();
    });
    let next = hears(&store, &next, &[]).await;
    block_in_place(|| {
        cluster.masters()[0].kill();
        cluster.masters()[0].restart();
        cluster.wait();
    });
    let after = page(&store, Some(&next)).await;
    assert!(after.is_gap, "entries may have been lost");
    let again = sign_in(&store, &record.subject).await;
    sign_out(&store, &again).await;
    hears(&store, &after.next, &[again.id]).await;
}

/// What has been removed but not announced is announced by the next call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_while_the_feed_of_a_cluster_is_down_fails_until_it_is_announced() {
    let (mut cluster, store, record) = cluster_and_session().await;
    for master in cluster.masters() {
        master.configure("cluster-require-full-coverage", "no");
    }
    end(&store).await;
    cluster.masters()[0].kill();
    let error = store.remove(&record.id).await.expect_err("no node hears of it").to_string();
    assert!(read(&store, &record).await.is_none(), "it has ended: {error}");
    block_in_place(|| {
        cluster.masters()[0].restart();
        cluster.wait();
    });
    let begun = end(&store).await;
    // Nothing is left to remove, and yet it is announced.
    assert_eq!(store.remove_all(&record.subject, None).await.expect("it answers"), 0);
    let next = hears(&store, &begun, std::slice::from_ref(&record.id)).await;
    assert!(!store.remove(&record.id).await.expect("it answers"));
    hears(&store, &next, &[record.id]).await;
}

/// A client that hangs up makes the handler end early.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_in_a_cluster_that_is_not_waited_for_is_announced() {
    let (_cluster, store, record) = cluster_and_session().await;
    let mut cursor = end(&store).await;
    for patience in (0..60).map(|step| Duration::from_micros(20 * step)) {
        let record = sign_in(&store, &record.subject).await;
        let _ = tokio::time::timeout(patience, store.remove(&record.id)).await;
        let deadline = Instant::now() + BOUND;
        loop {
            let is_gone = read(&store, &record).await.is_none();
            let page = page(&store, Some(&cursor)).await;
            cursor = page.next;
            if page.sessions.contains(&record.id) {
                break;
            }
            assert!(Instant::now() < deadline, "gone: {is_gone}, but not announced");
            // It was given up before it began.
            if !is_gone && patience.is_zero() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn full_master_of_a_cluster_still_takes_entries() {
    let (mut cluster, store, record) = cluster_and_session().await;
    let begun = end(&store).await;
    cluster.masters()[0].configure("maxmemory", "1");
    sign_out(&store, &record).await;
    hears(&store, &begun, &[record.id]).await;
}

#[tokio::test]
async fn user_who_may_not_ask_for_the_history_has_no_feed_of_a_cluster() {
    let (cluster, _, _) = cluster_and_session().await;
    for url in cluster.urls() {
        let permissions = "~sessions:* +@all -info";
        run::<()>(&mut admin(&url).await, &format!("ACL SETUSER shop on >password {permissions}")).await;
    }
    let urls = cluster.urls().into_iter().map(|url| url.replace("//", "//shop:password@"));
    let store = RedisStore::connect_cluster(urls, TAG_KEY).await.expect("the cluster answers");
    assert_eq!(store.changes(None).await.expect("it answers"), Changes::Unsupported);
    come_and_go(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_outs_count_on_the_other_node_of_a_cluster_within_the_bound() {
    let cluster = RedisCluster::start();
    let open = || RedisStore::connect_cluster(cluster.urls(), TAG_KEY);
    let nodes = [open().await.expect("the cluster answers"), open().await.expect("the cluster answers")];
    let [one, other] = nodes;
    let (median, longest) = sign_out_on_both(&[Node::new(one).await, Node::new(other).await]).await;
    println!("Cluster: sign-outs heard of after {median:.1?} by the median, {longest:.1?} at most");
    assert!(median <= Duration::from_millis(150), "{median:?}");
}

const FEED: &str = "sessions:{changes}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_sign_out_is_late_under_faults() {
    let redis = Redis::start();
    let proxy = Proxy::before(redis.port()).await;
    let through = open_url(&format!("redis://127.0.0.1:{}", proxy.port())).await;
    let (steady, disturbed) = (Node::new(open(&redis).await).await, Node::new(through).await);
    none_is_late_under_faults("Redis", &steady, &disturbed, &proxy).await;
}
