//! Responses that set or clear cookies: no cache stores them, the handler's own cookies win, and only cookies
//! that have become useless are cleared.

use std::{convert::Infallible, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, header::COOKIE};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, reject::reject_fn, testing::TestClock};

use crate::{
    cookies::{SetCookie, builder, set_cookies, sign_in},
    forge::{self, forged},
    store::TestStore,
};

const HOUR: Duration = Duration::from_secs(3600);

/// What some shared caches obey instead of `Cache-Control`.
const OVERRIDING: [&str; 9] = [
    "cdn-cache-control",
    "cloudflare-cdn-cache-control",
    "vercel-cdn-cache-control",
    "akamai-cache-control",
    "x-litespeed-cache-control",
    "surrogate-control",
    "edge-control",
    "x-accel-expires",
    "expires",
];

/// Returns the headers of a cacheable page.
fn cacheable() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.append("cache-control", HeaderValue::from_static("public, max-age=600"));
    headers.append("cache-control", HeaderValue::from_static("immutable"));
    for name in OVERRIDING {
        headers.append(name, HeaderValue::from_static("600"));
    }
    headers.append("etag", HeaderValue::from_static("\"1\""));
    headers
}

#[track_caller]
fn assert_not_stored(headers: &HeaderMap, name: &str) {
    let control: Vec<_> = headers.get_all("cache-control").iter().collect();
    assert_eq!(control, ["no-store"], "{name}");
    for other in OVERRIDING {
        assert!(!headers.contains_key(other), "{name}: {other}");
    }
    assert!(headers.contains_key("etag"), "{name}: what does not matter stays");
}

fn names(headers: &HeaderMap) -> Vec<String> {
    set_cookies(headers).into_iter().map(|cookie| cookie.name).collect()
}

fn pairs(cookies: &[SetCookie]) -> String {
    let pairs: Vec<_> = cookies.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    pairs.join("; ")
}

fn request(cookie: &str) -> Request<()> {
    Request::get("/").header(COOKIE, cookie).body(()).expect("a request")
}

#[tokio::test(flavor = "current_thread")]
async fn responses_with_session_cookies_are_never_cached() {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let (parts, ()) = Request::post("/").body(()).expect("a request").into_parts();
    let mut headers = cacheable();
    sessions.sign_in(&parts, "ada", ()).await.expect("signed in").append_to(&mut headers);
    assert_not_stored(&headers, "sign-in");
    let cookies = pairs(&set_cookies(&headers));
    let mut headers = cacheable();
    sessions.sign_out(&parts).await.expect("signed out").append_to(&mut headers);
    assert_not_stored(&headers, "sign-out");

    let page = service_fn(|_: Request<()>| async {
        let mut response = Response::new(String::new());
        *response.headers_mut() = cacheable();
        Ok::<_, Infallible>(response)
    });
    let service = sessions.layer().layer(page);
    let response = service.clone().oneshot(request(&cookies)).await.expect("infallible");
    assert_eq!(*response.headers(), cacheable(), "without session cookies nothing changes");
    clock.advance(HOUR);
    let response = service.clone().oneshot(request(&cookies)).await.expect("infallible");
    assert_eq!(names(response.headers()), ["__Host-access", "__Host-refresh", "XSRF-TOKEN"]);
    assert_not_stored(response.headers(), "a rotation");
    let unseen = pairs(&sign_in(&sessions).await[1..]);
    let response = service.oneshot(request(&unseen)).await.expect("infallible");
    assert_eq!(names(response.headers()), ["__Host-access", "XSRF-TOKEN"]);
    assert_not_stored(response.headers(), "only an access token");
    clock.advance(100 * 24 * HOUR);
    let optional = sessions.layer().optional().layer(page);
    let response = optional.oneshot(request(&cookies)).await.expect("infallible");
    assert_eq!(*response.headers(), cacheable(), "nothing is cleared on an answer that a handler has made");
    let refused = reject_fn(|refusal, _| {
        let mut response = Response::new(String::new());
        *response.status_mut() = refusal.status();
        *response.headers_mut() = cacheable();
        response
    });
    let required = sessions.layer().with_rejection(refused).layer(page);
    let response = required.oneshot(request(&cookies)).await.expect("infallible");
    let cleared = set_cookies(response.headers());
    assert!(cleared.len() == 3 && cleared.iter().all(|cookie| cookie.max_age == 0), "{cleared:?}");
    assert_not_stored(response.headers(), "clearing");
}

