//! Sessions that survive a failing sign-in, requests with thousands of
//! cookies, nested systems, and tokens that are narrower than the session.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, request::Parts};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::json;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    ConfigError, CookieJwtLayer, CookiePolicy, KeyRing, MemoryStore, Sessions, Verifier,
    reject::Refusal,
    session::{LostResponse, SessionError, SignIn},
};

use crate::{forge, jar::cookies_of, late_answers::narrow, shop::*};

#[tokio::test(flavor = "current_thread")]
async fn failed_sign_in_keeps_the_current_session_alive() {
    for call in ["create", "read", "remove"] {
        let shop = Shop::new();
        let browser = shop.browser();
        let session = shop.sign_in(&browser).await;
        shop.store.fail(Some(call));
        let response = post(&browser, "/login?bob").await;
        shop.store.fail(None);
        assert_eq!((response.status().as_u16(), cookies(&response)), (503, vec![]), "{call} fails");
        assert!(shop.store.record(&session).await.is_some(), "{call} fails: the session lives");
        shop.settle(&browser).await;
        assert_eq!(text(&get(&browser, "/me").await), "ada customer 1", "{call} fails");
        let left = shop.sessions.list("bob").await.unwrap().len();
        // What cannot be removed expires.
        assert_eq!(left, usize::from(call == "remove"), "{call} fails: the unused new session");
    }
}

fn sign_in_request(cookies: &str) -> Parts {
    Request::post("https://shop.example/login").header("cookie", cookies).body(()).unwrap().into_parts().0
}

#[tokio::test(flavor = "current_thread")]
async fn sign_in_to_a_full_store_replaces_the_presented_session() {
    let store = MemoryStore::new().with_capacity(2);
    let sessions =
        Sessions::<()>::builder(forge::ring(), store.clone()).with_audience("shop").build().unwrap();
    let mut headers = HeaderMap::new();
    let first = sessions.sign_in(&sign_in_request(""), "ada", ()).await.unwrap();
    first.append_to(&mut headers);
    let bob = sessions.sign_in(&sign_in_request(""), "bob", ()).await.unwrap();

    let ids = async |subject: &str| {
        let sessions = sessions.list(subject).await.unwrap();
        sessions.into_iter().map(|session| session.id).collect::<Vec<_>>()
    };
    let full = sessions.sign_in(&sign_in_request(""), "ada", ()).await;
    assert!(matches!(full, Err(SessionError::Full)), "{full:?}");
    assert_eq!(ids("ada").await, [first.session_id().clone()], "no other session makes room");

    let second = sessions.sign_in(&sign_in_request(&cookies_of(&headers)), "ada", ()).await.unwrap();
    assert_ne!(second.session_id(), first.session_id());
    assert_eq!(ids("ada").await, [second.session_id().clone()]);
    assert_eq!(ids("bob").await, [bob.session_id().clone()]);
}

static READ: AtomicUsize = AtomicUsize::new(0);

/// Claims that count how often they are read from a token.
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.fetch_add(1, Ordering::SeqCst);
        IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

#[tokio::test(flavor = "current_thread")]
async fn at_most_four_of_many_valid_cookies_are_verified() {
    let page = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    let service = CookieJwtLayer::new(Verifier::<Counted>::new(forge::ring())).layer(page);
    let mut many = String::new();
    for number in 0..4_000 {
        let token = forge::valid_with(json!({ "sid": "s", "number": number }));
        many.push_str(&format!("{ACCESS}={token}; "));
    }
    assert!(many.len() > 400_000);
    for round in 0..3 {
        READ.store(0, Ordering::SeqCst);
        let request = Request::get("/").header("cookie", &many).body(()).unwrap();
        let Ok(response) = service.clone().oneshot(request).await;
        assert_eq!(response.status(), 401, "round {round}: the sessions of the others are unknown");
        let read = READ.load(Ordering::SeqCst);
        assert!(read <= 4, "round {round}: {read} tokens read");
    }
}

