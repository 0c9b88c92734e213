//! The origin check: which requests it is made on, and what it says.

use http::{Request, StatusCode, request};
use tower::{Layer, ServiceBuilder, ServiceExt};
use tower_cookie_jwt::{CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer, session::SessionError};

use crate::handler::{CountingHandler, access_cookie, keys, parts, token};

/// The headers by which a request shows its origin.
struct Case {
    name: &'static str,
    uri: &'static str,
    headers: &'static [(&'static str, &'static str)],
    passes: bool,
}

const fn case(
    name: &'static str,
    uri: &'static str,
    headers: &'static [(&'static str, &'static str)],
    passes: bool,
) -> Case {
    Case { name, uri, headers, passes }
}

const HOST: (&str, &str) = ("host", "shop.example");
const OWN: (&str, &str) = ("origin", "https://shop.example");
const EVIL: (&str, &str) = ("origin", "https://evil.example");
const NULL: (&str, &str) = ("origin", "null");
const UPGRADE: (&str, &str) = ("upgrade", "websocket");
const H2: &str = "https://shop.example/";
const PASS: bool = true;
const REFUSE: bool = false;

const fn site(value: &'static str) -> (&'static str, &'static str) {
    ("sec-fetch-site", value)
}

/// Without any configuration.
const DEFAULTS: &[Case] = &[
    case("neither header: no browser", "/", &[HOST], PASS),
    case("same-origin", "/", &[HOST, site("same-origin")], PASS),
    case("same-origin, own origin", "/", &[HOST, site("same-origin"), OWN], PASS),
    case(
        "same-origin, host rewritten by a proxy",
        "/",
        &[("host", "10.0.0.1"), site("same-origin"), OWN],
        PASS,
    ),
    case("same-origin, opaque origin", "/", &[HOST, site("same-origin"), NULL], PASS),
    case("none: the user's own doing", "/", &[HOST, site("none")], PASS),
    case("none, own origin", "/", &[HOST, site("none"), OWN], PASS),
    case("none, foreign origin", "/", &[HOST, site("none"), EVIL], REFUSE),
    case("none, opaque origin", "/", &[HOST, site("none"), NULL], REFUSE),
    case("none, two origins", "/", &[HOST, site("none"), OWN, EVIL], REFUSE),
    case("same-site", "/", &[HOST, site("same-site")], REFUSE),
    case("same-site, own origin", "/", &[HOST, site("same-site"), OWN], REFUSE),
    case("cross-site", "/", &[HOST, site("cross-site")], REFUSE),
    case("cross-site, own origin", "/", &[HOST, site("cross-site"), OWN], REFUSE),
    case("cross-site, foreign origin", "/", &[HOST, site("cross-site"), EVIL], REFUSE),
    case("a site value of the future", "/", &[HOST, site("same-party"), OWN], REFUSE),
    case("an empty site value", "/", &[HOST, site(""), OWN], REFUSE),
    case("a site value in capitals", "/", &[HOST, site("SAME-ORIGIN")], REFUSE),
    case("two site values", "/", &[HOST, site("same-origin"), site("cross-site")], REFUSE),
    case("two site values in one line", "/", &[HOST, site("same-origin, cross-site")], REFUSE),
    case("own origin by host", "/", &[HOST, OWN], PASS),
    case("own origin, host in capitals", "/", &[("host", "SHOP.Example"), OWN], PASS),
    case("own origin by authority", H2, &[OWN], PASS),
    case("own origin, authority in capitals", "https://SHOP.example/", &[OWN], PASS),
    case("the authority comes before the host", H2, &[("host", "evil.example"), OWN], PASS),
    case("a host that agrees with a foreign origin", H2, &[("host", "evil.example"), EVIL], REFUSE),
    case("default port in the host", "/", &[("host", "shop.example:443"), OWN], PASS),
    case("default port in the authority", "https://shop.example:443/", &[OWN], PASS),
    case(
        "default port of http",
        "/",
        &[("host", "shop.example:80"), ("origin", "http://shop.example")],
        PASS,
    ),
    case("the other scheme's default port", "/", &[("host", "shop.example:80"), OWN], REFUSE),
    case("same port", "/", &[("host", "shop.example:8443"), ("origin", "https://shop.example:8443")], PASS),
    case("other port in the origin", "/", &[HOST, ("origin", "https://shop.example:8443")], REFUSE),
    case("other port in the host", "/", &[("host", "shop.example:8443"), OWN], REFUSE),
    case("IPv6", "/", &[("host", "[::1]:3000"), ("origin", "http://[::1]:3000")], PASS),
    case("foreign origin", "/", &[HOST, EVIL], REFUSE),
    case("foreign origin by authority", H2, &[EVIL], REFUSE),
    case("null", "/", &[HOST, NULL], REFUSE),
    case("null, and a host of that name", "/", &[("host", "null"), NULL], REFUSE),
    case("subdomain", "/", &[HOST, ("origin", "https://app.shop.example")], REFUSE),
    case("parent domain", "/", &[("host", "app.shop.example"), OWN], REFUSE),
    case("own name as a prefix", "/", &[HOST, ("origin", "https://shop.example.evil.example")], REFUSE),
    case("own name as a suffix", "/", &[HOST, ("origin", "https://evilshop.example")], REFUSE),
    case("own name as user info", "/", &[HOST, ("origin", "https://shop.example@evil.example")], REFUSE),
    case("own name in a path", "/", &[HOST, ("origin", "https://evil.example/shop.example")], REFUSE),
    case("a trailing dot", "/", &[HOST, ("origin", "https://shop.example.")], REFUSE),
    case("no scheme", "/", &[HOST, ("origin", "shop.example")], REFUSE),
    case("an empty scheme", "/", &[HOST, ("origin", "://shop.example")], REFUSE),
    case("the scheme of no website", "/", &[HOST, ("origin", "evil://shop.example")], REFUSE),
    case("the scheme of an extension", H2, &[("origin", "chrome-extension://shop.example")], REFUSE),
    case("the scheme of WebSocket", "/", &[HOST, ("origin", "wss://shop.example")], REFUSE),
    case("the scheme in capitals", "/", &[HOST, ("origin", "HTTPS://shop.example")], REFUSE),
    case("empty origin", "/", &[HOST, ("origin", "")], REFUSE),
    case("no host to compare with", "/", &[OWN], REFUSE),
    case("empty host", "/", &[("host", ""), ("origin", "https://")], REFUSE),
    case("two hosts", "/", &[HOST, ("host", "evil.example"), OWN], REFUSE),
    case("two origins, own first", "/", &[HOST, OWN, EVIL], REFUSE),
    case("two origins, own last", "/", &[HOST, EVIL, OWN], REFUSE),
    case(
        "two origins in one line",
        "/",
        &[HOST, ("origin", "https://shop.example https://evil.example")],
        REFUSE,
    ),
    case(
        "X-Forwarded-Host is not believed",
        "/",
        &[HOST, EVIL, ("x-forwarded-host", "evil.example")],
        REFUSE,
    ),
    case("Forwarded is not believed", "/", &[HOST, EVIL, ("forwarded", "host=evil.example")], REFUSE),
    case("X-Forwarded-Host hides nothing", "/", &[HOST, OWN, ("x-forwarded-host", "evil.example")], PASS),
];

