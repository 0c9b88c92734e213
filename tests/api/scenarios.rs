//! Problems of other libraries, as described in `tests/vectors/scenarios.json`: one test each,
//! of the scenario's name. Where the design knows better than the vector's `expected`, the design holds.

use std::time::Duration;

use http::{HeaderValue, Method};
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{CookiePolicy, cookies::SameSite, reject::ProblemJson};

use crate::{scenarios_requests::*, shop::*};

macro_rules! tests_named {
    ($($name:ident)*) => { [$((stringify!($name), $name as fn())),*] };
}

#[test]
fn every_scenario_has_a_test_of_its_name() {
    let told = tests_named! {
        two_tabs_same_token race_loser_renders_signed_out single_slot_hash delete_on_use_no_grace
        cancelled_request reuse_kills_every_device successor_used_closes_grace mobile_app_switch
        logout_races_refresh_commit rolling_cookie_revives_session rolling_write_recreates_store_row
        logout_missing_domain_payload logout_duplicate_instead_of_delete logout_with_expired_access
        logout_only_clears_cookie refresh_401_loop preflight_401 options_is_not_always_preflight
        cors_error_lacks_headers xsrf_percent_encoded xsrf_header_case xsrf_old_token_after_relogin
        xsrf_other_tab_stale_after_login xsrf_cookie_tossing xsrf_signed_but_unbound
        http2_cookie_crumbs http2_safari_first_only same_name_two_domains duplicate_order_not_reliable
        one_byte_over strict_samesite_first_navigation secure_cookie_http_localhost_safari
        clock_skew_two_servers string_nbf_bypass nbf_off_by_default
    };
    let vectors: Value = serde_json::from_str(include_str!("../vectors/scenarios.json")).unwrap();
    let scenarios = vectors["scenarios"].as_array().unwrap();
    for scenario in scenarios {
        let name = scenario["name"].as_str().unwrap();
        assert!(told.iter().any(|(test, _)| *test == name), "{name} has no test");
    }
    assert_eq!(scenarios.len(), told.len(), "and no test is without a scenario");
}

async fn signed_in() -> (Shop, Shopper) {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    (shop, browser)
}

#[tokio::test(flavor = "current_thread")]
async fn two_tabs_same_token() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let late = holder(&browser, &browser.cookie(REFRESH).unwrap());
    assert_eq!(post(&browser, "/refresh").await.status(), 200);
    shop.clock.advance(Duration::from_millis(20));
    assert_eq!(post(&late, "/refresh").await.status(), 200);
    let ids = [&browser, &late].map(|tab| payload(&tab.cookie(REFRESH).unwrap())["jti"].clone());
    assert_eq!(ids[0], ids[1], "the same successor");
    shop.settle(&late).await;
    assert_eq!(post(&late, "/refresh").await.status(), 200, "the jar ends with a live token");
    assert_eq!(shop.generation(&session).await, Some(2));
}

#[tokio::test(flavor = "current_thread")]
async fn race_loser_renders_signed_out() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    shop.events();
    let tabs: Vec<_> = (0..6).map(|_| browser.clone()).collect();
    let answers = futures_util::future::join_all(tabs.iter().map(|tab| get(tab, "/me"))).await;
    for (tab, answer) in answers.iter().enumerate() {
        assert_eq!(text(answer), "ada customer 1", "request {tab}");
    }
    assert_eq!((shop.events(), shop.generation(&session).await), (vec!["rotated to 1".into()], Some(1)));
}

#[tokio::test(flavor = "current_thread")]
async fn single_slot_hash() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let (one, two) = (browser.clone(), holder(&browser, &browser.cookie(REFRESH).unwrap()));
    let (first, second) = tokio::join!(get(&one, "/me"), post(&two, "/refresh"));
    assert_eq!((cookies(&first).len(), cookies(&second).len()), (3, 3));
    assert_eq!(payload(&one.cookie(REFRESH).unwrap())["jti"], payload(&two.cookie(REFRESH).unwrap())["jti"]);
    assert_eq!(shop.generation(&session).await, Some(1), "one rotation commits");
}

