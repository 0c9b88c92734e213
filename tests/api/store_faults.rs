//! The store in `RefreshLayer`'s sight: confirmations, outages, and the session check.

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use tower::{Layer, service_fn};
use tower_cookie_jwt::{
    reject::ProblemJson,
    session::{SessionEvent, SessionEvents, StoreCall},
};

use crate::shop::*;

const SECOND: Duration = Duration::from_secs(1);

/// What one confirmation costs.
const CONFIRMATION: [&str; 2] = ["read", "update"];

#[tokio::test(flavor = "current_thread")]
async fn the_first_use_of_an_access_token_confirms_its_generation_once() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let created = shop.store.record(&session).await.unwrap();
    for generation in 0..3 {
        shop.store.calls();
        shop.clock.advance(2 * GRACE);
        get(&browser, "/me").await;
        assert_eq!(shop.store.calls(), CONFIRMATION, "generation {generation}");
        let record = shop.store.record(&session).await.unwrap();
        assert!(
            record.confirmed_at.is_some() && record.confirmed_at == Some(record.last_seen_at),
            "{generation}"
        );
        assert_eq!(record.generation, generation);
        assert!(record.idle_expires_at > created.idle_expires_at, "idle expiry moves with a confirmation");

        for path in ["/me", "/status/404", "/status/500"] {
            assert_eq!(cookies(&get(&browser, path).await), NONE);
            assert_eq!(cookies(&post(&browser, path).await), NONE);
        }
        assert_eq!(shop.store.calls(), NONE, "generation {generation}: a good access token needs no store");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(cookies(&get(&browser, "/me").await), PAIR);
    }
}

