//! `RedirectToLogin`, and what else signing out of server-rendered pages needs.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use bytes::Bytes;
use http::{
    Method, Request, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, LOCATION, VARY, WWW_AUTHENTICATE},
    request,
};
use http_body_util::Full;
use hyper::body::Incoming;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, CookiePolicy, RequireLayer, Verifier,
    cookies::SameSite,
    reject::{ProblemJson, RedirectToLogin, Refusal, Reject},
    token::TokenErrorKind,
};

use crate::{
    handler::{CountingHandler, keys, parts},
    loopback::Loopback,
    shop::{self, ACCESS_GONE, Shopper, User, code, get, greet, text},
};

const BROWSER_ACCEPTS: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

fn to_login() -> RedirectToLogin {
    RedirectToLogin::new("/login", ProblemJson).expect("a path of this site")
}

fn page(uri: &str) -> request::Builder {
    Request::get(uri).header(ACCEPT, BROWSER_ACCEPTS)
}

fn answer(hook: &RedirectToLogin, refusal: &Refusal, request: request::Builder) -> Response<Bytes> {
    hook.reject(refusal, &parts(request))
}

fn anonymous() -> Refusal {
    Refusal::Token(TokenErrorKind::Missing.into())
}

/// Returns where `hook` redirects a user who is not signed in.
fn location(hook: &RedirectToLogin, request: request::Builder) -> Option<String> {
    let response = answer(hook, &anonymous(), request);
    let location = response.headers().get(LOCATION);
    assert_eq!(response.status() == StatusCode::SEE_OTHER, location.is_some(), "both or neither");
    location.map(|value| value.to_str().unwrap().to_owned())
}

/// `next` as a handler of the login page reads it.
fn next_of(location: &str) -> Option<String> {
    let (_, query) = location.split_once('?')?;
    form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "next")
        .map(|(_, next)| next.into_owned())
}