#[tokio::test(flavor = "current_thread")]
async fn cookies_set_or_cleared_by_the_handler_override_those_of_the_layers() {
    let lines: [(&str, &'static [&'static str], [bool; 3]); 6] = [
        ("nothing", &[], [true, true, true]),
        ("a foreign one", &["theme=dark; Path=/"], [true, true, true]),
        ("the access cookie", &["__Host-access=own; Path=/; Secure"], [false, true, true]),
        ("a cleared refresh cookie", &["__Host-refresh=; Max-Age=0; Path=/; Secure"], [true, false, true]),
        ("without a value", &["XSRF-TOKEN"], [true, true, false]),
        (
            "all of them",
            &["__Host-access=a; Path=/; Secure", "__Host-refresh=b; Path=/; Secure", "XSRF-TOKEN=c"],
            [false, false, false],
        ),
    ];
    for (name, own, by_layer) in lines {
        let clock = TestClock::new();
        let sessions = builder::<()>(&clock).build().expect("sessions");
        let cookies = pairs(&sign_in(&sessions).await);
        let service = sessions.layer().layer(service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(String::new());
            for line in own {
                response.headers_mut().append("set-cookie", HeaderValue::from_static(line));
            }
            Ok::<_, Infallible>(response)
        }));
        clock.advance(HOUR);
        service.clone().oneshot(request(&cookies)).await.expect("infallible");
        clock.advance(HOUR);
        let response = service.oneshot(request(&cookies)).await.expect("infallible");
        let lines: Vec<_> = response
            .headers()
            .get_all("set-cookie")
            .iter()
            .map(|line| line.to_str().expect("ASCII"))
            .collect();
        assert_eq!(&lines[..own.len()], own, "{name}: the handler's stay as they are");
        let added: Vec<_> =
            lines[own.len()..].iter().map(|line| line.split('=').next().expect("a name")).collect();
        let expected: Vec<_> = ["__Host-access", "__Host-refresh", "XSRF-TOKEN"]
            .into_iter()
            .zip(by_layer)
            .filter_map(|(name, set)| set.then_some(name))
            .collect();
        assert_eq!(added, expected, "{name}");
    }
}

/// Sessions, their store, and four refresh cookies: of two fresh sign-ins, of a session that has been signed
/// out, and of a generation that has been superseded.
struct Scene {
    sessions: Sessions<()>,
    store: TestStore,
    clock: TestClock,
    fresh: String,
    other: String,
    revoked: String,
    superseded: String,
}

async fn scene() -> Scene {
    let clock = TestClock::new();
    let store = TestStore::new(&clock);
    let sessions = Sessions::<()>::builder(forge::ring(), store.clone())
        .with_audience("shop")
        .with_clock(clock.clone())
        .build()
        .expect("sessions");
    let superseded = pairs(&sign_in(&sessions).await[1..2]);
    let service = sessions.layer().layer(forge::whoami());
    let mut held = superseded.clone();
    for _ in 0..6 {
        clock.advance(HOUR);
        let response = service.clone().oneshot(request(&held)).await.expect("infallible");
        assert_eq!(forge::outcome(&response), "ada");
        let set = set_cookies(response.headers());
        if let Some(next) = set.iter().find(|cookie| &*cookie.name == "__Host-refresh") {
            held = pairs(std::slice::from_ref(next));
        }
    }
    assert_ne!(held, superseded, "it has been rotated");
    let revoked = pairs(&sign_in(&sessions).await[1..2]);
    let ended = sessions.list("ada").await.expect("a list").pop().expect("the newest");
    assert!(sessions.revoke("ada", ended.id.as_str()).await.expect("revoked"));
    let fresh = pairs(&sign_in(&sessions).await[1..2]);
    let other = pairs(&sign_in(&sessions).await[1..2]);
    Scene { sessions, store, clock, fresh, other, revoked, superseded }
}

fn refresh_by(ring: &str, sid: &str, exp: u64) -> String {
    let payload =
        json!({ "aud": "shop", "sid": sid, "jti": "0.AAAAAAAAAAAAAAAAAAAAAA", "iat": 1, "exp": exp })
            .to_string();
    let header = r#"{"alg":"HS256","typ":"refresh+jwt"}"#;
    format!("__Host-refresh={}", forge::hs256(ring.as_bytes(), header, payload))
}

/// A request by refresh cookie, and its answer.
struct Case {
    name: &'static str,
    cookie: String,
    headers: &'static [(&'static str, &'static str)],
    later: Duration,
    down: bool,
    expected: &'static str,
    clears: bool,
}

