//! A browser with a key, from the sign-in on.

use std::time::Duration;

use super::*;
use crate::shop::{GRACE, role};

#[tokio::test]
async fn the_first_request_after_the_sign_in_binds() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    let response = browser.post("/login").await;
    let session = SessionId::from(text(&response).as_str());
    assert_eq!(cookies(&response), ["access", "refresh", "XSRF-TOKEN"]);
    assert_eq!((browser.0.device_sessions().len(), browser.0.has_cookie(ACCESS)), (1, false));
    assert!(shop.store.record(&session).await.unwrap().extension.is_empty(), "registration writes nothing");

    assert_eq!(text(&browser.get("/me").await), "ada customer 0");
    assert_eq!(shop.events(), ["signed in ada", "bound ada"]);
    let claims = forge::payload(&browser.0.cookie(ACCESS).unwrap());
    assert_eq!(claims["proof_time"], claims["iat"]);
    assert!(claims.get("cnf").is_none());

    let list = shop.sessions.list("ada").await.unwrap();
    let device = list[0].device.expect("it is bound");
    assert_eq!(device.bound_at, device.proved_at);
    let json = serde_json::to_value(&list).unwrap();
    assert_eq!(json[0]["device"], json!({ "boundAt": claims["iat"], "provedAt": claims["iat"] }));
}

#[tokio::test]
async fn refreshes_keep_the_generation() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    let session = SessionId::from(text(&browser.post("/login").await).as_str());
    browser.get("/me").await;
    let refresh = browser.0.cookie(REFRESH);
    let bound_at = shop.sessions.list("ada").await.unwrap()[0].device.unwrap().bound_at;
    shop.events();
    for round in 1..=6_u32 {
        shop.clock.advance(ACCESS_GONE);
        shop.store.calls();
        assert_eq!(text(&browser.get("/me").await), "ada customer 0", "round {round}");
        let device = shop.sessions.list("ada").await.unwrap()[0].device.unwrap();
        assert_eq!(device.proved_at - (ACCESS_GONE * round), device.bound_at, "round {round}");
        assert_eq!(device.bound_at, bound_at);
    }
    assert_eq!((browser.0.cookie(REFRESH), shop.generation(&session).await), (refresh, Some(0)));
    assert_eq!(shop.events(), Vec::<String>::new());
}

/// A week, with the idle lifetime that proofs extend.
#[tokio::test]
async fn proofs_keep_the_session_from_idling() {
    let shop = shop_with(|builder| builder.with_idle_lifetime(Duration::from_secs(2 * 3600)));
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    for hour in 0..30 {
        assert_eq!(browser.get("/me").await.status(), 200, "hour {hour}");
        shop.clock.advance(Duration::from_secs(3600));
    }
    shop.clock.advance(Duration::from_secs(3601));
    assert_eq!(browser.get("/me").await.status(), 401);
    assert!(browser.0.device_sessions().is_empty(), "the browser drops it, too");
    assert!(!browser.0.has_cookie(REFRESH));
}

#[tokio::test]
async fn tabs_and_parallel_requests_take_one_proof() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    for _ in 0..3 {
        let tabs = [browser.clone(), browser.clone(), browser.clone(), browser.clone(), browser.clone()];
        let answers = futures_util::future::join_all(tabs.iter().map(|tab| tab.get("/me"))).await;
        assert!(answers.iter().all(|answer| answer.status() == 200));
        shop.clock.advance(ACCESS_GONE);
    }
    let record = &shop.sessions.list("ada").await.unwrap()[0];
    assert_eq!(record.device.unwrap().proved_at - 2 * ACCESS_GONE, record.device.unwrap().bound_at);
    assert_eq!(shop.events(), ["signed in ada", "bound ada"]);
}

