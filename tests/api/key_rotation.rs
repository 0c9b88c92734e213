//! Keys are changed while two instances serve: accept-only, active, accept-only, removed.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time;
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_cookie_jwt::{
    Claims, KeyRing, MemoryStore, Sessions,
    keys::{Algorithm, Key},
    testing::Browser,
};

const ACCESS: &str = "__Host-access";
const REFRESH: &str = "__Host-refresh";
/// Limit for a step on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

type Answer = Response<Bytes>;
type Service = BoxCloneSyncService<Request<String>, Answer, Infallible>;
type Client = Browser<Service>;

/// One of two machines: its own ring, and the store that both share.
#[derive(Clone)]
struct Instance {
    keys: KeyRing,
    sessions: Sessions<()>,
}

impl Instance {
    fn new(keys: KeyRing, store: &MemoryStore) -> Self {
        // Every refresh that follows a shown access token rotates: clients here ask one thing at a time.
        let sessions = Sessions::builder(keys.clone(), store.clone())
            .with_audience("shop")
            .with_grace_period(Duration::from_millis(1))
            .build()
            .expect("no contradiction");
        Self { keys, sessions }
    }

    async fn answer(self, request: Request<String>) -> Answer {
        let sessions = &self.sessions;
        match request.uri().path() {
            "/login" => {
                let (parts, _) = request.into_parts();
                let signed_in = sessions.sign_in(&parts, "ada", ()).await.expect("the store is up");
                let mut response = Response::new(Bytes::new());
                signed_in.append_to(response.headers_mut());
                response
            }
            "/refresh" => {
                let Ok(response) = sessions.refresh_service().oneshot(request).await;
                let (parts, body) = response.into_parts();
                let body = body.collect().await.expect("a body").to_bytes();
                Response::from_parts(parts, body)
            }
            _ => {
                let page = service_fn(|request: Request<String>| async move {
                    let claims = request.extensions().get::<Claims<()>>().expect("the layer demands claims");
                    Ok::<_, Infallible>(Response::new(claims.subject().unwrap_or("-").to_owned().into()))
                });
                let Ok(response) = sessions.layer().layer(page).oneshot(request).await;
                response
            }
        }
    }
}

/// A load balancer: one request to this machine, the next to the other.
fn balanced(instances: &[Instance; 2]) -> Service {
    let (instances, turn) = (instances.clone(), Arc::new(AtomicUsize::new(0)));
    BoxCloneSyncService::new(service_fn(move |request| {
        let instance = instances[turn.fetch_add(1, Ordering::Relaxed) % 2].clone();
        async move { Ok::<_, Infallible>(instance.answer(request).await) }
    }))
}

fn only(instance: &Instance) -> Service {
    balanced(&[instance.clone(), instance.clone()])
}

fn key(id: &str) -> Key {
    Key::generate(Algorithm::EdDSA).expect("a key").with_id(id)
}

/// A ring that signs with the first key.
fn ring(keys: &[&Key]) -> KeyRing {
    let (active, accepted) = keys.split_first().expect("a key");
    accepted.iter().fold(KeyRing::new(Key::clone(active)).expect("it signs"), |ring, key| {
        ring.with_accepted(Key::clone(key)).expect("ids differ")
    })
}

fn kid_of(token: &str) -> String {
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().expect("a header")).expect("base64url");
    let header: Value = serde_json::from_slice(&header).expect("JSON");
    header["kid"].as_str().expect("a kid").to_owned()
}

/// The ids of the keys that have signed the browser's access and refresh token.
fn kids(browser: &Client) -> [String; 2] {
    [ACCESS, REFRESH].map(|name| kid_of(&browser.cookie(name).expect(name)))
}

async fn status(browser: &Client, path: &str) -> StatusCode {
    let request = if path == "/me" { browser.get(path) } else { browser.post(path).with_xsrf() };
    let Ok(response) = request.send().await;
    response.status()
}

