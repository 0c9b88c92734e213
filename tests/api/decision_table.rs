//! The decision table of the rotation, row by row, through the layer and through the refresh service.

use std::time::Duration;

use serde_json::json;

use crate::shop::*;

#[tokio::test(flavor = "current_thread")]
async fn settled_current_generation_rotates_with_three_cookies() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let old = browser.cookie(REFRESH).unwrap();
        shop.events();

        let response = way.ask(&browser).await;
        assert_eq!(response.status(), 200, "{way:?}");
        assert_eq!(cookies(&response), PAIR, "{way:?}");
        assert_eq!(shop.events(), ["rotated to 1"], "{way:?}");
        let record = shop.store.record(&session).await.unwrap();
        assert_eq!((record.generation, record.parent, record.seen), (1, 0, Some(0)), "{way:?}");
        assert_eq!(payload(&browser.cookie(ACCESS).unwrap())["gen"], 1, "{way:?}");
        assert_ne!(browser.cookie(REFRESH).unwrap(), old, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn unsettled_current_generation_only_gets_an_access_cookie_and_is_confirmed() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        let signed_in_at = shop.store.record(&session).await.unwrap().created_at;
        shop.events();

        shop.clock.advance(DAY);
        let response = way.ask(&browser).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, RENEWED.map(str::to_owned).into()),
            "{way:?}"
        );
        let confirmed_at = shop.store.record(&session).await.unwrap().confirmed_at;
        assert_eq!(confirmed_at, Some(signed_in_at + DAY), "{way:?}: presenting it confirms it");

        shop.clock.advance(GRACE - Duration::from_secs(1));
        browser.remove_cookie(ACCESS);
        assert_eq!(cookies(&way.ask(&browser).await), RENEWED, "{way:?}: confirmed, but not for long enough");
        let record = shop.store.record(&session).await.unwrap();
        assert_eq!((record.generation, record.confirmed_at), (0, confirmed_at), "{way:?}");
        assert_eq!(shop.events(), NONE, "{way:?}");

        shop.clock.advance(Duration::from_secs(1));
        browser.remove_cookie(ACCESS);
        assert_eq!(
            cookies(&way.ask(&browser).await),
            PAIR,
            "{way:?}: settled after exactly the grace period"
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn lost_response_is_repeated() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let retrying = holder(&browser, &browser.cookie(REFRESH).unwrap());
        shop.events();
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}");
        let first = payload(&browser.cookie(REFRESH).unwrap());

        shop.clock.advance(GRACE - Duration::from_secs(1));
        let response = way.ask(&retrying).await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 3), "{way:?}");
        let again = payload(&retrying.cookie(REFRESH).unwrap());
        for claim in ["sid", "jti", "exp"] {
            assert!(first[claim].is_string() || first[claim].is_u64(), "{way:?}: {claim} is there");
            assert_eq!(again[claim], first[claim], "{way:?}: {claim}");
        }
        assert_eq!(payload(&retrying.cookie(ACCESS).unwrap())["gen"], 1, "{way:?}");
        assert_eq!(retrying.cookie(XSRF), browser.cookie(XSRF), "{way:?}");
        assert_eq!(
            (shop.generation(&session).await, shop.events()),
            (Some(1), vec!["rotated to 1".into()]),
            "{way:?}"
        );
    }
}

