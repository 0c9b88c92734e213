//! `Sessions::follow`: what has ended or changed is heard of, and nothing else needs a question.

use std::time::Duration;

use http::StatusCode;
use tower_cookie_jwt::{
    session::{SessionsBuilder, WhenBehind},
    store::{RefreshStore, SessionId},
};

use crate::kit::shop::{ACCESS, Shop, Shopper, User, get, role, text};

const BOUND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn bounded(builder: SessionsBuilder<User>) -> SessionsBuilder<User> {
    builder.with_sign_out_within(BOUND)
}

/// A shop whose node follows the feed, and a signed-in browser that has been asked about.
async fn followed(
    configure: fn(SessionsBuilder<User>) -> SessionsBuilder<User>,
) -> (Shop, Shopper, SessionId) {
    let shop = Shop::with(configure);
    tokio::spawn(shop.sessions.follow());
    shop.sessions.caught_up().await;
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    assert_eq!(get(&browser, "/me").await.status(), 200);
    (shop, browser, session)
}

/// Lets time pass, and waits until the node has heard of everything again.
async fn pass(shop: &Shop, time: Duration) {
    shop.clock.advance(time);
    shop.sessions.caught_up().await;
}

async fn status(browser: &Shopper) -> StatusCode {
    get(browser, "/me").await.status()
}

/// Sends requests until one is answered so; the node may not have polled yet.
async fn until(browser: &Shopper, expected: StatusCode) {
    for _ in 0..200 {
        if status(browser).await == expected {
            return;
        }
        tokio::time::sleep(5 * MILLI).await;
    }
    panic!("not answered {expected} within a second");
}

