//! Answers that come late: while a store, a reload or a handler takes its time, other tabs go on, users
//! sign out, and accounts close.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::json;
use tower::{Layer, service_fn};
use tower_cookie_jwt::{Claims, reject::Refusal, store::SessionId, token::TokenError};

use crate::shop::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Only 503 may take the place of the answer: the client asks again, with what it then holds.
fn assert_goes_on(name: &str, response: &Answer) {
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 503), "{name}: {status} {}", text(response));
    assert!(!cookies(response).iter().any(|cookie| cookie.starts_with('-')), "{name}: nothing is cleared");
}

async fn assert_lives(name: &str, shop: &Shop, session: &SessionId, browser: &Shopper) {
    let events = shop.events();
    assert!(!events.iter().any(|event| event.starts_with("reuse")), "{name}: {events:?}");
    assert!(shop.store.record(session).await.is_some(), "{name}: the session lives");
    shop.clock.advance(ACCESS_GONE);
    for ask in ["soon", "later"] {
        assert_eq!(get(browser, "/me").await.status(), 200, "{name}, {ask}: the client is still signed in");
        shop.clock.advance(ACCESS_GONE);
    }
}

/// Moves the session on by a generation and shows that the browser holds it.
async fn rotate(name: &str, browser: &Shopper) {
    assert_eq!(cookies(&post(browser, "/refresh").await), PAIR, "{name}: rotated");
    assert_eq!(cookies(&post(browser, "/refresh").await), RENEWED, "{name}: confirmed");
}

/// The tab's message arrives 10 ms before its generation settles; the record is read for the last time
/// when another tab has rotated once more.
#[tokio::test(flavor = "current_thread")]
async fn parent_answered_in_time_is_not_reuse_when_its_admission_is_late() {
    for way in Way::BOTH {
        let name = format!("{way:?}");
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let tab = holder(&browser, &browser.cookie(REFRESH).unwrap());
        rotate(&name, &browser).await;
        shop.clock.advance(GRACE - Duration::from_millis(10));

        let (arrived, go_on) = shop.store.hold_read_after(1);
        let meanwhile = async {
            arrived.await.expect("the admission reads the record");
            shop.clock.advance(Duration::from_millis(20));
            rotate(&name, &browser).await;
            go_on.send(()).unwrap();
        };
        let (late, ()) = tokio::join!(way.ask(&tab), meanwhile);
        assert_goes_on(&name, &late);
        assert_eq!(cookies(&late), NONE, "{name}: cookies of a generation that is gone");
        assert_eq!(shop.generation(&session).await, Some(2), "{name}");
        assert_lives(&name, &shop, &session, &browser).await;
    }
}

/// The message arrives in time, but the store is so slow that another tab has rotated, and that has
/// settled, when the record is read for the first time.
#[tokio::test(flavor = "current_thread")]
async fn parent_whose_first_read_is_late_is_not_reuse() {
    for way in Asking::ALL {
        let name = format!("{way:?}");
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let tab = holder(&browser, &browser.cookie(REFRESH).unwrap());

        let (arrived, go_on) = shop.store.hold_read_after(0);
        let meanwhile = async {
            arrived.await.expect("the record is read");
            rotate(&name, &browser).await;
            shop.clock.advance(GRACE);
            go_on.send(()).unwrap();
        };
        let (late, ()) = tokio::join!(way.ask(&tab), meanwhile);
        assert_goes_on(&name, &late);
        assert_eq!(shop.generation(&session).await, Some(1), "{name}");
        assert_lives(&name, &shop, &session, &browser).await;
    }
}

/// The answer takes a fifth of the grace period, but no longer than those of many stores.
#[tokio::test(flavor = "current_thread")]
async fn reuse_is_detected_at_the_usual_store_latency_even_with_a_short_grace_period() {
    for way in Way::BOTH {
        let name = format!("{way:?}");
        let shop = Shop::with(|builder| builder.with_grace_period(Duration::from_secs(1)));
        let (browser, session) = shop.settled().await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        rotate(&name, &browser).await;
        shop.clock.advance(MINUTE);

        let (arrived, go_on) = shop.store.hold_read_after(0);
        let meanwhile = async {
            arrived.await.expect("the record is read");
            shop.clock.advance(Duration::from_millis(200));
            go_on.send(()).unwrap();
        };
        let (answer, ()) = tokio::join!(way.ask(&thief), meanwhile);
        assert_eq!(answer.status(), 401, "{name}");
        assert!(shop.events().iter().any(|event| event.starts_with("reuse")), "{name}: {:?}", shop.events());
        assert!(shop.store.record(&session).await.is_none(), "{name}: the session has ended");
    }
}

