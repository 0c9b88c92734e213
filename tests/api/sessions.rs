//! `Sessions`: signing in and out, listing, and changing claims.

use std::{
    collections::HashSet,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, Clock, KeyRing, MemoryStore, RequireLayer, Sessions,
    session::{SessionError, SignIn},
    store::{NewRecord, RefreshStore, SessionId},
    testing::TestClock,
    token::{IssueErrorKind, TokenErrorKind},
};

use crate::shop::*;

/// The claims of the browser's access cookie, as a handler sees them.
async fn claims_of(shop: &Shop, browser: &Shopper) -> Claims<User> {
    let service = shop.sessions.cookie_jwt_layer().layer(service_fn(async |request: Request<()>| {
        let mut response = Response::new(());
        response.extensions_mut().insert(request.extensions().get::<Claims<User>>().cloned());
        Ok::<_, Infallible>(response)
    }));
    let cookie = format!("{ACCESS}={}", browser.cookie(ACCESS).expect("an access cookie"));
    let Ok(response) = service.oneshot(Request::get("/").header("cookie", cookie).body(()).unwrap()).await;
    response.extensions().get::<Option<Claims<User>>>().expect("the handler ran").clone().unwrap()
}

fn parts(agent: &str) -> http::request::Parts {
    Request::post("https://shop.example/login").header("user-agent", agent).body(()).unwrap().into_parts().0
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_always_makes_a_new_session_secret_and_xsrf_token() {
    let shop = Shop::new();
    let browser = shop.browser();
    let (mut ids, mut secrets, mut values) = (HashSet::new(), HashSet::new(), HashSet::new());
    for _ in 0..5 {
        ids.insert(shop.sign_in(&browser).await);
        let jti = payload(&browser.cookie(REFRESH).unwrap())["jti"].as_str().unwrap().to_owned();
        let (generation, secret) = jti.split_once('.').unwrap();
        assert_eq!((generation, secret.len()), ("0", 22), "128 bits");
        secrets.insert(secret.to_owned());
        let xsrf = browser.script_cookie(XSRF).unwrap();
        assert_eq!(xsrf.len(), 24);
        assert_eq!(payload(&browser.cookie(ACCESS).unwrap())["xsrfToken"], xsrf);
        values.insert(xsrf);
    }
    assert_eq!((ids.len(), secrets.len(), values.len()), (5, 5, 5));
    assert_eq!(browser.script_cookie(ACCESS), None, "page script cannot read it");
    assert_eq!(browser.script_cookie(REFRESH), None, "page script cannot read it");
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_cookies_follow_the_clock_of_the_store() {
    let clock = TestClock::new();
    let now = clock.now();
    for (name, stores_now) in [
        ("the same time", now),
        ("a part of a second later", now + Duration::from_nanos(999_000_001)),
        ("a second ahead", now + Duration::from_secs(1)),
        ("a day ahead", now + DAY),
        ("a day behind", now - DAY),
    ] {
        let store = MemoryStore::new().with_clock(TestClock::at(stores_now));
        let sessions = Sessions::builder(KeyRing::hs256(SECRET).unwrap(), store.clone())
            .with_audience("shop")
            .with_clock(clock.clone())
            .build()
            .unwrap();
        let signed_in = sessions.sign_in(&parts(""), "ada", role("customer")).await.unwrap();
        let Ok(snapshot) = store.read(signed_in.session_id()).await;
        let record = snapshot.record.expect("the session is stored");
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let ends = seconds(record.absolute_expires_at);

        let mut headers = http::HeaderMap::new();
        signed_in.append_to(&mut headers);
        let line = |cookie: &str| -> String {
            let mut lines = headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
            lines.find(|line| line.starts_with(cookie)).unwrap().to_owned()
        };
        let token = |cookie: &str| payload(line(cookie).split(['=', ';']).nth(1).unwrap());
        let (access, refresh) = (token(ACCESS), token(REFRESH));
        assert_eq!(access["auth_time"], seconds(record.created_at), "{name}");
        assert_eq!(access["exp"], seconds(now) + 15 * 60, "{name}");
        assert_eq!(access["xsrfToken"], *record.xsrf_token, "{name}");
        assert_eq!((&access["sid"], &refresh["sid"]), (&json!(record.id.as_str()), &access["sid"]), "{name}");
        assert_eq!(refresh["exp"], ends, "{name}");
        let age = format!("Max-Age={}", ends - seconds(now));
        for cookie in [REFRESH, XSRF] {
            assert!(line(cookie).contains(&age), "{name}: {} without {age}", line(cookie));
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_ends_the_session_that_the_request_proves() {
    for (name, held, ended) in presented() {
        let shop = Shop::new();
        let browser = shop.browser();
        let former = shop.sign_in(&browser).await;
        let holding = held(&shop, &browser);
        shop.events();
        let new = shop.sign_in(&holding).await;
        assert_ne!(new, former, "{name}");
        assert_eq!(shop.store.record(&former).await.is_none(), ended, "{name}");
        let expected = if ended { vec!["ended ada", "signed in ada"] } else { vec!["signed in ada"] };
        assert_eq!(shop.events(), expected, "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sign_out_ends_the_session_that_the_request_proves_and_always_clears() {
    for (name, held, ended) in presented() {
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        let holding = held(&shop, &browser);
        let Ok(response) = holding.post("/logout").send().await; // no XSRF header
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, CLEARED.map(str::to_owned).into()),
            "{name}"
        );
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        assert_eq!(shop.store.record(&session).await.is_none(), ended, "{name}");
        assert_eq!(post(&holding, "/logout").await.status(), 200, "{name}: and once more");
    }
}

type Held = fn(&Shop, &Shopper) -> Shopper;

/// Returns what a request may present, and whether that proves the session.
fn presented() -> [(&'static str, Held, bool); 9] {
    fn refresh(browser: &Shopper) -> String {
        browser.cookie(REFRESH).unwrap()
    }
    fn with_access(browser: &Shopper, token: &str) -> Shopper {
        let other = browser.separate();
        other.set_cookie(&format!("{ACCESS}={token}; Path=/; Secure"));
        other
    }
    [
        ("all cookies", |_, browser| browser.clone(), true),
        ("a refresh token", |_, browser| holder(browser, &refresh(browser)), true),
        ("an access token", |_, browser| with_access(browser, &browser.cookie(ACCESS).unwrap()), true),
        (
            "an expired access token with a refresh token",
            |shop, browser| {
                let other = with_access(browser, &browser.cookie(ACCESS).unwrap());
                other.set_cookie(&format!("{REFRESH}={}; Path=/; Secure", refresh(browser)));
                shop.clock.advance(ACCESS_GONE);
                other
            },
            true,
        ),
        (
            "only an expired access token",
            |shop, browser| {
                let other = with_access(browser, &browser.cookie(ACCESS).unwrap());
                shop.clock.advance(ACCESS_GONE);
                other
            },
            false,
        ),
        ("nothing", |_, browser| browser.separate(), false),
        ("a forged refresh token", |_, browser| holder(browser, &forged(&refresh(browser))), false),
        (
            "an expired refresh token",
            |_, browser| holder(browser, &resign(&refresh(browser), |claims| claims["exp"] = json!(1))),
            false,
        ),
        (
            "a refresh token with another secret",
            |_, browser| {
                holder(
                    browser,
                    &resign(&refresh(browser), |claims| claims["jti"] = json!("0.AAAAAAAAAAAAAAAAAAAAAA")),
                )
            },
            false,
        ),
    ]
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_and_sign_out_check_the_origin() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let cookie = format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap());
    for path in ["/login", "/logout"] {
        let from = [
            ("cross-site", browser.post(path).cross_site()),
            ("cross-site form", browser.post(path).cross_site().navigation()),
            ("same-site", browser.post(path).same_site("https://blog.shop.example")),
        ];
        for (name, ask) in from {
            let Ok(response) = ask.header("cookie", &cookie).send().await;
            assert_eq!((response.status().as_u16(), cookies(&response)), (403, vec![]), "{path} {name}");
        }
    }
    let live: Vec<_> = shop.sessions.list("ada").await.unwrap().into_iter().map(|info| info.id).collect();
    assert_eq!(live, [session], "none begun, none ended");
}

/// Whoever has stolen an access token of a session that its user has ended must not end the others with it.
#[tokio::test(flavor = "current_thread")]
async fn sign_out_others_needs_a_live_session_of_the_caller() {
    let shop = Shop::new();
    let phone = shop.browser();
    let laptop = phone.separate();
    let stolen = shop.sign_in(&phone).await;
    shop.sign_in(&laptop).await;
    let claims = claims_of(&shop, &phone).await;
    assert!(shop.sessions.revoke("ada", stolen.as_str()).await.unwrap());
    let refused = shop.sessions.sign_out_others(&claims).await.expect_err("its session has ended");
    assert_eq!(refused.refusal().map(|refusal| refusal.code()), Some("session_revoked"));
    assert_eq!(shop.sessions.list("ada").await.unwrap().len(), 1, "the laptop is still signed in");
}

#[tokio::test(flavor = "current_thread")]
async fn sign_out_others_and_everywhere_end_the_right_sessions() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let tablet = browser.separate();
    shop.sign_in(&tablet).await;
    let stranger = browser.separate();
    post(&stranger, "/login?bob").await;
    shop.events();

    let claims = claims_of(&shop, &browser).await;
    assert_eq!(shop.sessions.sign_out_others(&claims).await.unwrap(), 1);
    let live: Vec<_> = shop.sessions.list("ada").await.unwrap().into_iter().map(|info| info.id).collect();
    assert_eq!(live, [session]);
    assert!(shop.sessions.is_live(&claims).await.unwrap());
    assert_eq!(shop.sessions.sign_out_everywhere("ada").await.unwrap(), 1);
    assert!(!shop.sessions.is_live(&claims).await.unwrap());
    assert_eq!(shop.sessions.sign_out_everywhere("ada").await.unwrap(), 0);
    assert_eq!(shop.events(), ["ended 1 of ada", "ended 1 of ada", "ended 0 of ada"]);
    assert_eq!(shop.sessions.list("bob").await.unwrap().len(), 1, "another's sessions live on");
}

#[tokio::test(flavor = "current_thread")]
async fn revoke_does_not_reach_sessions_of_another_subject() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    shop.events();
    for (subject, id) in [("bob", session.as_str()), ("ada", "unknown"), ("", session.as_str())] {
        assert!(!shop.sessions.revoke(subject, id).await.unwrap(), "{subject} {id}");
    }
    assert!(shop.store.record(&session).await.is_some());
    assert!(shop.sessions.revoke("ada", session.as_str()).await.unwrap());
    assert!(!shop.sessions.revoke("ada", session.as_str()).await.unwrap(), "it is gone");
    assert_eq!(shop.events(), ["ended ada"]);
}

#[tokio::test(flavor = "current_thread")]
async fn list_shows_live_sessions_oldest_first_with_labels() {
    let cases = [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Edg/140.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15) Version/18.0 Safari/605.1", "Safari on macOS"),
        ("shop-cli/1.0", "shop-cli/1.0"),
        ("", ""),
    ];
    let shop = Shop::new();
    let mut begun = Vec::new();
    for (agent, _) in cases {
        begun.push(shop.clock.now());
        drop(shop.sessions.sign_in(&parts(agent), "ada", role("customer")).await.unwrap());
        shop.clock.advance(Duration::from_secs(1));
    }
    let named = SignIn::new("ada", role("customer")).with_label("Kitchen tablet");
    drop(shop.sessions.sign_in_with(&parts("shop-cli/1.0"), named).await.unwrap());
    let list = shop.sessions.list("ada").await.unwrap();
    for ((info, (agent, label)), begun) in list.iter().zip(cases).zip(begun) {
        assert_eq!(&*info.label, label, "{agent}");
        assert_eq!((info.created_at, info.last_seen_at), (begun, begun), "{agent}");
    }
    assert_eq!(list.len(), cases.len() + 1);
    assert_eq!(&*list[cases.len()].label, "Kitchen tablet");
    let long = "x".repeat(5000);
    drop(shop.sessions.sign_in(&parts(&long), "bob", role("customer")).await.unwrap());
    assert!(shop.sessions.list("bob").await.unwrap()[0].label.len() <= 100, "a long agent is cut short");
    shop.clock.advance(14 * DAY);
    assert_eq!(shop.sessions.list("ada").await.unwrap(), [], "expired ones are not listed");
}

#[tokio::test(flavor = "current_thread")]
async fn a_label_is_shown_without_what_could_falsify_a_list() {
    let shop = Shop::new();
    let long = "ä".repeat(5000);
    for (given, shown) in [
        ("Kitchen\r\n\ttablet", "Kitchentablet"),
        ("\u{1b}[2Jphone\0\u{7f}\u{9b}", "[2Jphone"),
        ("\u{202e}enohp\u{2066}\u{200f}\u{feff}", "enohp"),
        ("Küche 🍳 <b>", "Küche 🍳 <b>"),
        ("\n", ""),
        (&*long, &*"ä".repeat(80)),
    ] {
        let sign_in = SignIn::new("ada", role("customer")).with_label(given);
        drop(shop.sessions.sign_in_with(&parts("shop-cli/1.0"), sign_in).await.unwrap());
        let list = shop.sessions.list("ada").await.unwrap();
        assert_eq!(&*list[0].label, shown, "{given:?}");
        shop.sessions.sign_out_everywhere("ada").await.unwrap();
    }
    for agent in ["tab\tand more\t", &*"x".repeat(5000)] {
        drop(shop.sessions.sign_in(&parts(agent), "bob", role("customer")).await.unwrap());
    }
    for info in shop.sessions.list("bob").await.unwrap() {
        assert!(
            info.label.chars().count() <= 80 && !info.label.contains(char::is_control),
            "{:?}",
            info.label
        );
    }
}

#[tokio::test(flavor = "current_thread")]
async fn updated_claims_follow_the_session_and_keep_or_change_the_xsrf_token() {
    for privileges in [false, true] {
        let shop = Shop::new();
        let browser = shop.browser();
        shop.sign_in(&browser).await;
        let old = browser.cookie(XSRF).unwrap();
        let claims = claims_of(&shop, &browser).await;
        let updated = match privileges {
            true => shop.sessions.update_privileges(&claims, &role("admin")).await.unwrap(),
            false => shop.sessions.update_claims(&claims, &role("admin")).await.unwrap(),
        };
        let mut response = Response::new(bytes::Bytes::new());
        updated.append_to(response.headers_mut());
        browser.store(&response);
        assert_eq!(cookies(&response), ["-access"], "privileges {privileges}");
        let next = get(&browser, "/me").await;
        assert_eq!(text(&next), "ada admin 0", "privileges {privileges}");
        assert_eq!(cookies(&next), RENEWED, "privileges {privileges}: refreshed");
        let new = browser.cookie(XSRF).unwrap();
        assert_eq!(new != old, privileges);
        assert_eq!(updated.xsrf_token(), new);
        assert_eq!(post(&browser, "/order").await.status(), 200);
        let Ok(stale) = browser.post("/order").with_xsrf_value(&old).send().await;
        assert_eq!(stale.status(), if privileges { 403 } else { 200 }, "a value that a tab kept");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(text(&get(&browser, "/me").await), "ada admin 1", "they survive a rotation");
        assert_eq!(browser.cookie(XSRF).unwrap(), new, "stable within the session");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn update_from_a_stale_generation_gets_no_access_cookie() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.clock.advance(GRACE);
    let claims = claims_of(&shop, &browser).await;
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
    let updated = shop.sessions.update_claims(&claims, &role("admin")).await.unwrap();
    let mut response = Response::new(bytes::Bytes::new());
    updated.append_to(response.headers_mut());
    assert!(!cookies(&response).contains(&"access".to_owned()), "{:?}", cookies(&response));
    get(&browser, "/me").await;
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(text(&get(&browser, "/me").await), "ada admin 2", "they come with the next refresh");
}

#[tokio::test(flavor = "current_thread")]
async fn stale_privilege_change_heals_with_the_next_response() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.clock.advance(GRACE);
    let claims = claims_of(&shop, &browser).await;
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR, "another tab refreshes meanwhile");
    let updated = shop.sessions.update_privileges(&claims, &role("admin")).await.unwrap();
    let mut response = Response::new(bytes::Bytes::new());
    updated.append_to(response.headers_mut());
    browser.store(&response);
    assert_eq!(get(&browser, "/me").await.status(), 200);
    assert_eq!(post(&browser, "/order").await.status(), 200, "its cookie and its claim agree");
}

#[tokio::test(flavor = "current_thread")]
async fn losing_the_response_to_a_privilege_change_leaves_the_browser_able_to_post() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    let claims = claims_of(&shop, &browser).await;
    drop(shop.sessions.update_privileges(&claims, &role("admin")).await.unwrap());
    browser.remove_cookie(ACCESS);
    assert_eq!(text(&get(&browser, "/me").await), "ada admin 0", "renewed, in the same generation");
    assert_eq!(post(&browser, "/order").await.status(), 200, "its cookie and its claim agree");
}

