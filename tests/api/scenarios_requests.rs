//! The scenarios of `scenarios.rs` that are about one request: XSRF, cookies and claims.

use std::time::Duration;

use http::{Request, Response};
use serde_json::json;
use tower_cookie_jwt::{
    Clock, CookiePolicy, KeyRing, MemoryStore, Sessions, Verifier,
    session::SessionError,
    testing::TestClock,
    token::{IssueErrorKind, TokenErrorKind},
};

use crate::shop::*;

/// A browser with this access cookie and nothing else.
fn bearing(browser: &Shopper, access: &str) -> Shopper {
    let other = browser.separate();
    assert!(other.set_cookie(&format!("{ACCESS}={access}; Path=/; Secure")));
    other
}

async fn signed_in() -> (Shop, Shopper) {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    (shop, browser)
}

async fn with_cookie(browser: &Shopper, cookie: &str) -> Answer {
    let Ok(response) = browser.get("/me").header("cookie", cookie).send().await;
    response
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_percent_encoded() {
    let (shop, browser) = signed_in().await;
    for _ in 0..50 {
        shop.sign_in(&browser).await;
        let value = browser.script_cookie(XSRF).unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(value.chars().all(plain), "{value} is the same encoded and decoded");
    }
    assert_eq!(post(&browser, "/order").await.status(), 200);
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_header_case() {
    let (_, browser) = signed_in().await;
    let value = browser.script_cookie(XSRF).unwrap();
    for name in ["x-xsrf-token", "X-XSRF-TOKEN", "X-Xsrf-Token"] {
        let Ok(response) = browser.post("/order").header(name, &value).send().await;
        assert_eq!(response.status(), 200, "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_old_token_after_relogin() {
    let (shop, browser) = signed_in().await;
    let old = browser.script_cookie(XSRF).unwrap();
    post(&browser, "/logout").await;
    shop.sign_in(&browser).await;
    browser.set_cookie(&format!("{XSRF}={old}; Path=/; Secure"));
    let response = post(&browser, "/order").await;
    assert_eq!((response.status().as_u16(), code(&response)), (403, "xsrf_mismatch".into()));
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_other_tab_stale_after_login() {
    let (shop, browser) = signed_in().await;
    let stale = browser.script_cookie(XSRF).unwrap();
    shop.sign_in(&browser.clone()).await;
    let Ok(response) = browser.post("/order").with_xsrf_value(&stale).send().await;
    assert_eq!((response.status().as_u16(), code(&response)), (403, "xsrf_mismatch".into()));
    assert_eq!(post(&browser, "/order").await.status(), 200, "with the cookie read afresh");
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_cookie_tossing() {
    let (_, browser) = signed_in().await;
    assert!(browser.toss(&format!("{XSRF}=evil; Domain=shop.example; Path=/order; Secure")));
    let Ok(response) = browser.post("/order").with_xsrf_value("evil").send().await;
    assert_eq!(response.status(), 403);
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn xsrf_signed_but_unbound() {
    let (shop, browser) = signed_in().await;
    let attacker = browser.separate();
    shop.sign_in(&attacker).await;
    let value = attacker.script_cookie(XSRF).unwrap();
    browser.toss(&format!("{XSRF}={value}; Domain=shop.example; Path=/order; Secure"));
    let Ok(response) = browser.post("/order").with_xsrf_value(&value).send().await;
    assert_eq!(response.status(), 403, "good in another session only");
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn http2_cookie_crumbs() {
    let (shop, browser) = signed_in().await;
    let Ok(response) = browser.post("/order").with_xsrf().http2().send().await;
    assert_eq!(text(&response), "ada customer 0");
    let mut crumbs = [ACCESS, REFRESH, XSRF].map(|name| format!("{name}={}", browser.cookie(name).unwrap()));
    for turn in 0..3 {
        crumbs.rotate_left(1);
        let ask = crumbs.iter().fold(browser.get("/me"), |ask, crumb| ask.header("cookie", crumb));
        let Ok(response) = ask.send().await;
        assert_eq!(text(&response), "ada customer 0", "turn {turn}");
    }
    drop(shop);
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn http2_safari_first_only() {
    let (_, browser) = signed_in().await;
    let access = format!("{ACCESS}={}", browser.cookie(ACCESS).unwrap());
    let Ok(response) =
        browser.get("/me").header("cookie", "theme=dark").header("cookie", access).send().await;
    assert_eq!(response.status(), 200);
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn same_name_two_domains() {
    let (shop, browser) = signed_in().await;
    let access = browser.cookie(ACCESS).unwrap();
    let bad = forged(&access);
    let response = with_cookie(&browser, &format!("{ACCESS}={bad}; {ACCESS}={access}")).await;
    assert_eq!(response.status(), 200, "the one that verifies");
    let other = browser.separate();
    shop.sign_in(&other).await;
    let both = format!("{ACCESS}={access}; {ACCESS}={}", other.cookie(ACCESS).unwrap());
    let response = with_cookie(&browser, &both).await;
    assert_eq!((response.status().as_u16(), code(&response)), (401, "token_ambiguous".into()));
    assert_eq!(cookies(&response), NONE);
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn duplicate_order_not_reliable() {
    let (shop, browser) = signed_in().await;
    let good = browser.cookie(ACCESS).unwrap();
    let other = browser.separate();
    shop.sign_in(&other).await;
    let cases = [("forged", forged(&good), 200), ("another session", other.cookie(ACCESS).unwrap(), 401)];
    for (name, second, status) in cases {
        for pair in [[&good, &second], [&second, &good]] {
            let response =
                with_cookie(&browser, &format!("{ACCESS}={}; {ACCESS}={}", pair[0], pair[1])).await;
            assert_eq!(response.status(), status, "{name}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn one_byte_over() {
    let (parts, ()) = Request::post("https://shop.example/login").body(()).unwrap().into_parts();
    let length = async |name_length: usize| {
        let keys = KeyRing::hs256(SECRET).unwrap();
        let cookies = CookiePolicy::new().with_access_name("a".repeat(name_length));
        let builder =
            Sessions::<User>::builder(keys, MemoryStore::new()).with_audience("shop").with_cookies(cookies);
        let sessions = builder.with_clock(TestClock::new()).build().unwrap();
        sessions.sign_in(&parts, "ada", role(&"x".repeat(2000))).await.map(|signed_in| {
            let mut response = Response::new(());
            signed_in.append_to(response.headers_mut());
            let line = response.headers()["set-cookie"].to_str().unwrap();
            line.split(';').next().unwrap().len() - "=".len()
        })
    };
    let value = length(1).await.unwrap() - 1;
    for (total, fits) in [(4095, true), (4096, true), (4097, false)] {
        match length(total - value).await {
            Ok(len) => assert!(fits && len == total, "{total}: {len}"),
            Err(SessionError::Issue(error)) => {
                assert!(!fits, "{total}");
                assert_eq!(error.kind(), &IssueErrorKind::CookieTooLarge { len: total });
            }
            Err(error) => panic!("{total}: {error}"),
        }
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn strict_samesite_first_navigation() {
    let (_, browser) = signed_in().await;
    let Ok(response) = browser.get("/me").cross_site().navigation().send().await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (401, vec![]));
    assert_eq!(get(&browser, "/me").await.status(), 200, "a same-site retry works");
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn secure_cookie_http_localhost_safari() {
    let local = CookiePolicy::new().for_local_http_development();
    let shop = Shop::unbindable(|builder| builder.with_cookies(local.clone()));
    let browser = shop.browser().with_origin("http://127.0.0.1:3000");
    let response = post(&browser, "/login").await;
    for line in response.headers().get_all("set-cookie") {
        let line = line.to_str().unwrap();
        assert!(!line.contains("; Secure") && !line.starts_with("__"), "{line}");
    }
    assert_eq!(post(&browser, "/order").await.status(), 200);
    let contradictions = [
        local.with_access_name("__Host-access"),
        CookiePolicy::new().with_access_name("__Host-access").with_domain("shop.example"),
    ];
    for policy in contradictions {
        let keys = KeyRing::hs256(SECRET).unwrap();
        let built = Sessions::<User>::builder(keys, MemoryStore::new())
            .with_audience("shop")
            .with_cookies(policy)
            .build();
        assert!(built.unwrap_err().to_string().contains("__Host-"));
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn clock_skew_two_servers() {
    let (shop, browser) = signed_in().await;
    let token = resign(&browser.cookie(ACCESS).unwrap(), |claims| claims["nbf"] = claims["iat"].clone());
    for (behind, accepted) in [(1, true), (30, true), (31, false)] {
        let clock = TestClock::at(shop.clock.now() - Duration::from_secs(behind));
        let verifier = Verifier::<User>::builder(KeyRing::hs256(SECRET).unwrap())
            .with_clock(clock)
            .build()
            .expect("the settings agree");
        assert_eq!(verifier.verify(&token).is_ok(), accepted, "{behind} s behind");
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn string_nbf_bypass() {
    let (_, browser) = signed_in().await;
    for nbf in [json!("4102444799"), json!("1700000000")] {
        let token = resign(&browser.cookie(ACCESS).unwrap(), |claims| claims["nbf"] = nbf.clone());
        assert_eq!(get(&bearing(&browser, &token), "/me").await.status(), 401, "{nbf}");
    }
}

#[tokio::test(flavor = "current_thread")]
pub(crate) async fn nbf_off_by_default() {
    let (shop, browser) = signed_in().await;
    let now = payload(&browser.cookie(ACCESS).unwrap())["iat"].as_u64().unwrap();
    for (ahead, kind) in [(31, Some(TokenErrorKind::NotYetValid)), (30, None), (0, None)] {
        let token = resign(&browser.cookie(ACCESS).unwrap(), |claims| claims["nbf"] = json!(now + ahead));
        let status = if kind.is_some() { 401 } else { 200 };
        assert_eq!(get(&bearing(&browser, &token), "/me").await.status(), status, "{ahead} s ahead");
        let verifier = Verifier::<User>::builder(KeyRing::hs256(SECRET).unwrap())
            .with_clock(shop.clock.clone())
            .build()
            .expect("the settings agree");
        assert_eq!(verifier.verify(&token).err().map(|error| error.kind()), kind, "{ahead} s ahead");
    }
}