#[tokio::test]
async fn a_navigation_is_redirected_to_the_login_page_with_its_path() {
    let handler = CountingHandler::<Bytes>::new();
    let layer = CookieJwtLayer::new(Verifier::<()>::new(keys())).with_rejection(to_login());
    for (wanted, location) in [
        ("/", "/login?next=%2F"),
        ("/orders", "/login?next=%2Forders"),
        ("/orders?open=1&by=date", "/login?next=%2Forders%3Fopen%3D1%26by%3Ddate"),
        ("/a%20b?q=%26%23", "/login?next=%2Fa%2520b%3Fq%3D%2526%2523"),
        ("/orders?next=//evil.example", "/login?next=%2Forders%3Fnext%3D%2F%2Fevil.example"),
        ("https://shop.example/orders", "/login?next=%2Forders"), // as HTTP/2 has it
        ("https://shop.example", "/login?next=%2F"),
    ] {
        for token in [None, Some("Bearer a.b.c")] {
            let mut request = page(wanted);
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let Ok(response) = layer.layer(handler.clone()).oneshot(request.body(()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::SEE_OTHER, "{wanted}");
            assert_eq!(response.headers()[LOCATION], location, "{wanted}");
            assert_eq!(response.headers()[VARY], "Accept, Sec-Fetch-Mode", "{wanted}");
            assert!(!response.headers().contains_key(WWW_AUTHENTICATE), "{wanted}: not a challenge");
            assert!(response.body().is_empty(), "{wanted}");
            assert!(matches!(response.extensions().get(), Some(Refusal::Token(_))), "{wanted}: says why");
        }
        let next = next_of(location).expect("there is one");
        let path = wanted.strip_prefix("https://shop.example").unwrap_or(wanted);
        assert_eq!(next, if path.is_empty() { "/" } else { path }, "{wanted}: it comes back whole");
        assert_eq!(RedirectToLogin::safe_next(&next), Some(&*next), "{wanted}");
    }
    assert_eq!(handler.calls(), 0);
}

#[test]
fn only_navigations_that_accept_html_are_redirected() {
    let request = |method: Method, headers: &[(&'static str, &'static str)]| {
        let request = Request::builder().method(method).uri("/orders");
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
    };
    for (case, method, headers, redirected) in [
        ("a browser", Method::GET, vec![("accept", BROWSER_ACCEPTS), ("sec-fetch-mode", "navigate")], true),
        ("an old browser", Method::GET, vec![("accept", BROWSER_ACCEPTS)], true),
        ("HTML among others", Method::GET, vec![("accept", "image/png, Text/HTML;q=0.5")], true),
        ("in a second field", Method::GET, vec![("accept", "image/png"), ("accept", "text/html")], true),
        ("fetch", Method::GET, vec![("accept", "*/*"), ("sec-fetch-mode", "cors")], false),
        ("fetch of HTML", Method::GET, vec![("accept", "text/html"), ("sec-fetch-mode", "cors")], false),
        (
            "a part of a page",
            Method::GET,
            vec![("accept", "text/html"), ("sec-fetch-mode", "same-origin")],
            false,
        ),
        ("an image", Method::GET, vec![("accept", "image/*"), ("sec-fetch-mode", "no-cors")], false),
        ("an API client", Method::GET, vec![("accept", "application/json")], false),
        ("no wish at all", Method::GET, vec![], false),
        ("anything", Method::GET, vec![("accept", "*/*"), ("sec-fetch-mode", "navigate")], false),
        ("a type that begins like HTML", Method::GET, vec![("accept", "text/html-sandboxed")], false),
        ("a form", Method::POST, vec![("accept", BROWSER_ACCEPTS), ("sec-fetch-mode", "navigate")], false),
        ("HEAD", Method::HEAD, vec![("accept", BROWSER_ACCEPTS)], false),
        ("PUT", Method::PUT, vec![("accept", BROWSER_ACCEPTS)], false),
        ("DELETE", Method::DELETE, vec![("accept", BROWSER_ACCEPTS)], false),
    ] {
        let response = answer(&to_login(), &anonymous(), request(method, &headers));
        assert_eq!(response.status(), if redirected { 303 } else { 401 }, "{case}");
        if !redirected {
            assert_eq!(
                response.headers()[CONTENT_TYPE],
                "application/problem+json",
                "{case}: the usual answer"
            );
            assert_eq!(code(&response), "token_missing", "{case}");
            assert!(!response.headers().contains_key(LOCATION), "{case}");
        }
    }
}

/// Opens a page as a browser does.
async fn open(browser: &Shopper, path: &str) -> shop::Answer {
    let Ok(response) = browser.get(path).navigation().header(ACCEPT, BROWSER_ACCEPTS).send().await;
    response
}

#[tokio::test]
async fn signing_in_returns_to_the_page() {
    let shop = shop::Shop::new();
    let pages = shop.sessions.layer().with_rejection(to_login()).layer(service_fn(greet));
    let browser = shop.browser_over(pages);
    let sent = open(&browser, "/orders?open=1").await;
    assert_eq!(sent.status(), StatusCode::SEE_OTHER);
    let next = next_of(sent.headers()[LOCATION].to_str().unwrap()).unwrap();
    shop.sign_in(&browser).await;
    let back = open(&browser, RedirectToLogin::safe_next(&next).unwrap()).await;
    assert_eq!((back.status(), &*text(&back)), (StatusCode::OK, "ada customer 0"));
    let Ok(script) = browser.separate().get("/orders").send().await;
    assert_eq!((script.status().as_u16(), &*code(&script)), (401, "token_missing"));
}

#[tokio::test]
async fn refusals_that_signing_in_cannot_resolve_get_the_usual_response() {
    let shop = shop::Shop::new();
    let admins = RequireLayer::new(|claims: &Claims<User>| claims.custom().role == "admin");
    let pages = admins.with_rejection(to_login()).layer(service_fn(greet));
    let browser = shop.browser_over(shop.sessions.layer().with_rejection(to_login()).layer(pages));
    shop.sign_in(&browser).await;
    let forbidden = open(&browser, "/admin").await;
    assert_eq!((forbidden.status().as_u16(), &*code(&forbidden)), (403, "access_denied"));

    let Ok(foreign) = browser
        .post("/orders")
        .same_site("https://blog.shop.example")
        .header(ACCEPT, BROWSER_ACCEPTS)
        .send()
        .await;
    assert_eq!((foreign.status().as_u16(), &*code(&foreign)), (403, "origin_refused"));
    let Ok(unproven) = browser.post("/orders").header(ACCEPT, BROWSER_ACCEPTS).send().await;
    assert_eq!((unproven.status().as_u16(), &*code(&unproven)), (403, "xsrf_missing"));

    shop.clock.advance(ACCESS_GONE);
    shop.store.go_down();
    let down = open(&browser, "/orders").await;
    assert_eq!((down.status().as_u16(), &*code(&down)), (503, "unavailable"));
    assert!(down.headers().contains_key("retry-after"), "with its headers");
}

#[tokio::test]
async fn a_step_up_also_redirects_to_the_login_page() {
    let shop = shop::Shop::new();
    let recent =
        RequireLayer::<User>::recent_sign_in(Duration::from_secs(600)).with_clock(shop.clock.clone());
    let pages = recent.with_rejection(to_login()).layer(service_fn(greet));
    let browser = shop.browser_over(shop.sessions.layer().with_rejection(to_login()).layer(pages));
    shop.sign_in(&browser).await;
    assert_eq!(open(&browser, "/pay").await.status(), StatusCode::OK);
    shop.clock.advance(Duration::from_secs(601));
    let again = open(&browser, "/pay").await;
    assert_eq!(again.headers()[LOCATION], "/login?next=%2Fpay");
    assert_eq!(code(&get(&browser, "/pay").await), "insufficient_user_authentication", "by script");
    shop.sign_in(&browser).await;
    assert_eq!(open(&browser, "/pay").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_link_on_another_site_only_finds_the_user_with_lax_cookies() {
    for (case, policy, status) in [
        ("strict", CookiePolicy::new(), StatusCode::SEE_OTHER),
        ("lax", CookiePolicy::new().with_same_site(SameSite::Lax), StatusCode::OK),
    ] {
        let shop = shop::Shop::with(|builder| builder.with_cookies(policy));
        let pages = shop.sessions.layer().with_rejection(to_login()).layer(service_fn(greet));
        let browser = shop.browser_over(pages);
        shop.sign_in(&browser).await;
        let link = browser.get("/orders").navigation().cross_site().header(ACCEPT, BROWSER_ACCEPTS);
        let Ok(followed) = link.send().await;
        assert_eq!(followed.status(), status, "{case}");
        assert_eq!(open(&browser, "/orders").await.status(), StatusCode::OK, "{case}: from the own site");
    }
}

#[test]
fn the_login_page_is_never_sent_to_itself() {
    let slashed = || RedirectToLogin::new("/login/", ProblemJson).unwrap();
    let root = || RedirectToLogin::new("/", ProblemJson).unwrap();
    let mounted = |mount: &str| {
        let hook = RedirectToLogin::new("/shop/login", ProblemJson).unwrap();
        hook.with_mount(mount).unwrap()
    };
    for (case, hook, uri, loops) in [
        ("itself", to_login(), "/login", true),
        ("with a query", to_login(), "/login?next=%2Forders", true),
        ("with an empty query", to_login(), "/login?", true),
        ("with a slash", to_login(), "/login/", true),
        ("with a slash and a query", to_login(), "/login/?next=%2F", true),
        ("with its origin", to_login(), "https://shop.example/login?next=%2F", true),
        ("named with a slash, asked without", slashed(), "/login", true),
        ("named with a slash", slashed(), "/login/?next=%2F", true),
        ("the root", root(), "/", true),
        ("the root with a query", root(), "/?next=%2F", true),
        ("below a mount", mounted("/shop"), "/login", true),
        ("below a mount with a slash", mounted("/shop/"), "/login/?next=%2F", true),
        ("outside of all mounts", mounted("/"), "/shop/login", true),
        ("a page below it", to_login(), "/login/help", false),
        ("a longer name", to_login(), "/login2", false),
        ("in the query", to_login(), "/orders?/login", false),
        ("the same name below another mount", mounted("/blog"), "/login", false),
    ] {
        let location = location(&hook, page(uri));
        assert_eq!(location.is_none(), loops, "{case}: {location:?}");
    }
}

#[test]
fn the_mount_point_is_prefixed_to_the_return_path() {
    for (mount, wanted, next) in [
        ("/shop", "/orders?open=1", "/shop/orders?open=1"),
        ("/shop/", "/orders", "/shop/orders"),
        ("/", "/orders", "/orders"),
        ("/a/b", "/", "/a/b/"),
        ("/shop", "//evil.example", "/shop//evil.example"), // a path of this site
    ] {
        let hook = to_login().with_mount(mount).unwrap();
        let location = location(&hook, page(wanted)).expect("a redirect");
        assert_eq!(next_of(&location).as_deref(), Some(next), "{mount} {wanted}");
        assert_eq!(RedirectToLogin::safe_next(next), Some(next), "{mount} {wanted}");
    }
}

#[tokio::test]
async fn no_request_target_causes_an_open_redirect() {
    let layer = CookieJwtLayer::new(Verifier::<()>::new(keys())).with_rejection(to_login());
    let handler = service_fn(|_: Request<Incoming>| async {
        Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    });
    let server = Loopback::serve(layer.layer(handler)).await;
    for (target, location) in [
        ("/orders", Some("/login?next=%2Forders")),
        ("//evil.example", Some("/login")),
        ("//evil.example/login", Some("/login")),
        ("///evil.example", Some("/login")),
        ("/%09/evil.example", Some("/login?next=%2F%2509%2Fevil.example")),
        ("/%5Cevil.example", Some("/login?next=%2F%255Cevil.example")),
        ("http://evil.example/orders", Some("/login?next=%2Forders")),
        ("http://evil.example//evil.example", Some("/login")),
        ("https://evil.example", Some("/login?next=%2F")),
        ("http://shop.example@evil.example/x", Some("/login?next=%2Fx")),
    ] {
        assert_eq!(raw_location(&server, target).await.as_deref(), location, "{target}");
    }
    // What browsers take for a slash, or leave out: the server may refuse it, or leave it out of `next`.
    for target in ["/\\evil.example", "/\t/evil.example", "\\\\evil.example", "/\x0b/evil.example", "/\u{e9}"]
    {
        let location = raw_location(&server, target).await;
        assert!(location.is_none() || location.as_deref() == Some("/login"), "{target:?}: {location:?}");
    }
}

/// The `Location` that a real server answers to this request target, byte by byte.
async fn raw_location(server: &Loopback, target: &str) -> Option<String> {
    let address = server.origin()["http://".len()..].to_owned();
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: {address}\r\nAccept: {BROWSER_ACCEPTS}\r\nConnection: close\r\n\r\n"
    );
    let exchange = move || {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("no zero");
        stream.write_all(head.as_bytes()).expect("the request is sent");
        let mut response = String::new();
        stream.read_to_string(&mut response).expect("the answer arrives");
        response
    };
    let response = tokio::task::spawn_blocking(exchange).await.unwrap();
    assert!(response.starts_with("HTTP/1.1 "), "an answer: {response:?}");
    let line = response.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"))?;
    Some(line["location:".len()..].trim().to_owned())
}

#[test]
fn safe_next_only_accepts_paths_of_this_site() {
    for (next, safe) in [
        ("/", true),
        ("/orders", true),
        ("/orders?open=1#first", true),
        ("/orders/", true),
        ("/a//b", true),
        ("/?next=https://evil.example", true),
        ("/%2Fevil.example", true),
        ("/@evil.example", true),
        ("/:80/", true),
        ("/..", true),
        ("", false),
        ("orders", false),
        ("?open=1", false),
        ("#first", false),
        ("//", false),
        ("//evil.example", false),
        ("///evil.example", false),
        ("/\\evil.example", false),
        ("\\\\evil.example", false),
        ("\\/evil.example", false),
        ("/orders\\..", false),
        ("/\t/evil.example", false),
        ("/\n/evil.example", false),
        ("/\r/evil.example", false),
        ("/\r\nLocation: https://evil.example", false),
        ("/orders\n", false),
        ("/\0", false),
        ("/\x7f", false),
        (" /orders", false),
        ("\t//evil.example", false),
        ("/or ders", false),
        ("/b\u{fc}cher", false),
        ("/\u{ff0f}evil.example", false),
        ("https://evil.example", false),
        ("https:/evil.example", false),
        ("https:evil.example", false),
        ("javascript:alert(1)", false),
        ("data:text/html,x", false),
    ] {
        assert_eq!(RedirectToLogin::safe_next(next), safe.then_some(next), "{next:?}");
    }
}

#[test]
fn paths_outside_this_site_are_a_config_error() {
    for path in ["/login", "/", "/login/", "/a/b.html", "/l%20n"] {
        assert!(RedirectToLogin::new(path, ProblemJson).is_ok(), "{path}");
        assert!(to_login().with_mount(path).is_ok(), "{path}");
    }
    for path in [
        "",
        "login",
        "//evil.example/login",
        "/\\evil.example",
        "https://evil.example/login",
        "https://shop.example/login",
        "/login?from=here",
        "/login#form",
        "/log in",
        "/login\r\nSet-Cookie: a=b",
        "/login\t",
        "/b\u{fc}cher",
    ] {
        assert!(RedirectToLogin::new(path, ProblemJson).is_err(), "login page {path:?}");
        assert!(to_login().with_mount(path).is_err(), "mount {path:?}");
    }
}

#[tokio::test]
async fn sign_out_clears_cached_pages_on_request() {
    let shop = shop::Shop::new();
    let logout = parts(Request::post("/logout"));
    let mut response = Response::new(());
    shop.sessions.sign_out(&logout).await.unwrap().append_to(response.headers_mut());
    assert!(!response.headers().contains_key("clear-site-data"), "not unless asked");

    let mut response = Response::new(());
    response.headers_mut().insert("clear-site-data", "\"executionContexts\"".parse().unwrap());
    shop.sessions.sign_out(&logout).await.unwrap().with_clear_site_data().append_to(response.headers_mut());
    let values: Vec<_> = response.headers().get_all("clear-site-data").iter().collect();
    assert_eq!(values, ["\"cache\", \"storage\""], "and no cookies: those are cleared one by one");
    let cleared = response.headers().get_all("set-cookie").iter();
    assert_eq!(cleared.filter(|line| line.to_str().unwrap().contains("Max-Age=0")).count(), 3);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn clear_site_data_can_be_added_to_an_axum_response() {
    use axum::response::IntoResponse;

    let shop = shop::Shop::new();
    let signed_out = shop.sessions.sign_out(&parts(Request::post("/logout"))).await.unwrap();
    let response = signed_out.with_clear_site_data().into_response();
    assert_eq!(response.headers()["clear-site-data"], "\"cache\", \"storage\"");
}
