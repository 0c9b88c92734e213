//! On Redis: one server, and a master that Sentinels watch.

use std::time::{Duration, Instant};

use tokio::{task::block_in_place, time::sleep};
use tower_cookie_jwt::store::RedisStore;

use super::{
    BOUND, faults,
    faults::IN_FORCE,
    lot::{Way, lot},
    nodes::{A, Nodes, TAG_KEY},
    random,
    table::Table,
};
use crate::{
    proxy::Proxy,
    servers::{Redis, RedisSentinel, wait_until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn sign_outs_count_within_the_bound_on_redis() {
    let mut table = Table::of("Redis");
    on_one_server(&mut table).await;
    for _ in 0..2 {
        on_a_promoted_replica(&mut table).await;
    }
    table.check();
}

async fn on_one_server(table: &mut Table) {
    let mut server = block_in_place(Redis::start);
    let proxies = [Proxy::before(server.port()).await];
    let store = RedisStore::connect(&server.url(), TAG_KEY).await.expect("it opens");
    let through = format!("redis://127.0.0.1:{}", proxies[0].port());
    let nodes = Nodes::start(store, [server.url(), server.url(), through]);
    for round in 0..2 {
        faults::none(&nodes, table).await;
        faults::processes(&nodes, table).await;
        faults::way(&nodes, table, &proxies, round).await;
        let kill = async {
            sleep(random(0, 1000)).await;
            block_in_place(|| {
                server.kill();
                server.restart();
            });
        };
        lot(&nodes, table.row("server killed"), Way::At(A), false, kill).await;
        let stop = async {
            sleep(random(0, 600)).await;
            server.signal("STOP");
            sleep(2 * BOUND).await;
            server.signal("CONT");
        };
        lot(&nodes, table.row("server stopped for a while"), Way::At(A), false, stop).await;
        let fill = async {
            server.configure("maxmemory", "1");
            sleep(IN_FORCE).await;
            server.configure("maxmemory", "0");
        };
        lot(&nodes, table.row("server full"), Way::At(A), false, fill).await;
        let lose_feed = async {
            let began = Instant::now();
            while began.elapsed() < IN_FORCE {
                block_in_place(|| server.run(&["DEL", FEED]));
                sleep(random(10, 200)).await;
            }
        };
        lot(&nodes, table.row("feed deleted"), Way::At(A), false, lose_feed).await;
        let flush = || assert_eq!(server.run(&["FLUSHDB"]), "OK");
        lot(&nodes, table.row("server emptied"), Way::All(&flush), false, async {}).await;
    }
}

/// Replication is asynchronous: what the replica had not received has never happened.
async fn on_a_promoted_replica(table: &mut Table) {
    let mut watched = block_in_place(RedisSentinel::start);
    // The first transfer takes seconds.
    block_in_place(|| watched.wait_for_replica(0));
    let store = RedisStore::connect(&watched.url(), TAG_KEY).await.expect("it opens");
    let nodes = Nodes::start(store, [watched.url(), watched.url(), watched.url()]);
    let fail_over = async {
        sleep(random(100, 900)).await;
        block_in_place(|| {
            watched.kill(0);
            wait_until("the promotion", || watched.is_master(1));
        });
        // The nodes find the new master.
        sleep(Duration::from_secs(1)).await;
    };
    lot(&nodes, table.row("replica promoted"), Way::At(A), true, fail_over).await;
    lot(&nodes, table.row("after a promotion"), Way::At(A), false, async {}).await;
}

pub(super) const FEED: &str = "sessions:{changes}";
