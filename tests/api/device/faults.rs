//! Stores that fail, or lose what they are given, and bindings that cannot be read.

use std::sync::{Arc, Mutex};

use tower_cookie_jwt::{
    MemoryStore, Sessions,
    session::SessionEvent,
    store::{Changes, Created, Cursor, NewRecord, RefreshStore, SessionRecord, Snapshot, Stamps, Update},
};

use super::*;
use crate::shop::get;

/// A custom store that has been written without the extension in mind.
#[derive(Clone)]
struct Forgetful(MemoryStore);

impl RefreshStore for Forgetful {
    type Error = std::convert::Infallible;

    async fn create(&self, session: NewRecord) -> Result<Created, Self::Error> {
        self.0.create(session).await
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Self::Error> {
        self.0.read(id).await
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Self::Error> {
        let mut record = record.clone();
        record.extension = Box::default();
        self.0.update(&record, stamps).await
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Self::Error> {
        self.0.remove(id).await
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Self::Error> {
        self.0.list(subject).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Self::Error> {
        self.0.remove_all(subject, keep).await
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, Self::Error> {
        self.0.changes(cursor).await
    }
}

#[tokio::test]
async fn a_store_that_drops_the_binding_ends_the_session() {
    let mut shop = Shop::new();
    let store = Forgetful(MemoryStore::new().with_clock(shop.clock.clone()));
    let events: Arc<Mutex<Vec<String>>> = Arc::default();
    let listener = events.clone();
    let sessions = Sessions::<User>::builder(forge::ring(), store)
        .with_audience("shop")
        .with_clock(shop.clock.clone())
        .with_events(move |event: &SessionEvent<'_>| {
            let name = format!("{event:?}");
            listener.lock().unwrap().push(name.split(' ').next().unwrap().to_owned());
        })
        .with_device_binding(binding())
        .build()
        .unwrap();
    shop.sessions = sessions;
    let browser = Chromium::of(&shop);
    #[cfg(feature = "tracing")]
    let log = crate::kit::log::Log::default();
    #[cfg(feature = "tracing")]
    let _capture = log.capture();
    browser.post("/login").await;
    let response = browser.get("/me").await;
    assert_eq!(said(&shop, &response), "401 token_missing");
    assert!(!browser.0.has_cookie(REFRESH) && browser.0.device_sessions().is_empty());
    assert!(shop.sessions.list("ada").await.unwrap().is_empty(), "it has ended, and is not unbound");
    let events = events.lock().unwrap();
    assert_eq!(events.iter().filter(|event| *event == "Ended").count(), 1, "{events:?}");
    #[cfg(feature = "tracing")]
    assert!(
        log.text().contains("ERROR") && log.text().contains("has not kept the extension"),
        "{}",
        log.text()
    );
}

/// A later version of this crate has bound the session: nothing is known of it, so nobody is let in, and nothing is lost.
#[tokio::test]
async fn an_extension_that_cannot_be_read_is_a_failure_and_clears_nothing() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let browser = shop.browser();
    let (session, id, challenge) = registered(&browser, &laptop).await;
    assert_eq!(ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await.status(), 200);
    let record = shop.store.record(&session).await.unwrap();
    let proof = laptop.proof(&asked(&ask(&browser, Some(&id), None).await).0);
    browser.remove_cookie(ACCESS);
    let mut later = record.extension.to_vec();
    later[0] = 9;
    let cut = record.extension[..record.extension.len() - 1].to_vec();
    for extension in [later, cut, vec![0], b"theirs".to_vec()] {
        let mut broken = record.clone();
        broken.extension = extension.into();
        shop.store.restore(broken.clone()).await;
        shop.events();
        for answer in [
            get(&browser, "/me").await,
            post(&browser, "/refresh").await,
            ask(&browser, Some(&id), None).await,
            ask(&browser, Some(&id), Some(&proof)).await,
        ] {
            assert_eq!(said(&shop, &answer), "503 unavailable");
        }
        let kept = shop.store.record(&session).await.unwrap();
        assert_eq!(kept.extension, broken.extension);
        assert_eq!(shop.sessions.list("ada").await.unwrap()[0].device, None);
    }
    shop.store.restore(record).await;
    assert_eq!(ask(&browser, Some(&id), Some(&proof)).await.status(), 200);
}

/// A node of the version before knows no binding, and finds the wrong secret.
#[tokio::test]
async fn a_record_without_its_binding_refuses_the_cookie() {
    let (shop, laptop) = (bound_shop(), Laptop::one());
    let browser = shop.browser();
    let (session, id, challenge) = registered(&browser, &laptop).await;
    ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await;
    let mut record = shop.store.record(&session).await.unwrap();
    record.extension = Box::default();
    shop.store.restore(record).await;
    browser.remove_cookie(ACCESS);
    shop.events();
    let response = get(&browser, "/me").await;
    assert_eq!(said(&shop, &response), "401 token_invalid: wrong secret of 0");
    assert!(browser.has_cookie(REFRESH), "nothing is cleared");
    assert!(shop.store.record(&session).await.is_some(), "nothing is revoked");
}

#[tokio::test]
async fn the_browser_waits_for_a_store_that_comes_back() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    browser.get("/me").await;
    shop.clock.advance(ACCESS_GONE);
    shop.store.go_down();
    for _ in 0..6 {
        assert_eq!(browser.get("/me").await.status(), 503);
    }
    shop.store.come_up();
    assert_eq!(browser.get("/me").await.status(), 200);
    assert_eq!(shop.events(), ["signed in ada", "bound ada"]);
}

/// The write, the read-back or the answer is lost: the browser finds the way back by itself.
#[tokio::test]
async fn a_binding_that_fails_halfway_is_made_by_the_next_request() {
    for failing in ["read", "update"] {
        let shop = bound_shop();
        let browser = Chromium::of(&shop);
        browser.post("/login").await;
        shop.store.fail(Some(failing));
        let status = browser.get("/me").await.status().as_u16();
        assert_eq!(status, 503, "{failing}");
        shop.store.fail(None);
        assert_eq!(browser.get("/me").await.status(), 200, "{failing}");
        assert_eq!(shop.events(), ["signed in ada", "bound ada"], "{failing}");
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_proof_costs_one_more_round() {
    let shop = bound_shop();
    let losses = Arc::new(Mutex::new(0));
    let (inner, left) = (shop.service_over(shop.sessions.layer().layer(service_fn(greet))), losses.clone());
    let service = service_fn(move |request: Request<String>| {
        let (inner, left) = (inner.clone(), left.clone());
        async move {
            let is_proof = request.headers().contains_key("secure-session-response")
                && request.headers().contains_key("sec-secure-session-id");
            let Ok(response) = inner.oneshot(request).await;
            let mut left = left.lock().unwrap();
            if is_proof && *left > 0 {
                *left -= 1;
                return Err("connection reset");
            }
            Ok(response.map(Full::new))
        }
    });
    let browser = Browser::new(service).with_clock(shop.clock.clone()).with_device_key();
    browser.post("/login").send().await.unwrap();
    for lost in [1, 3, 0, 1, 3, 0] {
        *losses.lock().unwrap() = lost;
        let status = browser.get("/me").send().await.unwrap().status().as_u16();
        // Where no answer came to any of three, the request has been sent without.
        assert!(status == 200 || lost == 3, "{lost} lost: {status}");
        assert_eq!(browser.device_sessions().len(), 1, "{lost} lost");
        shop.clock.advance(ACCESS_GONE);
    }
    assert_eq!(shop.events().iter().filter(|event| *event == "bound ada").count(), 1);
}

/// Six signatures in nine minutes.
#[tokio::test]
async fn a_browser_that_may_not_sign_gets_503_and_recovers() {
    let shop = bound_shop();
    let mut browser = Chromium::of(&shop);
    browser.0 = browser.0.with_signing_quota(6);
    browser.post("/login").await;
    shop.clock.advance(std::time::Duration::from_secs(1));
    for round in 0..5 {
        browser.0.remove_cookie(ACCESS);
        assert_eq!(browser.get("/me").await.status(), 200, "round {round}");
    }
    shop.clock.advance(std::time::Duration::from_secs(60));
    browser.0.remove_cookie(ACCESS);
    shop.events();
    let response = browser.get("/me").await;
    assert_eq!(said(&shop, &response), "503 unavailable: proof missing of 0 at 0");
    assert!(response.headers().contains_key("retry-after"));
    shop.clock.advance(std::time::Duration::from_secs(9 * 60));
    assert_eq!(browser.get("/me").await.status(), 200);
}
