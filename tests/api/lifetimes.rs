//! How long sessions and their cookies live, and what the clock may do meanwhile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::SET_COOKIE;
use tower_cookie_jwt::{
    Clock, KeyRing, MemoryStore, Sessions,
    session::{LostResponse, SessionsBuilder},
};

use crate::shop::*;

const HOUR: Duration = Duration::from_secs(60 * 60);

fn max_age(response: &Answer, name: &str) -> u64 {
    let lines = response.headers().get_all(SET_COOKIE).iter().map(|line| line.to_str().unwrap());
    let line = lines.into_iter().find(|line| line.starts_with(name)).expect("the cookie is set");
    let age = line.split("; ").find_map(|attribute| attribute.strip_prefix("Max-Age="));
    age.expect("it has Max-Age").parse().unwrap()
}

fn expiry(token: &str) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(payload(token)["exp"].as_u64().unwrap())
}

#[tokio::test(flavor = "current_thread")]
async fn defaults_are_15_minutes_14_days_and_90_days() {
    let shop = Shop::new();
    let browser = shop.browser();
    let now = shop.clock.now();
    let response = post(&browser, "/login").await;
    assert_eq!(max_age(&response, ACCESS), 15 * 60);
    assert_eq!(max_age(&response, REFRESH), 90 * 24 * 60 * 60, "only the record knows the idle expiry");
    assert_eq!(max_age(&response, XSRF), 90 * 24 * 60 * 60, "as long as the refresh cookie");
    assert_eq!(expiry(&browser.cookie(ACCESS).unwrap()), now + Duration::from_secs(15 * 60));
    assert_eq!(expiry(&browser.cookie(REFRESH).unwrap()), now + 90 * DAY);
    let [info] = &shop.sessions.list("ada").await.unwrap()[..] else { panic!("one session") };
    assert_eq!(info.expires_at, now + 14 * DAY);
    let record = shop.store.record(&info.id).await.unwrap();
    assert_eq!(record.absolute_expires_at, now + 90 * DAY);
}

#[tokio::test(flavor = "current_thread")]
async fn session_ends_after_its_absolute_lifetime_regardless_of_use() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let end = shop.clock.now() + 90 * DAY;
    let mut visits = 0;
    loop {
        shop.clock.advance(DAY - Duration::from_secs(60));
        let first = get(&browser, "/me").await;
        if shop.clock.now() >= end {
            assert_eq!(first.status(), 401);
            break;
        }
        assert_eq!(first.status(), 200, "day {visits}");
        assert_eq!(get(&browser, "/me").await.status(), 200, "day {visits}");
        assert!(expiry(&browser.cookie(ACCESS).unwrap()) <= end, "day {visits}: the access token");
        assert!(expiry(&browser.cookie(REFRESH).unwrap()) <= end, "day {visits}: the refresh token");
        let record = shop.store.record(&session).await.unwrap();
        assert!(record.idle_expires_at <= end, "day {visits}: the idle expiry");
        visits += 1;
    }
    assert_eq!(visits, 90);
    assert!(!shop.store.record(&session).await.is_some_and(|record| record.is_live(shop.clock.now())));
}

