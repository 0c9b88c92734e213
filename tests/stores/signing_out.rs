//! Other uses of the store than rotations: checking, listing and ending sessions.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode, request::Parts};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    MemoryStore, Sessions,
    store::{PostgresStore, RedisStore, RefreshStore, SqliteStore},
};

use crate::{
    bounded::{Node, sign_out_on_both},
    kit::{
        forge,
        jar::{cookies_of, headers_of},
    },
    servers::{Postgres, Redis, RedisCluster},
};

#[tokio::test]
async fn memory_ends_sessions_on_all_nodes_at_once() {
    let store = MemoryStore::new();
    ends_sessions_on_all_nodes_at_once(store.clone(), store).await;
}

#[tokio::test]
async fn sqlite_ends_sessions_on_all_nodes_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.sqlite");
    let one = SqliteStore::open(&path).await.expect("it opens");
    ends_sessions_on_all_nodes_at_once(one, SqliteStore::open(&path).await.expect("it opens")).await;
}

#[tokio::test]
async fn sign_outs_count_on_the_other_process_that_uses_the_file_within_the_bound() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.sqlite");
    let open = async || SqliteStore::open(&path).await.expect("it opens");
    let nodes = [Node::new(open().await).await, Node::new(open().await).await];
    let (median, longest) = sign_out_on_both(&nodes).await;
    assert!(nodes.iter().all(Node::is_pushed), "they see that the file has changed");
    println!("SQLite: sign-outs heard of after {median:.1?} by the median, {longest:.1?} at most");
    assert!(median <= Duration::from_millis(100), "{median:?}");
}

#[tokio::test]
async fn postgres_ends_sessions_on_all_nodes_at_once() {
    let server = Postgres::start();
    let connect = async || PostgresStore::connect(&server.url()).await.expect("it connects");
    ends_sessions_on_all_nodes_at_once(connect().await, connect().await).await;
}

#[tokio::test]
async fn redis_ends_sessions_on_all_nodes_at_once() {
    let server = Redis::start();
    let connect = async || RedisStore::connect(&server.url(), TAG_KEY).await.expect("it connects");
    ends_sessions_on_all_nodes_at_once(connect().await, connect().await).await;
}

#[tokio::test]
async fn redis_cluster_ends_sessions_on_all_nodes_at_once() {
    let cluster = RedisCluster::start();
    let connect = async || RedisStore::connect_cluster(cluster.urls(), TAG_KEY).await.expect("it connects");
    ends_sessions_on_all_nodes_at_once(connect().await, connect().await).await;
}

async fn ends_sessions_on_all_nodes_at_once<S: RefreshStore>(one: S, other: S) {
    let nodes = [node(one), node(other)];
    let mut devices = Vec::new();
    for agent in ["Firefox/140.0 (X11; Linux)", "Chrome/150.0 (Android)", "Safari/19.0 (Macintosh)"] {
        devices.push(Device::sign_in(&nodes[0], "ada", agent).await);
    }
    let eve = Device::sign_in(&nodes[0], "eve", "curl/8").await;
    let ids = |devices: &[&Device]| devices.iter().map(|device| device.id.clone()).collect::<Vec<_>>();
    let [first, second, third] = &devices[..] else { panic!("three devices") };

    assert_eq!(listed(&nodes[1]).await, ids(&[first, second, third]), "oldest first");
    for device in &devices {
        assert_eq!(device.ask(&nodes[1]).await, StatusCode::OK);
    }
    let labels: Vec<_> =
        nodes[1].list("ada").await.expect("it lists").iter().map(|info| info.label.to_string()).collect();
    assert!(labels.iter().all(|label| !label.is_empty()), "{labels:?}");

    let _ = nodes[0].sign_out(&first.parts()).await.expect("it signs out");
    assert_eq!(first.ask(&nodes[1]).await, StatusCode::UNAUTHORIZED, "immediately, and on the other node");
    assert_eq!(listed(&nodes[1]).await, ids(&[second, third]));

    assert!(!nodes[1].revoke("ada", &eve.id).await.expect("it answers"), "not hers");
    assert!(nodes[1].revoke("ada", &second.id).await.expect("it answers"));
    assert_eq!(second.ask(&nodes[0]).await, StatusCode::UNAUTHORIZED, "revoked");
    assert_eq!(third.ask(&nodes[0]).await, StatusCode::OK);

    let fourth = Device::sign_in(&nodes[1], "ada", "Firefox").await;
    assert_eq!(nodes[1].sign_out_everywhere("ada").await.expect("it answers"), 2);
    for device in [third, &fourth] {
        assert_eq!(device.ask(&nodes[0]).await, StatusCode::UNAUTHORIZED, "everywhere");
    }
    assert_eq!(listed(&nodes[0]).await, ids(&[]));
    assert_eq!(eve.ask(&nodes[0]).await, StatusCode::OK, "another user");
}

/// Returns a node that asks the store on each request.
fn node(store: impl RefreshStore) -> Sessions<()> {
    Sessions::builder(forge::ring(), store)
        .with_audience("shop")
        .with_session_check()
        .build()
        .expect("a valid configuration")
}

async fn listed(node: &Sessions<()>) -> Vec<String> {
    node.list("ada").await.expect("it lists").iter().map(|info| info.id.to_string()).collect()
}

/// A browser that has signed in.
struct Device {
    id: String,
    cookies: String,
}

impl Device {
    async fn sign_in(node: &Sessions<()>, user: &str, agent: &str) -> Self {
        let request = Request::post("https://shop.example/login").header("user-agent", agent);
        let (parts, ()) = request.body(()).expect("a request").into_parts();
        let signed_in = node.sign_in(&parts, user, ()).await.expect("it signs in");
        let id = node.list(user).await.expect("it lists").last().expect("the newest").id.to_string();
        // A store whose clock counts milliseconds tells two sign-ins apart by then.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        Self { id, cookies: cookies_of(&headers_of(&signed_in)) }
    }

    fn request(&self) -> Request<()> {
        let request = Request::get("https://shop.example/me").header("cookie", &self.cookies);
        request.body(()).expect("a request")
    }

    fn parts(&self) -> Parts {
        self.request().into_parts().0
    }

    /// Sends a request with the access token, which has not expired, and returns the status.
    async fn ask(&self, node: &Sessions<()>) -> StatusCode {
        let handler =
            service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        node.layer().layer(handler).oneshot(self.request()).await.expect("infallible").status()
    }
}

const TAG_KEY: &[u8] = b"sixteen bytes or more";
