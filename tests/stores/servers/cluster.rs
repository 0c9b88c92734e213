//! A Redis Cluster of three masters, the first of which may have a replica.

use std::{process::Command, thread::sleep, time::Duration};

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

    /// Adds a replica of the first master, as the last of the servers.
    pub(crate) fn add_replica(&mut self) {
        let replica = Redis::start_master();
        let [new, present] = [replica.port(), self.masters[0].port()].map(|port| format!("127.0.0.1:{port}"));
        let master = self.masters[0].run(&["cluster", "myid"]);
        let added = Command::new("redis-cli")
            .args([
                "--cluster",
                "add-node",
                &new,
                &present,
                "--cluster-slave",
                "--cluster-master-id",
                &master,
            ])
            .output()
            .expect("redis-cli comes with redis-tools");
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stdout));
        self.masters.push(replica);
        self.wait_for_replica(3);
    }

    /// Waits until this server is a replica that follows its master.
    pub(crate) fn wait_for_replica(&self, server: usize) {
        wait_until("the replica", || {
            let said = self.masters[server].run(&["info", "replication"]);
            said.contains("role:slave") && said.contains("master_link_status:up")
        });
        self.wait();
    }

    /// Moves the slot of a key to another master, while it is in use.
    pub(crate) fn move_slot_of(&self, key: &str, from: usize, to: usize) {
        let slot = self.masters[from].run(&["cluster", "keyslot", key]);
        let [source, target] = [from, to].map(|server| self.masters[server].run(&["cluster", "myid"]));
        let done = |server: usize, words: &[&str]| {
            let answer = self.masters[server].run(words);
            assert!(answer == "OK" || answer == "NOKEY", "{words:?}: {answer}");
        };
        done(to, &["cluster", "setslot", &slot, "importing", &source]);
        done(from, &["cluster", "setslot", &slot, "migrating", &target]);
        sleep(Duration::from_millis(300));
        let port = self.masters[to].port().to_string();
        loop {
            let keys = self.masters[from].run(&["cluster", "getkeysinslot", &slot, "10"]);
            if keys.is_empty() {
                break;
            }
            for key in keys.lines() {
                done(from, &["migrate", "127.0.0.1", &port, key, "0", "5000"]);
            }
        }
        sleep(Duration::from_millis(300));
        done(to, &["cluster", "setslot", &slot, "node", &target]);
        done(from, &["cluster", "setslot", &slot, "node", &target]);
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
