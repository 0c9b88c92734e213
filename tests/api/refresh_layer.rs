//! `RefreshLayer`: when it refreshes, what it leaves unchanged, and which cookies it adds to the response.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header::COOKIE};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{Claims, session::SignIn, testing::BrowserRequest, token::TokenError};

use crate::shop::*;

type Ask = BrowserRequest<Inner>;
type From = fn(Ask) -> Ask;
/// The access token that the browser holds.
type Held = fn(&Shop, String) -> Option<String>;

#[tokio::test(flavor = "current_thread")]
async fn refreshes_when_no_access_token_authenticates_the_request() {
    let cases: [(&str, Held, bool); 7] = [
        ("missing", |_, _| None, true),
        ("good", |_, token| Some(token), false),
        (
            "expired",
            |shop, token| {
                shop.clock.advance(ACCESS_GONE);
                Some(token)
            },
            true,
        ),
        (
            "within the leeway",
            |shop, token| {
                shop.clock.advance(ACCESS_GONE - GRACE - Duration::from_secs(1));
                Some(token)
            },
            false,
        ),
        ("forged", |_, token| Some(forged(&token)), true),
        ("no token", |_, _| Some("x".into()), true),
        (
            "claims of another application",
            |_, token| Some(resign(&token, |claims| drop(claims.as_object_mut().unwrap().remove("role")))),
            true,
        ),
    ];
    for (name, prepare, refreshes) in cases {
        let shop = Shop::new();
        let browser = shop.browser();
        shop.sign_in(&browser).await;
        get(&browser, "/me").await;
        shop.clock.advance(GRACE);
        let token = prepare(&shop, browser.cookie(ACCESS).unwrap());
        let browser = holder(&browser, &browser.cookie(REFRESH).unwrap());
        if let Some(token) = token {
            browser.set_cookie(&format!("{ACCESS}={token}; Path=/; Secure"));
        }
        let response = get(&browser, "/me").await;
        let generation = u32::from(refreshes);
        assert_eq!(text(&response), format!("ada customer {generation}"), "{name}");
        assert_eq!(cookies(&response).len(), if refreshes { 3 } else { 0 }, "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn refreshes_ahead_of_expiry_only_when_configured() {
    let before = |seconds: u64| Duration::from_secs(15 * 60 - seconds);
    let cases = [
        // Where a binding is offered, the cookie ends half a minute before its token.
        ("off by default", 0, before(31), false),
        ("long before", 60, before(61), false),
        ("just before", 60, before(60), true),
    ];
    for (name, ahead, after, refreshes) in cases {
        let shop = Shop::with(|builder| builder.with_refresh_ahead(Duration::from_secs(ahead)));
        let browser = shop.browser();
        shop.sign_in(&browser).await;
        get(&browser, "/me").await;
        shop.clock.advance(after);
        let response = get(&browser, "/me").await;
        assert_eq!(response.status(), 200, "{name}");
        assert_eq!(cookies(&response).len(), if refreshes { 3 } else { 0 }, "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_in_a_header_disables_refreshing() {
    let cases = [
        ("bearer garbage", "authorization", "Bearer x", true),
        ("bearer without a token", "authorization", "Bearer", true),
        ("x-access-token garbage", "x-access-token", "x", true),
        ("Basic is not a candidate", "authorization", "Basic YTpi", false),
    ];
    for (name, header, value, off) in cases {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        shop.store.calls();
        let Ok(response) = browser.get("/me").header(header, value).send().await;
        assert_eq!(response.status(), if off { 401 } else { 200 }, "{name}");
        assert_eq!(shop.store.calls().is_empty(), off, "{name}: the store");
        assert_eq!(cookies(&response).is_empty(), off, "{name}: cookies");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn refreshes_only_for_the_same_origin_and_top_level_navigation() {
    let cases: [(&str, Method, From, bool); 10] = [
        ("fetch of the own page", Method::GET, |ask| ask, true),
        ("post of the own page", Method::POST, |ask| ask, true),
        ("address typed in", Method::GET, |ask| ask.navigation(), true),
        ("no browser", Method::GET, |ask| ask.from_no_browser(), true),
        ("link from another site", Method::GET, |ask| ask.cross_site().navigation(), true),
        (
            "link from a neighbour",
            Method::GET,
            |ask| ask.same_site("https://blog.shop.example").navigation(),
            true,
        ),
        ("fetch of another site", Method::GET, |ask| ask.cross_site(), false),
        ("form of another site", Method::POST, |ask| ask.cross_site().navigation(), false),
        ("fetch of a neighbour", Method::GET, |ask| ask.same_site("https://shop.example:8443"), false),
        (
            "frame of another site",
            Method::GET,
            |ask| ask.cross_site().navigation().header("sec-fetch-dest", "iframe"),
            false,
        ),
    ];
    for (name, method, from, refreshes) in cases {
        for revoked in [false, true] {
            let shop = Shop::new();
            let (browser, session) = shop.settled().await;
            if revoked {
                shop.sessions.revoke("ada", session.as_str()).await.unwrap();
            }
            shop.store.calls();
            let cookie = format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap());
            let ask = from(browser.request(method.clone(), "/me").with_xsrf()).header("cookie", cookie);
            let Ok(response) = ask.send_without_storing().await;

            assert_eq!(shop.store.calls().is_empty(), !refreshes, "{name}, revoked {revoked}: the store");
            let expected = match (refreshes, revoked) {
                (true, false) => PAIR.to_vec(),
                // A link on another site must not sign the user out.
                (true, true) if !name.starts_with("link") => CLEARED.to_vec(),
                _ => NONE.to_vec(),
            };
            assert_eq!(cookies(&response), expected, "{name}, revoked {revoked}");
            let status = if refreshes && !revoked { 200 } else { 401 };
            assert_eq!(response.status(), status, "{name}, revoked {revoked}");
        }
    }
}

/// A body that counts how often it is polled.
struct Upload(Arc<AtomicU32>);

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.fetch_add(1, Ordering::SeqCst) {
            0 => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"photo"))))),
            _ => Poll::Ready(None),
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn body_reaches_the_handler_untouched() {
    let shop = Shop::new();
    let (browser, session) = shop.settled().await;
    let polls = Arc::new(AtomicU32::new(0));
    let seen = polls.clone();
    let service = shop.sessions.layer().layer(service_fn(move |request: Request<Upload>| {
        let polled = seen.load(Ordering::SeqCst);
        async move {
            assert_eq!(polled, 0, "the body is not polled before the handler runs");
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, Infallible>(Response::new(body))
        }
    }));
    let request = Request::post("/upload")
        .header("cookie", format!("{REFRESH}={}", browser.cookie(REFRESH).unwrap()))
        .header("x-xsrf-token", browser.cookie(XSRF).unwrap())
        .body(Upload(polls.clone()))
        .unwrap();
    let Ok(response) = service.oneshot(request).await;
    assert_eq!(response.body(), "photo");
    assert_eq!(cookies(&response), PAIR);
    assert_eq!(shop.generation(&session).await, Some(1));
}

#[tokio::test(flavor = "current_thread")]
async fn cookies_are_added_to_every_kind_of_response() {
    let cases = [
        ("found", "/me", true, 200),
        ("redirect", "/status/303", true, 303),
        ("not found", "/status/404", true, 404),
        ("failed", "/status/500", true, 500),
        ("refused by the XSRF layer", "/me", false, 403),
    ];
    for (name, path, with_xsrf, status) in cases {
        let shop = Shop::new();
        let (browser, _) = shop.settled().await;
        let ask = browser.post(path);
        let Ok(response) = if with_xsrf { ask.with_xsrf() } else { ask }.send().await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(cookies(&response), PAIR, "{name}");
        assert_eq!(response.headers()["cache-control"], "no-store", "{name}");
        assert_eq!(get(&browser, "/me").await.status(), 200, "{name}: the browser is still signed in");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn responses_with_cookies_are_never_cached_and_others_are_unchanged() {
    let shop = Shop::new();
    let browser = shop.browser_with(|_| async {
        let mut response = Response::new(Bytes::new());
        for name in ["cache-control", "cdn-cache-control", "surrogate-control"] {
            response.headers_mut().insert(name, HeaderValue::from_static("public, max-age=600"));
        }
        response
    });
    shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    let renewed = get(&browser, "/me").await;
    assert_eq!(renewed.headers()["cache-control"], "no-store");
    assert!(!renewed.headers().contains_key("cdn-cache-control"));
    assert!(!renewed.headers().contains_key("surrogate-control"));
    let plain = get(&browser, "/me").await;
    assert_eq!(plain.headers()["cache-control"], "public, max-age=600");
    assert!(
        plain.headers().contains_key("cdn-cache-control")
            && plain.headers().contains_key("surrogate-control")
    );
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_and_sign_out_by_the_handler_win() {
    let shop = Shop::new();
    let sessions = shop.sessions.clone();
    let browser = shop.browser_with(move |request| {
        let sessions = sessions.clone();
        async move {
            let (parts, _) = request.into_parts();
            let mut response = Response::new(Bytes::new());
            match parts.uri.path() {
                "/switch" => {
                    let bob = SignIn::new("bob", role("clerk"));
                    sessions.sign_in_with(&parts, bob).await.unwrap().append_to(response.headers_mut());
                }
                "/leave" => sessions.sign_out(&parts).await.unwrap().append_to(response.headers_mut()),
                "/promote" => {
                    let claims = parts.extensions.get::<Claims<User>>().unwrap();
                    let promoted = sessions.update_privileges(claims, &role("admin")).await.unwrap();
                    promoted.append_to(response.headers_mut());
                }
                _ => {}
            }
            response
        }
    });
    let cases = [("/switch", PAIR, Some("bob")), ("/leave", CLEARED, None)];
    for (path, expected, subject) in cases {
        shop.sign_in(&browser).await;
        shop.settle(&browser).await;
        let response = post(&browser, path).await;
        assert_eq!(cookies(&response), expected, "{path}: one of each, the handler's");
        let found = browser.cookie(ACCESS).map(|token| payload(&token)["sub"].as_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), subject, "{path}");
        assert_eq!(shop.sessions.list("ada").await.unwrap(), [], "{path}: the former session has ended");
    }

    browser.clear();
    shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    let old = browser.cookie(XSRF);
    let response = post(&browser, "/promote").await;
    assert!(!browser.has_cookie(ACCESS), "cleared by the handler");
    assert_ne!(browser.cookie(XSRF), old);
    assert_eq!(cookies(&get(&browser, "/me").await), RENEWED, "the next request is refreshed");
    assert_eq!(payload(&browser.cookie(ACCESS).unwrap())["role"], "admin");
    assert_eq!(post(&browser, "/order").await.status(), 200, "cookie and claim agree");
    shop.clock.advance(ACCESS_GONE);
    assert_eq!(get(&browser, "/me").await.status(), 200, "a legitimate client is never revoked");
    let mut names = cookies(&response);
    names.sort();
    assert_eq!(names, ["-access", "XSRF-TOKEN", "refresh"], "one of each");
}

#[tokio::test(flavor = "current_thread")]
async fn optional_mode_continues_anonymously_with_the_reason() {
    let shop = Shop::new();
    let why = service_fn(async |request: Request<String>| {
        let error =
            TokenError::from_extensions(request.extensions()).map(|error| format!("{:?}", error.kind()));
        assert!(request.extensions().get::<Claims<User>>().is_none() || error.is_none());
        Ok::<_, Infallible>(Response::new(Bytes::from(error.unwrap_or("signed in".into()))))
    });
    let browser = shop.browser_over(shop.sessions.layer().optional().layer(why));
    assert_eq!(text(&get(&browser, "/").await), "Missing");
    let session = shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    assert_eq!(text(&get(&browser, "/").await), "signed in", "refreshed");
    shop.clock.advance(ACCESS_GONE);
    shop.sessions.revoke("ada", session.as_str()).await.unwrap();
    let response = get(&browser, "/").await;
    assert_eq!(text(&response), "Revoked");
    assert_eq!(cookies(&response), NONE, "the handler has answered, however long that took");
}

#[tokio::test(flavor = "current_thread")]
async fn tokens_of_two_sessions_are_refused_and_nothing_is_cleared() {
    let shop = Shop::new();
    let browser = shop.browser();
    let optional = shop.browser_over(shop.sessions.layer().optional().layer(service_fn(greet)));
    let mut held = Vec::new();
    for _ in 0..2 {
        let other = browser.separate();
        shop.sign_in(&other).await;
        held.push((other.cookie(ACCESS).unwrap(), other.cookie(REFRESH).unwrap()));
    }
    shop.events();
    let twice = |name, one: &str, two: &str| format!("{name}={one}; {name}={two}");
    let cases = [
        ("access", twice(ACCESS, &held[0].0, &held[1].0)),
        ("refresh", twice(REFRESH, &held[0].1, &held[1].1)),
    ];
    for (name, cookie) in &cases {
        for (mode, browser) in [("required", &browser), ("optional", &optional)] {
            shop.store.calls();
            let Ok(response) = browser.get("/me").header(COOKIE.as_str(), cookie).send().await;
            assert_eq!(response.status(), 401, "{name}, {mode}");
            assert_eq!(cookies(&response), NONE, "{name}, {mode}");
            assert_eq!(shop.store.calls(), ["read", "read"], "{name}, {mode}: both are live");
            assert_eq!(shop.events(), ["cookies of 2 sessions, of ada and ada"], "{name}, {mode}");
        }
    }
    let Ok(response) = browser.post("/refresh").header(COOKIE.as_str(), &cases[1].1).send().await;
    assert_eq!((response.status().as_u16(), code(&response)), (401, "token_ambiguous".into()));
    assert_eq!(shop.events(), ["cookies of 2 sessions, of ada and ada"], "the refresh service");
    assert_eq!(cookies(&response), NONE);
    assert_eq!(shop.sessions.list("ada").await.unwrap().len(), 2, "both live on");
}

#[tokio::test(flavor = "current_thread")]
async fn exempt_paths_and_preflights_pass_through() {
    let shop = Shop::new();
    let layer = shop.sessions.layer().with_exempt(|parts| parts.uri.path() == "/healthz");
    let browser = shop.browser_over(layer.layer(service_fn(greet)));
    shop.sign_in(&browser).await;
    shop.settle(&browser).await;
    shop.store.calls();
    let Ok(health) = browser.get("/healthz").send().await;
    let preflight = browser.request(Method::OPTIONS, "/me").header("access-control-request-method", "POST");
    let Ok(preflight) = preflight.send().await;
    for (name, response) in [("exempt", health), ("preflight", preflight)] {
        assert_eq!((text(&response).as_str(), cookies(&response)), ("anonymous", vec![]), "{name}");
    }
    assert_eq!(shop.store.calls(), NONE);
    let Ok(options) = browser.request(Method::OPTIONS, "/me").send().await;
    assert_eq!(text(&options), "ada customer 1", "any other OPTIONS is a request like all others");
}