#[tokio::test(flavor = "current_thread")]
async fn an_ended_session_can_be_neither_updated_nor_confirmed() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let claims = claims_of(&shop, &browser).await;
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    assert!(!shop.sessions.is_live(&claims).await.unwrap());
    for result in [
        shop.sessions.update_claims(&claims, &role("admin")).await,
        shop.sessions.update_privileges(&claims, &role("admin")).await,
    ] {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, SessionError::Token(error) if error.kind() == TokenErrorKind::Revoked),
            "{error}"
        );
    }
    assert_eq!(shop.store.record(&session).await, None, "nothing revives it");
}

#[tokio::test(flavor = "current_thread")]
async fn claims_that_cannot_be_issued_are_an_error_and_store_nothing() {
    let cases = [
        ("a registered name", json!({"sub": "bob"})),
        ("the session", json!({"sid": "1"})),
        ("the XSRF claim", json!({"xsrfToken": "x"})),
        ("no object", json!("ada")),
        ("over the size of a cookie", json!({"bio": "x".repeat(4096)})),
    ];
    for (name, custom) in cases {
        let store = MemoryStore::new();
        let sessions = Sessions::<serde_json::Value>::builder(KeyRing::hs256(SECRET).unwrap(), store.clone())
            .with_audience("shop")
            .build()
            .unwrap();
        let error = sessions.sign_in(&parts(""), "ada", custom).await.unwrap_err();
        let SessionError::Issue(issue) = &error else { panic!("{name}: {error}") };
        let too_large = matches!(issue.kind(), IssueErrorKind::CookieTooLarge { .. });
        assert_eq!(too_large, name.contains("size"), "{name}: {issue}");
        assert!(error.refusal().is_none(), "{name}: the application's own mistake");
        assert!(store.is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn the_list_serializes_for_a_page() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    let list = shop.sessions.list("ada").await.unwrap();
    let unix = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let info = &list[0];
    assert_eq!(
        serde_json::to_value(&list).unwrap(),
        json!([{
            "id": info.id.as_str(),
            "createdAt": unix(info.created_at),
            "lastSeenAt": unix(info.last_seen_at),
            "expiresAt": unix(info.expires_at),
            "label": &*info.label,
        }])
    );
    assert!(info.id == *info.id.as_str() && info.id == info.id.as_str());
}

/// Polls a future so often, then drops it, as a server does when the peer hangs up.
async fn drop_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| match left {
        0 => std::task::Poll::Ready(None),
        _ => {
            left -= 1;
            match future.as_mut().poll(cx) {
                std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
                // The store yields: the next poll comes from its waker, or from here.
                std::task::Poll::Pending => {
                    cx.waker().wake_by_ref();
                    std::task::Poll::Pending
                }
            }
        }
    })
    .await
}

