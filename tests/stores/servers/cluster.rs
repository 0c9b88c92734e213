//! A Redis Cluster of three masters.

use std::process::Command;

use super::{Redis, wait_until};

pub(crate) struct RedisCluster {
    masters: Vec<Redis>,
}

impl RedisCluster {
    pub(crate) fn start() -> Self {
        let masters: Vec<_> = (0..3).map(|_| Redis::start_master()).collect();
        let addresses: Vec<_> = masters.iter().map(|master| format!("127.0.0.1:{}", master.port())).collect();
        let created = Command::new("redis-cli")
            .args(["--cluster-yes", "--cluster", "create"])
            .args(&addresses)
            .output()
            .expect("redis-cli comes with redis-tools");
        assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stdout));
        let cluster = Self { masters };
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
                let info = Command::new("redis-cli").args(["-p", &port, "cluster", "info"]).output();
                info.is_ok_and(|info| String::from_utf8_lossy(&info.stdout).contains("cluster_state:ok"))
            })
        });
    }
}
