//! What happens while a slow handler runs decides which cookies its response sets.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;
use tokio::sync::Notify;
use tower::{Layer, service_fn};

use crate::shop::*;

/// A shop whose handler waits on `/slow`, and what lets it go on.
struct SlowHandler {
    shop: Shop,
    browser: Shopper,
    reached: Arc<Notify>,
    go_on: Arc<Notify>,
}

impl SlowHandler {
    async fn settled() -> Self {
        let shop = Shop::new();
        let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (here, wait) = (reached.clone(), go_on.clone());
        let browser = shop.browser_with(move |request| {
            let (here, wait) = (here.clone(), wait.clone());
            async move {
                if request.uri().path() == "/slow" {
                    here.notify_one();
                    wait.notified().await;
                }
                Response::new(Bytes::from_static(b"done"))
            }
        });
        shop.sign_in(&browser).await;
        shop.settle(&browser).await;
        Self { shop, browser, reached, go_on }
    }

    /// Returns the response of the slow handler, which runs while `meanwhile` does.
    async fn slow(&self, meanwhile: impl Future<Output = ()>) -> Answer {
        let (response, ()) = tokio::join!(get(&self.browser, "/slow"), async {
            self.reached.notified().await;
            meanwhile.await;
            self.go_on.notify_one();
        });
        assert_eq!(text(&response), "done", "the handler's answer arrives");
        response
    }
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_does_not_revive_a_signed_out_browser() {
    let slow = SlowHandler::settled().await;
    let response = slow
        .slow(async {
            assert_eq!(post(&slow.browser, "/logout").await.status(), 200);
        })
        .await;
    assert_eq!(cookies(&response), NONE);
    assert!(!slow.browser.has_cookie(ACCESS) && !slow.browser.has_cookie(REFRESH));
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_does_not_overwrite_a_newer_session() {
    let slow = SlowHandler::settled().await;
    let mut session = None;
    let response = slow
        .slow(async {
            post(&slow.browser, "/logout").await;
            session = Some(slow.shop.sign_in(&slow.browser).await);
        })
        .await;
    assert_eq!(cookies(&response), NONE);
    assert_eq!(payload(&slow.browser.cookie(REFRESH).unwrap())["sid"], session.unwrap().as_str());
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_does_not_overwrite_a_newer_generation() {
    let slow = SlowHandler::settled().await;
    let response = slow
        .slow(async {
            assert_eq!(cookies(&get(&slow.browser, "/me").await), PAIR, "the same pair for the other tab");
            slow.shop.settle(&slow.browser).await;
            assert_eq!(cookies(&get(&slow.browser, "/me").await), PAIR, "the next generation");
        })
        .await;
    assert_eq!(cookies(&response), NONE);
    assert_eq!(payload(&slow.browser.cookie(ACCESS).unwrap())["gen"], 2);
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_sends_only_the_access_cookie_of_a_generation_confirmed_meanwhile() {
    let slow = SlowHandler::settled().await;
    let response = slow
        .slow(async {
            get(&slow.browser, "/me").await;
            assert_eq!(get(&slow.browser, "/me").await.status(), 200, "the other tab shows the new token");
        })
        .await;
    assert_eq!(cookies(&response), RENEWED);
}

#[tokio::test(flavor = "current_thread")]
async fn store_failure_after_a_slow_handler_only_loses_cookies() {
    let slow = SlowHandler::settled().await;
    let response = slow.slow(async { slow.shop.store.go_down() }).await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
    slow.shop.store.come_up();
    assert_eq!(
        cookies(&get(&slow.browser, "/me").await),
        PAIR,
        "the client asks again and is answered again"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_sends_no_cookies_for_a_session_that_expires_meanwhile() {
    let slow = SlowHandler::settled().await;
    let response = slow.slow(async { slow.shop.clock.advance(90 * DAY) }).await;
    assert_eq!(cookies(&response), NONE);
}

#[tokio::test(flavor = "current_thread")]
async fn slow_handler_does_not_clear_the_cookies_of_a_sign_in_meanwhile() {
    let slow = SlowHandler::settled().await;
    slow.shop.sessions.sign_out_everywhere("ada").await.unwrap();
    let open = slow.shop.sessions.layer().optional();
    let (here, wait) = (slow.reached.clone(), slow.go_on.clone());
    let handler = service_fn(move |_| {
        let (here, wait) = (here.clone(), wait.clone());
        async move {
            here.notify_one();
            wait.notified().await;
            Ok::<_, Infallible>(Response::new(Bytes::from_static(b"done")))
        }
    });
    let browser = slow.shop.browser_over(open.layer(handler));
    let stale = holder(&browser, &slow.browser.cookie(REFRESH).unwrap());
    let (response, ()) = tokio::join!(get(&stale, "/slow"), async {
        slow.reached.notified().await;
        slow.shop.clock.advance(Duration::from_secs(10));
        slow.shop.sign_in(&stale).await;
        slow.go_on.notify_one();
    });
    assert_eq!((text(&response).as_str(), cookies(&response)), ("done", vec![]));
    assert!(stale.has_cookie(ACCESS) && stale.has_cookie(REFRESH), "the new session stays");
}