/// Lets the tasks run that have been spawned.
async fn settle_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

/// Whatever begins, advances or ends a session is raised exactly once, at whatever poll its future is dropped.
#[cfg(feature = "sqlite")]
#[tokio::test(flavor = "current_thread")]
async fn events_survive_a_peer_that_hangs_up() {
    for polls in 0..24 {
        let name = format!("dropped after {polls} polls");
        // Sign-out of everything.
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        shop.events();
        drop_after(polls, shop.sessions.sign_out_everywhere("ada")).await;
        settle_tasks().await;
        let gone = shop.store.record(&session).await.is_none();
        assert_eq!(shop.events().len(), usize::from(gone), "{name}: sign-out everywhere");
        assert_eq!(gone, polls > 0, "{name}: what has begun reaches the store");

        // Sign-out by the request.
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        shop.events();
        drop_after(polls, post(&browser, "/logout")).await;
        settle_tasks().await;
        let gone = shop.store.record(&session).await.is_none();
        assert_eq!(shop.events().len(), usize::from(gone), "{name}: sign-out");

        // Sign-in over an existing session.
        let shop = Shop::new();
        let browser = shop.browser();
        shop.sign_in(&browser).await;
        shop.events();
        drop_after(polls, post(&browser, "/login?ada")).await;
        settle_tasks().await;
        let events = shop.events();
        let live = shop.sessions.list("ada").await.unwrap().len();
        assert_eq!(live, 1, "{name}: one session, the former or the new one");
        assert!(events.is_empty() || events == ["ended ada", "signed in ada"], "{name}: sign-in: {events:?}");

        // Reuse and rotation.
        for reuse in [false, true] {
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            let copied = browser.cookie(REFRESH).unwrap();
            if reuse {
                post(&browser, "/refresh").await;
                shop.settle(&browser).await;
            }
            shop.events();
            drop_after(polls, post(&holder(&browser, &copied), "/refresh")).await;
            settle_tasks().await;
            let record = shop.store.record(&session).await;
            let written =
                if reuse { record.is_none() } else { record.is_some_and(|record| record.generation == 1) };
            assert_eq!(shop.events().len(), usize::from(written), "{name}, reuse {reuse}");
        }
    }
}

