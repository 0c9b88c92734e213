//! What copied cookies of a bound session are good for.

use std::time::Duration;

use super::*;
use crate::shop::{GRACE, Way, get, holder};

/// `stolen_cookies_elsewhere`
#[tokio::test]
async fn copied_cookies_end_with_the_copied_access_token() {
    for way in Way::BOTH {
        let shop = bound_shop();
        let browser = Chromium::of(&shop);
        let session = SessionId::from(text(&browser.post("/login").await).as_str());
        browser.get("/me").await;
        shop.clock.advance(GRACE * 2);
        let thief = browser.copied(&shop);
        assert_eq!(get(&thief, "/me").await.status(), 200);
        shop.clock.advance(ACCESS_GONE);
        shop.events();
        let before = shop.store.record(&session).await;
        for _ in 0..3 {
            let said = said(&shop, &way.ask(&thief).await);
            assert_eq!(said, "401 device_proof_required: proof missing of 0 at 0", "{way:?}");
        }
        assert_eq!(shop.store.record(&session).await, before, "{way:?}: nothing is written");
        for _ in 0..3 {
            assert_eq!(browser.get("/me").await.status(), 200, "{way:?}: the victim goes on");
            shop.clock.advance(ACCESS_GONE);
        }
        assert_eq!(shop.events(), Vec::<String>::new(), "{way:?}");
    }
}

/// `stolen_cookie_at_the_other_doors`
#[tokio::test]
async fn a_copied_refresh_cookie_opens_no_other_door() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    browser.post("/login").await;
    browser.get("/me").await;
    shop.clock.advance(ACCESS_GONE);
    let refused = "401 device_proof_required: proof missing of 0 at 0";
    let thief = || holder(&shop.browser(), &browser.0.cookie(REFRESH).unwrap());
    shop.events();
    assert_eq!(said(&shop, &post(&thief(), "/refresh").await), refused);
    let narrow = thief().post("/refresh").header("content-type", "application/x-www-form-urlencoded");
    let Ok(response) = narrow.body("scope=read").send().await;
    assert_eq!(said(&shop, &response), refused);
    let garbage = thief();
    assert!(garbage.set_cookie(&format!("{ACCESS}=garbage; Path=/; Secure; HttpOnly; SameSite=Strict")));
    assert_eq!(said(&shop, &get(&garbage, "/me").await), refused);
    // He may pretend to be a browser that could not sign: another refusal, and nothing else.
    let Ok(response) = thief().get("/me").header("secure-session-skipped", "unreachable").send().await;
    assert_eq!(said(&shop, &response), "503 unavailable: proof missing of 0 at 0");
    // At the device service he is asked for a proof, with the identifier or without.
    let id = &browser.0.device_sessions()[0];
    assert_eq!(said(&shop, &ask(&thief(), Some(id), None).await), "403 challenge");
    assert_eq!(said(&shop, &ask(&thief(), None, None).await), "400");
    assert_eq!(browser.get("/me").await.status(), 200);
}

/// `registration_of_a_bound_session_by_thief`
#[tokio::test]
async fn a_thief_cannot_put_his_key_in() {
    let shop = bound_shop();
    let browser = Chromium::of(&shop);
    let Ok(login) = browser.0.post("/login").send_without_storing().await;
    browser.0.store(&login);
    browser.get("/me").await;
    let session = shop.sessions.list("ada").await.unwrap()[0].id.clone();
    let (thief, his) = (browser.copied(&shop), Laptop::other());
    shop.events();
    let id = browser.0.device_sessions()[0].clone();
    let (challenge, _) = asked(&ask(&thief, Some(&id), None).await);
    assert_eq!(said(&shop, &ask(&thief, None, Some(&his.registration(&challenge))).await), "400");
    // With the challenge of the sign-in he registers, and that is all.
    let extension = shop.store.record(&session).await.unwrap().extension;
    let response = ask(&thief, None, Some(&his.registration(&offered(login.headers())))).await;
    let (challenge, his_id) = asked(&response);
    assert_eq!(said(&shop, &response), "200 challenge -access");
    let response = ask(&thief, Some(&his_id), Some(&his.proof(&challenge))).await;
    assert_eq!(said(&shop, &response), "401: binding conflict of ada");
    assert_eq!(shop.store.record(&session).await.unwrap().extension, extension);
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(browser.get("/me").await.status(), 200);
}

