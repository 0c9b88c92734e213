//! The refresh service: its answers, its refusals, and narrower access tokens.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, header::CONTENT_TYPE};
use http_body::{Body, Frame};
use serde_json::json;
use tower::ServiceExt;
use tower_cookie_jwt::{Clock, KeyRing, Verifier};

use crate::shop::*;

const FORM: &str = "application/x-www-form-urlencoded";

async fn form(browser: &Shopper, body: &str) -> Answer {
    let Ok(response) = browser.post("/refresh").header("content-type", FORM).body(body).send().await;
    response
}

fn keys(answer: &Answer) -> Vec<String> {
    let mut keys: Vec<String> = json(answer).as_object().expect("an object").keys().cloned().collect();
    keys.sort();
    keys
}

#[tokio::test(flavor = "current_thread")]
async fn answers_with_expiry_and_xsrf_token_and_the_new_cookies() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    for (name, expected) in [("unsettled", RENEWED.to_vec()), ("settled", PAIR.to_vec())] {
        let Ok(response) = browser.post("/refresh").send().await; // no XSRF header
        assert_eq!(
            (response.status().as_u16(), cookies(&response)),
            (200, expected.iter().map(|c| c.to_string()).collect()),
            "{name}"
        );
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json", "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        assert_eq!(keys(&response), ["expiresAt", "xsrfToken"], "{name}");
        let access = payload(&browser.cookie(ACCESS).unwrap());
        let answer = json(&response);
        assert!(answer["expiresAt"].is_u64(), "{name}: whole seconds");
        assert_eq!(answer["expiresAt"], access["exp"], "{name}: the access token's");
        assert_eq!(answer["xsrfToken"], access["xsrfToken"], "{name}");
        assert_eq!(answer["xsrfToken"], browser.script_cookie(XSRF).unwrap(), "{name}");
        shop.clock.advance(GRACE);
    }
}

#[tokio::test(flavor = "current_thread")]
async fn other_methods_are_405_and_name_post() {
    let shop = Shop::new();
    let (browser, _) = shop.settled().await;
    shop.store.calls();
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let Ok(response) = browser.request(method.clone(), "/refresh").send().await;
        assert_eq!((response.status().as_u16(), cookies(&response)), (405, vec![]), "{method}");
        assert_eq!(response.headers()["allow"], "POST", "{method}");
    }
    assert_eq!(shop.store.calls(), NONE);
}

#[tokio::test(flavor = "current_thread")]
async fn other_sites_are_403_and_the_store_is_not_asked() {
    let shop = Shop::new();
    let (browser, _) = shop.settled().await;
    let cookie = format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap());
    shop.store.calls();
    let cases = [
        ("fetch", browser.post("/refresh").cross_site()),
        ("form", browser.post("/refresh").cross_site().navigation()),
        ("neighbour", browser.post("/refresh").same_site("https://shop.example:8443")),
        ("old browser", browser.post("/refresh").from_no_browser().header("origin", "https://evil.example")),
        ("sandbox", browser.post("/refresh").from_no_browser().header("origin", "null")),
    ];
    for (name, ask) in cases {
        let Ok(response) = ask.header("cookie", &cookie).send().await;
        assert_eq!((response.status().as_u16(), cookies(&response)), (403, vec![]), "{name}");
        assert_eq!(code(&response), "origin_refused", "{name}");
    }
    assert_eq!(shop.store.calls(), NONE);
    let Ok(response) = browser.post("/refresh").from_no_browser().send().await;
    assert_eq!(response.status(), 200, "with neither header no browser is asking");
}

