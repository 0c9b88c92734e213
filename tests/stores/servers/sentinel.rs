//! A master and its replica, watched by three Sentinels.

use std::{net::TcpStream, process::Command};

use tempfile::TempDir;

use super::{Redis, port::Port, process::Process, wait_until};

pub(crate) struct RedisSentinel {
    servers: [Redis; 2],
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    port: Port,
    _folder: TempDir,
    _process: Process,
}

impl RedisSentinel {
    pub(crate) fn start() -> Self {
        let master = Redis::start();
        let port = master.port().to_string();
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]);
        let sentinels = (0..3).map(|_| Sentinel::start(master.port())).collect();
        let watched = Self { servers: [master, replica], sentinels };
        wait_until("the Sentinels", || {
            let said = watched.ask(&["sentinel", "master", "shop"]);
            let value_of =
                |name: &str| said.lines().skip_while(|line| *line != name).nth(1).unwrap_or_default();
            value_of("num-slaves") == "1" && value_of("num-other-sentinels") == "2"
        });
        watched
    }

    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port.number())).collect();
        format!("redis+sentinel://{}/shop", hosts.join(","))
    }

    /// SIGKILL, to one of the two servers.
    pub(crate) fn kill(&mut self, server: usize) {
        self.servers[server].kill();
    }

    /// Returns whether the Sentinels name this server, which began as the master (0) or the replica (1).
    pub(crate) fn is_master(&self, server: usize) -> bool {
        let named = self.ask(&["sentinel", "get-master-addr-by-name", "shop"]);
        named.lines().nth(1) == Some(&self.servers[server].port().to_string())
    }

    /// Makes the replica the master, as an operator would.
    pub(crate) fn fail_over(&self) {
        let answer = self.ask(&["sentinel", "failover", "shop"]);
        assert_eq!(answer.trim(), "OK");
    }

    /// Waits until the other server is a replica of this one, and has every write of before.
    pub(crate) fn wait_for_replica(&self, master: usize) {
        wait_until("the replica", || {
            let said = cli(self.servers[master].port(), &["info", "replication"]);
            let written = said.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
            let replica =
                said.lines().find(|line| line.starts_with("slave0:") && line.contains("state=online"));
            // The replica says once a second what it has; `WAIT` would answer for the writes of its own connection.
            let has = replica.and_then(|line| line.split(',').find_map(|part| part.strip_prefix("offset=")));
            written.is_some() && written == has
        });
    }

    fn ask(&self, words: &[&str]) -> String {
        cli(self.sentinels[0].port.number(), words)
    }
}

impl Sentinel {
    fn start(master: u16) -> Self {
        let port = Port::free();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let settings = format!(
            "port {}\nbind 127.0.0.1\ndir {}\nsentinel monitor shop 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds shop 1000\nsentinel failover-timeout shop 5000\n",
            port.number(),
            folder.path().display()
        );
        std::fs::write(&file, settings).expect("the folder is writable");
        let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
        let file = file.to_str().expect("temporary folders have plain names");
        let process = Process::start(folder.path(), &program, &[&program, file, "--sentinel"]);
        wait_until("a Sentinel", || TcpStream::connect(("127.0.0.1", port.number())).is_ok());
        Self { port, _folder: folder, _process: process }
    }
}

fn cli(port: u16, words: &[&str]) -> String {
    let asked = Command::new("redis-cli").args(["-p", &port.to_string()]).args(words).output();
    String::from_utf8_lossy(&asked.expect("redis-cli comes with redis-tools").stdout).into_owned()
}