#[tokio::test(flavor = "current_thread")]
async fn token_needs_no_question_while_the_feed_is_followed() {
    let (shop, browser, _) = followed(bounded).await;
    shop.store.calls();
    for _ in 0..5 {
        pass(&shop, 10 * BOUND).await;
        assert_eq!(status(&browser).await, 200);
    }
    let reads = shop.store.calls().iter().filter(|call| **call == "read").count();
    assert_eq!(reads, 0);
    let view = shop.sessions.view().expect("a bound has been set");
    assert!(view.is_fresh && view.entries == 0 && view.asked >= 1, "{view:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_another_node_ends_or_changes_is_heard_of() {
    let (shop, browser, session) = followed(bounded).await;
    let other = Shop::over(&shop, bounded);
    // The clocks stand still: only the feed can tell.
    let mut record = shop.store.record(&session).await.unwrap();
    record.claims = r#"{"role":"none"}"#.into();
    assert!(shop.store.update_announced(&record, Default::default()).await.unwrap().is_done());
    for _ in 0..200 {
        if text(&get(&browser, "/me").await) == "ada none 0" {
            break;
        }
        tokio::time::sleep(5 * MILLI).await;
    }
    assert_eq!(text(&get(&browser, "/me").await), "ada none 0");
    other.sessions.revoke("ada", session.as_str()).await.unwrap();
    until(&browser, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(flavor = "current_thread")]
async fn own_sign_out_counts_at_once() {
    let (shop, browser, session) = followed(bounded).await;
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    assert_eq!(status(&browser).await, 401);
    let (shop, browser, _) = followed(bounded).await;
    shop.sessions.sign_out_everywhere("ada").await.unwrap();
    until(&browser, StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(flavor = "current_thread")]
async fn wrong_entry_costs_a_read_and_signs_no_user_out() {
    let (shop, browser, session) = followed(bounded).await;
    shop.store.calls();
    for _ in 0..3 {
        let record = shop.store.record(&session).await.unwrap();
        assert!(shop.store.update_announced(&record, Default::default()).await.unwrap().is_done());
    }
    tokio::time::sleep(300 * MILLI).await;
    for _ in 0..5 {
        assert_eq!(status(&browser).await, 200);
    }
    let reads = shop.store.calls().iter().filter(|call| **call == "read").count();
    assert_eq!(reads, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn node_that_is_behind_does_as_configured_and_says_so() {
    type Configure = fn(SessionsBuilder<User>) -> SessionsBuilder<User>;
    let ways: [(Configure, u16, u16); 3] = [
        (bounded, 503, 200),
        (|builder| bounded(builder).with_when_behind(WhenBehind::Refuse), 503, 503),
        (|builder| bounded(builder).with_when_behind(WhenBehind::Trust), 200, 200),
    ];
    for (configure, without_store, without_feed) in ways {
        let (shop, browser, _) = followed(configure).await;
        shop.events();
        shop.store.fail(Some("changes"));
        shop.clock.advance(2 * BOUND);
        tokio::time::sleep(300 * MILLI).await;
        assert_eq!(status(&browser).await, without_feed, "only the feed is out of reach");
        shop.clock.advance(2 * BOUND);
        shop.store.go_down();
        assert_eq!(status(&browser).await, without_store, "the store is down");
        shop.store.fail(None);
        shop.store.come_up();
        shop.sessions.caught_up().await;
        assert_eq!(status(&browser).await, 200, "caught up");
        let told: Vec<_> = shop.events().into_iter().map(|event| event[..5].to_owned()).collect();
        assert_eq!(told, ["Behin", "Caugh"], "once each");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn session_that_has_been_heard_of_is_not_trusted() {
    let (shop, browser, session) =
        followed(|builder| bounded(builder).with_when_behind(WhenBehind::Trust)).await;
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    shop.store.go_down();
    shop.clock.advance(2 * BOUND);
    assert_eq!(status(&browser).await, 503);
}

#[tokio::test(flavor = "current_thread")]
async fn node_that_starts_asks_about_each_former_token_once() {
    let (shop, browser, _) = followed(bounded).await;
    let access = browser.cookie(ACCESS).unwrap();
    shop.clock.advance(Duration::from_secs(60));
    let next = Shop::over(&shop, bounded);
    tokio::spawn(next.sessions.follow());
    next.sessions.caught_up().await;
    let browser = next.browser();
    let line = format!("{ACCESS}={access}; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(browser.set_cookie(&line));
    for reads in [1, 0, 0] {
        next.store.calls();
        assert_eq!(status(&browser).await, 200);
        let calls = next.store.calls();
        assert_eq!(calls.iter().filter(|call| **call == "read").count(), reads, "{calls:?}");
        pass(&next, 2 * BOUND).await;
    }
    // One that begins after it needs no question at all, once it has been confirmed.
    pass(&next, Duration::from_secs(31)).await;
    let other = next.browser();
    next.sign_in(&other).await;
    assert_eq!(status(&other).await, 200);
    pass(&next, 2 * BOUND).await;
    next.store.calls();
    assert_eq!(status(&other).await, 200);
    assert!(!next.store.calls().contains(&"read"));
}

#[tokio::test(flavor = "current_thread")]
async fn following_ends_with_the_sessions_and_where_there_is_nothing_to_follow() {
    let shop = Shop::new();
    tokio::time::timeout(BOUND, shop.sessions.follow()).await.expect("no bound has been set");
    assert!(shop.sessions.view().is_none());
    let shop = Shop::with(bounded);
    let following = tokio::spawn(shop.sessions.follow());
    shop.sessions.caught_up().await;
    drop(shop);
    tokio::time::timeout(5 * BOUND, following).await.expect("the sessions are gone").unwrap();
}

#[tokio::test(flavor = "current_thread")]
async fn changed_privileges_count_on_another_node() {
    let (shop, browser, session) = followed(bounded).await;
    let other = Shop::over(&shop, bounded);
    let bearer = format!("Bearer {}", browser.cookie(ACCESS).unwrap());
    let there = other.browser_with({
        let sessions = other.sessions.clone();
        move |request| {
            let sessions = sessions.clone();
            async move {
                let claims = request.extensions().get::<tower_cookie_jwt::Claims<User>>().unwrap().clone();
                drop(sessions.update_privileges(&claims, &role("admin")).await.unwrap());
                http::Response::new(bytes::Bytes::new())
            }
        }
    });
    let Ok(response) = there.get("/raise").header("authorization", &bearer).send().await;
    assert_eq!(response.status(), 200);
    assert_eq!(&*shop.store.record(&session).await.unwrap().claims, r#"{"role":"admin"}"#);
    for _ in 0..200 {
        let Ok(response) = browser.get("/me").header("authorization", &bearer).send().await;
        if response.status() == 401 {
            assert_eq!(text(&get(&browser, "/me").await), "ada admin 0");
            return;
        }
        tokio::time::sleep(5 * MILLI).await;
    }
    panic!("the former token is still served");
}

#[tokio::test(flavor = "current_thread")]
async fn long_lived_connection_hears_of_the_end_and_of_other_claims() {
    for ends in [true, false] {
        let (shop, browser, session) = followed(bounded).await;
        let (send, receive) = tokio::sync::oneshot::channel();
        let (send, sessions) =
            (std::sync::Arc::new(std::sync::Mutex::new(Some(send))), shop.sessions.clone());
        let page = shop.browser_with(move |request| {
            let claims = request.extensions().get::<tower_cookie_jwt::Claims<User>>().unwrap().clone();
            let sender = send.lock().unwrap().take();
            let sessions = sessions.clone();
            tokio::spawn(async move {
                sessions.until_ended(&claims).await;
                sender.map(|sender| sender.send(()))
            });
            async { http::Response::new(bytes::Bytes::new()) }
        });
        let bearer = format!("Bearer {}", browser.cookie(ACCESS).unwrap());
        let Ok(response) = page.get("/socket").header("authorization", &bearer).send().await;
        assert_eq!(response.status(), 200);
        tokio::time::sleep(50 * MILLI).await;
        shop.store.calls();
        tokio::time::sleep(1500 * MILLI).await;
        assert!(!shop.store.calls().contains(&"read"), "an open connection needs no reads");
        let mut receive = receive;
        assert!(receive.try_recv().is_err(), "the session is live");
        match ends {
            true => assert!(shop.store.remove(&session).await.unwrap()),
            false => {
                let mut record = shop.store.record(&session).await.unwrap();
                record.claims = r#"{"role":"none"}"#.into();
                assert!(shop.store.update_announced(&record, Default::default()).await.unwrap().is_done());
            }
        }
        tokio::time::timeout(BOUND, receive).await.expect("within the bound").unwrap();
    }
}

#[tokio::test(flavor = "current_thread")]
async fn session_that_was_found_ended_is_never_trusted_again() {
    let (shop, browser, session) =
        followed(|builder| bounded(builder).with_when_behind(WhenBehind::Trust)).await;
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    assert_eq!(status(&browser).await, 401, "it has been asked about");
    for _ in 0..3 {
        pass(&shop, 2 * BOUND).await;
        assert_eq!(status(&browser).await, 401, "the feed is up to date");
    }
    shop.store.fail(Some("changes"));
    shop.clock.advance(2 * BOUND);
    tokio::time::sleep(300 * MILLI).await;
    assert_eq!(status(&browser).await, 401, "this node is behind");
}

/// A layer inside may look for the token elsewhere, and find another one of the session.
#[tokio::test(flavor = "current_thread")]
async fn former_token_of_a_live_session_is_not_served_beside_a_present_one() {
    use tower::{Layer, service_fn};
    use tower_cookie_jwt::token::Source;

    let (shop, browser, session) = followed(bounded).await;
    let former = browser.cookie(ACCESS).unwrap();
    let mut record = shop.store.record(&session).await.unwrap();
    record.claims = r#"{"role":"none"}"#.into();
    assert!(shop.store.update_announced(&record, Default::default()).await.unwrap().is_done());
    tokio::time::sleep(300 * MILLI).await;
    assert_eq!(text(&get(&browser, "/me").await), "ada none 0");
    let present = browser.cookie(ACCESS).unwrap();
    assert_ne!(former, present);
    let inner = shop.sessions.cookie_jwt_layer().with_sources([Source::Cookie]);
    let stack = shop.sessions.refresh_layer().layer(inner.layer(service_fn(crate::kit::shop::greet)));
    let page = shop.browser_over(stack);
    let line = format!("{ACCESS}={former}; Max-Age=900; Path=/; Secure; HttpOnly; SameSite=Strict");
    assert!(page.set_cookie(&line));
    let Ok(response) = page.get("/me").header("authorization", format!("Bearer {present}")).send().await;
    assert_ne!(response.status(), 200, "{}", text(&response));
}

#[tokio::test(flavor = "current_thread")]
async fn token_without_a_session_is_not_served_whether_or_not_the_feed_is_followed() {
    use tower_cookie_jwt::token::{Issuer, NewToken};

    let (shop, browser, _) = followed(bounded).await;
    let issuer = Issuer::new(crate::kit::forge::ring()).with_audience("shop").with_clock(shop.clock.clone());
    pass(&shop, Duration::from_secs(60)).await;
    for new in [
        NewToken::access("ada", Duration::from_secs(600)),
        NewToken::access("ada", Duration::from_secs(600)).with_session_id("nowhere"),
    ] {
        let token = issuer.issue(&new, &role("admin")).unwrap();
        let Ok(response) = browser.get("/me").header("authorization", format!("Bearer {token}")).send().await;
        assert_eq!(response.status(), 401);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn page_with_a_stale_refresh_cookie_beside_its_own_gets_a_token_with_the_changed_claims() {
    let (shop, browser, session) = followed(bounded).await;
    let other = shop.browser();
    let stale = shop.sign_in(&other).await;
    let tossed = other.cookie(crate::kit::shop::REFRESH).unwrap();
    shop.store.remove(&stale).await.unwrap();
    let mut record = shop.store.record(&session).await.unwrap();
    record.claims = r#"{"role":"none"}"#.into();
    assert!(shop.store.update_announced(&record, Default::default()).await.unwrap().is_done());
    tokio::time::sleep(300 * MILLI).await;
    let own =
        [ACCESS, crate::kit::shop::REFRESH].map(|name| format!("{name}={}", browser.cookie(name).unwrap()));
    let header = format!("{}; {}={tossed}", own.join("; "), crate::kit::shop::REFRESH);
    let bare = shop.browser();
    let Ok(response) = bare.get("/me").header("cookie", header).send().await;
    assert_eq!((response.status().as_u16(), text(&response)), (200, "ada none 0".to_owned()));
}

#[tokio::test(flavor = "current_thread")]
async fn pushes_that_stop_are_told_once_and_changes_are_heard_of_all_the_same() {
    let (shop, _, _) = followed(bounded).await;
    let other = Shop::over(&shop, bounded);
    let is_pushed = || shop.sessions.view().expect("a bound has been set").is_pushed;
    let come_and_go = async || {
        let session = other.sign_in(&other.browser()).await;
        other.sessions.revoke("ada", session.as_str()).await.unwrap();
        tokio::time::sleep(120 * MILLI).await;
    };
    for _ in 0..20 {
        come_and_go().await;
        if is_pushed() {
            break;
        }
    }
    assert!(is_pushed());
    shop.events();
    shop.store.fall_silent();
    for _ in 0..20 {
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        assert_eq!(status(&browser).await, 200);
        other.sessions.revoke("ada", session.as_str()).await.unwrap();
        until(&browser, StatusCode::UNAUTHORIZED).await;
        tokio::time::sleep(120 * MILLI).await;
    }
    assert!(!is_pushed());
    let told = shop.events().into_iter().filter(|event| event.starts_with("PushLost")).count();
    assert_eq!(told, 1);
}

#[tokio::test(flavor = "current_thread")]
async fn clocks_that_are_apart_are_told_once_each_time() {
    let (shop, _, _) = followed(bounded).await;
    let offset = || shop.sessions.view().expect("a bound has been set").clock_offset;
    let told = || shop.events().iter().filter(|event| event.starts_with("ClockOff")).count();
    for (apart, is_told) in [(9, false), (-9, false), (11, true), (0, false), (-11, true), (-12, false)] {
        shop.store.set_clock_apart(apart);
        for _ in 0..100 {
            tokio::time::sleep(50 * MILLI).await;
            if offset().as_secs() == u64::from(i32::unsigned_abs(apart)) {
                break;
            }
        }
        assert_eq!(offset().as_secs(), u64::from(i32::unsigned_abs(apart)), "{apart}");
        assert_eq!(told(), usize::from(is_told), "{apart}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn questions_about_many_tokens_take_turns_and_who_waits_too_long_is_to_come_again() {
    let shop = Shop::with(bounded);
    let mut browsers = Vec::new();
    for _ in 0..100 {
        let browser = shop.browser();
        shop.sign_in(&browser).await;
        assert_eq!(status(&browser).await, 200);
        browsers.push(browser);
    }
    for (slowness, expected) in [(50, [100, 0]), (1500, [64, 36])] {
        shop.clock.advance(10 * BOUND);
        shop.store.slow_down(slowness);
        let asked = browsers.iter().map(|browser| async { status(browser).await.as_u16() });
        let statuses = futures_util::future::join_all(asked).await;
        let counted = [200, 503].map(|code| statuses.iter().filter(|status| **status == code).count());
        assert_eq!(counted, expected, "{slowness} ms");
        assert_eq!(shop.store.most_reading(), 64);
    }
}
