//! One Redis server that writes every change to its disk.

use std::{net::TcpStream, path::Path, process::Command};

use tempfile::TempDir;

use super::{Authority, port::Port, process::Process, wait_until};

pub(crate) struct Redis {
    port: Port,
    /// That of the cluster bus, or of TLS.
    _second: Option<Port>,
    folder: TempDir,
    arguments: Vec<String>,
    process: Process,
}

impl Redis {
    /// A server whose every write has reached its disk before it is answered.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with further `redis-server` arguments, such as `--maxmemory 10mb`.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::start_on(None, owned(arguments))
    }

    /// Starts a master of a cluster.
    pub(super) fn start_master() -> Self {
        Self::start_master_with(Vec::new())
    }

    /// Starts a server that also serves TLS on a second port, which is returned.
    pub(crate) fn start_with_tls(authority: &Authority) -> (Self, u16) {
        let port = Port::free();
        let number = port.number();
        let arguments = [tls_arguments(authority), owned(&["--tls-port", &number.to_string()])].concat();
        (Self::start_on(Some(port), arguments), number)
    }

    /// Starts a master of a cluster that speaks only TLS.
    pub(super) fn start_tls_master(authority: &Authority) -> Self {
        Self::start_master_with([tls_arguments(authority), owned(&["--tls-cluster", "yes"])].concat())
    }

    fn start_master_with(arguments: Vec<String>) -> Self {
        let bus = Port::free();
        let number = bus.number().to_string();
        let cluster =
            ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", &number];
        Self::start_on(Some(bus), [owned(&cluster), arguments].concat())
    }

    fn start_on(second: Option<Port>, arguments: Vec<String>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = Port::free();
        let process = start(port.number(), &folder, &arguments);
        let redis = Self { port, _second: second, folder, arguments, process };
        redis.wait();
        redis
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on its port and its data.
    pub(crate) fn restart(&mut self) {
        self.process = start(self.port(), &self.folder, &self.arguments);
        self.wait();
    }

    /// Sends the server a signal, such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    /// Changes a setting, with `redis-cli`.
    pub(crate) fn configure(&self, name: &str, value: &str) {
        assert_eq!(self.run(&["config", "set", name, value]), "OK", "{name} {value}");
    }

    /// Returns the answer to a command, with `redis-cli`.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let ran = Command::new("redis-cli").args(["-p", &self.port().to_string()]).args(command).output();
        let answer = ran.expect("redis-cli comes with redis-tools").stdout;
        String::from_utf8_lossy(&answer).trim().to_owned()
    }

    /// Returns its data folder, to be used while it does not run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn wait(&self) {
        wait_until("redis-server", || TcpStream::connect(("127.0.0.1", self.port())).is_ok());
    }
}

/// The arguments for TLS with the server's certificate, for clients without one.
fn tls_arguments(authority: &Authority) -> Vec<String> {
    let files = [authority.certificate(), authority.key(), authority.root()];
    let [certificate, key, root] = files.map(|path| path.display().to_string());
    owned(&[
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &root,
        "--tls-auth-clients",
        "no",
    ])
}

fn owned(arguments: &[&str]) -> Vec<String> {
    arguments.iter().map(|&argument| argument.to_owned()).collect()
}

fn start(port: u16, folder: &TempDir, arguments: &[String]) -> Process {
    let port = port.to_string();
    let data = folder.path().to_str().expect("temporary folders have plain names");
    // Valkey's server takes the same arguments.
    let program = std::env::var("REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned());
    let plain = ["--port", &port];
    let tls = ["--port", "0", "--tls-port", &port];
    let speaks_only_tls = arguments.iter().any(|argument| argument == "--tls-cluster");
    let mut command = vec![&*program, "--bind", "127.0.0.1", "--dir", data];
    command.extend_from_slice(if speaks_only_tls { &tls[..] } else { &plain });
    command.extend(["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    command.extend(arguments.iter().map(String::as_str));
    Process::start(folder.path(), &program, &command)
}