/// `stolen_before_binding_used_after`
#[tokio::test]
async fn a_generation_from_before_the_binding_is_reuse() {
    for way in Way::BOTH {
        let (shop, laptop) = (bound_shop(), Laptop::one());
        let browser = shop.browser();
        let (_, id, challenge) = registered(&browser, &laptop).await;
        let thief = holder(&browser, &browser.cookie(REFRESH).unwrap());
        // The browser could not sign: its cookies are renewed, and later rotated, as without a binding.
        get(&browser, "/me").await;
        get(&browser, "/me").await;
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(text(&get(&browser, "/me").await), "ada customer 1");
        get(&browser, "/me").await;
        drop(challenge);
        assert_eq!(prove(&browser, &laptop, &id).await.status(), 200);
        shop.clock.advance(GRACE * 2);
        shop.events();
        let said = said(&shop, &way.ask(&thief).await);
        let expected = "401 session_revoked -access -refresh -XSRF-TOKEN: reuse of 0 at 1";
        assert_eq!(said, expected, "{way:?}");
    }
}

/// He has the cookies and the challenge of the sign-in, and proves his key first.
#[tokio::test]
async fn a_faster_thief_ends_with_the_next_sign_in() {
    let (shop, his) = (bound_shop(), Laptop::other());
    let browser = Chromium::of(&shop);
    let Ok(login) = browser.0.post("/login").send_without_storing().await;
    browser.0.store(&login);
    let thief = browser.copied(&shop);
    let response = ask(&thief, None, Some(&his.registration(&offered(login.headers())))).await;
    let (challenge, id) = asked(&response);
    assert_eq!(ask(&thief, Some(&id), Some(&his.proof(&challenge))).await.status(), 200);
    shop.clock.advance(GRACE * 2);
    shop.events();

    let response = browser.get("/me").await;
    assert_eq!(
        said(&shop, &response),
        "401 device_proof_required: binding conflict of ada, proof missing of 0 at 0"
    );
    assert_eq!(browser.post("/login").await.status(), 200);
    assert!(shop.events().contains(&"ended ada".to_owned()));
    assert_eq!(prove_status(&thief, &id).await, 401);
    assert_eq!(browser.get("/me").await.status(), 200);
}

async fn prove_status(browser: &Shopper, id: &str) -> u16 {
    ask(browser, Some(id), None).await.status().as_u16()
}

/// A request under way as the session is bound is served for a grace period, without cookies.
#[tokio::test]
async fn what_was_on_its_way_while_the_session_was_bound_is_served() {
    for seconds in [0, 29, 30, 31] {
        let (shop, laptop) = (bound_shop(), Laptop::one());
        let browser = shop.browser();
        let (_, id, challenge) = registered(&browser, &laptop).await;
        let late = holder(&browser, &browser.cookie(REFRESH).unwrap());
        assert_eq!(ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await.status(), 200);
        shop.clock.advance(Duration::from_secs(seconds));
        let response = get(&late, "/me").await;
        let expected = if seconds < 30 { 200 } else { 401 };
        assert_eq!((response.status().as_u16(), cookies(&response)), (expected, vec![]), "{seconds} s");
    }
}

/// A handler that takes its time across the binding: what it was granted before brings no cookies any more.
#[tokio::test]
async fn a_slow_handler_across_the_binding_brings_no_cookies() {
    let (shop, laptop, gate) = (bound_shop(), Laptop::one(), crate::shop::Gate::default());
    let handler = gate.clone();
    let browser = shop.browser_with(move |request| {
        let handler = handler.clone();
        async move {
            handler.pass().await;
            let Ok(response) = greet(request).await;
            response
        }
    });
    let (_, id, challenge) = registered(&browser, &laptop).await;
    let (reached, go_on) = gate.close_after(0);
    let bind = async {
        reached.await.unwrap();
        let status = ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await.status();
        let access = browser.cookie(ACCESS);
        go_on.send(()).unwrap();
        (status, access)
    };
    let (response, (status, access)) = futures_util::future::join(get(&browser, "/me"), bind).await;
    assert_eq!(status, 200);
    assert_eq!((response.status().as_u16(), cookies(&response)), (200, vec![]));
    assert_eq!(browser.cookie(ACCESS), access);
}