/// Two tabs refresh concurrently; the claims of one are reloaded so slowly that the other is two generations
/// ahead when the first learns that it has lost.
#[tokio::test(flavor = "current_thread")]
async fn loser_of_a_race_whose_reload_was_slow_is_not_reuse() {
    for way in Way::BOTH {
        for ahead in [1, 2] {
            let name = format!("{way:?}, {ahead} ahead");
            let gate = Gate::default();
            let slow = gate.clone();
            let shop = Shop::with(|builder| {
                builder.with_reload(move |_: String, _| {
                    let slow = slow.clone();
                    async move {
                        slow.pass().await;
                        Ok(Some(role("customer")))
                    }
                })
            });
            let (browser, session) = shop.settled().await;
            let tab = holder(&browser, &browser.cookie(REFRESH).unwrap());

            let (arrived, go_on) = gate.close_after(0);
            let meanwhile = async {
                arrived.await.expect("the claims are reloaded");
                for _ in 0..ahead {
                    rotate(&name, &browser).await;
                    shop.clock.advance(GRACE);
                }
                go_on.send(()).unwrap();
            };
            let (late, ()) = tokio::join!(way.ask(&tab), meanwhile);
            assert_goes_on(&name, &late);
            assert_eq!(shop.generation(&session).await, Some(ahead), "{name}");
            assert_lives(&name, &shop, &session, &browser).await;
        }
    }
}

/// A token that is presented again is evaluated again.
#[tokio::test(flavor = "current_thread")]
async fn the_same_token_in_a_later_request_is_reuse() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let tab = holder(&browser, &browser.cookie(REFRESH).unwrap());
        rotate("the client", &browser).await;
        shop.clock.advance(GRACE);
        shop.events();
        assert_eq!(way.ask(&tab).await.status(), 401, "{way:?}");
        assert_eq!(shop.events(), ["reuse of 0 at 1"], "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}");
    }
}

/// A way to ask for another access token.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asking {
    Refresh(Way),
    Narrow,
}

impl Asking {
    const ALL: [Self; 3] = [Self::Refresh(Way::Layer), Self::Refresh(Way::Service), Self::Narrow];

    async fn ask(self, browser: &Shopper) -> Answer {
        match self {
            Self::Refresh(way) => way.ask(browser).await,
            Self::Narrow => narrow(browser).await,
        }
    }
}

pub(crate) async fn narrow(browser: &Shopper) -> Answer {
    let form = browser.post("/refresh").header("content-type", "application/x-www-form-urlencoded");
    let Ok(response) = form.body("scope=read").send().await;
    response
}

#[tokio::test(flavor = "current_thread")]
async fn closed_account_gets_no_access_token_after_one_access_lifetime() {
    for asking in Asking::ALL {
        for parent in [true, false] {
            let name = format!("{asking:?}, by the {}", if parent { "parent" } else { "current one" });
            let closed = Arc::new(AtomicBool::new(false));
            let account = closed.clone();
            let shop = Shop::unbindable(|builder| {
                // Longer than an access token lives, which a binding excludes: the current generation does not settle either.
                let grace = if parent { GRACE } else { DAY };
                builder.with_grace_period(grace).with_reload(move |_: String, _| {
                    let open = !account.load(Ordering::SeqCst);
                    async move { Ok(open.then(|| role("customer"))) }
                })
            });
            let browser = shop.browser();
            let session = shop.sign_in(&browser).await;
            let client = holder(&browser, &browser.cookie(REFRESH).unwrap());
            if parent {
                shop.settle(&browser).await;
                assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR, "{name}: never shown");
            }
            closed.store(true, Ordering::SeqCst);
            shop.events();

            // A late narrowing gets no token, so that it has no claims that could be outdated.
            let is_late_narrowing = parent && matches!(asking, Asking::Narrow);
            let mut granted = Vec::new();
            for minute in (0..120).step_by(7) {
                // Afresh each time: it presents the same refresh token again and again.
                let again = holder(&client, &client.cookie(REFRESH).unwrap());
                let response = asking.ask(&again).await;
                if response.status() == 200 {
                    granted.push(minute);
                } else {
                    let expected = if is_late_narrowing { 503 } else { 401 };
                    assert_eq!(response.status(), expected, "{name}: {}", text(&response));
                }
                shop.clock.advance(7 * MINUTE);
            }
            if is_late_narrowing {
                assert_eq!(granted, [0], "{name}: minutes");
                continue;
            }
            assert_eq!(granted, [0, 7, 14], "{name}: minutes");
            let mut events = shop.events();
            events.retain(|event| !event.starts_with("answer lost") && !event.starts_with("narrowed"));
            assert_eq!(events, ["ended ada"], "{name}: not reuse");
            assert_eq!(shop.store.record(&session).await, None, "{name}");
        }
    }
}