async fn signed_in(service: Service) -> Client {
    let browser = Browser::new(service);
    assert_eq!(status(&browser, "/login").await, 200);
    assert_eq!(status(&browser, "/me").await, 200);
    browser
}

/// Refreshes by asking for `path` until the session has been rotated: the first time may only confirm
/// the present generation.
async fn rotate(browser: &Client, path: &str) {
    let (start, before) = (Instant::now(), browser.cookie(REFRESH));
    while browser.cookie(REFRESH) == before {
        assert!(start.elapsed() < DEADLINE, "{path} does not rotate");
        browser.remove_cookie(ACCESS);
        assert_eq!(status(browser, path).await, 200, "{path}");
        time::sleep(Duration::from_millis(2)).await;
    }
}

/// The progress of the clients, and when to stop.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    clients: Vec<Progress>,
}

#[derive(Default)]
struct Progress {
    rounds: AtomicUsize,
    rotations: AtomicUsize,
    /// Both tokens are signed by the new key.
    renewed: AtomicBool,
}

impl Load {
    fn new(clients: usize) -> Arc<Self> {
        Arc::new(Self { clients: (0..clients).map(|_| Progress::default()).collect(), ..Self::default() })
    }

    /// Waits until every client has been served by both machines for a while, rotations included.
    async fn goes_on(&self, step: &str) {
        let count = |progress: &Progress| {
            (progress.rounds.load(Ordering::SeqCst), progress.rotations.load(Ordering::SeqCst))
        };
        let before: Vec<_> = self.clients.iter().map(count).collect();
        self.until(step, |index, progress| {
            let (rounds, rotations) = count(progress);
            rounds >= before[index].0 + 4 && rotations >= before[index].1 + 4
        })
        .await;
    }

