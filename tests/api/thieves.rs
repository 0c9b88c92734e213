//! What a thief of a refresh token gets, and what legitimate clients that look odd keep: as tables of time, who
//! presents what, answer and event.

use std::time::Duration;

use crate::shop::*;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Sends a request with this access token in a header.
async fn use_as_header(browser: &Shopper, token: &str) -> u16 {
    let bearer = format!("Bearer {token}");
    let Ok(response) = browser.separate().get("/me").header("authorization", bearer).send().await;
    response.status().as_u16()
}

fn reuses(events: &[String]) -> usize {
    events.iter().filter(|event| event.starts_with("reuse of")).count()
}

/// He presents the copied token every 14 minutes, and uses each access token only in a header.
#[tokio::test(flavor = "current_thread")]
async fn thief_who_only_uses_access_tokens_in_headers_is_reuse_a_grace_period_later() {
    for way in Way::BOTH {
        for client_returns in [false, true] {
            let name = format!("{way:?}, the client returns first: {client_returns}");
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            let copied = browser.cookie(REFRESH).unwrap();
            shop.events();

            let thief = holder(&browser, &copied);
            assert_eq!(cookies(&way.ask(&thief).await), PAIR, "{name}: he rotates");
            assert_eq!(use_as_header(&thief, &thief.cookie(ACCESS).unwrap()).await, 200, "{name}");
            let record = shop.store.record(&session).await.unwrap();
            assert_eq!((record.generation, record.seen), (1, Some(1)), "{name}: the header confirms it");

            shop.clock.advance(if client_returns { GRACE } else { 14 * MINUTE });
            let presenting = if client_returns { &browser } else { &holder(&browser, &copied) };
            presenting.remove_cookie(ACCESS);
            let response = way.ask(presenting).await;
            assert_eq!(
                (response.status().as_u16(), code(&response)),
                (401, "session_revoked".into()),
                "{name}"
            );
            assert_eq!(shop.events(), ["rotated to 1", "reuse of 0 at 1"], "{name}");
            assert_eq!(shop.store.record(&session).await, None, "{name}");
        }
    }
}

/// He presents the copied token over and over, and uses what he gets out of sight.
#[tokio::test(flavor = "current_thread")]
async fn thief_whose_uses_are_out_of_sight_gets_32_generations_at_most() {
    for way in Way::BOTH {
        for every in
            [5 * SECOND, 20 * SECOND, 31 * SECOND, 45 * SECOND, 59 * SECOND, 61 * SECOND, 14 * MINUTE]
        {
            let name = format!("{way:?}, every {every:?}");
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            let copied = browser.cookie(REFRESH).unwrap();
            shop.events();

            let mut elapsed = Duration::ZERO;
            while shop.store.record(&session).await.is_some() {
                assert!(elapsed <= 8 * HOUR, "{name}: he is noticed within 8 hours");
                // Afresh each time: he never shows what he got.
                let status = way.ask(&holder(&browser, &copied)).await.status();
                assert!([200, 401, 503].contains(&status.as_u16()), "{name}: {status}");
                shop.clock.advance(every);
                elapsed += every;
            }
            let events = shop.events();
            let lost = events.iter().filter(|event| event.starts_with("answer lost")).count();
            assert!((1..=32).contains(&lost), "{name}: an event for each of {lost} generations");
            assert_eq!(reuses(&events), 1, "{name}: {events:?}");
            assert_eq!(events.len(), 1 + lost + 1, "{name}: a rotation, late answers, and reuse: {events:?}");
        }
    }
}

/// The client makes a request every minute; he polls every 20 seconds, uses his tokens in headers, waits out the grace
/// period whenever an answer comes without a refresh cookie, and rotates first.
#[tokio::test(flavor = "current_thread")]
async fn thief_beside_an_active_client_ends_the_session_within_an_access_lifetime() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        shop.events();

        let (mut waits, mut elapsed) = (Duration::ZERO, Duration::ZERO);
        while shop.store.record(&session).await.is_some() {
            assert!(elapsed <= ACCESS_GONE, "{way:?}: he is noticed within an access lifetime");
            if elapsed.as_secs().is_multiple_of(60) {
                let response = get(&browser, "/me").await;
                assert!([200, 401].contains(&response.status().as_u16()), "{way:?}");
            }
            if waits.is_zero() {
                thief.remove_cookie(ACCESS);
                let response = way.ask(&thief).await;
                if let Some(access) = thief.cookie(ACCESS) {
                    use_as_header(&thief, &access).await;
                }
                if !cookies(&response).contains(&"refresh".to_owned()) {
                    waits = GRACE;
                }
            }
            shop.clock.advance(10 * SECOND);
            elapsed += 10 * SECOND;
            waits = waits.saturating_sub(10 * SECOND);
        }
        assert_eq!(reuses(&shop.events()), 1, "{way:?}");
    }
}