/// With the public origin `https://shop.example` and the trusted one `https://app.shop.example:8443`.
const CONFIGURED: &[Case] = &[
    case("trusted", "/", &[HOST, ("origin", "https://app.shop.example:8443")], PASS),
    case(
        "trusted, cross-site",
        "/",
        &[HOST, ("origin", "https://app.shop.example:8443"), site("cross-site")],
        PASS,
    ),
    case("trusted except for the port", "/", &[HOST, ("origin", "https://app.shop.example")], REFUSE),
    case("trusted except for the scheme", "/", &[HOST, ("origin", "http://app.shop.example:8443")], REFUSE),
    case("trusted as a prefix", "/", &[HOST, ("origin", "https://app.shop.example:84430")], REFUSE),
    case("trusted and foreign", "/", &[HOST, EVIL, ("origin", "https://app.shop.example:8443")], REFUSE),
    case("public, host rewritten", "/", &[("host", "10.0.0.1:3000"), OWN], PASS),
    case("public, no host", "/", &[OWN], PASS),
    case("public except for the scheme", "/", &[HOST, ("origin", "http://shop.example")], REFUSE),
    case("public, cross-site", "/", &[HOST, OWN, site("cross-site")], REFUSE),
    case("public, none", "/", &[("host", "10.0.0.1"), OWN, site("none")], PASS),
    case("trusted, none", "/", &[HOST, ("origin", "https://app.shop.example:8443"), site("none")], PASS),
    case("foreign, none", "/", &[HOST, EVIL, site("none")], REFUSE),
    case("the host's own is not the public one", "/", &[("host", "evil.example"), EVIL], REFUSE),
    case("the authority's own is not the public one", "https://evil.example/", &[EVIL], REFUSE),
    case("null", "/", &[HOST, NULL], REFUSE),
    case("neither header: no browser", "/", &[HOST], PASS),
];