/// An open account that does the same is never signed out, and gets what has changed.
#[tokio::test(flavor = "current_thread")]
async fn open_account_that_never_settles_gets_its_current_claims() {
    for way in Way::BOTH {
        let promoted = Arc::new(AtomicBool::new(false));
        let account = promoted.clone();
        let shop = Shop::with(|builder| {
            builder.with_reload(move |_: String, _| {
                let name = if account.load(Ordering::SeqCst) { "admin" } else { "customer" };
                async move { Ok(Some(role(name))) }
            })
        });
        let (browser, session) = shop.settled().await;
        let client = holder(&browser, &browser.cookie(REFRESH).unwrap());
        post(&browser, "/refresh").await;
        promoted.store(true, Ordering::SeqCst);
        for (after, expected) in [(0, "customer"), (16, "admin"), (16, "admin")] {
            shop.clock.advance(after * MINUTE);
            let again = holder(&client, &client.cookie(REFRESH).unwrap());
            assert_eq!(cookies(&way.ask(&again).await), PAIR, "{way:?}: the answer that was lost");
            assert_eq!(payload(&again.cookie(ACCESS).unwrap())["role"], expected, "{way:?}, {after}");
        }
        assert_eq!(shop.generation(&session).await, Some(3), "{way:?}: two late answers began one each");
    }
}

/// The handler changes the claims and lingers; its answer arrives when the user has signed out in
/// another tab.
#[tokio::test(flavor = "current_thread")]
async fn updated_claims_never_revive_a_browser_that_signed_out_meanwhile() {
    for refreshed in [false, true] {
        for privileges in [false, true] {
            let name = format!("refreshed {refreshed}, privileges {privileges}");
            let gate = Gate::default();
            let shop = Shop::new();
            let (sessions, lingering) = (shop.sessions.clone(), gate.clone());
            let browser = shop.browser_with(move |request| {
                let (sessions, lingering) = (sessions.clone(), lingering.clone());
                async move {
                    let mut response = Response::new(Bytes::new());
                    if request.uri().path() == "/promote" {
                        let claims = request.extensions().get::<Claims<User>>().unwrap();
                        let updated = match privileges {
                            true => sessions.update_privileges(claims, &role("admin")).await.unwrap(),
                            false => sessions.update_claims(claims, &role("admin")).await.unwrap(),
                        };
                        lingering.pass().await;
                        updated.append_to(response.headers_mut());
                    }
                    response
                }
            });
            shop.sign_in(&browser).await;
            get(&browser, "/me").await;
            if refreshed {
                shop.clock.advance(ACCESS_GONE);
            }
            let (arrived, go_on) = gate.close_after(0);
            let meanwhile = async {
                arrived.await.expect("the handler lingers");
                assert_eq!(cookies(&post(&browser, "/logout").await), CLEARED, "{name}");
                go_on.send(()).unwrap();
            };
            let (late, ()) = tokio::join!(post(&browser, "/promote"), meanwhile);
            assert_eq!(late.status(), 200, "{name}");
            assert_eq!(cookies(&late), ["-access"], "{name}");
            for cookie in [ACCESS, REFRESH, XSRF] {
                assert!(!browser.has_cookie(cookie), "{name}: {cookie}");
            }
            assert_eq!(get(&browser, "/me").await.status(), 401, "{name}: signed out");
        }
    }
}

/// Nor does it affect the session of a user who has signed in meanwhile, apart from one more refresh.
#[tokio::test(flavor = "current_thread")]
async fn late_claim_updates_do_not_affect_a_newer_sign_in() {
    let gate = Gate::default();
    let shop = Shop::new();
    let (sessions, lingering) = (shop.sessions.clone(), gate.clone());
    let promote = service_fn(move |request: Request<String>| {
        let (sessions, lingering) = (sessions.clone(), lingering.clone());
        async move {
            if request.uri().path() != "/promote" {
                return greet(request).await;
            }
            let claims = request.extensions().get::<Claims<User>>().unwrap();
            let updated = sessions.update_privileges(claims, &role("admin")).await.unwrap();
            lingering.pass().await;
            let mut response = Response::new(Bytes::new());
            updated.append_to(response.headers_mut());
            Ok::<_, Infallible>(response)
        }
    });
    let browser = shop.browser_over(shop.sessions.layer().layer(promote));
    shop.sign_in(&browser).await;
    let (arrived, go_on) = gate.close_after(0);
    let meanwhile = async {
        arrived.await.expect("the handler lingers");
        assert_eq!(post(&browser, "/login?bob").await.status(), 200);
        go_on.send(()).unwrap();
    };
    tokio::join!(post(&browser, "/promote"), meanwhile);
    let next = post(&browser, "/order").await;
    assert_eq!((next.status().as_u16(), text(&next).as_str()), (200, "bob customer 0"));
}

