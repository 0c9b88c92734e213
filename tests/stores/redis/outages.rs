//! A cluster whose every server is out of reach for a while.

use std::time::Instant;

use futures_util::future::join_all;

use super::*;
use crate::{
    proxy::{Mode, Proxy},
    servers::RedisCluster,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cluster_that_was_out_of_reach_is_reached_again() {
    let mut cluster = RedisCluster::start();
    let ports: Vec<_> = cluster.masters().iter().map(Redis::port).collect();
    let proxies = Proxy::before_cluster(&ports).await;
    let urls = proxies.iter().map(|proxy| format!("redis://127.0.0.1:{}", proxy.port()));
    let store = RedisStore::connect_cluster(urls, TAG_KEY).await.expect("the cluster answers");
    let mut records = Vec::new();
    for subject in 0..12 {
        records.push(sign_in(&store, &format!("ada {subject}")).await);
    }
    for round in 0..12 {
        let mode = [Mode::Hold, Mode::BlackHole, Mode::Refuse, Mode::HalfClosed][round % 4];
        proxies.iter().for_each(|proxy| proxy.set(mode));
        if mode == Mode::Refuse {
            proxies.iter().for_each(Proxy::cut);
        }
        let began = Instant::now();
        let mut calls = Vec::new();
        while began.elapsed() < Duration::from_secs(3) {
            for record in &records {
                let (store, id) = (store.clone(), record.id.clone());
                calls.push(tokio::spawn(async move { drop(store.read(&id).await) }));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        proxies.iter().for_each(|proxy| proxy.set(Mode::Pass));
        proxies.iter().for_each(Proxy::cut);
        let over = Instant::now();
        while join_all(records.iter().map(|record| store.read(&record.id))).await.iter().any(Result::is_err) {
            assert!(over.elapsed() < Duration::from_secs(30), "{mode:?}: it is never reached again");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        println!("Cluster, {mode:?}: reached again after {:.1?}", over.elapsed());
        join_all(calls).await;
    }
}
