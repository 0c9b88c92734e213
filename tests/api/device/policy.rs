//! Enforcement, refresh initiators, offers, and settings that are refused.

use std::time::Duration;

use tower_cookie_jwt::{Claims, CookiePolicy, MemoryStore, Sessions, session::Enforcement};

use super::*;
use crate::shop::{GRACE, Way, get, holder};

const SECOND: Duration = Duration::from_secs(1);

fn observing() -> DeviceBinding {
    binding().with_enforcement(Enforcement::Observe)
}

/// A session is under the rule that it was last proven under.
#[tokio::test]
async fn observing_tells_only_and_ends_with_the_next_proof() {
    for way in Way::BOTH {
        let mut shop = shop_with(|builder| builder.with_device_binding(observing()));
        let (laptop, browser) = (Laptop::one(), shop.browser());
        let (session, id, challenge) = registered(&browser, &laptop).await;
        assert_eq!(ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await.status(), 200);
        assert_eq!(get(&browser, "/me").await.status(), 200);
        let unfolded = shop.store.record(&session).await.unwrap().secret_hash;
        shop.clock.advance(ACCESS_GONE);
        shop.events();
        let said_first = said(&shop, &way.ask(&browser).await);
        let expected = "200 access refresh XSRF-TOKEN: proof missing of 0 at 0, rotated to 1";
        assert_eq!(said_first, expected, "{way:?}");
        let access = forge::payload(&browser.cookie(ACCESS).unwrap());
        assert_eq!(access.get("proof_time"), None, "{way:?}: cookies have renewed it");
        assert_eq!(get(&browser, "/me").await.status(), 200);
        shop.clock.advance(ACCESS_GONE);

        shop.redeploy(|builder| builder.with_device_binding(binding()));
        let browser = browser.with_service(shop.service_over(shop.sessions.layer().layer(service_fn(greet))));
        let before = said(&shop, &way.ask(&browser).await);
        assert!(before.starts_with("200 "), "{way:?}: not before the next proof: {before}");
        get(&browser, "/me").await;
        assert_eq!(shop.store.record(&session).await.unwrap().secret_hash, unfolded);
        assert_eq!(prove(&browser, &laptop, &id).await.status(), 200, "{way:?}");
        assert_ne!(shop.store.record(&session).await.unwrap().secret_hash, unfolded);
        shop.clock.advance(ACCESS_GONE);
        assert_eq!(way.ask(&browser).await.status(), 401, "{way:?}: from now on");
        assert_eq!(prove(&browser, &laptop, &id).await.status(), 200, "{way:?}");
    }
}

/// A proof that made up for reuse would hide the thief where cookies alone renew.
#[tokio::test]
async fn observing_keeps_reuse_detection() {
    let shop = shop_with(|builder| builder.with_device_binding(observing()));
    let (laptop, browser) = (Laptop::one(), shop.browser());
    let (_, id, challenge) = registered(&browser, &laptop).await;
    ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await;
    get(&browser, "/me").await;
    let victim = holder(&browser, &browser.cookie(REFRESH).unwrap());
    shop.clock.advance(ACCESS_GONE);
    get(&browser, "/me").await;
    get(&browser, "/me").await;
    shop.clock.advance(GRACE * 2);
    shop.events();
    let response = prove(&victim, &laptop, &id).await;
    assert_eq!(said(&shop, &response), "401 session_revoked -access -refresh -XSRF-TOKEN: reuse of 0 at 1");
}

/// With `Lax` cookies, a link from elsewhere arrives without the access cookie.
#[tokio::test]
async fn refresh_initiators_let_links_renew() {
    for (initiators, status) in
        [(vec!["*"], 200), (vec!["evil.example"], 200), (vec!["other.example"], 401), (vec![], 401)]
    {
        let shop = shop_with(|builder| {
            builder
                .with_cookies(
                    CookiePolicy::default().with_same_site(tower_cookie_jwt::cookies::SameSite::Lax),
                )
                .with_device_binding(binding().with_refresh_initiators(initiators.clone()))
        });
        let browser = Chromium::of(&shop);
        browser.post("/login").await;
        browser.get("/me").await;
        shop.clock.advance(ACCESS_GONE);
        let response = browser.send(browser.0.get("/me").navigation().cross_site()).await;
        assert_eq!(response.status(), status, "{initiators:?}");
        assert_eq!(browser.get("/me").await.status(), 200, "{initiators:?}");
        assert_eq!(browser.0.device_sessions().len(), 1, "{initiators:?}");
    }
}

/// Without its cookie, an unbound session is not bound; the browser drops the key, and goes on as without.
#[tokio::test]
async fn a_proof_without_the_cookie_never_binds() {
    let shop = shop_with(|builder| builder.with_device_binding(binding().with_refresh_initiators(["*"])));
    let (laptop, browser) = (Laptop::one(), shop.browser());
    let (_, id, challenge) = registered(&browser, &laptop).await;
    let response = ask(&browser.separate(), Some(&id), Some(&laptop.proof(&challenge))).await;
    assert_eq!(response.status(), 401);
    assert_eq!(shop.sessions.list("ada").await.unwrap()[0].device, None);
}