fn request(method: &str, case: &Case) -> request::Builder {
    let request = Request::builder().method(method).uri(case.uri);
    case.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
}

async fn passes<R>(layer: &XsrfLayer<R>, request: request::Builder) -> bool
where
    R: tower_cookie_jwt::reject::Reject<String> + Clone,
{
    let handler = CountingHandler::new();
    let request = request.body(()).expect("a valid request");
    let status = layer.layer(handler.clone()).oneshot(request).await.expect("infallible").status();
    assert_eq!(handler.calls(), usize::from(status.is_success()), "the handler runs exactly when it is let");
    assert!(status == StatusCode::OK || status == StatusCode::FORBIDDEN, "{status}");
    status.is_success()
}

fn configured(layer: XsrfLayer) -> XsrfLayer {
    let layer = layer.with_public_origin("https://shop.example").expect("an origin");
    layer.with_trusted_origin("https://app.shop.example:8443").expect("an origin")
}

#[tokio::test]
async fn the_origin_check_matches_the_table() {
    for case in DEFAULTS {
        let passed = passes(&XsrfLayer::origin_only(), request("POST", case)).await;
        assert_eq!(passed, case.passes, "{}", case.name);
    }
    for case in CONFIGURED {
        let passed = passes(&configured(XsrfLayer::origin_only()), request("POST", case)).await;
        assert_eq!(passed, case.passes, "configured: {}", case.name);
    }
    let bytes =
        Request::post("/").header("host", "shop.example").header("origin", &b"https://shop.example\xff"[..]);
    assert!(!passes(&XsrfLayer::origin_only(), bytes).await, "an origin that is not text");
}

