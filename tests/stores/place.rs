//! A store on a real server, and nodes that reach it through a proxy each.

use std::{fmt::Debug, time::Duration};

use tokio::task::block_in_place;
use tower_cookie_jwt::store::{PostgresStore, RedisStore};

use crate::{
    clients::Nodes,
    proxy::{Mode, Proxy},
    servers::{Backup, Postgres, Redis, RedisCluster, wait_until},
};

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Postgres,
    Redis,
    Cluster,
}

pub(crate) enum Server {
    Postgres(Postgres),
    Redis(Redis),
    Cluster(RedisCluster),
}

/// Begins on a multi-threaded runtime only: starting and stopping a server blocks.
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) nodes: Nodes,
    backup: Option<Backup>,
}

impl Place {
    pub(crate) async fn of(kind: Kind, count: usize) -> Self {
        Self::with(kind, count, Nodes::new()).await
    }

    /// Adds `count` nodes to `nodes`.
    pub(crate) async fn with(kind: Kind, count: usize, nodes: Nodes) -> Self {
        let server = block_in_place(|| Server::start(kind));
        let mut place = Self { server, proxies: Vec::new(), nodes, backup: None };
        for _ in 0..count {
            place.add_node().await;
        }
        place
    }

    async fn add_node(&mut self) {
        match &self.server {
            Server::Postgres(server) => {
                let proxy = Proxy::before(server.port()).await;
                let url = format!("postgres://postgres@127.0.0.1:{}/postgres", proxy.port());
                let store = opened(|| PostgresStore::connect(&url)).await;
                self.nodes.add(store);
                self.proxies.push(proxy);
            }
            Server::Redis(server) => {
                let proxy = Proxy::before(server.port()).await;
                let url = format!("redis://127.0.0.1:{}", proxy.port());
                let store = opened(|| RedisStore::connect(&url, TAG_KEY)).await;
                self.nodes.add(store);
                self.proxies.push(proxy);
            }
            // Its clients learn the addresses of the masters from the masters: no proxy comes between.
            Server::Cluster(cluster) => {
                let store = opened(|| RedisStore::connect_cluster(cluster.urls(), TAG_KEY)).await;
                self.nodes.add(store);
            }
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.proxies.iter().for_each(|proxy| proxy.set(mode));
    }

    pub(crate) fn cut(&self) {
        self.proxies.iter().for_each(Proxy::cut);
    }

    /// SIGKILL; of a cluster, one master.
    pub(crate) fn kill(&mut self) {
        block_in_place(|| match &mut self.server {
            Server::Postgres(server) => server.kill(),
            Server::Redis(server) => server.kill(),
            Server::Cluster(cluster) => cluster.masters()[0].kill(),
        });
    }

    pub(crate) fn restart(&mut self) {
        block_in_place(|| match &mut self.server {
            Server::Postgres(server) => server.restart(),
            Server::Redis(server) => server.restart(),
            Server::Cluster(cluster) => {
                cluster.masters()[0].restart();
                cluster.wait();
            }
        });
    }

    /// `STOP` or `CONT`; of a cluster, to one master.
    pub(crate) fn signal(&mut self, signal: &str) {
        match &mut self.server {
            Server::Postgres(server) => server.signal(signal),
            Server::Redis(server) => server.signal(signal),
            Server::Cluster(cluster) => cluster.masters()[0].signal(signal),
        }
    }

    /// Kills the server while its answers are on their way: no node learns of what it has written.
    pub(crate) fn kill_before_it_is_heard(&mut self) {
        self.set(Mode::HoldAnswers);
        block_in_place(|| {
            wait_until("an answer", || self.proxies.iter().all(|proxy| proxy.disturbed() > 0));
        });
        self.kill();
        self.cut();
        self.set(Mode::Pass);
    }

    /// Sets whether the server refuses writes.
    pub(crate) fn set_full(&mut self, full: bool) {
        let memory = if full { "1" } else { "0" };
        block_in_place(|| match &mut self.server {
            Server::Postgres(server) => server.set_read_only(full),
            Server::Redis(server) => server.configure("maxmemory", memory),
            Server::Cluster(cluster) => {
                cluster.masters().iter().for_each(|master| master.configure("maxmemory", memory));
            }
        });
    }

    /// Saves the files of the server, which is killed and restarted for that.
    pub(crate) fn save(&mut self) {
        self.kill();
        self.backup = Some(block_in_place(|| Backup::of(self.folder())));
        self.restart();
    }

    /// Restores the files of the last [`save`](Self::save).
    pub(crate) fn roll_back(&mut self) {
        self.kill();
        let backup = self.backup.as_ref().expect("it has been saved");
        block_in_place(|| backup.restore(self.folder()));
        self.restart();
    }

    fn folder(&self) -> &std::path::Path {
        match &self.server {
            Server::Postgres(server) => server.folder(),
            Server::Redis(server) => server.folder(),
            Server::Cluster(_) => panic!("a cluster is not rolled back as one"),
        }
    }
}

impl Server {
    /// Returns the value of `STORE` for the `spa` example.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::Postgres(server) => server.url(),
            Self::Redis(server) => server.url(),
            Self::Cluster(cluster) => {
                let hosts: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
                format!("redis+cluster://{}", hosts.join(","))
            }
        }
    }

    pub(crate) fn start(kind: Kind) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::start()),
            Kind::Redis => Self::Redis(Redis::start()),
            Kind::Cluster => Self::Cluster(RedisCluster::start()),
        }
    }
}

/// Polls until the condition holds; returns `false` if that takes more than a minute.
pub(crate) async fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..1200 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    false
}

const TAG_KEY: &str = "fedcba9876543210fedcba9876543210";

/// Opens a store of a server that runs. A busy machine may not answer in time at first.
async fn opened<S, E: Debug, F: Future<Output = Result<S, E>>>(open: impl Fn() -> F) -> S {
    for _ in 0..5 {
        if let Ok(store) = open().await {
            return store;
        }
    }
    open().await.expect("the server runs")
}
