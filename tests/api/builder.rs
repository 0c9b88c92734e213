//! Building `Sessions`, and the claims that are reloaded when they are rotated.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    CookiePolicy, KeyRing, MemoryStore, Sessions, Verifier, XsrfLayer,
    cookies::SameSite,
    keys::{Algorithm, Key},
    session::SessionsBuilder,
    token::VerifierBuilder,
};

use crate::{jar::Jar, shop::*};

#[test]
fn what_is_not_an_origin_is_reported_alike_by_sessions_and_by_the_layer() {
    for origin in ["https://shop.example/app", "shop.example", "*", "", "https://ada@shop.example"] {
        let builder = || {
            Sessions::<User>::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new())
                .with_audience("shop")
        };
        let errors = [
            builder().with_public_origin(origin).err(),
            builder().with_trusted_origin(origin).err(),
            XsrfLayer::new().with_public_origin(origin).err(),
            XsrfLayer::new().with_trusted_origin(origin).err(),
        ];
        for error in errors {
            let message = error.expect(origin).to_string();
            assert!(message.contains("such as `https://shop.example`"), "{origin}: {message}");
        }
    }
}

#[test]
fn a_verifier_that_could_accept_nothing_is_reported_with_a_remedy() {
    type Configure = fn(VerifierBuilder<()>) -> VerifierBuilder<()>;
    let cases: [(&str, Configure, &str); 5] = [
        ("no issuer", |b| b.with_issuer(""), "leave out `with_issuer`"),
        ("no audience", |b| b.with_audience(""), "leave out `with_audience`"),
        ("no type", |b| b.with_types([""; 0]), "name at least one"),
        ("no XSRF claim", |b| b.with_xsrf_claim(""), "keep `xsrfToken`"),
        ("a registered XSRF claim", |b| b.with_xsrf_claim("sub"), "no registered claim"),
    ];
    for (name, configure, remedy) in cases {
        let error = configure(Verifier::builder(KeyRing::hs256(SECRET).unwrap()))
            .build()
            .expect_err(name)
            .to_string();
        assert!(error.contains(remedy), "{name}: {error}");
    }
}