/// Notes the calls of the store, as a recorder of metrics does.
#[derive(Clone, Default)]
struct Calls(Arc<std::sync::Mutex<Vec<(&'static str, bool)>>>);

impl SessionEvents for Calls {
    fn on_event(&self, _: &SessionEvent<'_>) {}

    fn on_store_call(&self, call: &StoreCall) {
        assert!(call.elapsed < SECOND, "{call:?}: the store is in memory");
        self.0.lock().unwrap().push((call.operation.as_str(), call.failed));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_listener_hears_of_each_call_of_the_store_and_whether_it_failed() {
    let calls = Calls::default();
    let heard = || std::mem::take(&mut *calls.0.lock().unwrap());
    let shop = Shop::with(|builder| builder.with_events(calls.clone()));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    assert_eq!(heard(), [("list", false), ("create", false)]);
    get(&browser, "/me").await;
    assert_eq!(heard(), [("read", false), ("update", false)], "confirmed");
    get(&browser, "/me").await;
    assert_eq!(heard(), [], "an accepted request calls nothing");
    shop.clock.advance(ACCESS_GONE);
    shop.store.set_down(true);
    assert_eq!(get(&browser, "/me").await.status(), 503);
    assert_eq!(heard(), [("read", true)]);
    shop.store.set_down(false);
    assert_eq!(get(&browser, "/me").await.status(), 200);
    assert_eq!(heard(), [("read", false), ("update", false), ("read", false)], "and the second look");
    shop.store.set_down(true);
    let error = shop.sessions.list("ada").await.expect_err("the store is down");
    assert!(std::error::Error::source(&error).is_some(), "the error keeps its cause: {error:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn tokens_in_headers_confirm_a_generation_too() {
    for (header, prefix) in [("authorization", "Bearer "), ("x-access-token", "")] {
        for checked in [false, true] {
            let shop = Shop::with(|builder| if checked { builder.with_session_check() } else { builder });
            let browser = shop.browser();
            let session = shop.sign_in(&browser).await;
            let value = format!("{prefix}{}", browser.cookie(ACCESS).unwrap());
            shop.store.calls();
            let Ok(response) = browser.get("/me").header(header, value).send().await;
            assert_eq!(response.status(), 200, "{header}, checked {checked}");
            assert_eq!(shop.store.calls(), ["read", "update"], "{header}, checked {checked}: the store");
            let record = shop.store.record(&session).await.unwrap();
            assert_eq!(record.seen, Some(0), "{header}, checked {checked}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn token_of_a_former_generation_confirms_nothing() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let former = browser.cookie(ACCESS).unwrap();
    assert_eq!(cookies(&post(&browser, "/refresh").await), RENEWED);
    shop.clock.advance(GRACE);
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
    browser.set_cookie(&format!("{ACCESS}={former}; Path=/; Secure"));
    shop.store.calls();
    assert_eq!(text(&get(&browser, "/me").await), "ada customer 0", "it is good until it expires");
    assert_eq!(shop.store.calls(), ["read"], "it is seen for the first time");
    assert_eq!(shop.store.record(&session).await.unwrap().seen, Some(0), "as it was");
}

#[tokio::test(flavor = "current_thread")]
async fn old_tokens_confirm_only_occasionally() {
    let shop = Shop::new();
    let mut asked = Vec::new();
    for after in [2 * GRACE, 2 * GRACE + SECOND] {
        let browser = shop.browser();
        let mut browsers = Vec::new();
        for _ in 0..64 {
            let browser = browser.separate();
            shop.sign_in(&browser).await;
            browsers.push(browser);
        }
        shop.clock.advance(after);
        shop.store.calls();
        for browser in &browsers {
            get(browser, "/me").await;
        }
        asked.push(shop.store.calls().iter().filter(|call| **call == "read").count());
        for _ in 0..1000 {
            get(&browsers[0], "/me").await;
        }
        let session = payload(&browsers[0].cookie(ACCESS).unwrap())["sid"].as_str().unwrap().into();
        let record = shop.store.record(&session).await.unwrap();
        assert!(record.confirmed_at.is_some(), "{after:?}: in the end it is confirmed");
    }
    assert_eq!(asked[0], 64, "a token younger than two grace periods at first sight");
    // Expected are 4 of 64; 24 or more happen once in 10^12 runs.
    assert!(asked[1] < 24, "{} old ones at first sight", asked[1]);
}

#[tokio::test(flavor = "current_thread")]
async fn confirmation_runs_beside_the_handler_and_the_response_waits_for_both() {
    let shop = Shop::new();
    let handled = Arc::new(AtomicBool::new(false));
    let handler = handled.clone();
    let browser = shop.browser_with(move |_| {
        let handler = handler.clone();
        async move {
            handler.store(true, Ordering::SeqCst);
            Response::new(Bytes::from_static(b"done"))
        }
    });
    let session = shop.sign_in(&browser).await;
    let (on_its_way, go_on) = shop.store.hold_update();
    let answered = Cell::new(false);
    let ((), ()) = tokio::join!(
        async {
            assert_eq!(text(&get(&browser, "/me").await), "done");
            answered.set(true);
        },
        async {
            on_its_way.await.unwrap();
            assert!(handled.load(Ordering::SeqCst), "the handler does not wait for the store");
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert!(!answered.get(), "the response waits for the store");
            go_on.send(()).unwrap();
        }
    );
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some());
}

#[tokio::test(flavor = "current_thread")]
async fn failed_confirmation_is_harmless_and_pauses_for_five_seconds() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let other = browser.separate();
    shop.sign_in(&other).await;
    shop.store.go_down();
    shop.store.calls();

    let response = get(&browser, "/me").await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
    assert_eq!(shop.store.calls(), ["read"]);
    shop.clock.advance(5 * SECOND - Duration::from_millis(1));
    for browser in [&browser, &other] {
        assert_eq!(get(browser, "/me").await.status(), 200);
    }
    assert_eq!(shop.store.calls(), NONE, "none is tried, for no session");
    shop.clock.advance(Duration::from_millis(1));
    get(&browser, "/me").await;
    assert_eq!(shop.store.calls(), ["read"], "tried again, in vain");
    shop.store.come_up();
    shop.clock.advance(5 * SECOND);
    get(&browser, "/me").await;
    assert_eq!(shop.store.calls(), CONFIRMATION);
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some());
}

#[tokio::test(flavor = "current_thread")]
async fn confirmation_is_retried_after_the_client_disconnects() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let (on_its_way, _go_on) = shop.store.hold_update();
    tokio::select! {
        biased;
        _ = get(&browser, "/me") => panic!("the write is held back"),
        // Meanwhile another request with the same token must not take it for done.
        status = async { on_its_way.await.unwrap(); get(&browser, "/me").await.status() } => assert_eq!(status, 200),
    }
    assert_eq!(shop.store.record(&session).await.unwrap().confirmed_at, None);
    get(&browser, "/me").await;
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some());
}

/// A store that has failed may have lost what it wrote last, as a replica that takes over has.
#[tokio::test(flavor = "current_thread")]
async fn confirmation_that_the_store_has_lost_is_repeated_by_the_node_that_had_it() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let before = shop.store.record(&session).await.unwrap();
    get(&browser, "/me").await;
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some());
    shop.store.calls();
    get(&browser, "/me").await;
    assert_eq!(shop.store.calls(), NONE, "it is known");

    // The failure that this node sees is one of another session's.
    let other = browser.separate();
    other.post("/login").send_and_lose().await;
    shop.store.go_down();
    let Ok(response) = other.post("/login").send().await;
    assert_eq!(response.status(), 503);
    shop.store.come_up();
    shop.store.restore(before).await;
    shop.store.calls();
    get(&browser, "/me").await;
    assert_eq!(shop.store.calls(), CONFIRMATION);
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some(), "it is confirmed again");
    get(&browser, "/me").await;
    assert_eq!(shop.store.calls(), NONE, "it is known");
}

#[tokio::test(flavor = "current_thread")]
async fn valid_access_tokens_work_while_the_store_is_down() {
    let shop = Shop::with(|builder| builder.with_refresh_ahead(60 * SECOND));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.store.go_down();
    for (name, after) in [("fresh", 0), ("about to expire, to be refreshed ahead", 14 * 60 + 29)] {
        shop.clock.advance(Duration::from_secs(after));
        for response in [get(&browser, "/me").await, post(&browser, "/me").await] {
            assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]), "{name}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn required_rotation_is_503_with_retry_after_and_clears_nothing() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let optional = shop.sessions.layer().optional().with_rejection(ProblemJson).layer(service_fn(greet));
    let optional = {
        let other = shop.browser_over(optional);
        other.set_cookie(&format!("{REFRESH}={}; Path=/; Secure", browser.cookie(REFRESH).unwrap()));
        other
    };
    let before = shop.store.record(&session).await;
    shop.store.go_down();
    let answers = [
        ("layer", get(&browser, "/me").await),
        ("optional mode", get(&optional, "/me").await),
        ("refresh service", post(&browser, "/refresh").await),
    ];
    for (name, response) in answers {
        assert_eq!((response.status().as_u16(), code(&response)), (503, "unavailable".into()), "{name}");
        assert!(response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0, "{name}");
        assert_eq!(cookies(&response), NONE, "{name}");
    }
    shop.store.come_up();
    assert_eq!(shop.store.record(&session).await, before);
    assert_eq!(cookies(&get(&browser, "/me").await), PAIR, "the session is still alive");
}

#[tokio::test(flavor = "current_thread")]
async fn store_that_fails_at_the_write_is_503_and_commits_nothing() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let (on_its_way, go_on) = shop.store.hold_update();
        let (response, ()) = tokio::join!(way.ask(&browser), async {
            on_its_way.await.unwrap();
            shop.store.go_down();
            go_on.send(()).unwrap();
        });
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{way:?}");
        assert_eq!(shop.generation(&session).await, Some(0), "{way:?}");
        shop.store.come_up();
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_api_reports_an_outage_and_ends_no_session() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    shop.store.go_down();
    for path in ["/login", "/logout"] {
        let response = post(&browser, path).await;
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{path}");
    }
    let sessions = &shop.sessions;
    assert!(sessions.list("ada").await.is_err());
    assert!(sessions.revoke("ada", session.as_str()).await.is_err());
    assert!(sessions.sign_out_everywhere("ada").await.is_err());
    shop.store.come_up();
    assert_eq!(get(&browser, "/me").await.status(), 200);
}