/// Presented after this long, the parent of an unconfirmed generation.
#[tokio::test(flavor = "current_thread")]
async fn late_answer_begins_a_generation_of_its_own_however_late() {
    for way in Way::BOTH {
        for (after, status, expected, generation, events) in [
            (GRACE, 200, PAIR.to_vec(), 1, NONE.map(str::to_owned).to_vec()),
            (2 * GRACE - Duration::from_secs(1), 200, PAIR.to_vec(), 1, NONE.map(str::to_owned).to_vec()),
            (2 * GRACE, 200, PAIR.to_vec(), 2, vec!["answer lost, 1 in a row, 2 begun".to_owned()]),
            (10 * DAY, 200, PAIR.to_vec(), 2, vec!["answer lost, 1 in a row, 2 begun".to_owned()]),
        ] {
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            let retrying = holder(&browser, &browser.cookie(REFRESH).unwrap());
            way.ask(&browser).await;
            shop.events();
            shop.clock.advance(after);
            let response = way.ask(&retrying).await;
            assert_eq!(
                (response.status().as_u16(), cookies(&response)),
                (status, expected.into_iter().map(str::to_owned).collect()),
                "{way:?}, {after:?}"
            );
            assert_eq!(shop.generation(&session).await, Some(generation), "{way:?}, {after:?}");
            assert_eq!(payload(&retrying.cookie(ACCESS).unwrap())["gen"], generation, "{way:?}, {after:?}");
            assert_eq!(shop.events(), events, "{way:?}, {after:?}");
            // Whoever has the pair shows it by the next request, and stays.
            assert_eq!(get(&retrying, "/me").await.status(), 200, "{way:?}, {after:?}");
            shop.clock.advance(GRACE);
            retrying.remove_cookie(ACCESS);
            assert_eq!(cookies(&way.ask(&retrying).await), PAIR, "{way:?}, {after:?}: settled");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn parent_of_a_generation_confirmed_within_grace_only_gets_an_access_cookie() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let late = holder(&browser, &browser.cookie(REFRESH).unwrap());
        way.ask(&browser).await;
        assert_eq!(get(&browser, "/me").await.status(), 200);
        assert!(shop.store.record(&session).await.unwrap().confirmed_at.is_some(), "{way:?}: confirmed");

        shop.clock.advance(GRACE - Duration::from_secs(1));
        let response = way.ask(&late).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, RENEWED.map(str::to_owned).into()),
            "{way:?}"
        );
        assert_eq!(shop.generation(&session).await, Some(1), "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn replay_past_grace_revokes_only_this_session() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let tablet = browser.separate();
        shop.sign_in(&tablet).await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        way.ask(&browser).await;
        get(&browser, "/me").await;
        shop.events();

        shop.clock.advance(GRACE);
        let response = way.ask(&thief).await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, "session_revoked".into()), "{way:?}");
        assert_eq!(cookies(&response), CLEARED, "{way:?}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{way:?}");
        assert_eq!(shop.events(), ["reuse of 0 at 1"], "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}");

        shop.clock.advance(ACCESS_GONE);
        assert_eq!(way.ask(&browser).await.status(), 401, "{way:?}: the successor is revoked too");
        assert_eq!(way.ask(&tablet).await.status(), 200, "{way:?}: the other session lives on");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn grandparent_is_reuse_even_while_the_current_generation_is_unsettled() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        way.ask(&browser).await;
        shop.settle(&browser).await;
        way.ask(&browser).await;
        assert_eq!(shop.generation(&session).await, Some(2), "{way:?}");
        shop.events();

        let response = way.ask(&thief).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (401, CLEARED.map(str::to_owned).into()),
            "{way:?}"
        );
        assert_eq!(shop.events(), ["reuse of 0 at 2"], "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn thief_who_refreshes_first_is_detected_at_the_clients_next_refresh() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        assert_eq!(way.ask(&thief).await.status(), 200, "{way:?}");
        assert_eq!(get(&thief, "/me").await.status(), 200, "{way:?}: the stolen generation is used");
        shop.clock.advance(GRACE);
        shop.events();

        assert_eq!(way.ask(&browser).await.status(), 401, "{way:?}");
        assert_eq!(shop.events(), ["reuse of 0 at 1"], "{way:?}");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(way.ask(&thief).await.status(), 401, "{way:?}: the thief is out as well");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn store_that_lost_writes_catches_up_and_the_client_stays_signed_in() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let backup = shop.store.record(&session).await.unwrap();
        way.ask(&browser).await;
        shop.settle(&browser).await;
        way.ask(&browser).await;
        shop.events();
        shop.store.restore(backup).await;
        shop.clock.advance(ACCESS_GONE);

        let response = way.ask(&browser).await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, RENEWED.map(str::to_owned).into()),
            "{way:?}"
        );
        assert_eq!(shop.events(), ["lost 0, held 2"], "{way:?}");
        assert_eq!(shop.generation(&session).await, Some(2), "{way:?}");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}: the session continues");
        assert_eq!(shop.generation(&session).await, Some(3), "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn wrong_secret_refuses_and_neither_clears_nor_revokes() {
    let other_secret = "AAAAAAAAAAAAAAAAAAAAAA";
    for way in Way::BOTH {
        for generation in [0, 1, 2, 7] {
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            way.ask(&browser).await;
            shop.settle(&browser).await;
            shop.events();
            let before = shop.store.record(&session).await;

            let token = resign(&browser.cookie(REFRESH).unwrap(), |claims| {
                claims["jti"] = json!(format!("{generation}.{other_secret}"));
            });
            let response = way.ask(&holder(&browser, &token)).await;
            assert_eq!(response.status(), 401, "{way:?}, generation {generation}");
            assert_eq!(code(&response), "token_invalid", "{way:?}, generation {generation}");
            assert_eq!(cookies(&response), NONE, "{way:?}, generation {generation}");
            assert_eq!(shop.store.record(&session).await, before, "{way:?}, generation {generation}");
            assert_eq!(shop.events(), [format!("wrong secret of {generation}")], "{way:?}");
            assert_eq!(way.ask(&browser).await.status(), 200, "{way:?}, generation {generation}: the owner");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn forged_or_expired_refresh_token_never_reaches_the_store() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    let (access, refresh) = (browser.cookie(ACCESS).unwrap(), browser.cookie(REFRESH).unwrap());
    shop.clock.advance(GRACE);
    let past = payload(&refresh)["iat"].as_u64().unwrap() - 60;
    let cases = [
        ("signature changed", forged(&refresh), false),
        ("payload changed", refresh.replacen("ey", "eY", 2), false),
        ("no token", "x".to_owned(), false),
        ("empty", String::new(), false),
        ("an access token", access, false),
        ("no jti", resign(&refresh, |claims| drop(claims.as_object_mut().unwrap().remove("jti"))), false),
        ("jti of another shape", resign(&refresh, |claims| claims["jti"] = json!("1")), false),
        ("secret of another length", resign(&refresh, |claims| claims["jti"] = json!("0.AAAA")), false),
        (
            "negative generation",
            resign(&refresh, |claims| claims["jti"] = json!("-1.AAAAAAAAAAAAAAAAAAAAAA")),
            false,
        ),
        ("no session", resign(&refresh, |claims| drop(claims.as_object_mut().unwrap().remove("sid"))), false),
        ("no expiry", resign(&refresh, |claims| drop(claims.as_object_mut().unwrap().remove("exp"))), false),
        ("expired", resign(&refresh, |claims| claims["exp"] = json!(past)), true),
        ("expired and forged", forged(&resign(&refresh, |claims| claims["exp"] = json!(past))), false),
    ];
    for (name, token, cleared) in cases {
        for way in Way::BOTH {
            let browser = holder(&browser, &token);
            shop.store.calls();
            let response = way.ask(&browser).await;
            assert_eq!(response.status(), 401, "{way:?}, {name}");
            assert_eq!(shop.store.calls(), NONE, "{way:?}, {name}");
            let expected = if cleared { CLEARED.to_vec() } else { NONE.to_vec() };
            assert_eq!(
                cookies(&response),
                expected,
                "{way:?}, {name}: only useless cookies of these sessions are cleared"
            );
        }
    }
    let good = resign(&refresh, |_| ());
    assert_eq!(
        get(&holder(&browser, &good), "/me").await.status(),
        200,
        "the cases differ only in their description"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn missing_revoked_or_expired_record_is_refused_and_never_revived() {
    for way in Way::BOTH {
        for name in ["signed out", "revoked", "everywhere", "idle", "absolute"] {
            let shop = Shop::with(|builder| match name {
                "absolute" => builder.with_absolute_lifetime(DAY),
                _ => builder.with_idle_lifetime(DAY),
            });
            let (browser, session) = shop.settled().await;
            let copy = browser.cookie(REFRESH).unwrap();
            match name {
                "signed out" => assert_eq!(post(&browser, "/logout").await.status(), 200),
                "revoked" => assert!(shop.sessions.revoke("ada", session.as_str()).await.unwrap()),
                "everywhere" => assert_eq!(shop.sessions.sign_out_everywhere("ada").await.unwrap(), 1),
                _ => shop.clock.set(shop.store.record(&session).await.unwrap().expires_at()),
            }
            let before = shop.store.record(&session).await;
            let copied = holder(&browser, &copy);
            let response = way.ask(&copied).await;
            // At the moment of its expiry the token is within the leeway: the record decides.
            assert_eq!(
                (response.status().as_u16(), code(&response)),
                (401, "session_revoked".into()),
                "{way:?}, {name}"
            );
            assert_eq!(cookies(&response), CLEARED, "{way:?}, {name}");
            assert_eq!(shop.store.record(&session).await, before, "{way:?}, {name}");
            assert!(!copied.has_cookie(REFRESH), "{way:?}, {name}: the browser is rid of it");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn two_concurrent_tabs_are_both_answered_and_rotate_exactly_once() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let other = browser.clone();
        shop.events();

        let (one, two) = tokio::join!(way.ask(&browser), way.ask(&other));
        assert_eq!((one.status().as_u16(), two.status().as_u16()), (200, 200), "{way:?}");
        assert_eq!((cookies(&one).len(), cookies(&two).len()), (3, 3), "{way:?}: the same pair");
        assert_eq!(shop.events(), ["rotated to 1"], "{way:?}");
        assert_eq!(shop.generation(&session).await, Some(1), "{way:?}");

        shop.settle(&browser).await;
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}: the jar ends with a live pair");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sign_out_between_reading_and_writing_wins() {
    for way in Way::BOTH {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let polling = browser.clone();
        let (on_its_way, go_on) = shop.store.hold_update();
        shop.events();

        let (response, ()) = tokio::join!(way.ask(&polling), async {
            on_its_way.await.unwrap();
            assert_eq!(post(&browser, "/logout").await.status(), 200);
            go_on.send(()).unwrap();
        });
        assert_eq!((response.status().as_u16(), code(&response)), (401, "session_revoked".into()), "{way:?}");
        assert_eq!(cookies(&response), CLEARED, "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}: the record is not created again");
        assert_eq!(shop.events(), ["ended ada"], "{way:?}");
        assert!(!browser.has_cookie(ACCESS) && !browser.has_cookie(REFRESH), "{way:?}");
    }
}