/// A client of long polls alone: each request is refreshed where needed, and its handler takes this long.
#[tokio::test(flavor = "current_thread")]
async fn client_of_long_polls_is_never_signed_out() {
    for seconds in [20, 45, 90] {
        let shop = Shop::new();
        let clock = shop.clock.clone();
        let browser = shop.browser_with(move |request| {
            let clock = clock.clone();
            async move {
                clock.advance(seconds * SECOND);
                let Ok(response) = greet(request).await;
                response
            }
        });
        shop.sign_in(&browser).await;
        shop.events();
        for poll in 0..400 {
            assert_eq!(get(&browser, "/poll").await.status(), 200, "{seconds} s, poll {poll}");
        }
        let events = shop.events();
        assert!(events.iter().all(|event| event.starts_with("rotated to")), "{seconds} s: {events:?}");
        assert!(!events.is_empty(), "{seconds} s: it is rotated");
    }
}

/// For an hour, each handler takes so long that the client gives up, and its cookies are never sent.
#[tokio::test(flavor = "current_thread")]
async fn client_whose_handlers_time_out_for_an_hour_is_not_signed_out() {
    let shop = Shop::new();
    let gate = Gate::default();
    let handler = gate.clone();
    let slow = shop.browser_with(move |request| {
        let handler = handler.clone();
        async move {
            if request.uri().path() == "/slow" {
                handler.pass().await;
            }
            let Ok(response) = greet(request).await;
            response
        }
    });
    let session = shop.sign_in(&slow).await;
    shop.settle(&slow).await;
    shop.events();
    for minute in 0..60 {
        let (reached, _open) = gate.close_after(0);
        tokio::select! {
            _ = get(&slow, "/slow") => panic!("the handler takes for ever"),
            reached = reached => reached.expect("the handler runs"),
        }
        assert!(shop.store.record(&session).await.is_some(), "minute {minute}");
        shop.clock.advance(MINUTE);
    }
    assert_eq!(get(&slow, "/me").await.status(), 200, "and the next one is answered");
    assert_eq!(reuses(&shop.events()), 0);
}

/// A phone loses an answer, and asks again this much later.
#[tokio::test(flavor = "current_thread")]
async fn retry_of_a_phone_is_answered_at_once() {
    for way in Way::BOTH {
        for after in [SECOND, 40 * SECOND, 59 * SECOND, 2 * GRACE, 10 * MINUTE, DAY] {
            let shop = Shop::new();
            let (browser, _) = shop.settled().await;
            let copied = browser.cookie(REFRESH).unwrap();
            let _lost = way.ask(&holder(&browser, &copied)).await;
            shop.clock.advance(after);
            browser.remove_cookie(ACCESS);
            let response = way.ask(&browser).await;
            assert_eq!(
                (response.status().as_u16(), cookies(&response).len()),
                (200, 3),
                "{way:?}, {after:?}"
            );
            assert_eq!(reuses(&shop.events()), 0, "{way:?}, {after:?}");
        }
    }
}

/// A phone is killed before it stores the cookies, again and again.
#[tokio::test(flavor = "current_thread")]
async fn phone_that_is_killed_30_times_before_it_stores_its_cookies_stays_signed_in() {
    for way in Way::BOTH {
        for every in [10 * SECOND, 40 * SECOND, 70 * SECOND, HOUR] {
            let shop = Shop::new();
            let (browser, _) = shop.settled().await;
            let copied = browser.cookie(REFRESH).unwrap();
            for _ in 0..30 {
                way.ask(&holder(&browser, &copied)).await;
                shop.clock.advance(every);
            }
            shop.clock.advance(2 * GRACE);
            browser.remove_cookie(ACCESS);
            let response = way.ask(&browser).await;
            assert_eq!(
                (response.status().as_u16(), cookies(&response).len()),
                (200, 3),
                "{way:?}, {every:?}"
            );
            shop.clock.advance(ACCESS_GONE);
            assert_eq!(way.ask(&browser).await.status(), 200, "{way:?}, {every:?}: it goes on as any client");
            assert_eq!(reuses(&shop.events()), 0, "{way:?}, {every:?}");
        }
    }
}

/// The server that renders pages forwards the refresh cookie and drops what comes back; the page's script refreshes by
/// itself.
#[tokio::test(flavor = "current_thread")]
async fn rendering_server_that_drops_set_cookie_signs_nobody_out_while_script_refreshes() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    for visit in 0..40 {
        shop.clock.advance(ACCESS_GONE);
        browser.remove_cookie(ACCESS);
        let rendered = get(&holder(&browser, &browser.cookie(REFRESH).unwrap()), "/page").await;
        assert_eq!(text(&rendered).split(' ').next(), Some("ada"), "visit {visit}");
        shop.clock.advance(2 * SECOND);
        assert_eq!(post(&browser, "/refresh").await.status(), 200, "visit {visit}");
        assert_eq!(get(&browser, "/api").await.status(), 200, "visit {visit}");
    }
    assert_eq!(reuses(&shop.events()), 0);
}

