//! The cookies as they are set and cleared: names, attributes, lifetimes and sizes.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use http::{HeaderMap, Request, Response, header::COOKIE};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, CookiePolicy, MemoryStore, Sessions,
    cookies::SameSite,
    session::{SessionError, SessionsBuilder},
    testing::{Browser, TestClock},
    token::IssueErrorKind,
};

use crate::forge;

/// A `Set-Cookie` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) max_age: u64,
    /// The others, in alphabetical order.
    pub(crate) attributes: BTreeSet<String>,
}

/// The `Set-Cookie` lines of a response in order.
pub(crate) fn set_cookies(headers: &HeaderMap) -> Vec<SetCookie> {
    let lines = headers.get_all("set-cookie").iter().map(|line| line.to_str().expect("ASCII"));
    lines.map(parse).collect()
}

fn parse(line: &str) -> SetCookie {
    let mut parts = line.split("; ");
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a pair");
    let (ages, attributes): (Vec<_>, Vec<_>) = parts.partition(|part| part.starts_with("Max-Age="));
    let [age] = ages[..] else { panic!("one Max-Age: {line}") };
    let shown = attributes.len();
    let attributes: BTreeSet<_> = attributes.into_iter().map(str::to_owned).collect();
    assert_eq!(attributes.len(), shown, "no attribute twice: {line}");
    let max_age = age["Max-Age=".len()..].parse().expect("a number");
    SetCookie { name: name.into(), value: value.into(), max_age, attributes }
}

/// Sessions on a clock that is driven by hand.
pub(crate) fn builder<C>(clock: &TestClock) -> SessionsBuilder<C> {
    Sessions::builder(forge::ring(), MemoryStore::new().with_clock(clock.clone()))
        .with_audience("shop")
        .with_clock(clock.clone())
}

fn with_policy(policy: CookiePolicy) -> Sessions<()> {
    builder(&TestClock::new()).with_cookies(policy).build().expect("a policy without contradictions")
}

/// Signs ada in and returns the cookies that are set.
pub(crate) async fn sign_in(sessions: &Sessions<()>) -> Vec<SetCookie> {
    let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
    let mut headers = HeaderMap::new();
    sessions.sign_in(&parts, "ada", ()).await.expect("signed in").append_to(&mut headers);
    set_cookies(&headers)
}

async fn sign_out(sessions: &Sessions<()>) -> Vec<SetCookie> {
    let (parts, ()) = Request::post("/logout").body(()).expect("a request").into_parts();
    let mut headers = HeaderMap::new();
    sessions.sign_out(&parts).await.expect("signed out").append_to(&mut headers);
    set_cookies(&headers)
}

/// The policies that the tests below go through.
fn policies() -> Vec<(&'static str, CookiePolicy)> {
    let new = CookiePolicy::new;
    vec![
        ("the defaults", new()),
        ("a domain", new().with_domain("shop.example")),
        ("a path", new().with_path("/app")),
        ("a refresh path", new().with_refresh_path("/auth")),
        ("lax", new().with_same_site(SameSite::Lax)),
        ("embedded", new().with_same_site(SameSite::None).with_partitioned()),
        ("other names", new().with_access_name("a").with_refresh_name("r").with_xsrf_name("x")),
        ("no XSRF cookie", new().without_xsrf_cookie()),
        ("local development", new().for_local_http_development()),
    ]
}

#[tokio::test(flavor = "current_thread")]
async fn the_defaults_are_the_strictest_that_work_in_every_browser() {
    let cookies = sign_in(&with_policy(CookiePolicy::new())).await;
    let shown: Vec<_> =
        cookies.iter().map(|cookie| (&*cookie.name, cookie.max_age, cookie.attributes.clone())).collect();
    let http_only = || BTreeSet::from(["HttpOnly", "Path=/", "SameSite=Strict", "Secure"].map(str::to_owned));
    let readable = BTreeSet::from(["Path=/", "SameSite=Strict", "Secure"].map(str::to_owned));
    // Only the record knows the idle expiry.
    let absolute = 90 * 24 * 60 * 60;
    let expected = [
        ("__Host-access", 15 * 60, http_only()),
        ("__Host-refresh", absolute, http_only()),
        ("XSRF-TOKEN", absolute, readable),
    ];
    assert_eq!(shown, expected);
    assert_eq!(CookiePolicy::default(), CookiePolicy::new());
}