#[tokio::test(flavor = "current_thread")]
async fn delete_on_use_no_grace() {
    let shop = Shop::new();
    let (browser, _) = shop.settled().await;
    let (second, third) = {
        let old = browser.cookie(REFRESH).unwrap();
        (holder(&browser, &old), holder(&browser, &old))
    };
    get(&browser, "/me").await;
    assert_eq!(get(&second, "/me").await.status(), 200, "still in flight");
    get(&browser, "/me").await;
    shop.clock.advance(GRACE);
    assert_eq!(get(&third, "/me").await.status(), 401, "reuse once the successor is settled");
}

#[tokio::test(flavor = "current_thread")]
async fn cancelled_request() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    browser.post("/refresh").send_and_lose().await;
    assert_eq!(shop.generation(&session).await, Some(1), "it was committed");
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
    assert_eq!(text(&get(&browser, "/me").await), "ada customer 1");
}

#[tokio::test(flavor = "current_thread")]
async fn reuse_kills_every_device() {
    let shop = Shop::new();
    let (phone, session) = shop.settled().await;
    let tablet = phone.separate();
    shop.sign_in(&tablet).await;
    let old = holder(&phone, &phone.cookie(REFRESH).unwrap());
    phone.post("/refresh").send_and_lose().await;
    shop.clock.advance(DAY);
    assert_eq!(post(&phone, "/refresh").await.status(), 200, "answered again however late");
    get(&phone, "/me").await;
    shop.clock.advance(GRACE);
    assert_eq!(post(&old, "/refresh").await.status(), 401, "now it is reuse");
    assert_eq!(shop.store.record(&session).await, None);
    assert_eq!(get(&tablet, "/me").await.status(), 200, "the tablet keeps working");
}

#[tokio::test(flavor = "current_thread")]
async fn successor_used_closes_grace() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let old = holder(&browser, &browser.cookie(REFRESH).unwrap());
    post(&browser, "/refresh").await;
    assert_eq!(cookies(&post(&browser, "/refresh").await), RENEWED, "R1 does not rotate yet");
    shop.clock.advance(GRACE);
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
    assert_eq!(shop.generation(&session).await, Some(2));
    assert_eq!(post(&old, "/refresh").await.status(), 401);
    assert_eq!(shop.store.record(&session).await, None, "revoked");
}

#[tokio::test(flavor = "current_thread")]
async fn mobile_app_switch() {
    let shop = Shop::new();
    let (browser, _) = shop.settled().await;
    browser.post("/refresh").send_and_lose().await;
    shop.clock.advance(Duration::from_secs(40));
    assert_eq!(cookies(&post(&browser, "/refresh").await), PAIR);
}

