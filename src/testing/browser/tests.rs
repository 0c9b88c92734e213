use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, routing::post};
use http::{
    HeaderMap, HeaderValue, Request, StatusCode, Uri, Version,
    header::{COOKIE, HOST, ORIGIN},
};
use tower::service_fn;
use tower_service::Service;

use super::*;
use crate::testing::clock::TestClock;

const STRICT: &str = "s=1; SameSite=Strict; Secure; Path=/";
const LAX: &str = "l=1; SameSite=Lax; Secure; Path=/";
const BLOG: &str = "https://blog.shop.example";
const NONE: &str = "n=1; SameSite=None; Secure; Path=/";

/// Responds with the request that it received, and with a `Set-Cookie` line for each `set` header.
#[derive(Clone)]
struct Echo;

#[derive(Clone)]
struct Seen {
    method: Method,
    uri: Uri,
    version: Version,
    headers: HeaderMap,
    body: String,
}

impl Seen {
    fn get(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Service<Request<String>> for Echo {
    type Response = Response<Seen>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Seen>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let mut response = Response::new(Seen {
            method: parts.method,
            uri: parts.uri,
            version: parts.version,
            headers: parts.headers.clone(),
            body,
        });
        for line in parts.headers.get_all("set") {
            response.headers_mut().append(SET_COOKIE, line.clone());
        }
        ready(Ok(response))
    }
}

fn browser() -> Browser<Echo> {
    Browser::new(Echo)
}

async fn seen(request: BrowserRequest<Echo>) -> Seen {
    request.send().await.unwrap().into_body()
}

#[tokio::test]
async fn requests_arrive_as_an_http_server_sees_them() {
    let browser = browser().with_origin("https://shop.example:8443");
    browser.set_cookie("a=1");
    browser.set_cookie("b=2");

    let first = seen(browser.post("/api/orders?page=2").header("X-Trace", "7").body("tea")).await;
    assert_eq!((first.method.as_str(), first.uri.to_string().as_str()), ("POST", "/api/orders?page=2"));
    assert_eq!((first.version, first.body.as_str()), (Version::HTTP_11, "tea"));
    assert_eq!(first.get(HOST), Some("shop.example:8443"));
    assert_eq!(first.get("x-trace"), Some("7"));
    assert_eq!(first.get(COOKIE), Some("a=1; b=2"));

    let second = seen(browser.get("/api/orders?page=2").http2()).await;
    assert_eq!(second.uri, "https://shop.example:8443/api/orders?page=2");
    assert_eq!((second.version, second.get(HOST)), (Version::HTTP_2, None));
    assert_eq!(second.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1", "b=2"]);
}

#[tokio::test]
async fn provenance_headers_and_cookies_depend_on_the_initiator() {
    let browser = browser();
    for line in [STRICT, LAX, NONE] {
        browser.set_cookie(line);
    }
    const EVIL: &str = "https://evil.example";
    let shop = Some(DEFAULT_ORIGIN);
    let (all, safe, none) = ("s=1; l=1; n=1", "l=1; n=1", "n=1");
    let fetch = [Some("cors"), Some("empty")];
    let page = [Some("navigate"), Some("document")];

    let cases = [
        ("own get", browser.get("/"), Some("same-origin"), fetch, None, all),
        ("own head", browser.request(Method::HEAD, "/"), Some("same-origin"), fetch, None, all),
        ("own post", browser.post("/"), Some("same-origin"), fetch, shop, all),
        ("typed address", browser.get("/").navigation(), Some("none"), page, None, all),
        ("own form", browser.post("/").navigation(), Some("same-origin"), page, shop, all),
        ("neighbour get", browser.get("/").same_site(BLOG), Some("same-site"), fetch, Some(BLOG), all),
        ("neighbour post", browser.post("/").same_site(BLOG), Some("same-site"), fetch, Some(BLOG), all),
        ("neighbour link", browser.get("/").same_site(BLOG).navigation(), Some("same-site"), page, None, all),
        ("itself", browser.get("/").same_site(DEFAULT_ORIGIN), Some("same-origin"), fetch, None, all),
        ("foreign get", browser.get("/").cross_site(), Some("cross-site"), fetch, Some(EVIL), none),
        ("foreign post", browser.post("/").cross_site(), Some("cross-site"), fetch, Some(EVIL), none),
        ("foreign link", browser.get("/").cross_site().navigation(), Some("cross-site"), page, None, safe),
        (
            "foreign form",
            browser.post("/").navigation().cross_site(),
            Some("cross-site"),
            page,
            Some(EVIL),
            none,
        ),
        ("not a browser", browser.post("/").from_no_browser(), None, [None, None], None, all),
    ];
    for (case, request, site, [mode, dest], origin, cookies) in cases {
        let seen = seen(request).await;
        assert_eq!(seen.get("sec-fetch-site"), site, "{case}");
        assert_eq!(seen.get("sec-fetch-mode"), mode, "{case}");
        assert_eq!(seen.get("sec-fetch-dest"), dest, "{case}");
        assert_eq!(seen.get(ORIGIN), origin, "{case}");
        assert_eq!(seen.get(COOKIE), Some(cookies), "{case}");
    }
}

#[tokio::test]
async fn fetch_metadata_is_sent_only_to_trustworthy_servers() {
    for (origin, site) in [("http://shop.example", None), ("http://localhost:3000", Some("same-origin"))] {
        let seen = seen(browser().with_origin(origin).post("/")).await;
        assert_eq!(seen.get("sec-fetch-site"), site, "{origin}");
        assert_eq!(seen.get(ORIGIN), Some(origin), "{origin}");
    }
}

#[tokio::test]
async fn explicit_headers_replace_those_of_the_browser() {
    let browser = browser();
    browser.set_cookie("a=1");
    let request = browser.post("/").header(ORIGIN, "null").header("cookie", "b=2").header("Cookie", "c=3");
    let seen = seen(request).await;
    assert_eq!(seen.headers.get_all(ORIGIN).iter().collect::<Vec<_>>(), ["null"]);
    assert_eq!(seen.headers.get_all(COOKIE).iter().collect::<Vec<_>>(), ["b=2", "c=3"]);
}

#[tokio::test]
async fn the_xsrf_header_is_copied_from_a_cookie_that_the_page_can_read() {
    type Change = fn(BrowserRequest<Echo>) -> BrowserRequest<Echo>;
    const PLAIN: &str = "XSRF-TOKEN=t; Secure; Path=/";
    const WITH_DOMAIN: &str = "XSRF-TOKEN=t; Domain=shop.example";
    let cases: [(&str, &str, Change, Option<&str>); 8] = [
        ("not requested", PLAIN, |post| post, None),
        ("own page", PLAIN, |post| post.with_xsrf(), Some("t")),
        ("no cookie", "other=t", |post| post.with_xsrf(), None),
        ("http only", "XSRF-TOKEN=t; HttpOnly", |post| post.with_xsrf(), None),
        ("explicit value", PLAIN, |post| post.with_xsrf_value("mine"), Some("mine")),
        ("foreign page", PLAIN, |post| post.with_xsrf().cross_site(), None),
        ("neighbour", PLAIN, |post| post.with_xsrf().same_site(BLOG), None),
        ("neighbour and domain", WITH_DOMAIN, |post| post.with_xsrf().same_site(BLOG), Some("t")),
    ];
    for (case, line, change, header) in cases {
        let browser = browser();
        assert!(browser.set_cookie(line), "{case}");
        assert_eq!(seen(change(browser.post("/"))).await.get("x-xsrf-token"), header, "{case}");
    }

    let renamed = browser().with_xsrf_names("csrf", "X-CSRF");
    renamed.set_cookie("csrf=t");
    assert_eq!(seen(renamed.post("/").with_xsrf()).await.get("x-csrf"), Some("t"));
}

#[tokio::test]
async fn tabs_share_cookies_and_separate_browsers_do_not() {
    let browser = browser();
    let (tab, other) = (browser.clone(), browser.separate());
    tab.get("/").header("set", "a=1").send().await.unwrap();
    assert!(browser.has_cookie("a") && tab.has_cookie("a") && !other.has_cookie("a"));

    let subdomain = browser.clone().with_origin("https://www.shop.example");
    assert!(!subdomain.has_cookie("a"), "host-only");
    subdomain.set_cookie("b=1; Domain=shop.example");
    assert!(browser.has_cookie("b"));
}

#[tokio::test]
async fn a_lost_response_sets_no_cookies_and_a_late_one_sets_them_late() {
    let browser = browser();
    browser.get("/").header("set", "a=1").send_and_lose().await;
    assert!(!browser.has_cookie("a"));

    let late = browser.get("/api/login").header("set", "a=1").send_without_storing().await.unwrap();
    assert!(!browser.has_cookie("a"));
    browser.store(&late);
    assert_eq!(browser.cookie("a").as_deref(), Some("1"));
    assert_eq!(seen(browser.get("/")).await.get(COOKIE), None, "the default path comes from the request");

    let mut made = Response::new(());
    made.headers_mut().append(SET_COOKIE, HeaderValue::from_static("b=1"));
    browser.store(&made);
    assert_eq!(seen(browser.get("/")).await.get(COOKIE), Some("b=1"));
}

#[tokio::test]
async fn responses_to_another_site_set_only_same_site_none_cookies() {
    let browser = browser();
    browser.post("/").cross_site().header("set", STRICT).header("set", NONE).send().await.unwrap();
    assert!(!browser.has_cookie("s") && browser.has_cookie("n"));
    browser.post("/").cross_site().navigation().header("set", STRICT).send().await.unwrap();
    assert!(browser.has_cookie("s"));
}

#[test]
fn a_sibling_host_can_set_domain_cookies_but_none_with_the_host_prefix() {
    let browser = browser();
    assert!(browser.toss("__Secure-jwt=evil; Secure; Domain=shop.example; Path=/api"));
    assert_eq!(browser.cookie("__Secure-jwt").as_deref(), Some("evil"));
    assert!(!browser.toss("__Host-jwt=evil; Secure; Domain=shop.example; Path=/"));
    assert!(browser.toss("__Host-jwt=evil; Secure; Path=/"), "for the sibling host itself");
    assert!(!browser.has_cookie("__Host-jwt"));
    assert!(!browser.with_origin("http://127.0.0.1").toss("a=1; Domain=127.0.0.1"));
}

#[test]
fn cookies_disappear_when_they_expire_or_are_removed() {
    let clock = TestClock::new();
    let browser = browser().with_clock(clock.clone());
    let fill = || {
        for line in ["session=1", "hour=1; Max-Age=3600", "session=2; Path=/api"] {
            assert!(browser.set_cookie(line));
        }
    };
    fill();
    clock.advance(Duration::from_secs(3600));
    assert!(!browser.has_cookie("hour"));
    fill();
    browser.expire_session_cookies();
    assert!(!browser.has_cookie("session") && browser.has_cookie("hour"));
    fill();
    browser.remove_cookie("session");
    assert!(!browser.has_cookie("session") && browser.has_cookie("hour"));
    browser.clear();
    assert!(!browser.has_cookie("hour"));
}

#[test]
fn debug_output_contains_names_but_no_values() {
    let browser = browser();
    browser.set_cookie("jwt=secret");
    let request = browser.post("/api?code=secret").with_xsrf_value("secret").body("secret");
    let shown = format!("{browser:?} {request:?}");
    assert!(shown.contains("jwt") && shown.contains("/api"), "{shown}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[tokio::test]
async fn axum_routers_need_no_annotation_but_other_bodies_do() {
    fn sendable<T: Send>(value: T) -> T {
        value
    }
    let router = Router::new().route("/echo", post(async |body: String| (StatusCode::CREATED, body)));
    let response = sendable(Browser::new(router).post("/echo").body("tea").send()).await.unwrap();
    assert_eq!(response.status(), StatusCode::CREATED);

    let bytes = service_fn(async |request: Request<Vec<u8>>| {
        Ok::<_, Infallible>(Response::new(request.into_body().len()))
    });
    let browser = Browser::new(bytes).with_request_body::<Vec<u8>>();
    assert_eq!(*browser.post("/").body("tea").send().await.unwrap().body(), 3);
}

#[tokio::test]
async fn the_service_is_polled_until_ready_and_its_errors_are_returned() {
    #[derive(Clone)]
    struct Slow(Arc<AtomicUsize>);

    impl Service<Request<String>> for Slow {
        type Response = Response<()>;
        type Error = &'static str;
        type Future = Ready<Result<Response<()>, &'static str>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
            if self.0.fetch_add(1, Ordering::Relaxed) < 2 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<String>) -> Self::Future {
            assert!(self.0.load(Ordering::Relaxed) > 2, "called before it was ready");
            ready(Err("out of tea"))
        }
    }

    let error = Browser::new(Slow(Arc::default())).get("/").send().await.unwrap_err();
    assert_eq!(error, "out of tea");
}

#[test]
fn invalid_paths_origins_and_headers_panic() {
    type Attempt = fn();
    let cases: [(&str, Attempt); 5] = [
        ("absolute URI", || drop(browser().get("https://shop.example/"))),
        ("relative path", || drop(browser().get("api"))),
        ("origin with path", || drop(browser().with_origin("https://shop.example/api"))),
        ("neighbour without scheme", || drop(browser().get("/").same_site("blog.shop.example"))),
        ("header value", || drop(browser().get("/").header("a", "1\n2"))),
    ];
    for (case, attempt) in cases {
        assert!(std::panic::catch_unwind(attempt).is_err(), "{case}");
    }
}

#[tokio::test]
async fn put_delete_and_json_set_the_method_and_the_body() {
    let browser = browser();
    let put = seen(browser.put("/api/orders/7").json(&serde_json::json!({ "item": "tea" }))).await;
    assert_eq!((put.method.as_str(), put.body.as_str()), ("PUT", r#"{"item":"tea"}"#));
    assert_eq!(put.get("content-type"), Some("application/json"));
    assert_eq!(seen(browser.delete("/api/orders/7")).await.method, "DELETE");
}

#[tokio::test]
async fn with_service_keeps_the_cookies() {
    let first = browser();
    first.set_cookie("a=1");
    let second = first.clone().with_service(service_fn(async |request: Request<String>| {
        Ok::<_, Infallible>(Response::new(request.headers().get(COOKIE).cloned()))
    }));
    let cookies = second.get("/").send().await.unwrap().into_body();
    assert_eq!(cookies.as_ref().map(HeaderValue::as_bytes), Some(&b"a=1"[..]));
    second.set_cookie("b=2");
    assert!(first.has_cookie("b"), "both share one jar");
}
