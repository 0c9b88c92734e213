//! Runs the example on a free port until it is dropped.

use std::{
    io::{BufRead, BufReader, Read},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

pub(crate) struct Spa {
    pub(crate) child: Child,
    port: u16,
}

impl Spa {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let mut child =
            command(environment).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout).lines();
        let address = lines.next().expect("it says where it listens").expect("it writes text");
        let port = address
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("the line ends with the port");
        // The demo user's name; the pipe must stay open until it has been written.
        let hint = lines.next().expect("it names the demo user").expect("it writes text");
        assert!(hint.contains("ada"), "{hint}");
        Self { child, port }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the error output of a start that must fail.
    pub(crate) fn fails(environment: &[(&str, &str)]) -> String {
        let mut child =
            command(environment).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut complaint = String::new();
        let mut stderr = child.stderr.take().expect("it is piped");
        stderr.read_to_string(&mut complaint).expect("it writes text");
        assert!(!child.wait().expect("it ends").success(), "it must fail: {complaint}");
        complaint
    }
}

impl Drop for Spa {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(environment: &[(&str, &str)]) -> Command {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("it lies in target/PROFILE/deps");
    let binary: PathBuf = profile.join("examples").join("spa");
    assert!(binary.exists(), "build it first: cargo build --all-features --example spa");
    let mut command = Command::new(binary);
    for name in [
        "STORE",
        "SECRET",
        "ACCESS_SECS",
        "GRACE_SECS",
        "LEEWAY_SECS",
        "IDLE_SECS",
        "ABSOLUTE_SECS",
        "SIGN_OUT_WITHIN_MILLIS",
        "INSECURE_HTTP",
    ] {
        command.env_remove(name);
    }
    command.env("PORT", "0").envs(environment.iter().copied());
    command
}
