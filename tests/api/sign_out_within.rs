//! `with_sign_out_within`: a session that has ended is not served for longer than the bound, and the store is asked about
//! a token at most once in it.

use std::time::Duration;

use tower::{Layer, service_fn};
use tower_cookie_jwt::{ConfigError, MemoryStore, Sessions, session::SessionsBuilder};

use crate::kit::{
    forge,
    shop::{ACCESS, ACCESS_GONE, REFRESH, Shop, Shopper, User, code, cookies, get, greet, post, text},
};

const BOUND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn bounded(builder: SessionsBuilder<User>) -> SessionsBuilder<User> {
    builder.with_sign_out_within(BOUND)
}

async fn with_bearer(browser: &Shopper, bearer: &str) -> u16 {
    let Ok(response) = browser.get("/me").header("authorization", bearer).send().await;
    response.status().as_u16()
}

#[tokio::test(flavor = "current_thread")]
async fn store_is_asked_about_a_token_at_most_once_in_the_bound() {
    let shop = Shop::with(bounded);
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.store.calls();
    for (step, reads) in [(0, 0), (500, 0), (500, 0), (1, 1), (999, 0), (1, 0), (1, 1), (5000, 1), (0, 0)] {
        shop.clock.advance(Duration::from_millis(step));
        for _ in 0..3 {
            assert_eq!(get(&browser, "/me").await.status(), 200);
        }
        assert_eq!(shop.store.calls(), vec!["read"; reads], "{step} ms later");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn ended_session_is_not_served_after_the_bound() {
    type End = fn(&Shop, &str) -> futures_util::future::BoxFuture<'static, ()>;
    let ends: [(&str, End); 3] = [
        ("revoked", |shop, session| {
            let (sessions, session) = (shop.sessions.clone(), session.to_owned());
            Box::pin(async move { assert!(sessions.revoke("ada", &session).await.unwrap()) })
        }),
        ("signed out everywhere", |shop, _| {
            let sessions = shop.sessions.clone();
            Box::pin(async move { assert_eq!(sessions.sign_out_everywhere("ada").await.unwrap(), 1) })
        }),
        ("removed from the store by hand", |shop, session| {
            let (store, session) = (shop.store.clone(), session.to_owned());
            Box::pin(async move {
                use tower_cookie_jwt::store::RefreshStore;
                assert!(store.remove(&session.as_str().into()).await.unwrap());
            })
        }),
    ];
    for (name, end) in ends {
        let shop = Shop::with(bounded);
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        let bearer = format!("Bearer {}", browser.cookie(ACCESS).unwrap());
        assert_eq!(get(&browser, "/me").await.status(), 200, "{name}: live");
        shop.clock.advance(BOUND / 2);
        end(&shop, session.as_str()).await;
        shop.clock.advance(BOUND + MILLI);
        shop.store.calls();
        let response = get(&browser, "/me").await;
        assert_eq!(
            (response.status().as_u16(), code(&response)),
            (401, "session_revoked".to_owned()),
            "{name}"
        );
        assert_eq!(with_bearer(&browser, &bearer).await, 401, "{name}, in a header");
        let reads = shop.store.calls().iter().filter(|call| **call == "read").count();
        assert_eq!(reads, 1, "{name}: what has ended is not asked about again");
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(with_bearer(&browser, &bearer).await, 401, "{name}: expired");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn each_node_asks_for_itself() {
    let mut shop = Shop::with(bounded);
    let one = shop.browser();
    let session = shop.sign_in(&one).await;
    let bearer = format!("Bearer {}", one.cookie(ACCESS).unwrap());
    shop.redeploy(bounded);
    let other = shop.browser();
    assert_eq!(with_bearer(&one, &bearer).await, 200);
    assert_eq!(with_bearer(&other, &bearer).await, 200);
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    shop.clock.advance(BOUND + MILLI);
    assert_eq!([with_bearer(&one, &bearer).await, with_bearer(&other, &bearer).await], [401; 2]);
}

#[tokio::test(flavor = "current_thread")]
async fn without_an_answer_requests_are_refused_and_nothing_is_cleared() {
    let shop = Shop::with(bounded);
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    assert_eq!(get(&browser, "/me").await.status(), 200);
    shop.store.go_down();
    assert_eq!(get(&browser, "/me").await.status(), 200, "the last answer counts");
    shop.clock.advance(BOUND + MILLI);
    for response in [get(&browser, "/me").await, post(&browser, "/me").await] {
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]));
        assert!(response.headers().contains_key("retry-after"));
    }
    shop.store.come_up();
    assert_eq!(get(&browser, "/me").await.status(), 200);
}

#[tokio::test(flavor = "current_thread")]
async fn refresh_counts_as_an_answer_and_confirms_as_before() {
    let shop = Shop::with(bounded);
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(get(&browser, "/me").await.status(), 200, "it rotates");
    assert_eq!(shop.store.record(&session).await.unwrap().generation, 1);
    shop.store.calls();
    assert_eq!(get(&browser, "/me").await.status(), 200);
    assert_eq!(shop.store.calls(), ["read", "update"], "the confirmation alone");
    assert_eq!(shop.store.record(&session).await.unwrap().seen, Some(1));
    assert_eq!(get(&browser, "/me").await.status(), 200);
    assert!(shop.store.calls().is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn claims_that_no_refresh_layer_has_asked_about_are_refused() {
    let shop = Shop::with(bounded);
    let jwt = shop.sessions.cookie_jwt_layer();
    let alone = shop.browser_over(jwt.clone().layer(service_fn(greet)));
    shop.sign_in(&alone).await;
    assert_eq!(get(&alone, "/me").await.status(), 503, "only CookieJwtLayer");
    let behind = shop.browser_over(shop.sessions.refresh_layer().layer(jwt.layer(service_fn(greet))));
    shop.sign_in(&behind).await;
    assert_eq!(get(&behind, "/me").await.status(), 200, "behind RefreshLayer");
}

#[test]
fn bound_is_checked_when_sessions_are_built() {
    type Configure = fn(SessionsBuilder<()>) -> SessionsBuilder<()>;
    let build = |configure: Configure| -> Result<Sessions<()>, ConfigError> {
        configure(Sessions::builder(forge::ring(), MemoryStore::new()).with_audience("shop")).build()
    };
    let refused: [(Configure, &str); 3] = [
        (|builder| builder.with_sign_out_within(Duration::from_millis(99)), "100 milliseconds"),
        (|builder| builder.with_sign_out_within(Duration::from_secs(61)), "one minute"),
        (|builder| builder.with_sign_out_within(BOUND).with_session_check(), "leave one of them out"),
    ];
    for (configure, words) in refused {
        let error = build(configure).map(drop).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    let accepted: [Configure; 2] = [
        |builder| builder.with_sign_out_within(Duration::from_millis(100)),
        |builder| builder.with_sign_out_within(Duration::from_secs(60)),
    ];
    for configure in accepted {
        build(configure).map(drop).expect("it is within the limits");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn changed_claims_count_within_the_bound() {
    let shop = Shop::with(bounded);
    let mut shoppers = Vec::new();
    for _ in 0..2 {
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        let bearer = format!("Bearer {}", browser.cookie(ACCESS).unwrap());
        assert_eq!(text(&get(&browser, "/me").await), "ada customer 0");
        assert_eq!(with_bearer(&browser, &bearer).await, 200);
        shoppers.push((browser, session, bearer));
    }
    let [(browser, session, bearer), (other, _, other_bearer)] = shoppers.as_slice() else { panic!("two") };
    let mut record = shop.store.record(session).await.unwrap();
    record.claims = r#"{"role":"none"}"#.into();
    shop.store.restore(record).await; // as `update_claims` on another node
    shop.clock.advance(BOUND + MILLI);
    // A page gets a new token on the way; a client that holds the token itself exchanges it.
    let response = get(browser, "/me").await;
    assert_eq!((response.status().as_u16(), text(&response)), (200, "ada none 0".to_owned()));
    assert!(cookies(&response).iter().any(|cookie| cookie == "access"), "{:?}", cookies(&response));
    for _ in 0..2 {
        shop.store.calls();
        let Ok(response) = browser.get("/me").header("authorization", bearer).send().await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, "token_expired".to_owned()));
    }
    assert!(shop.store.calls().is_empty(), "what has changed is not asked about again");
    assert_eq!(text(&get(browser, "/me").await), "ada none 0");
    assert_eq!(text(&get(other, "/me").await), "ada customer 0", "the other session is as it was");
    assert_eq!(with_bearer(other, other_bearer).await, 200);
}

#[tokio::test(flavor = "current_thread")]
async fn tokens_of_a_build_without_the_bound_are_refreshed_once() {
    let mut shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    let (access, refresh) = (browser.cookie(ACCESS).unwrap(), browser.cookie(REFRESH).unwrap());
    shop.redeploy(bounded);
    let browser = shop.browser();
    for (name, value) in [(ACCESS, &access), (REFRESH, &refresh)] {
        let line = format!("{name}={value}; Max-Age=7776000; Path=/; Secure; HttpOnly; SameSite=Strict");
        assert!(browser.set_cookie(&line));
    }
    let response = get(&browser, "/me").await;
    assert_eq!(response.status(), 200);
    assert!(cookies(&response).iter().any(|cookie| cookie == "access"), "it has a new token");
    let response = get(&browser, "/me").await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
}