/// Many cookies of one name, and whether one that is good still counts among them.
#[tokio::test(flavor = "current_thread")]
async fn large_amounts_of_garbage_cookies_are_handled() {
    let shop = Shop::new();
    let browser = shop.browser();
    shop.sign_in(&browser).await;
    let good = |name: &str| format!("{name}={}; ", browser.cookie(name).unwrap());
    for name in [ACCESS, REFRESH] {
        let many = |make: &dyn Fn(usize) -> String, count: usize| {
            (0..count).map(|number| format!("{name}={}; ", make(number))).collect::<String>()
        };
        let shapeless = many(&|number| format!("{number:05x}"), 20_000);
        let token = browser.cookie(name).unwrap();
        let message = token.rsplit_once('.').unwrap().0;
        let forged = many(&|number| format!("{message}.{number:043}"), 2_000);
        assert!(shapeless.len() > 400_000 && forged.len() > 400_000);
        let cases = [
            ("shapeless", shapeless.clone(), 401),
            ("forged", forged.clone(), 401),
            ("a good one before shapeless ones", good(name) + &shapeless, 200),
            ("a good one after shapeless ones", shapeless + &good(name), 200),
            ("a good one before forged ones", good(name) + &forged, 401),
            ("a good one after forged ones", forged + &good(name), 401),
        ];
        for (case, cookie, status) in cases {
            shop.store.calls();
            let Ok(response) = browser.get("/me").header("cookie", cookie).send_without_storing().await;
            assert_eq!(response.status(), status, "{name}: {case}");
            assert_eq!(cookies(&response).is_empty(), status == 401 || name == ACCESS, "{name}: {case}");
            assert!(status == 200 || shop.store.calls().is_empty(), "{name}: {case}: the store");
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Admin {
    desk: u8,
}

/// An admin area inside a shop, each with its own cookies, keys and header.
#[tokio::test(flavor = "current_thread")]
async fn nested_systems_with_separate_headers_require_both() {
    let shop =
        Sessions::<()>::builder(forge::ring(), MemoryStore::new()).with_audience("shop").build().unwrap();
    let policy = CookiePolicy::new()
        .with_access_name("__Host-admin-access")
        .with_refresh_name("__Host-admin-refresh")
        .with_xsrf_name("ADMIN-XSRF");
    let desk = Sessions::<Admin>::builder(KeyRing::hs256([7; 32]).unwrap(), MemoryStore::new())
        .with_audience("shop")
        .with_cookies(policy)
        .with_xsrf_header(http::HeaderName::from_static("x-admin-xsrf"))
        .build()
        .unwrap();
    let mut headers = HeaderMap::new();
    let ada = shop.sign_in(&sign_in_request(""), "ada", ()).await.unwrap();
    ada.append_to(&mut headers);
    let admin = desk.sign_in(&sign_in_request(""), "ada", Admin { desk: 1 }).await.unwrap();
    admin.append_to(&mut headers);

    let page = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
    let service = shop.layer().layer(desk.layer().layer(page));
    let (outer, inner) = (("x-xsrf-token", ada.xsrf_token()), ("x-admin-xsrf", admin.xsrf_token()));
    let swapped = [("x-xsrf-token", admin.xsrf_token()), ("x-admin-xsrf", ada.xsrf_token())];
    let cases: [(&str, &[_], StatusCode, Option<&str>); 5] = [
        ("both", &[outer, inner], StatusCode::OK, None),
        ("only the outer one", &[outer], StatusCode::FORBIDDEN, Some("xsrf_missing")),
        ("only the inner one", &[inner], StatusCode::FORBIDDEN, Some("xsrf_missing")),
        ("none", &[], StatusCode::FORBIDDEN, Some("xsrf_missing")),
        ("each in the other's place", &swapped, StatusCode::FORBIDDEN, Some("xsrf_mismatch")),
    ];
    for (name, sent, status, code) in cases {
        let request = Request::post("https://shop.example/").header("cookie", cookies_of(&headers));
        let request = sent.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let Ok(response) = service.clone().oneshot(request.body(()).unwrap()).await;
        assert_eq!(response.status(), status, "{name}");
        assert_eq!(response.extensions().get().map(Refusal::code), code, "{name}");
    }
}

#[test]
fn grace_period_that_would_revoke_legitimate_clients_is_a_config_error_with_a_remedy() {
    let second = Duration::from_secs(1);
    let build = |grace, lost| -> Result<(), ConfigError> {
        let builder = Sessions::<()>::builder(forge::ring(), MemoryStore::new()).with_audience("shop");
        builder.with_grace_period(grace).with_lost_response(lost).build().map(drop)
    };
    let cases = [
        ("a zero grace period", Duration::ZERO, LostResponse::UntilConfirmed, "with_grace_period"),
        ("both zero", Duration::ZERO, LostResponse::Within(Duration::ZERO), "with_grace_period"),
        ("within zero", GRACE, LostResponse::Within(Duration::ZERO), "at least as long"),
        (
            "within less than the grace period",
            GRACE,
            LostResponse::Within(GRACE - second),
            "at least as long",
        ),
    ];
    for (name, grace, lost, way_out) in cases {
        let error = build(grace, lost).expect_err(name).to_string();
        assert!(error.contains(way_out), "{name}: {error}");
    }
    for (name, grace, lost) in [
        ("a second", second, LostResponse::UntilConfirmed),
        ("longer than access tokens live", DAY, LostResponse::UntilConfirmed),
        ("within the grace period", GRACE, LostResponse::Within(GRACE)),
    ] {
        build(grace, lost).expect(name);
    }
}

/// The callback of an identity provider: a link or a form of another site.
#[tokio::test(flavor = "current_thread")]
async fn sign_in_from_another_site_requires_disabling_the_origin_check() {
    for method in [http::Method::GET, http::Method::POST] {
        for (path, status) in [("/callback", 200), ("/checked", 403)] {
            let name = format!("{method} {path}");
            let shop = Shop::new();
            let sessions = shop.sessions.clone();
            let protected = sessions.layer().layer(service_fn(greet));
            let browser = shop.browser_over(service_fn(move |request: Request<String>| {
                let (sessions, protected) = (sessions.clone(), protected.clone());
                async move {
                    let ada = SignIn::new("ada", role("customer"));
                    let ada = match request.uri().path() {
                        "/callback" => ada.with_insecure_origin_bypass(),
                        "/checked" => ada,
                        _ => return protected.oneshot(request).await,
                    };
                    let mut response = Response::new(Bytes::new());
                    match sessions.sign_in_with(&request.into_parts().0, ada).await {
                        Ok(signed_in) => signed_in.append_to(response.headers_mut()),
                        Err(error) => *response.status_mut() = error.refusal().expect("refused").status(),
                    }
                    Ok(response)
                }
            }));
            let ask = browser.request(method.clone(), path).cross_site().navigation();
            let Ok(response) = ask.send().await;
            assert_eq!(response.status(), status, "{name}");
            let signed_in = status == 200;
            assert_eq!(cookies(&response), if signed_in { PAIR.to_vec() } else { NONE.to_vec() }, "{name}");
            let live = shop.sessions.list("ada").await.unwrap().len();
            assert_eq!(live, usize::from(signed_in), "{name}");
            let page = get(&browser, "/me").await.status();
            assert_eq!(page, if signed_in { 200 } else { 401 }, "{name}");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn narrowed_access_token_does_not_authenticate_the_session() {
    for path in ["/logout", "/login"] {
        for (name, narrowed, by_header, ends) in [
            ("narrowed, as bearer", true, true, false),
            ("narrowed, as cookie", true, false, false),
            ("whole, as bearer", false, true, true),
            ("whole, as cookie", false, false, true),
        ] {
            let shop = Shop::new();
            let browser = shop.browser();
            let session = shop.sign_in(&browser).await;
            let token = match narrowed {
                true => json(&narrow(&browser).await)["access_token"].as_str().unwrap().to_owned(),
                false => browser.cookie(ACCESS).unwrap(),
            };
            let part = browser.separate();
            let (header, value) = match by_header {
                true => ("authorization", format!("Bearer {token}")),
                false => ("cookie", format!("{ACCESS}={token}")),
            };
            let Ok(me) = part.get("/me").header(header, &value).send_without_storing().await;
            assert_eq!(me.status(), 200, "{name}: the token is good");
            let Ok(response) = part.post(path).from_no_browser().header(header, &value).send().await;
            assert_eq!(response.status(), 200, "{path}, {name}");
            assert_eq!(shop.store.record(&session).await.is_none(), ends, "{path}, {name}");
            assert_eq!(post(&browser, "/refresh").await.status() == 200, !ends, "{path}, {name}");
        }
    }
}