#[tokio::test(flavor = "current_thread")]
async fn refusals_have_distinct_codes() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let refresh = browser.cookie(REFRESH).unwrap();
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    let expired = resign(&refresh, |claims| claims["exp"] = json!(1_700_000_000));
    let cases = [
        ("nothing", browser.separate(), "token_missing", "Bearer", false),
        (
            "forged",
            holder(&browser, &forged(&refresh)),
            "token_invalid",
            "Bearer error=\"invalid_token\"",
            false,
        ),
        ("expired", holder(&browser, &expired), "token_expired", "Bearer error=\"invalid_token\"", true),
        ("revoked", holder(&browser, &refresh), "session_revoked", "Bearer error=\"invalid_token\"", true),
    ];
    for (name, browser, expected, challenge, clears) in cases {
        let response = post(&browser, "/refresh").await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, expected.into()), "{name}");
        assert_eq!(response.headers()["www-authenticate"], challenge, "{name}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json", "{name}");
        assert_eq!(cookies(&response), if clears { CLEARED.to_vec() } else { NONE.to_vec() }, "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn token_of_narrower_scope_is_only_in_the_body_and_the_session_stays() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let before = shop.store.record(&session).await;
    let refresh = browser.cookie(REFRESH);
    shop.events();

    let response = form(&browser, "grant_type=refresh_token&scope=read").await;
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
    assert_eq!(response.headers()["cache-control"], "no-store", "the body is a credential");
    assert_eq!(keys(&response), ["access_token", "expiresAt", "expires_in", "scope", "token_type"]);
    let answer = json(&response);
    assert_eq!((&answer["token_type"], &answer["scope"]), (&json!("Bearer"), &json!("read")));
    assert_eq!(answer["expires_in"], 15 * 60);
    let after = shop.store.record(&session).await.unwrap();
    let unchanged = |record: &tower_cookie_jwt::store::SessionRecord| {
        (record.generation, record.seen, record.idle_expires_at)
    };
    assert_eq!(unchanged(&after), unchanged(&before.unwrap()), "it is not rotated, and not prolonged");
    assert_eq!(after.last_seen_at, Clock::now(&shop.clock), "but the client was seen");
    assert_eq!(browser.cookie(REFRESH), refresh);
    assert_eq!(shop.events(), ["narrowed by 0"]);

    let token = answer["access_token"].as_str().unwrap();
    let verifier = Verifier::<User>::builder(KeyRing::hs256(SECRET).unwrap())
        .with_clock(shop.clock.clone())
        .build()
        .expect("the settings agree");
    let claims = verifier.verify(token).unwrap();
    assert_eq!((claims.subject(), claims.scope(), claims.xsrf_token()), (Some("ada"), Some("read"), None));
    assert_eq!(claims.generation(), None, "it says nothing about the cookie jar");
    assert_eq!(payload(token)["exp"], answer["expiresAt"]);
    let bearer = format!("Bearer {token}");
    let Ok(used) = browser.separate().post("/me").header("authorization", bearer).send().await;
    assert_eq!(text(&used), "ada customer 0");
    // It does not speak for the whole session.
    let (sessions, user) = (&shop.sessions, role("admin"));
    assert!(sessions.update_claims(&claims, &user).await.is_err());
    assert!(sessions.update_privileges(&claims, &user).await.is_err());
    assert!(sessions.sign_out_others(&claims).await.is_err());
    assert!(sessions.is_live(&claims).await.unwrap(), "but it can be asked about");

    assert_eq!(post(&browser, "/refresh").await.status(), 200);
    assert_eq!(payload(&browser.cookie(ACCESS).unwrap())["scope"], "read write", "the grant stays");
}