#[tokio::test(flavor = "current_thread")]
async fn signed_out_access_token_lives_until_it_expires_unless_sessions_are_checked() {
    for (checked, status) in [(false, 200), (true, 401)] {
        let shop = Shop::with(|builder| if checked { builder.with_session_check() } else { builder });
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        let bearer = format!("Bearer {}", browser.cookie(ACCESS).unwrap());
        assert_eq!(get(&browser, "/me").await.status(), 200, "checked {checked}: live");
        shop.sessions.revoke("ada", session.as_str()).await.unwrap();

        let by_cookie = get(&browser, "/me").await;
        let Ok(by_header) = browser.get("/me").header("authorization", &bearer).send().await;
        for (source, response) in [("cookie", by_cookie), ("header", by_header)] {
            assert_eq!(response.status(), status, "checked {checked}, {source}");
            if checked {
                assert_eq!(code(&response), "session_revoked", "{source}");
            }
        }
        shop.clock.advance(ACCESS_GONE);
        let Ok(expired) = browser.get("/me").header("authorization", &bearer).send().await;
        assert_eq!(expired.status(), 401, "checked {checked}: expired");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn session_check_reads_the_store_on_each_request() {
    let shop = Shop::with(|builder| builder.with_session_check().with_refresh_ahead(60 * SECOND));
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some(), "it confirms on the way");
    shop.store.calls();
    for _ in 0..3 {
        assert_eq!(get(&browser, "/me").await.status(), 200);
    }
    assert_eq!(shop.store.calls(), ["read"; 3]);

    shop.store.go_down();
    for (name, after) in [("fresh", 0), ("to be refreshed ahead", 14 * 60 + 30)] {
        shop.clock.advance(Duration::from_secs(after));
        let response = get(&browser, "/me").await;
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{name}");
        assert!(response.headers().contains_key("retry-after"), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn session_check_refuses_claims_that_no_refresh_layer_has_confirmed() {
    let shop = Shop::with(|builder| builder.with_session_check());
    let jwt = shop.sessions.cookie_jwt_layer();
    let alone = shop.browser_over(jwt.clone().layer(service_fn(greet)));
    let behind = shop.browser_over(shop.sessions.refresh_layer().layer(jwt.layer(service_fn(greet))));
    for (name, browser, status) in [("only CookieJwtLayer", alone, 503), ("behind", behind, 200)] {
        shop.sign_in(&browser).await;
        assert_eq!(get(&browser, "/me").await.status(), status, "{name}");
        browser.remove_cookie(ACCESS);
        let without = get(&browser, "/me").await;
        assert_eq!(
            without.status(),
            if name == "only CookieJwtLayer" { 401 } else { 200 },
            "{name}, without an access token"
        );
    }
}
