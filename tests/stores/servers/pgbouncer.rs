//! One PgBouncer with a configuration of the documentation.

use std::{net::TcpStream, path::Path};

use tempfile::TempDir;

use super::{
    port::Port,
    postgres::{hand_over, server_user},
    process::{Process, is_installed},
    wait_until,
};

pub(crate) struct PgBouncer {
    port: Port,
    _folder: TempDir,
    _process: Process,
}

impl PgBouncer {
    /// Starts one with these contents of `pgbouncer.ini` and `userlist.txt`, on a port of its own.
    pub(crate) fn start(configuration: &str, users: &str) -> Self {
        assert!(is_installed(PROGRAM), "`{PROGRAM}` is missing: install the package pgbouncer");
        let folder = tempfile::tempdir().expect("a temporary folder");
        hand_over(folder.path());
        let port = Port::free();
        let (settings, list) = (folder.path().join("pgbouncer.ini"), folder.path().join("userlist.txt"));
        let configuration = configuration
            .replace("listen_port = 6432", &format!("listen_port = {}", port.number()))
            .replace("/etc/pgbouncer/userlist.txt", plain(&list));
        // Its other socket would be in a folder that all share.
        std::fs::write(&settings, configuration + "\nunix_socket_dir =\n").expect("the folder is writable");
        std::fs::write(&list, users).expect("the folder is writable");
        let mut command = server_user();
        command.extend([PROGRAM, plain(&settings)].map(str::to_owned));
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let process = Process::start(folder.path(), "pgbouncer", &command);
        let pooler = Self { port, _folder: folder, _process: process };
        wait_until("PgBouncer", || TcpStream::connect(("127.0.0.1", pooler.port())).is_ok());
        pooler
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }
}

fn plain(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

/// Not on every user's path.
const PROGRAM: &str = "/usr/sbin/pgbouncer";