#[test]
fn every_contradiction_is_reported_by_build_with_a_remedy() {
    type Configure = fn(SessionsBuilder<User>) -> SessionsBuilder<User>;
    let cases: [(&str, Configure, &str); 18] = [
        ("an empty audience", |b| b.with_audience(""), "with_audience"),
        ("no time to reload", |b| b.with_reload_timeout(Duration::ZERO), "with_reload_timeout"),
        ("no access lifetime", |b| b.with_access_lifetime(Duration::ZERO), "with_access_lifetime"),
        ("no idle lifetime", |b| b.with_idle_lifetime(Duration::from_millis(999)), "with_idle_lifetime"),
        ("no absolute lifetime", |b| b.with_absolute_lifetime(Duration::ZERO), "with_absolute_lifetime"),
        (
            "ahead as long as the lifetime",
            |b| b.with_refresh_ahead(Duration::from_secs(900)),
            "with_refresh_ahead",
        ),
        ("no XSRF claim", |b| b.with_xsrf_claim(""), "needs a name"),
        ("a registered XSRF claim", |b| b.with_xsrf_claim("sub"), "no registered claim"),
        (
            "an access name with a blank",
            |b| b.with_cookies(CookiePolicy::new().with_access_name("a b")),
            "use letters",
        ),
        (
            "an empty refresh name",
            |b| b.with_cookies(CookiePolicy::new().with_refresh_name("")),
            "use letters",
        ),
        (
            "two cookies of one name",
            |b| b.with_cookies(CookiePolicy::new().with_access_name("a").with_refresh_name("a")),
            "give each its own",
        ),
        ("a relative path", |b| b.with_cookies(CookiePolicy::new().with_path("app")), "start it with `/`"),
        (
            "a path with an attribute",
            |b| b.with_cookies(CookiePolicy::new().with_refresh_path("/; Domain=evil.example")),
            "leave out `;`",
        ),
        (
            "a URL for a domain",
            |b| b.with_cookies(CookiePolicy::new().with_domain("https://shop.example")),
            "such as `shop.example`",
        ),
        (
            "__Host- with a domain",
            |b| b.with_cookies(CookiePolicy::new().with_access_name("__Host-a").with_domain("shop.example")),
            "use `__Secure-`",
        ),
        (
            "__Secure- without Secure",
            |b| {
                b.with_cookies(
                    CookiePolicy::new().for_local_http_development().with_access_name("__Secure-a"),
                )
            },
            "needs `Secure`",
        ),
        (
            "SameSite=None without Secure",
            |b| {
                b.with_cookies(
                    CookiePolicy::new().for_local_http_development().with_same_site(SameSite::None),
                )
            },
            "keep `SameSite=Strict` or `Secure`",
        ),
        (
            "Partitioned without Secure",
            |b| b.with_cookies(CookiePolicy::new().for_local_http_development().with_partitioned()),
            "that are not `Secure`",
        ),
    ];
    for (name, configure, way_out) in cases {
        let builder =
            Sessions::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new()).with_audience("shop");
        let error = configure(builder).build().err().unwrap_or_else(|| panic!("{name}: built"));
        assert!(error.to_string().contains(way_out), "{name}: {error}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn applications_on_one_ring_have_audiences_and_do_not_accept_each_others_tokens() {
    let keys = KeyRing::hs256(SECRET).unwrap();
    let builder = || Sessions::<User>::builder(keys.clone(), MemoryStore::new());
    let error = builder().build().unwrap_err().to_string();
    assert!(error.contains(r#"with_audience("shop")"#), "{error}");

    let [shop, desk] = ["shop", "desk"].map(|audience| builder().with_audience(audience).build().unwrap());
    let jar = Jar::signed_in(&shop, role("customer")).await;
    for name in [ACCESS, REFRESH] {
        for (sessions, status) in [(&shop, 200), (&desk, 401)] {
            let service = sessions.layer().layer(service_fn(greet));
            let request = Request::get("/").header("cookie", format!("{name}={}", jar.value(name)));
            let response = service.oneshot(request.body(String::new()).unwrap()).await;
            assert_eq!(response.unwrap().status(), status, "{name}");
        }
    }
}

#[test]
fn cookies_for_local_http_do_not_go_with_an_https_origin() {
    let build = |cookies: CookiePolicy, origin: &str| {
        let builder = Sessions::<User>::builder(KeyRing::hs256(SECRET).unwrap(), MemoryStore::new())
            .with_audience("shop");
        builder.with_cookies(cookies).with_public_origin(origin).unwrap().build()
    };
    let local = || CookiePolicy::new().for_local_http_development();
    for origin in ["https://shop.example", "HTTPS://Shop.example:443", "https://localhost:8443"] {
        let error = build(local(), origin).unwrap_err().to_string();
        assert!(error.contains("for_local_http_development"), "{origin}: {error}");
        assert!(build(CookiePolicy::new(), origin).is_ok(), "{origin}, secure");
        assert!(
            build(CookiePolicy::new().with_former(local()), origin).is_ok(),
            "{origin}, formerly insecure"
        );
    }
    for origin in ["http://localhost:3000", "http://shop.example"] {
        assert!(build(local(), origin).is_ok(), "{origin}");
    }
}

#[test]
fn verify_only_key_ring_is_refused_with_a_remedy() {
    let keys = KeyRing::verify_only([Key::generate(Algorithm::HS256).unwrap()]).unwrap();
    let error = Sessions::<User>::builder(keys, MemoryStore::new())
        .with_audience("shop")
        .build()
        .unwrap_err()
        .to_string();
    assert!(error.contains("KeyRing::new") && error.contains("CookieJwtLayer::new"), "{error}");
}

/// The answer of the next reload, and the number of calls.
#[derive(Clone)]
struct Accounts {
    answer: Arc<Mutex<Result<Option<User>, ()>>>,
    asked: Arc<AtomicU32>,
}

impl Accounts {
    fn shop(&self, configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>) -> Shop {
        let accounts = self.clone();
        Shop::with(|builder| {
            configure(builder.with_reload(move |subject: String, _| {
                assert_eq!(subject, "ada");
                accounts.asked.fetch_add(1, Ordering::SeqCst);
                let answer = accounts.answer.lock().unwrap().clone();
                async move { answer.map_err(|()| "the accounts are down".into()) }
            }))
        })
    }

    fn answering(answer: Result<Option<User>, ()>) -> Self {
        Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() }
    }

    fn asked(&self) -> u32 {
        self.asked.swap(0, Ordering::SeqCst)
    }

    fn answer(&self, answer: Result<Option<User>, ()>) {
        *self.answer.lock().unwrap() = answer;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn roles_change_only_at_a_rotation() {
    for way in Way::BOTH {
        let accounts = Accounts::answering(Ok(Some(role("admin"))));
        let shop = accounts.shop(|builder| builder);
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        assert_eq!(text(&get(&browser, "/me").await), "ada customer 0", "{way:?}");
        browser.remove_cookie(ACCESS);
        assert_eq!(cookies(&way.ask(&browser).await), RENEWED, "{way:?}: not settled");
        assert_eq!(
            (accounts.asked(), text(&get(&browser, "/me").await)),
            (0, "ada customer 0".into()),
            "{way:?}"
        );

        shop.clock.advance(ACCESS_GONE);
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}");
        assert_eq!(
            (accounts.asked(), text(&get(&browser, "/me").await)),
            (1, "ada admin 1".into()),
            "{way:?}"
        );
        let record = shop.store.record(&session).await.unwrap();
        assert_eq!((record.generation, &*record.claims), (1, r#"{"role":"admin"}"#), "{way:?}: together");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn closed_account_is_revoked_at_the_next_rotation() {
    for way in Way::BOTH {
        let shop = Accounts::answering(Ok(None)).shop(|builder| builder);
        let (browser, session) = shop.settled().await;
        shop.events();
        let response = way.ask(&browser).await;
        assert_eq!((response.status().as_u16(), code(&response)), (401, "session_revoked".into()), "{way:?}");
        assert_eq!(cookies(&response), CLEARED, "{way:?}");
        assert_eq!(shop.store.record(&session).await, None, "{way:?}");
        assert_eq!(shop.events(), ["ended ada"], "{way:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_reload_that_hangs_is_503_and_commits_nothing() {
    for way in Way::BOTH {
        let hangs = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let source = hangs.clone();
        let shop = Shop::with(|builder| {
            builder.with_reload_timeout(Duration::from_millis(50)).with_reload(move |_, _| {
                let hangs = source.load(Ordering::SeqCst);
                async move {
                    if hangs {
                        std::future::pending::<()>().await;
                    }
                    Ok(Some(role("admin")))
                }
            })
        });
        let (browser, session) = shop.settled().await;
        let started = std::time::Instant::now();
        let response = way.ask(&browser).await;
        assert_eq!(response.status(), 503, "{way:?}");
        assert!(response.headers().contains_key("retry-after"), "{way:?}");
        assert!(started.elapsed() >= Duration::from_millis(50), "{way:?}: not before its time");
        assert_eq!(cookies(&response), NONE, "{way:?}");
        assert_eq!(shop.generation(&session).await, Some(0), "{way:?}");
        hangs.store(false, Ordering::SeqCst);
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}: the next attempt succeeds");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn failing_reload_is_503_and_commits_nothing() {
    for way in Way::BOTH {
        let accounts = Accounts::answering(Err(()));
        let shop = accounts.shop(|builder| builder);
        let (browser, session) = shop.settled().await;
        let before = shop.store.record(&session).await;
        shop.events();
        let response = way.ask(&browser).await;
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{way:?}");
        assert!(response.headers().contains_key("retry-after"), "{way:?}");
        assert_eq!((shop.store.record(&session).await, shop.events()), (before, vec![]), "{way:?}");
        accounts.answer(Ok(Some(role("clerk"))));
        assert_eq!(cookies(&way.ask(&browser).await), PAIR, "{way:?}");
        assert_eq!(text(&get(&browser, "/me").await), "ada clerk 1", "{way:?}");
    }
}

/// A session whose stored claims are of a former version of the application.
async fn outdated(shop: &Shop, settled: bool) -> (Shopper, tower_cookie_jwt::store::SessionId) {
    let browser = shop.browser();
    let session = shop.sign_in(&browser).await;
    if settled {
        get(&browser, "/me").await;
    }
    shop.clock.advance(ACCESS_GONE);
    let mut record = shop.store.record(&session).await.unwrap();
    record.claims = r#"{"rank":7}"#.into();
    shop.store.restore(record).await;
    shop.events();
    (browser, session)
}

#[tokio::test(flavor = "current_thread")]
async fn stored_claims_of_another_type_are_refused_without_reload_and_nothing_is_cleared() {
    for way in Way::BOTH {
        for settled in [false, true] {
            let shop = Shop::new();
            let (browser, session) = outdated(&shop, settled).await;
            let before = shop.store.record(&session).await;
            let response = way.ask(&browser).await;
            assert_eq!(response.status(), 401, "{way:?}, settled {settled}");
            assert_eq!(code(&response), "token_invalid", "{way:?}, settled {settled}");
            assert_eq!(cookies(&response), NONE, "{way:?}, settled {settled}");
            assert_eq!(shop.store.record(&session).await, before, "{way:?}, settled {settled}");
            assert_eq!(shop.events(), NONE, "{way:?}, settled {settled}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn stored_claims_of_another_type_are_rebuilt_by_reload() {
    for way in Way::BOTH {
        for settled in [false, true] {
            let shop = Accounts::answering(Ok(Some(role("clerk")))).shop(|builder| builder);
            let (browser, session) = outdated(&shop, settled).await;
            assert_eq!(way.ask(&browser).await.status(), 200, "{way:?}, settled {settled}");
            let expected = format!("ada clerk {}", u32::from(settled));
            assert_eq!(text(&get(&browser, "/me").await), expected, "{way:?}, settled {settled}");
            assert_eq!(&*shop.store.record(&session).await.unwrap().claims, r#"{"role":"clerk"}"#);

            let closed = Accounts::answering(Ok(None)).shop(|builder| builder);
            let (browser, session) = outdated(&closed, settled).await;
            let response = way.ask(&browser).await;
            assert_eq!((response.status().as_u16(), cookies(&response).len()), (401, 3), "{way:?}: closed");
            assert_eq!(closed.store.record(&session).await, None, "{way:?}: closed");

            let down = Accounts::answering(Err(())).shop(|builder| builder);
            let (browser, session) = outdated(&down, settled).await;
            let before = down.store.record(&session).await;
            let response = way.ask(&browser).await;
            assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{way:?}: down");
            assert_eq!(down.store.record(&session).await, before, "{way:?}: down");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn failing_early_reload_keeps_a_valid_access_token() {
    let shop =
        Accounts::answering(Err(())).shop(|builder| builder.with_refresh_ahead(Duration::from_secs(60)));
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    get(&browser, "/me").await;
    shop.clock.advance(Duration::from_secs(14 * 60 + 30));
    let response = get(&browser, "/me").await;
    assert_eq!((text(&response).as_str(), cookies(&response)), ("ada customer 0", vec![]));
}