/// Sessions from a time without a limit: no sign-in waits until all of them have ended.
#[tokio::test(flavor = "current_thread")]
async fn a_limit_for_a_user_with_very_many_sessions_is_reached_step_by_step() {
    let shop = Shop::new();
    for id in 0..350 {
        let session = NewRecord::new(SessionId::new(id.to_string()), "ada", [7; 32]);
        shop.store.create(session).await.unwrap();
        shop.clock.advance(Duration::from_secs(1));
    }
    for left in [251, 152, 100, 100] {
        shop.sign_in(&shop.browser()).await;
        assert_eq!(shop.sessions.list("ada").await.unwrap().len(), left);
    }
    let events = shop.events();
    assert_eq!(events.iter().filter(|event| *event == "one session of ada too many").count(), 254);
}

/// Each request that is refused is an event, with what had been verified by then.
#[tokio::test(flavor = "current_thread")]
async fn refused_requests_are_events_with_their_codes() {
    let shop = Shop::new();
    let browser = shop.browser();
    let nobody = browser.separate();
    shop.sign_in(&browser).await;
    let admins =
        shop.sessions.layer().layer(RequireLayer::<User>::scope("admin").unwrap().layer(service_fn(greet)));
    let ada = |code| vec![format!("{code}: subject Some(\"ada\"), session true, generation Some(0)")];
    let unknown = |code| vec![format!("{code}: subject None, session false, generation None")];
    let stored = |code| vec![format!("{code}: subject None, session true, generation Some(0)")];
    let table = [
        ("accepted", browser.get("/me"), vec![]),
        ("no token", nobody.get("/me"), unknown("token_missing")),
        ("garbage", nobody.get("/me").header("authorization", "Bearer x"), unknown("token_invalid")),
        ("no XSRF header", browser.post("/me"), ada("xsrf_missing")),
        ("wrong XSRF header", browser.post("/me").with_xsrf_value("x"), ada("xsrf_mismatch")),
        ("other origin", browser.post("/me").with_xsrf().cross_site(), unknown("token_missing")),
        (
            "sibling",
            browser.post("/me").with_xsrf().same_site("https://blog.shop.example"),
            ada("origin_refused"),
        ),
        (
            "too little scope",
            browser.clone().with_service(shop.service_over(admins)).get("/me"),
            ada("insufficient_scope"),
        ),
        ("sign-in from another site", browser.post("/login").cross_site(), unknown("origin_refused")),
        ("sign-out from another site", browser.post("/logout").cross_site(), unknown("origin_refused")),
        ("refresh from another site", browser.post("/refresh").cross_site(), unknown("origin_refused")),
        ("refresh without a cookie", nobody.post("/refresh"), unknown("token_missing")),
    ];
    for (name, request, expected) in table {
        shop.events();
        let Ok(_) = request.send().await;
        assert_eq!(shop.refusals(), expected, "{name}");
    }
    browser.remove_cookie(ACCESS);
    for (name, down, layer, service) in [
        ("outage", true, unknown("unavailable"), stored("unavailable")),
        ("revoked", false, unknown("session_revoked"), stored("session_revoked")),
    ] {
        shop.store.set_down(down);
        if !down {
            shop.sessions.sign_out_everywhere("ada").await.unwrap();
        }
        for (path, expected) in [("/me", layer), ("/refresh", service)] {
            shop.events();
            let other = holder(&browser, &browser.cookie(REFRESH).unwrap());
            other.post(path).send_and_lose().await;
            assert_eq!(shop.refusals(), expected, "{name}: {path}");
        }
    }
}

