//! Three processes of the `spa` example behind one address, on a shared store: tabs walk through
//! rotations, a process is killed, and a new one takes its place.

#[path = "../spa/client.rs"]
#[expect(dead_code, reason = "the example's own tests use all of it")]
mod client;
#[path = "../spa/process.rs"]
#[expect(dead_code, reason = "the example's own tests use all of it")]
pub(crate) mod process;

use std::{
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, sleep},
    time::Duration,
};

use serde_json::json;

use self::{client::Client, process::Spa};
use crate::{
    balancer::Balancer,
    place::{Kind, Server},
    servers::wait_until,
};

#[test]
fn tabs_survive_a_killed_process_on_postgresql() {
    outlive_a_process(Kind::Postgres);
}

#[test]
fn tabs_survive_a_killed_process_on_redis() {
    outlive_a_process(Kind::Redis);
}

#[test]
fn tabs_survive_a_killed_process_on_redis_cluster() {
    outlive_a_process(Kind::Cluster);
}

fn outlive_a_process(kind: Kind) {
    let store = Server::start(kind);
    let mut processes = [start(&store), start(&store), start(&store)];
    let balancer = Balancer::before(processes.iter().map(Spa::port).collect());
    let browsers = [Browser::signed_in(balancer.port()), Browser::signed_in(balancer.port())];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // The tabs must end even if this fails.
        let _end = EndOnDrop(&done);
        for browser in browsers.iter().chain(&browsers) {
            scope.spawn(|| browser.walk(&done));
        }
        wait_until("two rotations", || browsers.iter().all(|browser| browser.generation() >= 2));
        let killed = processes[0].port();
        processes[0] = start(&store); // the former one is killed when it is dropped
        balancer.replace(killed, processes[0].port());
        let further: Vec<_> = browsers.iter().map(|browser| browser.generation() + 2).collect();
        wait_until("two more rotations", || {
            browsers.iter().zip(&further).all(|(browser, further)| browser.generation() >= *further)
        });
    });
    for browser in &browsers {
        assert_eq!(*browser.complaints(), Vec::<String>::new(), "{kind:?}");
    }
    sign_out_counts_everywhere(&browsers[0], &processes);
}

/// A sign-out on one process ends the session on all.
fn sign_out_counts_everywhere(browser: &Browser, processes: &[Spa]) {
    let copy = browser.jar().clone();
    let answer = browser.jar().post("/api/logout", &json!({}));
    assert_eq!(answer.status, 204, "{answer:?}");
    for process in processes {
        let mut copy = copy.clone();
        copy.port = process.port();
        copy.cookies.remove("__Host-access");
        assert_eq!(copy.get("/api/me").status, 401, "a copied refresh cookie is of no use on any process");
    }
}

fn start(store: &Server) -> Spa {
    Spa::start(&[
        ("STORE", &store.url()),
        ("SECRET", "0123456789abcdef0123456789abcdef"),
        ("ACCESS_SECS", "2"),
        ("GRACE_SECS", "3"),
        ("LEEWAY_SECS", "0"),
    ])
}

/// A cookie jar that several tabs share.
struct Browser {
    jar: Mutex<Client>,
    generation: AtomicU64,
    complaints: Mutex<Vec<String>>,
}

impl Browser {
    fn signed_in(port: u16) -> Self {
        let mut jar = Client::new(port);
        let login = json!({ "username": "ada", "password": "correct horse battery staple" });
        assert_eq!(jar.post("/api/login", &login).status, 200);
        Self { jar: Mutex::new(jar), generation: AtomicU64::new(0), complaints: Mutex::default() }
    }

    /// Sends requests as a tab does, each on a new connection.
    fn walk(&self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            self.step();
            sleep(Duration::from_millis(150));
        }
    }

    fn step(&self) {
        let mut tab = self.jar().clone();
        // A killed process loses its answers; the tab retries.
        let Ok(answer) = tab.try_get("/api/me") else {
            return;
        };
        self.jar().store(&answer);
        if answer.status == 200 && !answer.clears_cookies() {
            let generation = answer.json()["generation"].as_u64().expect("a number");
            self.generation.fetch_max(generation, Ordering::Relaxed);
        } else {
            self.complaints().push(format!("{} {}", answer.status, answer.body));
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn jar(&self) -> MutexGuard<'_, Client> {
        self.jar.lock().expect("no panic holds it")
    }

    fn complaints(&self) -> MutexGuard<'_, Vec<String>> {
        self.complaints.lock().expect("no panic holds it")
    }
}

struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
