//! On a Redis Cluster, whose third node reaches each server through a proxy of its own.

use std::time::Duration;

use tokio::{task::block_in_place, time::sleep};
use tower_cookie_jwt::store::RedisStore;

use super::{
    BOUND, faults,
    faults::IN_FORCE,
    lot::{Way, lot},
    nodes::{A, C, Nodes, TAG_KEY},
    random,
    redis::FEED,
    table::Table,
};
use crate::{
    proxy::{Mode, Proxy},
    servers::{Redis, RedisCluster, wait_until},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn sign_outs_count_within_the_bound_on_redis_cluster() {
    let mut table = Table::of("Cluster");
    let mut cluster = block_in_place(|| {
        let mut cluster = RedisCluster::start();
        cluster.add_replica();
        cluster
    });
    let ports: Vec<_> = cluster.masters().iter().map(Redis::port).collect();
    let proxies = Proxy::before_cluster(&ports).await;
    let store = RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect("it opens");
    let direct = store_of(&ports);
    let through = store_of(&proxies.iter().map(Proxy::port).collect::<Vec<_>>());
    let nodes = Nodes::start(store, [direct.clone(), direct, through]);
    // Which of the servers has the feed, and which is its replica.
    let (mut holder, mut replica) = (0, 3);
    for round in 0..2 {
        faults::none(&nodes, &mut table).await;
        faults::processes(&nodes, &mut table).await;
        faults::way(&nodes, &mut table, &proxies, round).await;
        // Users sign out where the feed cannot be reached: the session ends, and the call fails until that is over.
        let no_feed = async {
            proxies[holder].set(Mode::Refuse);
            proxies[holder].cut();
            // Longer than a call tries.
            sleep(random(6000, 7000)).await;
            proxies[holder].set(Mode::Pass);
        };
        lot(&nodes, table.row("writer without the feed"), Way::At(C), false, no_feed).await;
        let stop = async {
            sleep(random(0, 600)).await;
            cluster.masters()[1].signal("STOP");
            sleep(BOUND / 2).await;
            cluster.masters()[1].signal("CONT");
        };
        lot(&nodes, table.row("a master stopped for a while"), Way::At(A), false, stop).await;
        let move_feed = async {
            for (from, to) in [(holder, 1), (1, holder)] {
                sleep(random(0, 300)).await;
                block_in_place(|| cluster.move_slot_of(FEED, from, to));
            }
        };
        lot(&nodes, table.row("slot of the feed moved"), Way::At(A), false, move_feed).await;
        let fill = async {
            cluster.masters().iter().for_each(|server| server.configure("maxmemory", "1"));
            sleep(IN_FORCE).await;
            cluster.masters().iter().for_each(|server| server.configure("maxmemory", "0"));
        };
        lot(&nodes, table.row("servers full"), Way::At(A), false, fill).await;
        let lose_feed = async {
            for _ in 0..20 {
                block_in_place(|| cluster.masters()[holder].run(&["DEL", FEED]));
                sleep(random(10, 200)).await;
            }
        };
        lot(&nodes, table.row("feed deleted"), Way::At(A), false, lose_feed).await;
        // Its replica takes over, without what it had not received.
        let fail_over = async {
            sleep(random(100, 900)).await;
            block_in_place(|| {
                cluster.masters()[holder].kill();
                let promoted = &cluster.masters()[replica];
                wait_until("the promotion", || {
                    promoted.run(&["info", "replication"]).contains("role:master")
                        && promoted.run(&["cluster", "info"]).contains("cluster_state:ok")
                });
            });
            sleep(Duration::from_secs(1)).await;
            block_in_place(|| {
                cluster.masters()[holder].restart();
                cluster.wait_for_replica(holder);
            });
        };
        lot(&nodes, table.row("replica of the feed promoted"), Way::At(A), true, fail_over).await;
        std::mem::swap(&mut holder, &mut replica);
        let kill = async {
            sleep(random(0, 1000)).await;
            block_in_place(|| {
                cluster.masters()[2].kill();
                cluster.masters()[2].restart();
                cluster.wait();
            });
        };
        lot(&nodes, table.row("another master killed"), Way::At(A), false, kill).await;
    }
    table.check();
}

fn store_of(ports: &[u16]) -> String {
    let hosts: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    format!("redis+cluster://{}", hosts.join(","))
}