/// A sign-in that has verified the former password ends after the change, although it has missed the sign-out.
#[tokio::test(flavor = "current_thread")]
async fn sign_in_that_overlaps_a_change_of_password_ends_at_its_next_refresh() {
    let version = Arc::new(AtomicU32::new(1));
    let current = version.clone();
    let shop = Shop::with(move |builder| {
        builder.with_reload(move |_: String, former: Option<User>| {
            let current = format!("password {}", current.load(Ordering::SeqCst));
            async move { Ok(former.filter(|user| user.role == current)) }
        })
    });
    let (login, ()) = Request::post("/login").body(()).unwrap().into_parts();
    version.store(2, Ordering::SeqCst);
    assert_eq!(shop.sessions.sign_out_everywhere("ada").await.unwrap(), 0);
    for (verified, lives) in [(1, false), (2, true)] {
        let browser = shop.browser();
        let mut response = Response::new(());
        let user = role(&format!("password {verified}"));
        shop.sessions.sign_in(&login, "ada", user).await.unwrap().append_to(response.headers_mut());
        browser.store(&response);
        assert_eq!(get(&browser, "/me").await.status(), 200);
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(get(&browser, "/me").await.status() == 200, lives, "verified version {verified}");
        assert_eq!(shop.sessions.list("ada").await.unwrap().len(), usize::from(lives));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_of_a_user_are_bounded_and_the_least_recently_used_one_ends() {
    let shop = Shop::with(|builder| builder.with_max_sessions(3));
    let mut browsers = Vec::new();
    for _ in 0..3 {
        let browser = shop.browser().separate();
        let session = shop.sign_in(&browser).await;
        shop.clock.advance(Duration::from_secs(60));
        browsers.push((browser, session));
    }
    // The first is used again, so the second is the one that has not been used for longest.
    assert_eq!(post(&browsers[0].0, "/refresh").await.status(), 200);
    shop.events();
    let fourth = shop.browser().separate();
    shop.sign_in(&fourth).await;
    assert_eq!(shop.events(), ["signed in ada", "one session of ada too many"]);
    assert_eq!(shop.store.record(&browsers[1].1).await, None);
    assert_eq!(shop.sessions.list("ada").await.unwrap().len(), 3);
    // Signing in again in the place of a session ends no other.
    shop.sign_in(&fourth).await;
    assert_eq!(shop.events(), ["ended ada", "signed in ada"]);

    // A flood of sign-ins of one user, which leaves room for the others.
    let small = MemoryStore::new().with_capacity(20);
    let few = Sessions::<User>::builder(KeyRing::hs256(SECRET).unwrap(), small)
        .with_audience("shop")
        .with_max_sessions(10)
        .build()
        .unwrap();
    let (login, ()) = Request::post("/login").body(()).unwrap().into_parts();
    for _ in 0..100 {
        let _ = few.sign_in(&login, "ada", role("customer")).await.unwrap();
    }
    assert_eq!(few.list("ada").await.unwrap().len(), 10);
    let _ = few.sign_in(&login, "bob", role("customer")).await.expect("there is room for others");

    let none = Sessions::<User>::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new())
        .with_audience("shop")
        .with_max_sessions(0);
    assert!(none.build().unwrap_err().to_string().contains("at least one"));
}
