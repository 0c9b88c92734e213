//! The processes, and the requests of their users.

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use http::{Request, StatusCode};
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::block_in_place;
use tower_cookie_jwt::{KeyRing, Sessions, store::RefreshStore};

use super::{BOUND, user::User};
use crate::processes::process::Spa;

pub(super) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// What the example derives from the secret.
pub(super) const TAG_KEY: &str = "places of sessions: 0123456789abcdef0123456789abcdef";

/// The node where users sign out, one beside it, and one whose way to the store is disturbed.
pub(super) const A: usize = 0;
pub(super) const B: usize = 1;
pub(super) const C: usize = 2;
pub(super) const NAMES: [&str; 3] = ["A", "B", "C"];

pub(super) struct Nodes {
    nodes: [Node; 3],
    /// Of this process, which only signs in and looks at the records.
    sessions: Sessions<serde_json::Value>,
    client: Client<HttpConnector, Empty<&'static [u8]>>,
}

struct Node {
    store: String,
    process: Mutex<Option<Spa>>,
    /// Zero while there is no process.
    port: AtomicU16,
}

impl Nodes {
    /// Starts a process for each value of `STORE`.
    pub(super) fn start(store: impl RefreshStore, urls: [String; 3]) -> Arc<Self> {
        let ring = KeyRing::hs256(SECRET).expect("a secret of 32 bytes");
        let sessions = Sessions::builder(ring, store)
            .with_issuer("spa")
            .with_audience("spa")
            .with_sign_out_within(BOUND)
            .build()
            .expect("a valid configuration");
        let nodes = urls.map(|store| Node { store, process: Mutex::default(), port: AtomicU16::default() });
        let nodes = Self { nodes, sessions, client: Client::builder(TokioExecutor::new()).build_http() };
        [A, B, C].into_iter().for_each(|node| nodes.restart(node));
        Arc::new(nodes)
    }

    /// SIGKILL.
    pub(super) fn kill(&self, node: usize) {
        self.nodes[node].port.store(0, Ordering::Relaxed);
        block_in_place(|| drop(self.process(node).take()));
    }

    /// Kills the process, if there is one, and starts another.
    pub(super) fn restart(&self, node: usize) {
        self.kill(node);
        let bound = BOUND.as_millis().to_string();
        let spa = block_in_place(|| {
            Spa::start(&[
                ("STORE", &self.nodes[node].store),
                ("SECRET", SECRET),
                ("SIGN_OUT_WITHIN_MILLIS", &bound),
            ])
        });
        self.nodes[node].port.store(spa.port(), Ordering::Relaxed);
        *self.process(node) = Some(spa);
    }

    /// Sends the process a signal, such as `STOP` or `CONT`.
    pub(super) fn signal(&self, node: usize, signal: &str) {
        let id = self.process(node).as_ref().expect("it runs").child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(sent.expect("there is a kill").success(), "the node runs");
    }

    fn process(&self, node: usize) -> MutexGuard<'_, Option<Spa>> {
        self.nodes[node].process.lock().expect("no panic holds it")
    }

    pub(super) async fn sign_in(&self, name: &str) -> User {
        User::sign_in(&self.sessions, name).await
    }

    /// Returns whether the store has a live session of this user.
    pub(super) async fn has_session(&self, user: &User) -> bool {
        !self.sessions.list(&user.name).await.expect("the store is up again").is_empty()
    }

    /// Returns what the node answers to the access token, or `None` if it does not.
    pub(super) async fn ask(&self, node: usize, user: &User) -> Option<StatusCode> {
        self.send(node, Request::get(self.url(node, "me")), &user.access).await
    }

    pub(super) async fn sign_out(&self, node: usize, user: &User) -> Option<StatusCode> {
        self.send(node, Request::post(self.url(node, "logout")), &user.cookies).await
    }

    fn url(&self, node: usize, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/{path}", self.nodes[node].port.load(Ordering::Relaxed))
    }

    async fn send(&self, node: usize, request: http::request::Builder, cookies: &str) -> Option<StatusCode> {
        if self.nodes[node].port.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let request = request.header("cookie", cookies).body(Empty::new()).expect("a plain request");
        // Longer than a node is stopped, and than a call to the store may take.
        let answer = tokio::time::timeout(Duration::from_secs(20), self.client.request(request)).await;
        Some(answer.ok()?.ok()?.status())
    }
}
