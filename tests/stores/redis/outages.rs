//! A cluster whose servers are out of reach for a while: all of them, or that of the feed.

use std::time::Instant;

use futures_util::future::join_all;
use http::StatusCode;

use super::*;
use crate::{
    bounded::{BOUND, Node},
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
    for subject in 0..4 {
        records.push(sign_in(&store, &format!("ada {subject}")).await);
    }
    for round in 0..4 {
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

/// A node that reaches a cluster through proxies, the first of which leads to the master that has the feed, another node
/// that does not, and a session on another master.
struct Split {
    _cluster: RedisCluster,
    proxies: Vec<Proxy>,
    disturbed: Node,
    other: Node,
    bearer: String,
}

impl Split {
    async fn new() -> Self {
        let mut cluster = RedisCluster::start();
        let ports: Vec<_> = cluster.masters().iter().map(Redis::port).collect();
        let proxies = Proxy::before_cluster(&ports).await;
        let urls: Vec<_> =
            proxies.iter().map(|proxy| format!("redis://127.0.0.1:{}", proxy.port())).collect();
        let mut first = admin(&cluster.urls()[0]).await;
        let mut key = TAG_KEY;
        let other = loop {
            let store = RedisStore::connect_cluster(cluster.urls(), key).await.expect("the cluster answers");
            let tag = store.new_id("ada").as_str()[..16].to_owned();
            if run::<u16>(&mut first, &format!("CLUSTER KEYSLOT {tag}")).await > 16_384 / 3 {
                break Node::new(store).await;
            }
            key[0] += 1;
        };
        let disturbed =
            Node::new(RedisStore::connect_cluster(urls, key).await.expect("the cluster answers")).await;
        let bearer = disturbed.sign_in().await;
        assert_eq!(other.ask(&bearer).await, StatusCode::OK);
        Self { _cluster: cluster, proxies, disturbed, other, bearer }
    }

    /// The first call ends the session without announcing it, and the next ones find it gone.
    async fn ends_by(self, sign_out: impl AsyncFn(&Node, &str) -> bool) {
        self.proxies[0].set(Mode::Refuse);
        self.proxies[0].cut();
        assert!(!sign_out(&self.disturbed, &self.bearer).await, "it cannot be announced");
        self.proxies[0].set(Mode::Pass);
        let began = Instant::now();
        while !sign_out(&self.disturbed, &self.bearer).await {
            assert!(began.elapsed() < MINUTE, "it never signs out");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(BOUND).await;
        assert_eq!(self.other.ask(&self.bearer).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sign_out_that_has_failed_counts_on_other_nodes_once_it_is_repeated() {
    Split::new().await.ends_by(async |node, bearer| node.try_sign_out(bearer).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoke_that_has_failed_counts_on_other_nodes_once_it_is_repeated() {
    let split = Split::new().await;
    let id = split.other.sessions.list("ada").await.expect("it lists")[0].id.as_str().to_owned();
    split.ends_by(async |node, _| node.sessions.revoke("ada", &id).await.is_ok()).await;
}