/// The answer of one tab is lost, and another tab asks as the generation is begun again.
#[tokio::test(flavor = "current_thread")]
async fn two_tabs_across_a_late_answer_both_stay() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        let copied = browser.cookie(REFRESH).unwrap();
        way.ask(&holder(&browser, &copied)).await;
        shop.clock.advance(2 * GRACE);
        // Both tabs present what the jar has; the second answer arrives last.
        let (first, second) = (holder(&browser, &copied), holder(&browser, &copied));
        assert_eq!(cookies(&way.ask(&first).await), PAIR, "{way:?}: it begins a generation");
        let response = way.ask(&second).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, PAIR.map(str::to_owned).into()),
            "{way:?}"
        );
        let same = |browser: &Shopper| payload(&browser.cookie(REFRESH).unwrap())["jti"].clone();
        assert_eq!(same(&first), same(&second), "{way:?}: both have the same");
        for round in 0..5 {
            shop.clock.advance(ACCESS_GONE);
            second.remove_cookie(ACCESS);
            assert_eq!(way.ask(&second).await.status(), 200, "{way:?}, {round}");
        }
        assert_eq!(reuses(&shop.events()), 0, "{way:?}");
    }
}

/// nginx asks with `auth_request` whether each part of a page may be served, and discards the headers of the answer.
#[tokio::test(flavor = "current_thread")]
async fn auth_request_that_drops_set_cookie_signs_nobody_out_while_pages_refresh() {
    for (page_refreshes, visits) in [(true, 40), (false, 30)] {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        for visit in 0..visits {
            browser.remove_cookie(ACCESS);
            for part in ["/page", "/style.css", "/script.js", "/photo.jpg"] {
                let answer = get(&holder(&browser, &browser.cookie(REFRESH).unwrap()), part).await;
                assert_eq!(answer.status(), 200, "{page_refreshes}, visit {visit}: {part}");
            }
            if page_refreshes {
                assert_eq!(post(&browser, "/refresh").await.status(), 200, "visit {visit}");
                assert_eq!(get(&browser, "/api").await.status(), 200, "visit {visit}");
            }
            shop.clock.advance(ACCESS_GONE);
        }
        let events = shop.events();
        assert_eq!(reuses(&events), 0, "{page_refreshes}");
        let late = events.iter().filter(|event| event.starts_with("answer lost")).count();
        assert_eq!(late, if page_refreshes { 0 } else { visits - 1 }, "{events:?}");
        if page_refreshes {
            continue;
        }
        // Where nothing ever hands the cookies on, the bound is met in the end, as it is by a thief out of sight.
        let refused = async || {
            shop.clock.advance(ACCESS_GONE);
            get(&holder(&browser, &browser.cookie(REFRESH).unwrap()), "/page").await.status() == 401
        };
        let mut more = 0;
        while !refused().await {
            more += 1;
        }
        assert_eq!(visits + more, 32, "generations: the rotation and 31 late answers");
        assert_eq!(shop.store.record(&session).await, None);
    }
}

/// nginx repeats a GET on the next upstream, after the first has rotated the session and then failed.
#[tokio::test(flavor = "current_thread")]
async fn proxy_that_repeats_a_request_on_another_node_signs_nobody_out() {
    for seconds in [0, 1, 29, 30, 31, 60, 300] {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        browser.get("/me").send_and_lose().await;
        shop.clock.advance(seconds * SECOND);
        let response = get(&browser, "/me").await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 3), "{seconds} s later");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(get(&browser, "/me").await.status(), 200, "{seconds} s later: it goes on");
        assert_eq!(reuses(&shop.events()), 0, "{seconds} s later");
    }
}

/// A browser crashes before its cookies are on the disk, and starts again with the former ones.
#[tokio::test(flavor = "current_thread")]
async fn browser_that_crashes_with_unwritten_cookies_stays_signed_in_for_a_grace_period() {
    for (used, seconds, expected) in [
        // Nothing has shown that it held the new cookies.
        (false, 1, 200),
        (false, 3600, 200),
        (true, 1, 200),
        (true, 29, 200),
        // It has used what it now says it never had.
        (true, 30, 401),
    ] {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        let on_disk = holder(&browser, &browser.cookie(REFRESH).unwrap());
        assert_eq!(cookies(&get(&browser, "/me").await), PAIR);
        if used {
            assert_eq!(get(&browser, "/me").await.status(), 200);
        }
        shop.clock.advance(seconds * SECOND);
        let response = get(&on_disk, "/me").await;
        assert_eq!(response.status(), expected, "used {used}, {seconds} s later");
    }
}