#[tokio::test(flavor = "current_thread")]
async fn access_token_never_outlives_the_session() {
    for way in Way::BOTH {
        let shop = Shop::with(|builder| builder.with_access_lifetime(HOUR).with_absolute_lifetime(HOUR / 2));
        let browser = shop.browser();
        let end = shop.clock.now() + HOUR / 2;
        let signed_in = post(&browser, "/login").await;
        assert_eq!(max_age(&signed_in, ACCESS), 30 * 60, "{way:?}");
        assert_eq!(expiry(&browser.cookie(ACCESS).unwrap()), end, "{way:?}");

        get(&browser, "/me").await;
        shop.clock.advance(HOUR / 4);
        browser.remove_cookie(ACCESS);
        let rotated = way.ask(&browser).await;
        assert_eq!((max_age(&rotated, ACCESS), max_age(&rotated, REFRESH)), (15 * 60, 15 * 60), "{way:?}");
        assert_eq!(expiry(&browser.cookie(ACCESS).unwrap()), end, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn idle_expiry_moves_with_a_rotation() {
    let shop = Shop::with(|builder| builder.with_idle_lifetime(DAY));
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    for day in 0..5 {
        shop.clock.advance(DAY - Duration::from_secs(1));
        assert_eq!(get(&browser, "/me").await.status(), 200, "visit {day}");
        get(&browser, "/me").await;
        let record = shop.store.record(&session).await.unwrap();
        assert_eq!(record.last_seen_at, shop.clock.now(), "visit {day}");
        assert_eq!(record.idle_expires_at, shop.clock.now() + DAY, "visit {day}");
    }
    shop.clock.advance(DAY);
    assert_eq!(get(&browser, "/me").await.status(), 401, "not used for a day");
}

#[tokio::test(flavor = "current_thread")]
async fn one_request_per_visit_keeps_a_session_alive() {
    // Every other visit finds the generation unconfirmed and brings no refresh cookie: the one that
    // the browser has must not end before the session does.
    let shop = Shop::with(|builder| builder.with_idle_lifetime(DAY));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    for day in 0..9 {
        shop.clock.advance(DAY - Duration::from_secs(1));
        assert_eq!(get(&browser, "/me").await.status(), 200, "visit {day}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn setting_the_clock_back_settles_nothing_early_and_shortens_no_session() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        get(&browser, "/me").await;
        let confirmed = shop.clock.now();
        let before = shop.store.record(&session).await.unwrap();

        for (name, now) in [
            ("an hour back", confirmed - HOUR),
            ("nearly there again", confirmed + GRACE - Duration::from_secs(1)),
        ] {
            shop.clock.set(now);
            browser.remove_cookie(ACCESS);
            assert_eq!(cookies(&way.ask(&browser).await), RENEWED, "{way:?}, {name}");
            let record = shop.store.record(&session).await.unwrap();
            assert_eq!(record.confirmed_at, Some(confirmed), "{way:?}, {name}");
            assert!(record.idle_expires_at >= before.idle_expires_at, "{way:?}, {name}");
            assert!(record.last_seen_at >= before.last_seen_at, "{way:?}, {name}");
        }
        shop.clock.set(confirmed + GRACE);
        browser.remove_cookie(ACCESS);
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn rotation_with_the_clock_set_back_keeps_last_seen_and_idle_expiry() {
    let shop = Shop::with(|builder| builder.with_lost_response(LostResponse::Within(GRACE)));
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    shop.clock.advance(HOUR);
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
    let before = shop.store.record(&session).await.unwrap();
    shop.clock.set(before.last_seen_at - Duration::from_secs(60));
    get(&browser, "/me").await;
    let record = shop.store.record(&session).await.unwrap();
    assert!(record.confirmed_at.is_some(), "confirmed with an earlier time");
    assert_eq!((record.last_seen_at, record.idle_expires_at), (before.last_seen_at, before.idle_expires_at));
}

#[tokio::test(flavor = "current_thread")]
async fn lost_response_within_a_period_replaces_confirmation() {
    let within = Duration::from_secs(120);
    for way in Way::BOTH {
        let shop = Shop::with(|builder| builder.with_lost_response(LostResponse::Within(within)));
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        // Access tokens are only used elsewhere: no confirmation, and yet it rotates.
        shop.clock.advance(within);
        browser.remove_cookie(ACCESS);
        let old = browser.cookie(REFRESH).unwrap();
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}: unconfirmed, but old enough");
        shop.events();

        shop.clock.advance(within - Duration::from_secs(1));
        let retrying = holder(&browser, &old);
        assert_eq!(cookies(&way.ask(&retrying).await), PAIR, "{way:?}: a lost answer in time");
        assert_eq!(shop.events(), NONE, "{way:?}");

        shop.clock.advance(Duration::from_secs(1));
        assert_eq!(way.ask(&holder(&browser, &old)).await.status(), 401, "{way:?}: too late");
        assert_eq!(shop.events(), ["reuse of 0 at 1"], "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn any_relation_between_grace_and_access_lifetime_is_legal() {
    let cases = [("shorter", 1), ("equal", 30), ("longer", 300)];
    for (name, access) in cases {
        let access = Duration::from_secs(access);
        let shop = Shop::with(|builder| builder.with_access_lifetime(access));
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        for round in 0..20 {
            assert_eq!(get(&browser, "/me").await.status(), 200, "{name}, round {round}");
            assert_eq!(get(&browser, "/me").await.status(), 200, "{name}, round {round}");
            shop.clock.advance(access);
        }
        shop.clock.advance(GRACE);
        get(&browser, "/me").await;
        assert!(shop.generation(&session).await > Some(0), "{name}: it rotates");
        assert!(!shop.events().iter().any(|event| event.contains("reuse")), "{name}");
    }
}

/// A user is active in a pattern, pauses, and comes back.
#[tokio::test(flavor = "current_thread")]
async fn idle_means_idle() {
    let seconds = Duration::from_secs;
    let patterns: [(&str, &[u64]); 4] = [
        ("busy", &[30; 60]),
        ("sparse", &[60, 800, 1040]),
        ("bursty", &[1, 1, 1, 400, 1, 1, 700, 1, 1]),
        ("a single request", &[5]),
    ];
    for idle in [600, 900, 1800, 7200, 14 * 86_400] {
        for access in [60, 300, 900] {
            for (pattern, gaps) in patterns {
                for checked in [false, true] {
                    let name = format!("idle {idle}, access {access}, {pattern}, checked {checked}");
                    // A pause within a pattern is a pause, too.
                    if access > idle || gaps.iter().any(|gap| *gap * 4 >= idle * 3) {
                        continue;
                    }
                    for (pause, stays) in [(idle * 3 / 4 - 1, true), (idle, false), (idle + 60, false)] {
                        let shop = Shop::with(|builder| {
                            let builder = builder
                                .with_idle_lifetime(seconds(idle))
                                .with_access_lifetime(seconds(access));
                            if checked { builder.with_session_check() } else { builder }
                        });
                        let browser = shop.browser();
                        shop.sign_in(&browser).await;
                        for gap in gaps {
                            shop.clock.advance(seconds(*gap));
                            assert_eq!(get(&browser, "/me").await.status(), 200, "{name}: active");
                        }
                        shop.clock.advance(seconds(pause));
                        let listed = shop.sessions.list("ada").await.unwrap().len();
                        assert_eq!(listed, usize::from(stays), "{name}: listed after a pause of {pause}");
                        let status = get(&browser, "/me").await.status();
                        assert_eq!(status, if stays { 200 } else { 401 }, "{name}: after a pause of {pause}");
                    }
                }
            }
        }
    }
}

#[test]
fn lifetimes_that_contradict_each_other_are_config_errors_with_a_remedy() {
    type Configure = fn(SessionsBuilder<User>) -> SessionsBuilder<User>;
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let cases: [(&str, Configure, &str); 2] = [
        (
            "access tokens that outlive an unused session",
            |b| b.with_idle_lifetime(Duration::from_secs(899)),
            "`with_access_lifetime` at most as much",
        ),
        (
            "an idle lifetime under four grace periods",
            |b| b.with_access_lifetime(Duration::from_secs(60)).with_idle_lifetime(Duration::from_secs(119)),
            "four grace periods",
        ),
    ];
    let builder = || {
        Sessions::<User>::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new()).with_audience("shop")
    };
    for (name, configure, remedy) in cases {
        let error = configure(builder()).build().expect_err(name).to_string();
        assert!(error.contains(remedy), "{name}: {error}");
    }
    builder().with_idle_lifetime(minutes(15)).build().expect("as long as an access token");
    let short = builder().with_access_lifetime(minutes(1)).with_idle_lifetime(minutes(2));
    short.build().expect("four grace periods");
}