#[tokio::test(flavor = "current_thread")]
async fn the_prefix_is_the_strongest_that_the_attributes_allow() {
    let new = CookiePolicy::new;
    let table = [
        ("the defaults", new(), ["__Host-access", "__Host-refresh", "XSRF-TOKEN"]),
        (
            "a domain",
            new().with_domain("shop.example"),
            ["__Secure-access", "__Secure-refresh", "XSRF-TOKEN"],
        ),
        ("a path", new().with_path("/app"), ["__Secure-access", "__Secure-refresh", "XSRF-TOKEN"]),
        (
            "a refresh path",
            new().with_refresh_path("/auth"),
            ["__Host-access", "__Secure-refresh", "XSRF-TOKEN"],
        ),
        (
            "a refresh path of the root",
            new().with_path("/app").with_refresh_path("/"),
            ["__Secure-access", "__Host-refresh", "XSRF-TOKEN"],
        ),
        ("lax", new().with_same_site(SameSite::Lax), ["__Host-access", "__Host-refresh", "XSRF-TOKEN"]),
        ("local development", new().for_local_http_development(), ["access", "refresh", "XSRF-TOKEN"]),
        (
            "names with prefixes, then local development",
            new()
                .with_access_name("__Host-a")
                .with_refresh_name("__secure-r")
                .with_xsrf_name("__Host-x")
                .for_local_http_development(),
            ["a", "r", "x"],
        ),
        (
            "exact names",
            new().with_access_name("__Secure-a").with_refresh_name("r").with_xsrf_name("__Host-x"),
            ["__Secure-a", "r", "__Host-x"],
        ),
    ];
    for (name, policy, expected) in table {
        let insecure = policy == policy.clone().for_local_http_development();
        let cookies = sign_in(&with_policy(policy)).await;
        assert_eq!(cookies.iter().map(|cookie| &*cookie.name).collect::<Vec<_>>(), expected, "{name}");
        for cookie in cookies {
            assert_eq!(cookie.attributes.contains("Secure"), !insecure, "{name}: {cookie:?}");
        }
    }
}