async fn cases(scene: &Scene) -> Vec<Case> {
    const UNKNOWN: &str = "another secret of at least 32 bytes";
    const LATE: u64 = 4_102_444_800;
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const CROSS: &[(&str, &str)] = &[("sec-fetch-site", "cross-site")];
    const LINK: &[(&str, &str)] =
        &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
    let own = std::str::from_utf8(forge::SECRET).expect("ASCII");
    let Scene { sessions, fresh, other, revoked, superseded, .. } = scene;
    let id = sessions.list("ada").await.expect("a list").pop().expect("a session").id;
    let tampered = format!("__Host-refresh={}", forged(fresh.split_once('=').expect("a pair").1));
    let both = format!("{fresh}; {other}");
    let kept = |name, cookie: &str, expected| Case {
        name,
        cookie: cookie.to_owned(),
        headers: &[],
        later: HOUR,
        down: false,
        expected,
        clears: false,
    };
    let outage = |name, cookie, expected| Case { down: true, ..kept(name, cookie, expected) };
    let from = |headers, name, cookie, expected| Case { headers, ..kept(name, cookie, expected) };
    let cleared = |name, cookie, expected| Case { clears: true, ..kept(name, cookie, expected) };
    let idle = |case| Case { later: DAY * 15, ..case };
    let expired = |case| Case { later: DAY * 91, ..case };
    vec![
        kept("a good one", fresh, "ada"),
        kept("none", "theme=dark", "token_missing"),
        kept("of an unknown key", &refresh_by(UNKNOWN, "s", LATE), "token_missing"),
        kept("of an unknown key, expired", &refresh_by(UNKNOWN, "s", 1), "token_missing"),
        kept("tampered with", &tampered, "token_missing"),
        kept("garbage", "__Host-refresh=x", "token_missing"),
        kept("with a wrong secret", &refresh_by(own, id.as_str(), LATE), "token_invalid"),
        kept("of two sessions", &both, "token_ambiguous"),
        outage("of two sessions, in an outage", &both, "unavailable"),
        outage("in an outage", fresh, "unavailable"),
        outage("revoked, in an outage", revoked, "unavailable"),
        from(CROSS, "revoked, cross-site", revoked, "token_missing"),
        from(LINK, "revoked, by a link", revoked, "session_revoked"),
        expired(from(CROSS, "expired, cross-site", fresh, "token_missing")),
        expired(from(LINK, "expired, by a link", fresh, "token_missing")),
        cleared("revoked", revoked, "session_revoked"),
        cleared("superseded", superseded, "session_revoked"),
        idle(cleared("idle for too long", fresh, "session_revoked")),
        idle(from(LINK, "idle for too long, by a link", fresh, "session_revoked")),
        expired(cleared("expired", fresh, "token_missing")),
    ]
}

#[tokio::test(flavor = "current_thread")]
async fn only_useless_cookies_of_these_sessions_are_cleared() {
    for index in 0..cases(&scene().await).await.len() {
        // Each case begins anew: some of them end sessions.
        let scene = scene().await;
        let Case { name, cookie, headers, later, down, expected, clears } =
            cases(&scene).await.swap_remove(index);
        scene.clock.advance(later);
        scene.store.set_down(down);
        let mut request = request(&cookie);
        for (name, value) in headers {
            request.headers_mut().insert(*name, HeaderValue::from_static(value));
        }
        let service = scene.sessions.layer().layer(forge::whoami());
        let response = service.oneshot(request).await.expect("infallible");
        assert_eq!(forge::outcome(&response), expected, "{name}");
        let set = set_cookies(response.headers());
        let cleared: Vec<_> =
            set.iter().filter(|cookie| cookie.max_age == 0).map(|cookie| &*cookie.name).collect();
        let all = ["__Host-access", "__Host-refresh", "XSRF-TOKEN"];
        assert_eq!(cleared, if clears { &all[..] } else { &[] }, "{name}");
        assert!(expected == "ada" || cleared.len() == set.len(), "{name}: nothing is set without a user");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_unusable_access_cookie_clears_nothing() {
    let sessions = builder::<()>(&TestClock::new()).build().expect("sessions");
    let foreign = KeyRing::hs256([7; 32]).expect("a secret");
    let foreign =
        Sessions::<()>::builder(foreign, MemoryStore::new()).with_audience("shop").build().expect("sessions");
    let cookies = sign_in(&foreign).await;
    for (name, cookie) in [("only access", pairs(&cookies[..1])), ("all", pairs(&cookies))] {
        let response =
            sessions.layer().layer(forge::whoami()).oneshot(request(&cookie)).await.expect("infallible");
        assert_eq!(forge::outcome(&response), "token_invalid", "{name}");
        assert!(set_cookies(response.headers()).is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn among_refresh_cookies_of_one_session_the_highest_generation_wins() {
    for reversed in [false, true] {
        let clock = TestClock::new();
        let sessions = builder::<()>(&clock).build().expect("sessions");
        let service = sessions.layer().layer(forge::whoami());
        let mut held = vec![pairs(&sign_in(&sessions).await[1..2])];
        for _ in 0..8 {
            clock.advance(HOUR);
            let mut cookies = held.clone();
            if reversed {
                cookies.reverse();
            }
            let response = service.clone().oneshot(request(&cookies.join("; "))).await.expect("infallible");
            assert_eq!(forge::outcome(&response), "ada", "{} cookies, reversed: {reversed}", held.len());
            let set = set_cookies(response.headers());
            let refresh = set.iter().find(|cookie| &*cookie.name == "__Host-refresh");
            match refresh {
                Some(next) if held.len() < 4 => held.push(pairs(std::slice::from_ref(next))),
                Some(_) => break, // one more would be over the signature checks of a request
                None => {}
            }
        }
        assert_eq!(held.len(), 4, "it was rotated often enough");
    }
}