#[tokio::test]
async fn sign_in_sign_out_and_the_refresh_service_agree_with_the_layer() {
    let defaults = || Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop");
    let configured = defaults()
        .with_public_origin("https://shop.example")
        .expect("an origin")
        .with_trusted_origin("https://app.shop.example:8443")
        .expect("an origin");
    for (sessions, cases) in [(defaults().build(), DEFAULTS), (configured.build(), CONFIGURED)] {
        let sessions = sessions.expect("valid");
        for case in cases {
            let parts = parts(request("POST", case));
            let signed_in = sessions.sign_in(&parts, "ada", ()).await;
            assert_eq!(signed_in.is_ok(), case.passes, "sign-in: {}", case.name);
            assert!(signed_in.is_ok() || matches!(signed_in, Err(SessionError::Origin(_))), "{}", case.name);
            let signed_out = sessions.sign_out(&parts).await;
            assert_eq!(signed_out.is_ok(), case.passes, "sign-out: {}", case.name);
            let request = request("POST", case).body(String::new()).expect("valid");
            let status = sessions.refresh_service().oneshot(request).await.expect("infallible").status();
            let expected = if case.passes { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
            assert_eq!(status, expected, "refresh service: {}", case.name);
        }
    }
}

#[tokio::test]
async fn neither_a_refused_sign_in_nor_a_refused_sign_out_ends_a_session() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let own = parts(Request::post("https://shop.example/login"));
    let mut headers = http::HeaderMap::new();
    sessions.sign_in(&own, "ada", ()).await.expect("signed in").append_to(&mut headers);
    let foreign = Request::post("https://shop.example/login").header("sec-fetch-site", "cross-site");
    let foreign = parts(foreign.header("cookie", crate::jar::cookies_of(&headers)));
    assert!(sessions.sign_in(&foreign, "evil", ()).await.is_err());
    assert!(sessions.sign_out(&foreign).await.is_err());
    assert_eq!(sessions.list("ada").await.expect("the store answers").len(), 1);
    assert_eq!(sessions.list("evil").await.expect("the store answers").len(), 0);
}

#[tokio::test]
async fn the_origin_is_checked_on_all_methods_except_the_four_safe_ones() {
    const FOREIGN: Case = case("foreign", H2, &[EVIL, site("cross-site")], REFUSE);
    let unsafe_ones =
        ["POST", "PUT", "PATCH", "DELETE", "CONNECT", "QUERY", "PROPFIND", "FOO", "post", "get", "head"];
    for method in unsafe_ones {
        assert!(!passes(&XsrfLayer::origin_only(), request(method, &FOREIGN)).await, "{method}");
    }
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        assert!(passes(&XsrfLayer::origin_only(), request(method, &FOREIGN)).await, "{method}");
    }
}

#[tokio::test]
async fn websocket_handshakes_need_an_origin_unless_configured_otherwise() {
    for (name, method, headers, by_default, if_allowed) in [
        ("own origin", "GET", vec![HOST, UPGRADE, OWN], PASS, PASS),
        ("foreign origin", "GET", vec![HOST, UPGRADE, EVIL], REFUSE, REFUSE),
        ("null", "GET", vec![HOST, UPGRADE, NULL], REFUSE, REFUSE),
        ("same-origin", "GET", vec![HOST, UPGRADE, site("same-origin")], PASS, PASS),
        ("same-site", "GET", vec![HOST, UPGRADE, OWN, site("same-site")], REFUSE, REFUSE),
        ("neither header", "GET", vec![HOST, UPGRADE], REFUSE, PASS),
        ("in capitals", "GET", vec![HOST, ("upgrade", "WebSocket")], REFUSE, PASS),
        ("one of several protocols", "GET", vec![HOST, ("upgrade", "h2c, websocket")], REFUSE, PASS),
        ("a second Upgrade header", "GET", vec![HOST, ("upgrade", "h2c"), UPGRADE], REFUSE, PASS),
        ("with a version", "GET", vec![HOST, ("upgrade", "websocket/13")], REFUSE, PASS),
        ("another protocol is not a handshake", "GET", vec![HOST, EVIL, ("upgrade", "h2c")], PASS, PASS),
        ("CONNECT, own origin", "CONNECT", vec![HOST, OWN], PASS, PASS),
        ("CONNECT, foreign origin", "CONNECT", vec![HOST, EVIL], REFUSE, REFUSE),
        ("CONNECT, neither header", "CONNECT", vec![HOST], REFUSE, PASS),
    ] {
        let build = || {
            let request = Request::builder().method(method).uri(if method == "CONNECT" { H2 } else { "/" });
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value))
        };
        assert_eq!(passes(&XsrfLayer::origin_only(), build()).await, by_default, "{name}");
        let allowing = XsrfLayer::origin_only().with_handshakes_without_origin();
        assert_eq!(passes(&allowing, build()).await, if_allowed, "allowed: {name}");
        let sessions = Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop");
        let sessions = sessions.with_handshakes_without_origin().build().expect("valid");
        let service = sessions.layer().with_exempt(|_| true).layer(CountingHandler::<String>::new());
        let status = service.oneshot(build().body(()).expect("valid")).await.expect("infallible").status();
        assert_eq!(status.is_success(), if_allowed, "allowed by the builder: {name}");
    }
}