#[test]
fn a_contradiction_is_an_error_with_a_remedy() {
    let new = CookiePolicy::new;
    let local = || new().for_local_http_development();
    let table = [
        (
            "__Host- with a domain",
            new().with_access_name("__Host-a").with_domain("shop.example"),
            "use `__Secure-`",
        ),
        ("__Host- on a path", new().with_refresh_name("__Host-r").with_path("/app"), "use `__Secure-`"),
        (
            "__Host- on a refresh path",
            new().with_refresh_name("__Host-r").with_refresh_path("/r"),
            "use `__Secure-`",
        ),
        (
            "__host- in other case",
            new().with_xsrf_name("__hOST-x").with_domain("shop.example"),
            "use `__Secure-`",
        ),
        ("__Host- without Secure", local().with_access_name("__Host-a"), "no prefix"),
        ("__Secure- without Secure", local().with_access_name("__Secure-a"), "no prefix"),
        ("__SECURE- without Secure", local().with_xsrf_name("__SECURE-x"), "no prefix"),
        ("SameSite=None without Secure", local().with_same_site(SameSite::None), "keep `SameSite=Strict`"),
        ("Partitioned without Secure", local().with_partitioned(), "leave out `with_partitioned`"),
        ("an empty name", new().with_access_name(""), "use letters"),
        ("a name with a space", new().with_access_name("a b"), "use letters"),
        ("a name with an equals sign", new().with_refresh_name("a=b"), "use letters"),
        ("a name with a semicolon", new().with_xsrf_name("a;b"), "use letters"),
        ("a name with a line feed", new().with_xsrf_name("a\r\nb"), "use letters"),
        ("a name beyond ASCII", new().with_access_name("zugäng"), "use letters"),
        ("one name twice", new().with_access_name("a").with_refresh_name("a"), "give each its own"),
        ("the XSRF cookie's name", new().with_access_name("XSRF-TOKEN"), "give each its own"),
        ("a relative path", new().with_path("app"), "start it with `/`"),
        ("an empty path", new().with_path(""), "start it with `/`"),
        ("a path over 1024 bytes", new().with_path(format!("/{}", "a".repeat(1024))), "at most 1024 bytes"),
        ("a refresh path over 1024 bytes", new().with_refresh_path("/a".repeat(513)), "at most 1024 bytes"),
        ("a path with an attribute", new().with_path("/;Domain=evil.example"), "leave out `;`"),
        ("a path with a line feed", new().with_refresh_path("/\r\nSet-Cookie: a=b"), "leave out `;`"),
        ("a domain with a scheme", new().with_domain("https://shop.example"), "the host name alone"),
        ("a domain with a port", new().with_domain("shop.example:8443"), "the host name alone"),
        ("a domain with an attribute", new().with_domain("shop.example; HttpOnly"), "the host name alone"),
        ("an empty domain", new().with_domain(""), "the host name alone"),
        ("a domain of dots", new().with_domain(".."), "the host name alone"),
    ];
    for (name, policy, way_out) in table {
        for policy in [policy.clone(), new().with_former(policy.clone())] {
            let sessions = builder::<()>(&TestClock::new()).with_cookies(policy).build();
            let error = sessions.expect_err(name).to_string();
            assert!(error.contains(way_out), "{name}: {error}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn clearing_repeats_the_name_and_attributes_that_were_set() {
    for (name, policy) in policies() {
        let sessions = with_policy(policy);
        let (set, cleared) = (sign_in(&sessions).await, sign_out(&sessions).await);
        assert!(set.iter().all(|cookie| cookie.max_age > 0 && !cookie.value.is_empty()), "{name}");
        let expected: Vec<_> =
            set.into_iter().map(|cookie| SetCookie { value: String::new(), max_age: 0, ..cookie }).collect();
        assert_eq!(cleared, expected, "{name}");
    }
    let partitioned = sign_in(&with_policy(policies().swap_remove(5).1)).await;
    assert!(partitioned.iter().all(|cookie| cookie.attributes.contains("Partitioned")), "{partitioned:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn cookies_of_former_policies_are_cleared_as_they_were_set() {
    for (name, former) in policies() {
        let set = sign_in(&with_policy(former.clone())).await;
        let oldest = CookiePolicy::new().with_access_name("oldest").with_path("/old");
        let policy = CookiePolicy::new().with_access_name("now").with_former(former.with_former(oldest));
        let cleared = sign_out(&with_policy(policy)).await;
        for cookie in set {
            let expected = SetCookie { value: String::new(), max_age: 0, ..cookie };
            assert!(cleared.contains(&expected), "{name}: {expected:?}");
        }
        assert!(cleared.iter().any(|cookie| cookie.name == "now"), "{name}: the present one");
        let oldest = cleared.iter().find(|cookie| cookie.name == "oldest").expect("the oldest one");
        assert!(oldest.attributes.contains("Path=/old"), "{name}: {oldest:?}");
    }
}

/// Browsers without support for `Partitioned` see one cookie: there, what is set must come last.
#[tokio::test(flavor = "current_thread")]
async fn unpartitioned_twins_are_cleared_before_partitioned_cookies_are_set() {
    let plain = CookiePolicy::new;
    for (name, policy, former) in [
        ("now partitioned", plain().with_partitioned(), plain()),
        ("no longer partitioned", plain(), plain().with_partitioned()),
    ] {
        let former_cookies = sign_in(&with_policy(former.clone())).await;
        let lines = sign_in(&with_policy(policy.with_former(former))).await;
        let (cleared, set): (Vec<_>, Vec<_>) = lines.iter().cloned().partition(|cookie| cookie.max_age == 0);
        let twins: Vec<_> = former_cookies
            .into_iter()
            .map(|cookie| SetCookie { value: String::new(), max_age: 0, ..cookie })
            .collect();
        assert_eq!(cleared, twins, "{name}");
        assert_eq!(lines, [cleared, set.clone()].concat(), "{name}: what is set comes last");
        assert_eq!(set.len(), 3, "{name}");
    }
}

/// An application with sign-in, sign-out, and a page that shows the user.
pub(crate) fn shop(
    sessions: Sessions<()>,
) -> impl Service<Request<String>, Response = Response<String>, Error = Infallible> + Clone {
    let page = sessions.layer().layer(service_fn(|request: Request<String>| async move {
        let claims = request.extensions().get::<Claims<()>>();
        Ok::<_, Infallible>(Response::new(claims.and_then(Claims::subject).unwrap_or("anonymous").to_owned()))
    }));
    service_fn(move |request: Request<String>| {
        let (sessions, page) = (sessions.clone(), page.clone());
        async move {
            let (parts, body) = request.into_parts();
            let mut response = Response::new(String::new());
            match parts.uri.path() {
                "/login" => {
                    let signed_in = sessions.sign_in(&parts, "ada", ()).await.expect("signed in");
                    signed_in.append_to(response.headers_mut());
                }
                "/logout" => {
                    let signed_out = sessions.sign_out(&parts).await.expect("signed out");
                    signed_out.append_to(response.headers_mut());
                }
                _ => return page.oneshot(Request::from_parts(parts, body)).await,
            }
            Ok(response)
        }
    })
}

#[tokio::test(flavor = "current_thread")]
async fn a_browser_keeps_nothing_after_sign_out() {
    for (name, policy) in policies() {
        if matches!(name, "a path" | "a refresh path") {
            continue; // the test's own routes are on the root
        }
        let clock = TestClock::new();
        let sessions = builder(&clock).with_cookies(policy).build().expect("sessions");
        let browser = Browser::new(shop(sessions)).with_clock(clock);
        browser.post("/login").send().await.expect("infallible");
        let response = browser.get("/").send().await.expect("infallible");
        assert_eq!(forge::outcome(&response), "ada", "{name}");
        browser.post("/logout").send().await.expect("infallible");
        assert!(format!("{browser:?}").contains("cookies: []"), "{name}: {browser:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_of_domain_locks_no_user_out() {
    let clock = TestClock::new();
    let names = || CookiePolicy::new().with_access_name("access").with_refresh_name("refresh");
    let former = names().with_domain("shop.example");
    let old = builder(&clock).with_cookies(former.clone()).build().expect("sessions");
    let new = builder(&clock).with_cookies(names().with_former(former)).build().expect("sessions");
    let browser = Browser::new(shop(old)).with_clock(clock.clone());
    browser.post("/login").send().await.expect("infallible");
    let response = browser.get("/").send().await.expect("infallible");
    assert_eq!(forge::outcome(&response), "ada", "before");

    // The application is deployed with the new policy, and the user signs in again.
    let old_cookies = [("access", browser.cookie("access")), ("refresh", browser.cookie("refresh"))];
    let browser = Browser::new(shop(new)).with_clock(clock.clone());
    for (name, value) in old_cookies {
        let line = format!("{name}={}; Domain=shop.example; Path=/; Secure; HttpOnly", value.expect("held"));
        assert!(browser.set_cookie(&line), "{name}");
    }
    browser.post("/login").send().await.expect("infallible");
    for wait in [0, 60 * 60, 24 * 60 * 60] {
        clock.advance(Duration::from_secs(wait));
        let response = browser.get("/").send().await.expect("infallible");
        assert_eq!(forge::outcome(&response), "ada", "{wait} s later");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn max_age_is_what_the_token_has_left() {
    let days = |days: u64| Duration::from_secs(days * 24 * 60 * 60);
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    // Access, idle and absolute lifetime, then what remains for access and refresh cookie.
    let table = [
        ("the defaults", minutes(15), days(14), days(90), minutes(15), days(90)),
        ("idle beyond absolute", minutes(15), days(90), days(7), minutes(15), days(7)),
        ("access beyond absolute", days(14), days(14), days(7), days(7), days(7)),
        ("access as long as idle", days(14), days(14), days(90), days(14), days(90)),
        ("seconds", Duration::from_secs(1), minutes(2), minutes(3), Duration::from_secs(1), minutes(3)),
    ];
    for (name, access, idle, absolute, access_age, refresh_age) in table {
        let sessions = builder::<()>(&TestClock::new())
            .with_access_lifetime(access)
            .with_idle_lifetime(idle)
            .with_absolute_lifetime(absolute)
            .build()
            .expect("sessions");
        let ages: Vec<_> = sign_in(&sessions).await.iter().map(|cookie| cookie.max_age).collect();
        let expected = [access_age, refresh_age, refresh_age].map(|age| age.as_secs());
        assert_eq!(ages, expected, "{name}: access, refresh, XSRF");
    }
}

/// Sessions whose access cookie has a name of this length.
fn named(len: usize) -> Sessions<Value> {
    let policy = CookiePolicy::new().with_access_name("a".repeat(len));
    builder(&TestClock::new()).with_cookies(policy).build().expect("sessions")
}

#[tokio::test(flavor = "current_thread")]
async fn name_and_value_over_4096_bytes_are_an_error_when_issuing() {
    let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
    let big = json!({ "note": "A".repeat(2500) });
    let mut headers = HeaderMap::new();
    named(1).sign_in(&parts, "ada", big.clone()).await.expect("signed in").append_to(&mut headers);
    let value = set_cookies(&headers).swap_remove(0).value.len();
    for (len, fits) in [(4095, true), (4096, true), (4097, false)] {
        let sessions = named(len - value);
        match sessions.sign_in(&parts, "ada", big.clone()).await {
            Ok(_) => assert!(fits, "{len}"),
            Err(SessionError::Issue(error)) => {
                assert!(!fits, "{len}: {error}");
                assert_eq!(*error.kind(), IssueErrorKind::CookieTooLarge { len });
                assert!(sessions.list("ada").await.expect("a list").is_empty(), "nothing is stored");
            }
            Err(error) => panic!("{len}: {error}"),
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_sign_in_that_cannot_be_issued_keeps_the_current_session() {
    let sessions = named(1);
    let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
    let mut headers = HeaderMap::new();
    sessions.sign_in(&parts, "ada", json!({})).await.expect("signed in").append_to(&mut headers);
    let cookies: Vec<_> =
        set_cookies(&headers).iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
    let request = Request::post("/login").header(COOKIE, cookies.join("; ")).body(()).expect("a request");
    let (parts, ()) = request.into_parts();
    let refused = sessions.sign_in(&parts, "ada", json!({ "note": "A".repeat(4096) })).await;
    assert!(matches!(refused, Err(SessionError::Issue(_))), "{refused:?}");
    assert_eq!(
        sessions.list("ada").await.expect("a list").len(),
        1,
        "the cookies are still there, and so is it"
    );
}