/// `Strict` cookies, after a form that the identity provider has posted.
#[tokio::test]
async fn a_sign_in_that_another_site_has_initiated_binds() {
    let shop = shop_with(|builder| builder.with_trusted_origin("https://evil.example").unwrap());
    let browser = Chromium::of(&shop);
    let response = browser.send(browser.0.post("/login").navigation().cross_site()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(browser.0.device_sessions().len(), 1);
    assert_eq!(browser.get("/me").await.status(), 200);
    assert_eq!(shop.events(), ["signed in ada", "bound ada"]);
}

#[tokio::test]
async fn another_sign_in_makes_another_session() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    for user in ["ada", "bob", "ada"] {
        let response = browser.post(&format!("/login?{user}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(text(&browser.get("/me").await), format!("{user} customer 0"));
        assert_eq!(browser.0.device_sessions().len(), 1, "the former is given up");
        shop.clock.advance(ACCESS_GONE);
    }
    let expected = [
        "signed in ada",
        "bound ada",
        "ended ada",
        "signed in bob",
        "bound bob",
        "ended bob",
        "signed in ada",
        "bound ada",
    ];
    assert_eq!(shop.events(), expected);
}

#[tokio::test]
async fn sign_out_needs_no_proof() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    browser.get("/me").await;
    let copied = browser.copied(&shop);
    copied.remove_cookie(ACCESS);
    shop.clock.advance(ACCESS_GONE);
    shop.events();
    let response = post(&copied, "/logout").await;
    assert_eq!(said(&shop, &response), "200 -access -refresh -XSRF-TOKEN: ended ada");
    assert_eq!(browser.get("/me").await.status(), 401);
    assert!(browser.0.device_sessions().is_empty());
}

/// The presented token's expiry and proof are kept: a proof for each change would use up the browser's signatures.
#[tokio::test]
async fn updated_claims_keep_expiry_and_proof_time() {
    let shop = bound_shop();
    let sessions = shop.sessions.clone();
    let handler = service_fn(move |request: Request<String>| {
        let sessions = sessions.clone();
        async move {
            if request.uri().path() != "/promote" {
                return greet(request).await;
            }
            let claims = request.extensions().get::<tower_cookie_jwt::Claims<User>>().unwrap();
            let updated = sessions.update_claims(claims, &role("clerk")).await.unwrap();
            let mut response = Response::new(Bytes::new());
            updated.append_to(response.headers_mut());
            Ok(response)
        }
    });
    let browser = Chromium::over(&shop, shop.service_over(shop.sessions.layer().layer(handler)));
    browser.post("/login").await;
    browser.get("/me").await;
    let before = forge::payload(&browser.0.cookie(ACCESS).unwrap());
    shop.clock.advance(GRACE * 3);
    shop.store.calls();
    assert_eq!(cookies(&browser.post("/promote").await), ["access", "XSRF-TOKEN"]);
    let after = forge::payload(&browser.0.cookie(ACCESS).unwrap());
    assert_eq!((&after["exp"], &after["proof_time"]), (&before["exp"], &before["proof_time"]));
    assert_eq!(after["role"], "clerk");
    assert_eq!(text(&browser.get("/me").await), "ada clerk 0");
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(text(&browser.get("/me").await), "ada clerk 0");
}

#[tokio::test]
async fn script_refreshes_get_the_expiry_of_the_token_that_the_proof_has_brought() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    for _ in 0..2 {
        // The browser renews access before the request arrives.
        let response = browser.post("/refresh").await;
        let access = forge::payload(&browser.0.cookie(ACCESS).unwrap());
        let body = crate::shop::json(&response);
        assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
        assert_eq!(
            (&body["expiresAt"], &body["xsrfToken"]),
            (&access["exp"], &json!(browser.0.cookie(crate::shop::XSRF)))
        );
        shop.clock.advance(Duration::from_secs(60));
        let response = browser
            .send(browser.0.post("/refresh").header("content-type", FORM).body("scope=read".to_owned()))
            .await;
        let narrow = crate::shop::json(&response);
        assert_eq!((&narrow["expiresAt"], &narrow["scope"]), (&access["exp"], &json!("read")));
        let narrow = forge::payload(narrow["access_token"].as_str().unwrap());
        assert_eq!((&narrow["exp"], narrow.get("gen")), (&access["exp"], None));
        shop.clock.advance(ACCESS_GONE);
    }
    assert_eq!(shop.events().iter().filter(|event| event.contains("proof")).count(), 0);
    let thief = browser.copied(&shop);
    for body in ["", "scope=read"] {
        let Ok(response) = thief.post("/refresh").header("content-type", FORM).body(body).send().await;
        let expected = "401 device_proof_required: proof missing of 0 at 0";
        assert_eq!(said(&shop, &response), expected, "`{body}`");
    }
}

const FORM: &str = "application/x-www-form-urlencoded";