#[tokio::test]
async fn a_binding_is_offered_again_within_the_window() {
    let window = Duration::from_secs(10 * 60);
    for (after, is_offered) in [(SECOND, true), (window, true), (window + SECOND, false)] {
        let shop = bound_shop();
        let sessions = shop.sessions.clone();
        let browser = shop.browser_with(move |request| {
            let sessions = sessions.clone();
            async move {
                let claims = request.extensions().get::<Claims<User>>().unwrap();
                let mut response = Response::new(Bytes::new());
                if let Some(offer) = sessions.offer_device_binding(claims) {
                    offer.append_to(response.headers_mut());
                }
                response
            }
        });
        post(&browser, "/login").await;
        shop.clock.advance(after);
        let response = get(&browser, "/offer").await;
        assert_eq!(response.headers().contains_key("secure-session-registration"), is_offered, "{after:?}");
        if !is_offered {
            continue;
        }
        let laptop = Laptop::one();
        let response = ask(&browser, None, Some(&laptop.registration(&offered(response.headers())))).await;
        let (challenge, id) = asked(&response);
        let response = ask(&browser, Some(&id), Some(&laptop.proof(&challenge))).await;
        assert_eq!(response.status(), 200, "{after:?}");
        let response = get(&browser, "/offer").await;
        let is_offered = response.headers().contains_key("secure-session-registration");
        assert!(!is_offered, "{after:?}: the claims show that it is bound");
    }
}

#[tokio::test]
async fn sign_ins_without_a_binding_offer_none() {
    let shop = Shop::new();
    let response = post(&shop.browser(), "/login").await;
    assert!(!response.headers().contains_key("secure-session-registration"));
}

#[test]
fn settings_that_browsers_would_not_follow_are_refused() {
    let build = |configure: &dyn Fn(SessionsBuilder<User>) -> SessionsBuilder<User>| {
        let builder = Sessions::<User>::builder(forge::ring(), MemoryStore::new()).with_audience("shop");
        configure(builder).build().map(drop).map_err(|error| error.to_string())
    };
    let at =
        |path: &'static str| move |b: SessionsBuilder<User>| b.with_device_binding(DeviceBinding::at(path));
    let on = |b: SessionsBuilder<User>| b.with_device_binding(binding());
    assert_eq!(build(&on), Ok(()));
    let cookies = |policy: CookiePolicy| move |b: SessionsBuilder<User>| on(b.with_cookies(policy.clone()));
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let lifetimes = |access: Duration, idle: Duration| {
        move |b: SessionsBuilder<User>| on(b.with_access_lifetime(access).with_idle_lifetime(idle))
    };
    let policy = CookiePolicy::default;
    type Case<'a> = (&'a str, &'a dyn Fn(SessionsBuilder<User>) -> SessionsBuilder<User>, &'a str);
    let cases: &[Case<'_>] = &[
        ("no slash", &at("device"), "`device` is not a path"),
        ("another host", &at("//evil.example"), "`//evil.example` is not a path"),
        ("empty", &at(""), "`` is not a path"),
        ("a query", &at("/device?a=1"), "is not a path"),
        ("a quote", &at("/de\"vice"), "is not a path"),
        ("a space", &at("/de vice"), "is not a path"),
        ("an absolute URL", &at("https://shop.example/device"), "is not a path"),
        (
            "excluded",
            &|b| b.with_device_binding(binding().with_excluded_path("assets")),
            "`assets` is not a path",
        ),
        (
            "an initiator with a scheme",
            &|b| b.with_device_binding(binding().with_refresh_initiators(["https://a.example"])),
            "is not a refresh initiator",
        ),
        ("partitioned", &cookies(policy().with_partitioned()), "without `Partitioned`"),
        ("insecure", &cookies(policy().for_local_http_development()), "with `Secure`"),
        ("a domain", &cookies(policy().with_domain("shop.example")), "without a domain"),
        ("out of reach", &cookies(policy().with_refresh_path("/api/refresh")), "so no proof at `/device`"),
        ("beside it", &cookies(policy().with_refresh_path("/dev")), "so no proof at `/device`"),
        (
            "short access",
            &lifetimes(minutes(5) + GRACE - SECOND, minutes(60)),
            "5 minutes and a grace period",
        ),
        ("short idle", &lifetimes(minutes(15), minutes(60) - SECOND), "at most a quarter"),
    ];
    for (name, configure, expected) in cases {
        let error = build(configure).expect_err(name);
        assert!(error.contains(expected), "{name}: {error}");
    }
    assert_eq!(build(&lifetimes(minutes(5) + GRACE, minutes(22))), Ok(()));
    let below = |b: SessionsBuilder<User>| {
        b.with_cookies(policy().with_refresh_path("/api"))
            .with_device_binding(DeviceBinding::at("/api/device"))
    };
    assert_eq!(build(&below), Ok(()));
}