#[tokio::test(flavor = "current_thread")]
async fn refresh_ahead_that_finds_unreadable_claims_keeps_the_good_token() {
    for check in [false, true] {
        let shop = Shop::with(|builder| {
            let builder = builder.with_refresh_ahead(5 * MINUTE);
            if check { builder.with_session_check() } else { builder }
        });
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        get(&browser, "/me").await;
        let mut record = shop.store.record(&session).await.unwrap();
        record.claims = json!({ "title": "customer" }).to_string().into();
        shop.store.restore(record).await;
        for (name, after) in [("long before expiry", 0), ("ahead of expiry", 12)] {
            shop.clock.advance(after * MINUTE);
            let response = get(&browser, "/me").await;
            assert_eq!(text(&response), "ada customer 0", "check {check}, {name}");
            assert_eq!(cookies(&response), NONE, "check {check}, {name}");
        }
        assert_eq!(shop.generation(&session).await, Some(0), "check {check}: nothing is committed");
        shop.sessions.revoke("ada", session.as_str()).await.unwrap();
        assert_eq!(get(&browser, "/me").await.status(), 401, "check {check}: an ended session is not kept");
    }
}

/// The handler of another request changes the privileges between the exchange and the last look.
#[tokio::test(flavor = "current_thread")]
async fn body_and_cookies_of_the_refresh_service_agree_when_privileges_change_between() {
    let shop = Shop::new();
    let claims = Arc::new(std::sync::Mutex::new(None));
    let seen = claims.clone();
    let browser = shop.browser_with(move |request| {
        *seen.lock().unwrap() = request.extensions().get::<Claims<User>>().cloned();
        async { Response::new(Bytes::new()) }
    });
    let session = shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    let claims = claims.lock().unwrap().take().expect("the handler has run");
    let old = browser.cookie(XSRF).unwrap();

    let (arrived, go_on) = shop.store.hold_read_after(1);
    let meanwhile = async {
        arrived.await.expect("the admission reads the record");
        let updated = shop.sessions.update_privileges(&claims, &role("admin")).await.unwrap();
        go_on.send(()).unwrap();
        updated.xsrf_token().to_owned()
    };
    let (response, new) = tokio::join!(post(&browser, "/refresh"), meanwhile);
    assert_eq!(cookies(&response), PAIR);
    assert_ne!(new, old);
    let access = payload(&browser.cookie(ACCESS).unwrap());
    assert_eq!(json(&response)["xsrfToken"], new, "the body");
    assert_eq!(browser.cookie(XSRF).unwrap(), new, "the cookie");
    assert_eq!(access["xsrfToken"], new, "the claim");
    assert_eq!(json(&response)["expiresAt"], access["exp"]);
    assert_eq!(access["role"], "admin");
    assert_eq!(shop.generation(&session).await, Some(1));
    let Ok(order) = browser.post("/order").with_xsrf_value(new).send().await;
    assert_eq!(order.status(), 200);
}

/// The session has ended, and the handler of an optional page finds that out by itself, but slowly: its
/// answer arrives when the user has signed in anew in another tab.
#[tokio::test(flavor = "current_thread")]
async fn late_refusal_by_a_handler_does_not_clear_a_newer_sign_in() {
    let gate = Gate::default();
    let shop = Shop::new();
    let lingering = gate.clone();
    let handler = service_fn(move |request: Request<String>| {
        let lingering = lingering.clone();
        async move {
            let error = TokenError::from_extensions(request.extensions()).cloned();
            let Some(error) = error else { return greet(request).await };
            lingering.pass().await;
            let mut response = Response::new(Bytes::new());
            let refusal = Refusal::from(error);
            *response.status_mut() = refusal.status();
            response.extensions_mut().insert(refusal);
            Ok::<_, Infallible>(response)
        }
    });
    let browser = shop.browser_over(shop.sessions.layer().optional().layer(handler));
    let session = shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    let (arrived, go_on) = gate.close_after(0);
    let meanwhile = async {
        arrived.await.expect("the handler lingers");
        assert_eq!(post(&browser, "/login?bob").await.status(), 200);
        go_on.send(()).unwrap();
    };
    let (late, ()) = tokio::join!(get(&browser, "/me"), meanwhile);
    assert_eq!((late.status().as_u16(), cookies(&late)), (401, vec![]));
    assert_eq!(text(&get(&browser, "/me").await), "bob customer 0", "the new session is kept");
}
