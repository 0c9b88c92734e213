//! The tests of sessions with a device binding on, and browsers without a key: the answers are the same, except for one
//! more header at sign-in.
//!
//! The modules are those of `tests/api`. What differs is in `tests/kit/shop.rs`.

#[path = "../api/decision_table.rs"]
mod decision_table;
#[path = "../api/ended_sessions.rs"]
mod ended_sessions;
#[path = "../api/following.rs"]
mod following;
#[path = "../kit/mod.rs"]
mod kit;
#[path = "../api/late_answers.rs"]
mod late_answers;
#[path = "../api/refresh_layer.rs"]
mod refresh_layer;
#[path = "../api/refresh_service.rs"]
mod refresh_service;
#[path = "../api/scenarios.rs"]
mod scenarios;
#[path = "../api/scenarios_requests.rs"]
mod scenarios_requests;
#[path = "../api/sessions.rs"]
mod sessions;
#[path = "../api/sign_out_within.rs"]
mod sign_out_within;
#[path = "../api/slow_handlers.rs"]
mod slow_handlers;
#[path = "../api/store_faults.rs"]
mod store_faults;
#[path = "../api/thieves.rs"]
mod thieves;

use self::kit::shop;

#[tokio::test]
async fn a_sign_in_has_one_more_header() {
    let shop = shop::Shop::new();
    let browser = shop.browser();
    let response = shop::post(&browser, "/login").await;
    let offers = response.headers().get_all("secure-session-registration").iter().count();
    assert_eq!(offers, 1);
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["set-cookie", "cache-control", "secure-session-registration"]);
    for path in ["/me", "/orders"] {
        let response = shop::get(&browser, path).await;
        assert!(!response.headers().contains_key("secure-session-registration"), "{path}");
    }
}
