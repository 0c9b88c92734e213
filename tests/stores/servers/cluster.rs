//! A Redis Cluster of three masters.

use std::process::Command;

use super::{Authority, Redis, wait_until};

pub(crate) struct RedisCluster {
    masters: Vec<Redis>,
    /// What `redis-cli` needs for TLS.
    tls: Vec<String>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        Self::of((0..3).map(|_| Redis::start_master()).collect(), &[])
    }

    /// Starts a cluster whose nodes speak TLS with each other and with their clients.
    pub(crate) fn start_with_tls(authority: &Authority) -> Self {
        let root = authority.root().display().to_string();
        let masters = (0..3).map(|_| Redis::start_tls_master(authority)).collect();
        Self::of(masters, &["--tls", "--cacert", &root])
    }

    fn of(masters: Vec<Redis>, tls: &[&str]) -> Self {
        let addresses: Vec<_> = masters.iter().map(|master| format!("127.0.0.1:{}", master.port())).collect();
        let created = Command::new("redis-cli")
            .args(tls)
            .args(["--cluster-yes", "--cluster", "create"])
            .args(&addresses)
            .output()
            .expect("redis-cli comes with redis-tools");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let tls = tls.iter().map(|&argument| argument.to_owned()).collect();
        let cluster = Self { masters, tls };
        cluster.wait();
        cluster
    }

    pub(crate) fn urls(&self) -> Vec<String> {
        self.masters.iter().map(Redis::url).collect()
    }

    pub(crate) fn masters(&mut self) -> &mut [Redis] {
        &mut self.masters
    }

    /// Waits until every master serves its slots.
    pub(crate) fn wait(&self) {
        wait_until("the cluster", || {
            self.masters.iter().all(|master| {
                let port = master.port().to_string();
                let cli = ["-p", &port, "cluster", "info"];
                let info = Command::new("redis-cli").args(&self.tls).args(cli).output();
                info.is_ok_and(|info| String::from_utf8_lossy(&info.stdout).contains("cluster_state:ok"))
            })
        });
    }
}