    async fn until(&self, step: &str, reached: impl Fn(usize, &Progress) -> bool) {
        let start = Instant::now();
        while !self.clients.iter().enumerate().all(|(index, progress)| reached(index, progress)) {
            assert!(start.elapsed() < DEADLINE, "{step}: the load has come to a halt");
            if self.stop.load(Ordering::SeqCst) {
                return; // a client has failed, and says why
            }
            time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// One client: pages, orders and refreshes through both machines, one after the other, until it is told
/// to stop. Says what was refused.
async fn keep_asking(browser: Client, load: Arc<Load>, index: usize) -> Result<(), String> {
    let progress = &load.clients[index];
    // Whatever ends this client ends the test.
    struct Halt(Arc<Load>);
    impl Drop for Halt {
        fn drop(&mut self) {
            self.0.stop.store(true, Ordering::SeqCst);
        }
    }
    let _halt = Halt(load.clone());
    // The paths are three and the machines two: each path gets to each machine.
    while !load.stop.load(Ordering::SeqCst) {
        for path in ["/me", "/order", "/refresh"] {
            let before = browser.cookie(REFRESH);
            let status = status(&browser, path).await;
            if status != 200 {
                return Err(format!("client {index}: {path} was answered {status}"));
            }
            if browser.cookie(REFRESH) != before {
                progress.rotations.fetch_add(1, Ordering::SeqCst);
            }
        }
        progress.rounds.fetch_add(1, Ordering::SeqCst);
        progress.renewed.store(kids(&browser) == ["new", "new"], Ordering::SeqCst);
        time::sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_refused_while_two_instances_change_their_keys_in_sequence() {
    let (old, new) = (key("old"), key("new"));
    let store = MemoryStore::new();
    let [first, second] = [(); 2].map(|()| Instance::new(ring(&[&old]), &store));
    let load = Load::new(6);
    let mut clients = Vec::new();
    for index in 0..load.clients.len() {
        // Each its own balancer: no client stays with one machine.
        let browser = signed_in(balanced(&[first.clone(), second.clone()])).await;
        clients.push(tokio::spawn(keep_asking(browser, load.clone(), index)));
    }
    load.goes_on("before").await;

    let steps = [
        ("the first accepts the new key", &first, ring(&[&old, &new])),
        ("the second accepts the new key", &second, ring(&[&old, &new])),
        ("the first signs with the new key", &first, ring(&[&new, &old])),
        ("the second signs with the new key", &second, ring(&[&new, &old])),
    ];
    for (step, instance, keys) in steps {
        instance.keys.replace(keys);
        load.goes_on(step).await;
    }
    // In production this takes the lifetime of a refresh token; here every client asks for a new one.
    load.until("every token is signed by the new key", |_, client| client.renewed.load(Ordering::SeqCst))
        .await;
    for (step, instance) in [("the first removes the old key", &first), ("the second does", &second)] {
        instance.keys.replace(ring(&[&new]));
        load.goes_on(step).await;
    }

    load.stop.store(true, Ordering::SeqCst);
    let verdicts = try_join_all(clients).await.expect("no client panics");
    assert_eq!(verdicts.into_iter().filter_map(Result::err).collect::<Vec<_>>(), Vec::<String>::new());
}

#[tokio::test]
async fn a_key_that_signs_before_every_node_accepts_it_is_refused_by_the_others() {
    let (old, new) = (key("old"), key("new"));
    let store = MemoryStore::new();
    let [first, second] = [(); 2].map(|()| Instance::new(ring(&[&old]), &store));
    first.keys.replace(ring(&[&new, &old]));
    let load = Load::new(1);
    let browser = signed_in(only(&first)).await;
    let hurried = Browser::new(balanced(&[first, second]));
    for name in [ACCESS, REFRESH, "XSRF-TOKEN"] {
        let value = browser.cookie(name).expect(name);
        assert!(hurried.set_cookie(&format!("{name}={value}; Path=/; Secure")), "{name}");
    }
    let verdict = time::timeout(DEADLINE, keep_asking(hurried, load, 0)).await.expect("it is refused");
    assert!(verdict.expect_err("it is refused").contains("401"));
}

#[tokio::test]
async fn new_and_refreshed_tokens_carry_the_id_of_the_signing_key() {
    let (old, new) = (key("old"), key("new"));
    let instance = Instance::new(ring(&[&old]), &MemoryStore::new());
    let browser = signed_in(only(&instance)).await;
    assert_eq!(kids(&browser), ["old", "old"], "sign-in");

    instance.keys.replace(ring(&[&old, &new]));
    rotate(&browser, "/refresh").await;
    assert_eq!(kids(&browser), ["old", "old"], "a key that is accepted only signs nothing");

    instance.keys.replace(ring(&[&new, &old]));
    assert_eq!(kids(&signed_in(only(&instance)).await), ["new", "new"], "sign-in");
    rotate(&browser, "/refresh").await;
    assert_eq!(kids(&browser), ["new", "new"], "refresh service");

    instance.keys.replace(ring(&[&old, &new]));
    rotate(&browser, "/me").await;
    assert_eq!(kids(&browser), ["old", "old"], "RefreshLayer");
}

#[tokio::test]
async fn a_token_of_a_removed_key_is_refused_and_its_cookies_stay() {
    let (old, new) = (key("old"), key("new"));
    let instance = Instance::new(ring(&[&old]), &MemoryStore::new());
    let browser = signed_in(only(&instance)).await;

    instance.keys.replace(ring(&[&new, &old]));
    assert_eq!(status(&browser, "/me").await, 200, "still accepted");
    instance.keys.replace(ring(&[&new]));
    for path in ["/me", "/order", "/refresh"] {
        assert_eq!(status(&browser, path).await, 401, "{path}");
    }
    // An unknown key clears nothing: it may be a mistake of the operator, who can take it back.
    assert_eq!(kids(&browser), ["old", "old"]);
    instance.keys.replace(ring(&[&new, &old]));
    for path in ["/me", "/order", "/refresh"] {
        assert_eq!(status(&browser, path).await, 200, "{path}");
    }
}
