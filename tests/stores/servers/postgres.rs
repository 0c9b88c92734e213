//! One PostgreSQL server that trusts every local user.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{Authority, port::Port, process::Process, wait_until};

pub(crate) struct Postgres {
    port: Port,
    folder: TempDir,
    process: Process,
}

impl Postgres {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        hand_over(folder.path());
        let data = data_of(&folder);
        let initialized = as_server_user(&program("initdb"))
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .expect("initdb runs");
        assert!(initialized.status.success(), "{}", String::from_utf8_lossy(&initialized.stderr));
        Self::start_on(folder)
    }

    /// Starts a standby of `primary`, which streams from it.
    pub(crate) fn start_standby_of(primary: &Self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        hand_over(folder.path());
        let copied = as_server_user(&program("pg_basebackup"))
            .args([
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "-h",
                "127.0.0.1",
                "-U",
                "postgres",
            ])
            .args(["-p", &primary.port().to_string(), "-D"])
            .arg(data_of(&folder))
            .output()
            .expect("pg_basebackup runs");
        assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        let standby = Self::start_on(folder);
        let streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'";
        wait_until("the standby", || primary.ask(streaming) == "1");
        standby
    }

    fn start_on(folder: TempDir) -> Self {
        let port = Port::free();
        let process = start(port.number(), &folder);
        let postgres = Self { port, folder, process };
        postgres.wait();
        postgres
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port())
    }

    /// SIGKILL: the server's other processes notice and end.
    pub(crate) fn kill(&mut self) {
        let children = self.process.children();
        self.process.signal_children("CONT"); // one that was stopped would never notice
        self.process.kill();
        // A new server refuses to start on data that an old process still has in its memory.
        wait_until("the end of PostgreSQL's processes", || !children.iter().any(|child| runs(child)));
    }

    /// Shuts it down cleanly; `restart` starts it again.
    pub(crate) fn stop(&mut self) {
        self.process.signal("INT");
        let server = self.process.itself();
        wait_until("the end of PostgreSQL", || !runs(&server));
        self.kill();
    }

    /// Starts it again on its port and its data.
    pub(crate) fn restart(&mut self) {
        self.process = start(self.port(), &self.folder);
        self.wait();
    }

    /// Sends all its processes a signal, such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
        self.process.signal_children(signal);
    }

    /// Refuses all writes, or takes them again, in connections that there are as well.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let value = if read_only { "on" } else { "off" };
        self.run(&format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        self.run("SELECT pg_reload_conf()");
        wait_until("the new configuration", || self.ask("SHOW default_transaction_read_only") == value);
    }

    /// Returns the number of connections so far, including those of this query.
    pub(crate) fn connections_made(&self) -> u32 {
        // The server counts closed connections immediately, and open ones within a second.
        std::thread::sleep(Duration::from_millis(1100));
        let counted = self.ask("SELECT sessions FROM pg_stat_database WHERE datname = 'postgres'");
        counted.parse().expect("a number")
    }

    /// Returns its data folder, to be used while it does not run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Sends the processes of all present connections a signal, and says which they are.
    pub(crate) fn backends(&self, signal: &str) -> Vec<String> {
        let list = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        let listed = Command::new(program("psql"))
            .args(["--tuples-only", "--no-align", "--no-psqlrc", "-d", &self.url(), "-c", list])
            .output()
            .expect("psql runs");
        let backends: Vec<_> =
            String::from_utf8_lossy(&listed.stdout).split_whitespace().map(str::to_owned).collect();
        self.signal_backends(&backends, signal);
        backends
    }

    pub(crate) fn signal_backends(&self, backends: &[String], signal: &str) {
        for backend in backends {
            // A process that has already ended does not matter.
            let _ = Command::new("kill").args([&format!("-{signal}"), backend]).output();
        }
    }

    /// Also serves TLS, as this authority has signed.
    pub(crate) fn enable_tls(&self, authority: &Authority) {
        for (from, name) in [(authority.certificate(), "server.crt"), (authority.key(), "server.key")] {
            let path = data_of(&self.folder).join(name);
            std::fs::copy(from, &path).expect("the folder is writable");
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, private).expect("it is ours");
            hand_over(&path);
        }
        self.run("ALTER SYSTEM SET ssl = on");
        self.run("SELECT pg_reload_conf()");
        wait_until("TLS", || self.ask("SHOW ssl") == "on");
        std::thread::sleep(Duration::from_millis(300));
    }

    /// Returns whether all connections but that of this query use TLS.
    pub(crate) fn has_only_tls_connections(&self) -> bool {
        let plain = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND \
             backend_type = 'client backend' AND pid <> pg_backend_pid()";
        self.ask(plain) == "0"
    }

    /// Asks every role but `postgres` for a password from now on.
    pub(crate) fn demand_passwords(&self) {
        self.set_rules("host all all 127.0.0.1/32 scram-sha-256\n");
    }

    /// Replaces the lines of `pg_hba.conf` that admit others than `postgres`.
    pub(crate) fn set_rules(&self, rules: &str) {
        let rules = "host all,replication postgres 127.0.0.1/32 trust\n".to_owned() + rules;
        std::fs::write(data_of(&self.folder).join("pg_hba.conf"), &rules).expect("the folder is writable");
        self.run("SELECT pg_reload_conf()");
        // The postmaster reads it soon after.
        let count = rules.lines().count().to_string();
        wait_until("the new rules", || self.ask("SELECT count(*) FROM pg_hba_file_rules") == count);
        std::thread::sleep(Duration::from_millis(300));
    }

    /// Confirms no commit before a standby has it.
    pub(crate) fn commit_on_standby(&self) {
        self.run("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.run("SELECT pg_reload_conf()");
        let sync = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        wait_until("the standby", || self.ask(sync) == "1");
    }

    /// Makes a standby the primary.
    pub(crate) fn promote(&self) {
        assert_eq!(self.ask("SELECT pg_promote()"), "t");
    }

    /// Returns the number of processes that wait for this while they serve clients.
    pub(crate) fn backends_waiting_for(&self, wait_event: &str) -> u32 {
        let count = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE '{wait_event}' IN (wait_event, wait_event_type)"
        );
        self.ask(&count).parse().expect("a number")
    }

    /// Returns what the server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("server.log")).expect("it logs")
    }

    /// Runs statements, with `psql`.
    pub(crate) fn run(&self, statements: &str) {
        self.ask(statements);
    }

    /// Runs statements as another role, with `psql`.
    pub(crate) fn run_as(&self, role: &str, statements: &str) {
        self.ask_at(&self.url().replace("postgres@", &format!("{role}@")), statements);
    }

    /// Runs statements with `psql` and returns their output.
    pub(crate) fn ask(&self, statements: &str) -> String {
        self.ask_at(&self.url(), statements)
    }

    fn ask_at(&self, url: &str, statements: &str) -> String {
        let ran = Command::new(program("psql"))
            .args(["--quiet", "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1"])
            .args(["-d", url, "-c", statements])
            .output()
            .expect("psql runs");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim().to_owned()
    }

    fn wait(&self) {
        let port = self.port().to_string();
        wait_until("PostgreSQL", || {
            let ready =
                Command::new(program("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            ready.is_ok_and(|status| status.success())
        });
    }
}

fn start(port: u16, folder: &TempDir) -> Process {
    let mut command = server_user();
    let program = program("postgres").to_str().expect("a plain path").to_owned();
    let (port, data) = (port.to_string(), data_of(folder).to_str().expect("a plain path").to_owned());
    command.extend([&program, "-p", &port, "-D", &data, "-k", "", "-h", "127.0.0.1"].map(str::to_owned));
    command.extend(["-c", "max_connections=200"].map(str::to_owned));
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    Process::start(folder.path(), "postgresql", &command)
}

fn data_of(folder: &TempDir) -> PathBuf {
    folder.path().join("data")
}

/// A program of the newest PostgreSQL that is installed.
fn program(name: &str) -> PathBuf {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|folder| folder.filter_map(Result::ok).map(|version| version.path()).collect())
        .unwrap_or_default();
    versions.sort();
    versions
        .into_iter()
        .rev()
        .map(|version| version.join("bin").join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("`{name}` is missing: install the package postgresql"))
}

/// PostgreSQL refuses to run as root, so root runs it as the user of Debian's package.
pub(super) fn server_user() -> Vec<String> {
    if is_root() {
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"].map(str::to_owned).into()
    } else {
        Vec::new()
    }
}

fn as_server_user(program: &Path) -> Command {
    let mut words = server_user().into_iter();
    match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}

pub(super) fn hand_over(folder: &Path) {
    if is_root() {
        let given = Command::new("chown").arg("postgres:postgres").arg(folder).status();
        assert!(
            given.expect("there is a chown").success(),
            "the user postgres is missing: install postgresql"
        );
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("there is an id");
    id.stdout.starts_with(b"0\n")
}

/// Returns whether the process of this folder in `/proc` runs: a process that has ended has no command line.
fn runs(process: &Path) -> bool {
    std::fs::read(process.join("cmdline")).is_ok_and(|command| !command.is_empty())
}
