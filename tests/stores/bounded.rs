//! Nodes with `with_sign_out_within` that follow the feed of a store.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, request::Parts};
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{Sessions, store::RefreshStore};

use crate::{
    kit::forge,
    proxy::{Mode, Proxy},
};

pub(crate) const BOUND: Duration = Duration::from_secs(1);

pub(crate) struct Node {
    pub(crate) sessions: Sessions<()>,
}

impl Node {
    pub(crate) async fn new(store: impl RefreshStore) -> Self {
        let sessions = Sessions::<()>::builder(forge::ring(), store)
            .with_audience("shop")
            .with_sign_out_within(BOUND)
            .build()
            .expect("a valid configuration");
        tokio::spawn(sessions.follow());
        sessions.caught_up().await;
        Self { sessions }
    }

    /// Signs ada in, and returns the access token for a header.
    pub(crate) async fn sign_in(&self) -> String {
        let signed_in = self.sessions.sign_in(&request(None), "ada", ()).await.expect("it signs in");
        let mut response = Response::new(());
        signed_in.append_to(response.headers_mut());
        let lines = response.headers().get_all("set-cookie").iter().map(|line| line.to_str().expect("text"));
        let access =
            lines.filter_map(|line| line.strip_prefix("__Host-access=")).next().expect("an access cookie");
        format!("Bearer {}", access.split(';').next().expect("a value"))
    }

    pub(crate) async fn sign_out_everywhere(&self) {
        assert!(self.sessions.sign_out_everywhere("ada").await.expect("it signs out") > 0);
    }

    /// Ends the session of the token.
    pub(crate) async fn sign_out(&self, bearer: &str) {
        assert!(self.try_sign_out(bearer).await, "it signs out");
    }

    /// Ends the session of the token, and returns whether that has been confirmed.
    pub(crate) async fn try_sign_out(&self, bearer: &str) -> bool {
        let mut parts = request(Some(bearer));
        parts.method = http::Method::POST;
        self.sessions.sign_out(&parts).await.is_ok()
    }

    /// Whether the store pushes changes to it.
    pub(crate) fn is_pushed(&self) -> bool {
        self.sessions.view().expect("a bound has been set").is_pushed
    }

    /// Sends a request with the token.
    pub(crate) async fn ask(&self, bearer: &str) -> StatusCode {
        let served = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(String::new())) });
        let request = Request::from_parts(request(Some(bearer)), ());
        let Ok(response) = self.sessions.layer().layer(served).oneshot(request).await;
        response.status()
    }
}

/// Signs out at either node: no request that begins later than the bound after that is served at the other.
///
/// Returns the median and the longest time after which the other has heard of it.
pub(crate) async fn sign_out_on_both(nodes: &[Node; 2]) -> (Duration, Duration) {
    let mut delays = Vec::new();
    for round in 0..60 {
        // What has just been pushed delays what comes at once after it.
        tokio::time::sleep(BOUND / 10).await;
        let bearer = nodes[round % 2].sign_in().await;
        for node in nodes {
            assert_eq!(node.ask(&bearer).await, StatusCode::OK);
        }
        nodes[round % 2].sign_out_everywhere().await;
        let signed_out = Instant::now();
        loop {
            let began = signed_out.elapsed();
            match nodes[(round + 1) % 2].ask(&bearer).await {
                StatusCode::OK => assert!(began <= BOUND, "served {began:?} after the sign-out"),
                StatusCode::UNAUTHORIZED => break delays.push(began),
                other => panic!("{other}"),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    delays.sort();
    (delays[delays.len() / 2], delays[delays.len() - 1])
}

/// What disturbs the way between a node and the server.
const FAULTS: [(&str, Mode); 7] = [
    ("held up", Mode::Hold),
    ("answers held up", Mode::HoldAnswers),
    ("bytes lost", Mode::BlackHole),
    ("slow", Mode::Delay(Duration::from_millis(150))),
    ("answers lost", Mode::LoseAnswers { every: 3 }),
    ("half-closed", Mode::HalfClosed),
    ("connections refused", Mode::Refuse),
];

/// Signs out at a node while the way of another to the server is disturbed: that serves no request that begins later than
/// the bound, and answers rightly when the fault is over.
pub(crate) async fn none_is_late_under_faults(name: &str, steady: &Node, disturbed: &Node, proxy: &Proxy) {
    for (fault, mode) in FAULTS {
        let bearer = steady.sign_in().await;
        let live = steady.sign_in().await;
        assert_eq!(disturbed.ask(&bearer).await, StatusCode::OK, "{name}, {fault}: live");
        assert_eq!(disturbed.ask(&live).await, StatusCode::OK, "{name}, {fault}: live");
        proxy.set(mode);
        if matches!(mode, Mode::Refuse) {
            proxy.cut();
        }
        steady.sign_out(&bearer).await;
        let signed_out = Instant::now();
        let (mut served, mut unavailable, mut last) = (0, 0, Duration::ZERO);
        while signed_out.elapsed() < 2 * BOUND {
            let began = signed_out.elapsed();
            match disturbed.ask(&bearer).await {
                StatusCode::OK => {
                    assert!(began <= BOUND, "{name}, {fault}: served {began:?} after the sign-out");
                    (served, last) = (served + 1, began);
                }
                StatusCode::SERVICE_UNAVAILABLE => unavailable += 1,
                StatusCode::UNAUTHORIZED => break,
                other => panic!("{name}, {fault}: {other}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("{name}, {fault}: served {served} times, until {last:.1?}; {unavailable} times unavailable");
        proxy.set(Mode::Pass);
        proxy.cut();
        tokio::time::timeout(Duration::from_secs(30), disturbed.sessions.caught_up())
            .await
            .expect("it is over");
        assert_eq!(answer_of(disturbed, &bearer).await, StatusCode::UNAUTHORIZED, "{name}, {fault}: ended");
        assert_eq!(answer_of(disturbed, &live).await, StatusCode::OK, "{name}, {fault}: the other goes on");
    }
}

/// Asks again while the store cannot be reached: a connection that has been cut is noticed by its next use.
async fn answer_of(node: &Node, bearer: &str) -> StatusCode {
    for _ in 0..50 {
        match node.ask(bearer).await {
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(100)).await,
            status => return status,
        }
    }
    StatusCode::SERVICE_UNAVAILABLE
}

fn request(bearer: Option<&str>) -> Parts {
    let mut builder = Request::get("https://shop.example/");
    if let Some(bearer) = bearer {
        builder = builder.header("authorization", bearer);
    }
    builder.body(()).expect("a plain request").into_parts().0
}
