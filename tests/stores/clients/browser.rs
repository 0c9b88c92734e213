//! A browser whose tabs keep sending requests.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::body::{Body, to_bytes};
use http::{Method, Response, StatusCode};
use tokio::{task::JoinHandle, time::sleep};
use tower_cookie_jwt::testing::{Browser, BrowserRequest};

use super::{
    Ledger, Nodes,
    ledger::Answer,
    nodes::{Balanced, NODE_HEADER},
    token::expires_at,
};

/// Clones are tabs.
#[derive(Clone)]
pub(crate) struct LegitimateClient {
    browser: Browser<Balanced>,
    ledger: Arc<Ledger>,
    generation: Arc<AtomicU32>,
}

impl LegitimateClient {
    /// A browser without cookies.
    pub(crate) fn new(nodes: &Nodes) -> Self {
        let generation = Arc::new(AtomicU32::new(0));
        Self { browser: Browser::new(nodes.balanced()), ledger: nodes.ledger().clone(), generation }
    }

    pub(crate) async fn sign_in(&self, user: &str) {
        let answer = self.browser.post(&format!("/login?user={user}")).send().await.expect("infallible");
        assert_eq!(answer.status(), StatusCode::OK, "signing in");
    }

    pub(crate) async fn sign_out(&self) -> StatusCode {
        self.browser.post("/logout").send().await.expect("infallible").status()
    }

    /// Returns the highest generation that an answer has shown.
    pub(crate) fn generation(&self) -> u32 {
        self.generation.load(Ordering::Relaxed)
    }

    /// Signs in at this node.
    pub(crate) async fn sign_in_at(&self, node: usize, user: &str) {
        let request = self.browser.post(&format!("/login?user={user}")).header(NODE_HEADER, node.to_string());
        assert_eq!(request.send().await.expect("infallible").status(), StatusCode::OK, "signing in");
    }

    /// Returns another browser with the cookies of this one.
    pub(crate) fn copy(&self) -> Self {
        let copy = Self { browser: self.browser.separate(), generation: Arc::default(), ..self.clone() };
        self.copy_cookies_to(copy)
    }

    /// Returns this browser before other nodes.
    pub(crate) fn moved_to(&self, nodes: &Nodes) -> Self {
        self.copy_cookies_to(Self { generation: self.generation.clone(), ..Self::new(nodes) })
    }

    fn copy_cookies_to(&self, copy: Self) -> Self {
        for name in [ACCESS_COOKIE, REFRESH_COOKIE] {
            if let Some(value) = self.browser.cookie(name) {
                let line =
                    format!("{name}={value}; Max-Age=7776000; Path=/; Secure; HttpOnly; SameSite=Strict");
                assert!(copy.browser.set_cookie(&line), "{name}");
            }
        }
        copy
    }

    /// Forgets the access cookie, as closing and reopening the browser may do.
    pub(crate) fn forget_access(&self) {
        self.browser.remove_cookie(ACCESS_COOKIE);
    }

    /// Starts a tab that sends requests from `begin` on, `pause` apart, until it is aborted.
    pub(crate) fn walk(&self, begin: Duration, pause: Duration) -> JoinHandle<()> {
        let tab = self.clone();
        tokio::spawn(async move {
            sleep(begin).await;
            for step in 0_u32.. {
                sleep(pause).await;
                tab.step(if step % 4 == 3 { Method::POST } else { Method::GET }).await;
            }
        })
    }

    /// Sends a request; the ledger records anything wrong with the answer.
    pub(crate) async fn step(&self, method: Method) -> StatusCode {
        self.send(self.browser.request(method, "/me").with_xsrf()).await
    }

    /// Sends a request to this node.
    pub(crate) async fn step_at(&self, node: usize) -> StatusCode {
        self.send(self.browser.get("/me").header(NODE_HEADER, node.to_string())).await
    }

    async fn send(&self, request: BrowserRequest<Balanced>) -> StatusCode {
        let token = self.browser.cookie(ACCESS_COOKIE);
        let fault_before = self.ledger.is_faulty();
        let started = Instant::now();
        let response = request.send().await.expect("infallible");
        self.ledger.judge(&Answer {
            status: response.status(),
            headers: response.headers(),
            // The end of the token may have come while the request was on its way.
            token_was_valid: token.is_some_and(|token| SystemTime::now() < expires_at(&token)),
            during_fault: fault_before || self.ledger.is_faulty(),
            took: started.elapsed(),
        });
        let status = response.status();
        if status == StatusCode::OK {
            self.generation.fetch_max(text(response).await.parse().expect("a number"), Ordering::Relaxed);
        }
        status
    }
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), usize::MAX).await.expect("a body in memory");
    String::from_utf8(bytes.into()).expect("text")
}

const ACCESS_COOKIE: &str = "__Host-access";
pub(super) const REFRESH_COOKIE: &str = "__Host-refresh";