#[tokio::test(flavor = "current_thread")]
async fn logout_races_refresh_commit() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let refreshing = browser.clone();
    let (on_its_way, go_on) = shop.store.hold_update();
    let (response, ()) = tokio::join!(post(&refreshing, "/refresh"), async {
        on_its_way.await.unwrap();
        post(&browser, "/logout").await;
        go_on.send(()).unwrap();
    });
    assert_eq!((response.status().as_u16(), cookies(&response)), (401, CLEARED.map(str::to_owned).into()));
    assert_eq!(shop.store.record(&session).await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn rolling_cookie_revives_session() {
    let (_, browser) = signed_in().await;
    let Ok(polling) = browser.get("/me").send_without_storing().await;
    post(&browser, "/logout").await;
    browser.store(&polling);
    assert_eq!(cookies(&polling), NONE, "nothing was rotated, so nothing is set");
    assert!(!browser.has_cookie(ACCESS) && !browser.has_cookie(REFRESH));
}

#[tokio::test(flavor = "current_thread")]
async fn rolling_write_recreates_store_row() {
    let shop = Shop::new();
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    let (on_its_way, go_on) = shop.store.hold_update();
    let tab = browser.clone();
    let (response, ()) = tokio::join!(get(&tab, "/me"), async {
        on_its_way.await.unwrap();
        post(&browser, "/logout").await;
        go_on.send(()).unwrap();
    });
    assert_eq!(response.status(), 200, "it began before");
    assert_eq!(shop.store.record(&session).await, None);
}

#[tokio::test(flavor = "current_thread")]
async fn logout_missing_domain_payload() {
    let policy = CookiePolicy::new().with_domain("shop.example");
    let shop = Shop::unbindable(|builder| builder.with_cookies(policy));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    assert!(browser.has_cookie("__Secure-access") && browser.has_cookie("__Secure-refresh"));
    post(&browser, "/logout").await;
    for name in ["__Secure-access", "__Secure-refresh", XSRF] {
        assert!(!browser.has_cookie(name), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn logout_duplicate_instead_of_delete() {
    let policy = CookiePolicy::new().with_domain("shop.example").with_same_site(SameSite::Lax);
    let shop = Shop::unbindable(|builder| builder.with_cookies(policy));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    browser.set_cookie("__Secure-access=; Max-Age=0; Path=/; Secure");
    assert!(browser.has_cookie("__Secure-access"), "a removal without the domain removes nothing");
    post(&browser, "/logout").await;
    assert!(!browser.has_cookie("__Secure-access"));
}

#[tokio::test(flavor = "current_thread")]
async fn logout_with_expired_access() {
    let shop =
        Shop::unbindable(|builder| builder.with_cookies(CookiePolicy::new().with_refresh_path("/logout")));
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    shop.clock.advance(ACCESS_GONE);
    for round in ["the session", "nothing"] {
        let response = post(&browser, "/logout").await;
        assert_eq!((response.status().as_u16(), cookies(&response).len()), (200, 3), "{round}");
        assert_eq!(shop.store.record(&session).await, None, "{round}");
    }
    assert!(!browser.has_cookie("__Secure-refresh"));
}

#[tokio::test(flavor = "current_thread")]
async fn logout_only_clears_cookie() {
    let (_, browser) = signed_in().await;
    let copy = holder(&browser, &browser.cookie(REFRESH).unwrap());
    post(&browser, "/logout").await;
    assert_eq!(post(&copy, "/refresh").await.status(), 401);
}

#[tokio::test(flavor = "current_thread")]
async fn refresh_401_loop() {
    let shop = Shop::with(|builder| builder.with_reload(|_: String, _| async { Ok(None) }));
    let (browser, _) = shop.settled().await;
    let missing = get(&browser.separate(), "/me").await;
    let response = post(&browser, "/refresh").await;
    assert_eq!((code(&missing), code(&response)), ("token_missing".into(), "session_revoked".into()));
    assert_eq!((response.status().as_u16(), cookies(&response)), (401, CLEARED.map(str::to_owned).into()));
}

#[tokio::test(flavor = "current_thread")]
async fn preflight_401() {
    let (_, browser) = signed_in().await;
    let preflight = browser
        .separate()
        .request(Method::OPTIONS, "/me")
        .cross_site()
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "x-xsrf-token");
    let Ok(response) = preflight.send().await;
    assert_eq!(text(&response), "anonymous", "it reaches the handler, without a user");
}

#[tokio::test(flavor = "current_thread")]
async fn options_is_not_always_preflight() {
    let (_, browser) = signed_in().await;
    let Ok(response) = browser.separate().request(Method::OPTIONS, "/me").send().await;
    assert_eq!(response.status(), 401);
}

#[tokio::test(flavor = "current_thread")]
async fn cors_error_lacks_headers() {
    let shop = Shop::new();
    let layered = shop.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet));
    let cors = layered.map_response(|mut response: Answer| {
        let name = "access-control-allow-origin";
        response.headers_mut().insert(name, HeaderValue::from_static("https://app.shop.example"));
        response
    });
    let browser = shop.browser_over(cors);
    let Ok(response) = browser.get("/me").same_site("https://app.shop.example").send().await;
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key("access-control-allow-origin"), "through the layer outside");
}