#[tokio::test]
async fn a_request_authenticated_by_a_header_may_come_from_any_origin() {
    let token = token();
    let (bearer, cookie) = (format!("Bearer {token}"), access_cookie(&token));
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
        .layer(XsrfLayer::new())
        .service(CountingHandler::<String>::new());
    for (name, headers, status) in [
        ("bearer", vec![("authorization", &*bearer)], 200),
        ("bearer and cookie", vec![("authorization", &*bearer), ("cookie", &*cookie)], 200),
        ("X-Access-Token", vec![("x-access-token", &*token)], 200),
        ("cookie", vec![("cookie", &*cookie), ("x-xsrf-token", crate::handler::XSRF)], 403),
        ("Basic and cookie", vec![("authorization", "Basic YWRh"), ("cookie", &*cookie)], 403),
    ] {
        for method in ["POST", "CONNECT"] {
            let request = Request::builder().method(method).uri(H2).header(EVIL.0, EVIL.1);
            let request = request.header("sec-fetch-site", "cross-site");
            let request =
                headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            let response =
                service.clone().oneshot(request.body(()).expect("valid")).await.expect("infallible");
            assert_eq!(response.status(), status, "{name}, {method}");
        }
    }
}

#[test]
fn an_invalid_origin_is_a_config_error() {
    for text in [
        "",
        "null",
        "*",
        "shop.example",
        "://shop.example",
        "https:shop.example",
        "https://",
        "https://:443",
        "https://shop.example/",
        "https://shop.example/path",
        "https://shop.example?query",
        "https://shop.example#fragment",
        "https://ada@shop.example",
        "https://ada:pw@shop.example",
        "https://*.shop.example",
        "https://shop example",
        " https://shop.example",
        "https://shop.example ",
        "https://shop.example:",
        "https://shop.example:port",
        "https://shop.example:99999",
        "https://sh\u{f6}p.example",
        "https://shop.example,https://evil.example",
        "ht tps://shop.example",
    ] {
        assert!(XsrfLayer::new().with_public_origin(text).is_err(), "public {text:?}");
        assert!(XsrfLayer::new().with_trusted_origin(text).is_err(), "trusted {text:?}");
        let builder = || Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop");
        assert!(builder().with_public_origin(text).is_err(), "builder, public {text:?}");
        let error = builder().with_trusted_origin(text).expect_err(text).to_string();
        assert!(error.contains("https://shop.example"), "says how to fix it: {error}");
    }
}

#[tokio::test]
async fn configured_origins_are_compared_as_browsers_write_them() {
    for (configured, sent) in [
        ("https://shop.example", "https://shop.example"),
        ("HTTPS://Shop.Example", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("http://shop.example:443", "http://shop.example:443"),
        ("http://localhost:5173", "http://localhost:5173"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
    ] {
        let post = || Request::post("/").header("host", "10.0.0.1").header("origin", sent);
        let public = XsrfLayer::origin_only().with_public_origin(configured).expect(configured);
        assert!(passes(&public, post()).await, "public {configured}");
        let trusted = XsrfLayer::origin_only().with_trusted_origin(configured).expect(configured);
        let cross = post().header("sec-fetch-site", "cross-site");
        assert!(passes(&trusted, cross).await, "trusted {configured}");
    }
}
