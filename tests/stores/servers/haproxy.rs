//! One HAProxy with a configuration of the documentation.

use std::net::TcpStream;

use tempfile::TempDir;

use super::{
    port::Port,
    postgres::{hand_over, server_user},
    process::{Process, is_installed},
    wait_until,
};

pub(crate) struct HaProxy {
    port: Port,
    _folder: TempDir,
    _process: Process,
}

impl HaProxy {
    /// Starts one with this configuration, on a port of its own.
    pub(crate) fn start(configuration: &str) -> Self {
        assert!(is_installed(PROGRAM), "`{PROGRAM}` is missing: install the package haproxy");
        let folder = tempfile::tempdir().expect("a temporary folder");
        hand_over(folder.path());
        let port = Port::free();
        let configuration =
            configuration.replace("bind 127.0.0.1:5433", &format!("bind 127.0.0.1:{}", port.number()));
        let settings = folder.path().join("haproxy.cfg");
        std::fs::write(&settings, configuration).expect("the folder is writable");
        let mut command = server_user();
        let settings = settings.to_str().expect("temporary folders have plain names");
        command.extend([PROGRAM, "-db", "-f", settings].map(str::to_owned));
        let command: Vec<_> = command.iter().map(String::as_str).collect();
        let process = Process::start(folder.path(), "haproxy", &command);
        let proxy = Self { port, _folder: folder, _process: process };
        wait_until("HAProxy", || TcpStream::connect(("127.0.0.1", proxy.port())).is_ok());
        proxy
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }
}

/// Not on every user's path.
const PROGRAM: &str = "/usr/sbin/haproxy";