#[tokio::test(flavor = "current_thread")]
async fn forms_are_answered_by_the_scope_they_request() {
    let long = format!("scope=read&padding={}", "x".repeat(5000));
    let cases = [
        ("a subset", "scope=write", 200, "", false),
        ("all, in another order: an ordinary exchange", "scope=write+read", 200, "", true),
        ("more than granted", "scope=read+admin", 400, "invalid_scope", false),
        ("another", "scope=admin", 400, "invalid_scope", false),
        ("a prefix of one", "scope=rea", 400, "invalid_scope", false),
        ("no scope token", "scope=%22read%22", 400, "invalid_scope", false),
        ("twice", "scope=read&scope=write", 400, "invalid_request", false),
        ("too large", &long, 413, "", false),
        ("an empty one", "scope=", 200, "", true),
        ("none", "grant_type=refresh_token", 200, "", true),
        ("an empty form", "", 200, "", true),
    ];
    for (name, body, status, error, rotates) in cases {
        let shop = Shop::new();
        let (browser, session) = shop.settled().await;
        let response = form(&browser, body).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(cookies(&response), if rotates { PAIR.to_vec() } else { NONE.to_vec() }, "{name}");
        if !error.is_empty() {
            assert_eq!(json(&response), json!({ "error": error }), "{name}");
        }
        assert_eq!(shop.generation(&session).await, Some(u32::from(rotates)), "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn only_a_form_is_read() {
    let cases = [
        ("with parameters", "Application/X-WWW-Form-Urlencoded; charset=UTF-8", false),
        ("json", "application/json", true),
        ("text", "text/plain", true),
    ];
    for (name, content_type, rotates) in cases {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        let ask = browser.post("/refresh").header("content-type", content_type).body("scope=read");
        let Ok(response) = ask.send().await;
        assert_eq!(
            (response.status().as_u16(), cookies(&response).len()),
            (200, if rotates { 3 } else { 0 }),
            "{name}"
        );
    }
}

/// A body that breaks off.
struct Broken;

impl Body for Broken {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into())))
    }
}

#[tokio::test(flavor = "current_thread")]
async fn truncated_body_is_400_and_changes_nothing() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let request = Request::post("/refresh")
        .header("cookie", format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap()))
        .header("content-type", FORM)
        .body(Broken)
        .unwrap();
    let Ok(response) = shop.sessions.refresh_service().oneshot(request).await;
    assert_eq!(response.status(), 400);
    assert_eq!(shop.generation(&session).await, Some(0));
}

#[tokio::test(flavor = "current_thread")]
async fn narrowing_follows_the_decision_table() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let old = holder(&browser, &browser.cookie(REFRESH).unwrap());
    let wrong = resign(&browser.cookie(REFRESH).unwrap(), |claims| {
        claims["jti"] = json!("0.AAAAAAAAAAAAAAAAAAAAAA");
    });
    let wrong = form(&holder(&browser, &wrong), "scope=read").await;
    assert_eq!((wrong.status().as_u16(), cookies(&wrong)), (401, vec![]), "another secret");
    post(&browser, "/refresh").await;
    assert_eq!(form(&old, "scope=read").await.status(), 200, "the parent of an unsettled generation");
    get(&browser, "/me").await;
    shop.clock.advance(GRACE);
    shop.events();
    let reused = form(&old, "scope=read").await;
    assert_eq!((reused.status().as_u16(), cookies(&reused)), (401, CLEARED.map(str::to_owned).into()));
    assert_eq!(shop.events(), ["reuse of 0 at 1"]);
    assert_eq!(shop.store.record(&session).await, None);
    let ended = form(&browser, "scope=read").await;
    assert_eq!((ended.status().as_u16(), code(&ended)), (401, "session_revoked".into()));
}

#[tokio::test(flavor = "current_thread")]
async fn narrower_token_never_outlives_the_session() {
    let shop = Shop::with(|builder| builder.with_absolute_lifetime(Duration::from_secs(1200)));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    shop.clock.advance(Duration::from_secs(1000));
    let answer = json(&form(&browser, "scope=read").await);
    assert_eq!(answer["expires_in"], 200);
    assert_eq!(payload(answer["access_token"].as_str().unwrap())["exp"], answer["expiresAt"]);
}

#[tokio::test(flavor = "current_thread")]
async fn access_tokens_from_any_source_are_ignored() {
    let shop = Shop::new();
    let (browser, _) = shop.settled().await;
    for (name, header, value) in [("bearer", "authorization", "Bearer x"), ("header", "x-access-token", "x")]
    {
        let Ok(response) = browser.post("/refresh").header(header, value).send().await;
        assert_eq!(response.status(), 200, "{name}: only the refresh cookie decides");
    }
}
