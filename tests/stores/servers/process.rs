//! A server as a child process that does not outlive the test.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Kills the server when the test ends, however it ends: the shell waits for the end of its input.
const GUARD: &str = r#""$@" </dev/null & server=$!
echo $server > "$PID_FILE"
read -r line
kill -KILL $server 2>/dev/null
wait $server 2>/dev/null"#;

pub(super) struct Process {
    guard: Child,
    pid_file: PathBuf,
}

impl Process {
    /// Starts `command`; what it says goes to `server.log` in `folder`.
    pub(super) fn start(folder: &Path, package: &str, command: &[&str]) -> Self {
        let program = command[0];
        assert!(is_installed(program), "`{program}` is missing: install the package {package}");
        let log = File::create(folder.join("server.log")).expect("the folder is writable");
        let pid_file = folder.join("server.pid");
        let guard = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .args(command)
            .env("PID_FILE", &pid_file)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("there is a shell");
        Self { guard, pid_file }
    }

    /// Ends it as a power failure would.
    pub(super) fn kill(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().expect("the shell can be waited for");
    }

    /// The folders in `/proc` of the processes that it has started.
    pub(super) fn children(&self) -> Vec<PathBuf> {
        let pid = self.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        children.unwrap_or_default().split_whitespace().map(|child| Path::new("/proc").join(child)).collect()
    }

    /// Its folder in `/proc`.
    pub(super) fn itself(&self) -> PathBuf {
        Path::new("/proc").join(self.pid())
    }

    /// Sends it a signal, such as `STOP` or `CONT`.
    pub(super) fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([&format!("-{signal}"), &self.pid()]).status();
        assert!(sent.expect("there is a kill").success(), "the server runs");
    }

    /// Sends the signal to the processes that it has started.
    pub(super) fn signal_children(&self, signal: &str) {
        let pids = self.children().into_iter().filter_map(|child| Some(child.file_name()?.to_owned()));
        // One may have ended meanwhile.
        let _ = Command::new("kill").arg(format!("-{signal}")).args(pids).stderr(Stdio::null()).status();
    }

    fn pid(&self) -> String {
        let pid = std::fs::read_to_string(&self.pid_file).expect("the shell has written it");
        pid.trim().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    Path::new(program).is_absolute() && Path::new(program).exists()
        || std::env::split_paths(&paths).any(|folder| folder.join(program).exists())
}
