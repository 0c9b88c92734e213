//! `SetBearerLayer`: tokens on the way to other servers, over real clients and servers.

use std::{
    collections::HashSet,
    convert::Infallible,
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{AUTHORIZATION, LOCATION},
    request::Parts,
};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::sync::Barrier;
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, Clock, CookieJwtLayer, KeyRing, MemoryStore, Sessions, SetBearerLayer, Verifier,
    keys::Key,
    layers::bearer::{CallerToken, SERVICE_TYPE, ServiceToken},
    reject::GrpcStatus,
    testing::TestClock,
    token::{Issuer, NewToken, Scopes},
};
use tower_http::follow_redirect::{FollowRedirectLayer, policy::Limited};

use crate::{
    handler::{CountingHandler, access_cookie, forged_token, keys, new_token, token},
    loopback::{Loopback, arrived, client},
    shop::{self, ACCESS, ACCESS_GONE, get, text},
};

/// A token in the name of the shop, for the stock.
fn service_token() -> ServiceToken {
    ServiceToken::new(Issuer::new(keys()).with_audience("stock"), "shop")
}

fn caller_of(authorized: http::request::Builder) -> CallerToken {
    let layer = CookieJwtLayer::new(Verifier::<()>::new(keys()));
    let mut seen = None;
    let service = layer.layer(service_fn(|request: Request<()>| {
        seen = CallerToken::from_parts(&request.into_parts().0);
        async { Ok::<_, Infallible>(Response::new(String::new())) }
    }));
    drop(futures_util::FutureExt::now_or_never(service.oneshot(authorized.body(()).unwrap())));
    seen.expect("the request has a user")
}

/// Ada's token, as a handler passes it on.
fn caller() -> CallerToken {
    caller_of(Request::get("/").header("authorization", format!("Bearer {}", token())))
}

/// Returns the `Authorization` that a client behind `layer` sends.
async fn sent(layer: &SetBearerLayer, request: Request<()>) -> Option<HeaderValue> {
    let client = layer.layer(service_fn(|request: Request<()>| async move {
        Ok::<_, Infallible>(request.headers().get(AUTHORIZATION).cloned())
    }));
    let Ok(header) = client.oneshot(request).await;
    header
}

fn to(uri: &str) -> Request<()> {
    let mut request = Request::get(uri).body(()).unwrap();
    request.extensions_mut().insert(caller());
    request
}

fn bearer_token(header: &HeaderValue) -> String {
    header.to_str().unwrap().strip_prefix("Bearer ").expect("a bearer token").to_owned()
}

/// A real server that says what `Authorization` it got.
async fn echo() -> Loopback {
    let handler = service_fn(|request: Request<Incoming>| async move {
        let header = request.headers().get(AUTHORIZATION).map_or("none", |value| value.to_str().unwrap());
        Ok::<_, Infallible>(Response::new(header.to_owned()))
    });
    Loopback::serve(handler).await
}

/// Passes the user's token on to `url` and says what came back.
async fn pass_on(parts: &Parts, layer: SetBearerLayer, url: String) -> String {
    let mut outgoing = Request::get(url).body(Full::<Bytes>::default()).unwrap();
    if let Some(token) = CallerToken::from_parts(parts) {
        outgoing.extensions_mut().insert(token);
    }
    let response = layer.layer(client(Version::HTTP_11)).oneshot(outgoing).await.expect("it answers");
    arrived(response).await.text
}

/// An issuer whose tokens are of this age.
fn aged(age: u64, token: &NewToken) -> String {
    let clock = TestClock::at(SystemTime::now() - Duration::from_secs(age));
    Issuer::new(keys()).with_clock(clock).issue(token, &()).unwrap()
}

#[tokio::test]
async fn the_token_that_verified_is_the_one_passed_on() {
    let stock = echo().await;
    let good = token();
    let expired = aged(2000, &new_token());
    let (older, newer) = (aged(60, &new_token()), aged(10, &new_token()));
    let cookies =
        |tokens: &[&str]| tokens.iter().map(|token| access_cookie(token)).collect::<Vec<_>>().join("; ");
    let basic = "Basic YWRhOmxvdmVsYWNl";
    for (case, headers, expected) in [
        ("a bearer token", vec![("authorization", format!("Bearer {good}"))], Some(&good)),
        ("in lower case", vec![("authorization", format!("bearer   {good} "))], Some(&good)),
        ("X-Access-Token", vec![("x-access-token", good.clone())], Some(&good)),
        ("a cookie", vec![("cookie", cookies(&[&good]))], Some(&good)),
        ("a quoted cookie", vec![("cookie", format!("__Host-access=\"{good}\""))], Some(&good)),
        ("behind a forged one", vec![("cookie", cookies(&[&forged_token(), &good]))], Some(&good)),
        ("before a forged one", vec![("cookie", cookies(&[&good, &forged_token()]))], Some(&good)),
        ("behind an expired one", vec![("cookie", cookies(&[&expired, "x.y.z", &good]))], Some(&good)),
        (
            "in a second field",
            vec![
                ("cookie", cookies(&["garbage"])),
                ("cookie", "a=b".to_owned()),
                ("cookie", cookies(&[&good])),
            ],
            Some(&good),
        ),
        ("the later of two, last", vec![("cookie", cookies(&[&older, &newer]))], Some(&newer)),
        ("the later of two, first", vec![("cookie", cookies(&[&newer, &older]))], Some(&newer)),
        (
            "a header before a cookie",
            vec![("cookie", cookies(&[&older])), ("authorization", format!("Bearer {good}"))],
            Some(&good),
        ),
        (
            "a cookie beside Basic",
            vec![("authorization", basic.to_owned()), ("cookie", cookies(&[&good]))],
            Some(&good),
        ),
        ("a forged one", vec![("cookie", cookies(&[&forged_token()]))], None),
        ("an expired one", vec![("authorization", format!("Bearer {expired}"))], None),
        (
            "a bad header beside a good cookie",
            vec![("authorization", "Bearer nonsense".to_owned()), ("cookie", cookies(&[&good]))],
            None,
        ),
        ("nothing", vec![], None),
    ] {
        let layer = SetBearerLayer::caller([stock.origin()]).unwrap();
        let url = stock.url("/items");
        let service = CookieJwtLayer::new(Verifier::<()>::new(keys())).optional().layer(service_fn(
            move |request: Request<()>| {
                let (layer, url) = (layer.clone(), url.clone());
                async move {
                    let parts = request.into_parts().0;
                    Ok::<_, Infallible>(Response::new(pass_on(&parts, layer, url).await))
                }
            },
        ));
        let request =
            headers.iter().fold(Request::get("/"), |request, (name, value)| request.header(*name, value));
        let Ok(response) = service.oneshot(request.body(()).unwrap()).await;
        let expected = expected.map_or_else(|| "none".to_owned(), |token| format!("Bearer {token}"));
        assert_eq!(*response.body(), expected, "{case}");
    }
}

#[tokio::test]
async fn a_request_that_was_just_refreshed_passes_its_new_token_on() {
    let stock = echo().await;
    let layer = SetBearerLayer::caller([stock.origin()]).unwrap();
    let url = stock.url("/items");
    let shop = shop::Shop::new();
    let browser = shop.browser_with(move |request| {
        let (layer, url) = (layer.clone(), url.clone());
        async move { Response::new(pass_on(&request.into_parts().0, layer, url).await.into()) }
    });
    shop.sign_in(&browser).await;
    let former = browser.cookie(ACCESS).unwrap();
    assert_eq!(text(&get(&browser, "/me").await), format!("Bearer {former}"));
    for case in ["expired", "gone"] {
        shop.clock.advance(ACCESS_GONE);
        if case == "gone" {
            browser.remove_cookie(ACCESS);
        }
        let passed_on = text(&get(&browser, "/me").await);
        let granted = browser.cookie(ACCESS).unwrap();
        assert_ne!(granted, former, "{case}: it was refreshed");
        // The client does not hold it yet, so it must not confirm the generation where it is passed on to.
        let [passed_on, granted] =
            [passed_on.strip_prefix("Bearer ").expect(case), &granted].map(shop::payload);
        assert_eq!(&passed_on["gen"], &serde_json::Value::Null, "{case}");
        for claim in ["sub", "sid", "scope", "role"] {
            assert_eq!(passed_on[claim], granted[claim], "{case}: {claim}");
        }
        assert!(granted["gen"].is_u64() && granted["xsrfToken"].is_string(), "{case}");
        assert!(passed_on["xsrfToken"].is_null(), "{case}: of no use as a cookie");
    }
}

#[tokio::test]
async fn an_exempt_request_has_no_token_to_pass_on() {
    let layer = CookieJwtLayer::new(Verifier::<()>::new(keys())).with_exempt(|_| true);
    let service = layer.layer(service_fn(|request: Request<()>| async move {
        let token = CallerToken::from_parts(&request.into_parts().0);
        Ok::<_, Infallible>(Response::new(if token.is_some() { "a token" } else { "none" }.to_owned()))
    }));
    let request = Request::get("/").header("authorization", format!("Bearer {}", token()));
    let Ok(response) = service.oneshot(request.body(()).unwrap()).await;
    assert_eq!(response.body(), "none", "no verified token is passed on");
    let bare = Request::get("/").header("authorization", format!("Bearer {}", token())).body(()).unwrap();
    assert!(CallerToken::from_parts(&bare.into_parts().0).is_none(), "nor where there is no layer");
}

#[tokio::test]
async fn the_receiver_accepts_service_tokens_only_if_its_verifier_allows_them() {
    let verifier = || Verifier::<()>::builder(keys());
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("stock").build().unwrap();
    let other_keys = KeyRing::hs256("another secret of more than 32 bytes").unwrap();
    let servers = [
        ("its type and audience", verifier().with_audience("stock").with_types([SERVICE_TYPE]), 200),
        ("its type among others", verifier().with_types(["at+jwt", SERVICE_TYPE]), 200),
        ("a verifier as it comes", verifier().with_audience("stock"), 401),
        ("one for access tokens", verifier().with_types(["at+jwt"]), 401),
        ("one for any JWT", verifier().with_types(["JWT"]), 401),
        ("another audience", verifier().with_audience("shop").with_types([SERVICE_TYPE]), 401),
        ("other keys", Verifier::<()>::builder(other_keys).with_types([SERVICE_TYPE]), 401),
    ];
    for (case, builder, status) in servers {
        let verifier = builder.build().expect("the settings agree");
        let server =
            Loopback::serve(CookieJwtLayer::new(verifier).layer(CountingHandler::<String>::new())).await;
        let (answer, text) = ask_with_service_token(&server).await;
        assert_eq!(answer, status, "{case}");
        assert_eq!(text, if status == 200 { "shop by Bearer" } else { "" }, "{case}");
    }
    let server = Loopback::serve(sessions.layer().layer(CountingHandler::<String>::new())).await;
    assert_eq!(ask_with_service_token(&server).await.0, 401, "sessions are for people");
}

async fn ask_with_service_token(server: &Loopback) -> (StatusCode, String) {
    let layer = SetBearerLayer::service(service_token(), [server.origin()]).unwrap();
    let request = Request::get(server.url("/items")).body(Full::<Bytes>::default()).unwrap();
    let answer = arrived(layer.layer(client(Version::HTTP_2)).oneshot(request).await.unwrap()).await;
    (answer.status, answer.text)
}

#[tokio::test]
async fn a_service_token_names_caller_audience_and_scope() {
    let token = service_token().with_scope(Scopes::new("items:read").unwrap());
    let layer = SetBearerLayer::service(token, ["https://stock.shop.example"]).unwrap();
    let header = sent(&layer, to("https://stock.shop.example/")).await.expect("it is on the list");
    let verifier =
        Verifier::<()>::builder(keys()).with_types([SERVICE_TYPE]).build().expect("the settings agree");
    let claims: Claims<()> = verifier.verify(&bearer_token(&header)).unwrap();
    assert_eq!(claims.subject(), Some("shop"));
    assert_eq!(claims.audience().collect::<Vec<_>>(), ["stock"]);
    assert_eq!(claims.scope(), Some("items:read"));
    let lifetime = claims.expires_at().duration_since(claims.issued_at().unwrap()).unwrap();
    assert_eq!(lifetime, Duration::from_secs(300));
    assert_eq!((claims.session_id(), claims.xsrf_token(), claims.authenticated_at()), (None, None, None));
}

#[tokio::test]
async fn only_origins_on_the_list_get_a_token() {
    let list = [
        "https://stock.shop.example",
        "https://mail.shop.example:8443",
        "http://127.0.0.1:3000",
        "http://[::1]",
    ];
    let caller = SetBearerLayer::caller(list).unwrap();
    let service = SetBearerLayer::service(service_token(), list).unwrap();
    for (case, uri, gets_one) in [
        ("on the list", "https://stock.shop.example/items", true),
        ("its root", "https://stock.shop.example", true),
        ("its default port", "https://stock.shop.example:443/items", true),
        ("in capitals", "HTTPS://Stock.SHOP.example/items", true),
        ("another port of the list", "https://mail.shop.example:8443/", true),
        ("loopback", "http://127.0.0.1:3000/", true),
        ("loopback, by IPv6", "http://[::1]:80/", true),
        ("in the clear", "http://stock.shop.example/items", false),
        ("in the clear, on the port of https", "http://stock.shop.example:443/items", false),
        ("another port", "https://stock.shop.example:8443/", false),
        ("the port of http", "https://stock.shop.example:80/", false),
        ("without the port of the list", "https://mail.shop.example/", false),
        ("another port of loopback", "http://127.0.0.1:3001/", false),
        ("another name of loopback", "http://localhost:3000/", false),
        ("loopback by https", "https://127.0.0.1:3000/", false),
        ("a subdomain", "https://a.stock.shop.example/", false),
        ("the domain", "https://shop.example/", false),
        ("as a prefix", "https://stock.shop.example.evil.example/", false),
        ("as a suffix", "https://evil-stock.shop.example/", false),
        ("with a dot at the end", "https://stock.shop.example./", false),
        ("as user info", "https://stock.shop.example@evil.example/", false),
        ("as user and password", "https://stock.shop.example:443@evil.example/", false),
        ("behind user info", "https://ada@stock.shop.example/", false),
        ("in the path", "https://evil.example/https://stock.shop.example/", false),
        ("in the query", "https://evil.example/?https://stock.shop.example", false),
        ("an escaped slash", "https://evil.example/%2F@stock.shop.example", false),
        ("another scheme", "wss://stock.shop.example/", false),
        ("a path alone", "/items", false),
        ("a host alone", "stock.shop.example:443", false),
        ("the star", "*", false),
    ] {
        assert_eq!(sent(&caller, to(uri)).await.is_some(), gets_one, "caller: {case}");
        assert_eq!(sent(&service, to(uri)).await.is_some(), gets_one, "service: {case}");
    }
}

#[tokio::test]
async fn with_a_fixed_origin_tokens_are_only_added_to_its_paths() {
    let layer =
        SetBearerLayer::service(service_token(), ["https://stock.shop.example", "https://a.shop.example"])
            .and_then(|layer| layer.with_fixed_origin("HTTPS://stock.shop.example:443"))
            .unwrap();
    for (case, uri, gets_one) in [
        ("a path alone", "/grpc.health.v1.Health/Check", true),
        ("on the list", "https://a.shop.example/", true),
        ("not on the list", "https://evil.example/", false),
        ("a host alone, as CONNECT sends it", "evil.example:443", false),
        ("a host without port", "evil.example", false),
        // A path for whoever is at the other end, whatever it looks like.
        ("a path with two slashes", "//evil.example/", true),
    ] {
        assert_eq!(sent(&layer, to(uri)).await.is_some(), gets_one, "{case}");
    }
}

#[test]
fn an_origin_list_that_would_leak_tokens_is_a_config_error() {
    for (case, list, fine) in [
        ("https", vec!["https://stock.shop.example"], true),
        ("https with a port", vec!["https://stock.shop.example:8443"], true),
        (
            "loopback",
            vec!["http://127.0.0.1:3000", "http://localhost", "http://[::1]:80", "http://127.9.9.9"],
            true,
        ),
        ("nothing", vec![], false),
        ("http elsewhere", vec!["http://stock.shop.example"], false),
        ("http elsewhere, second", vec!["https://stock.shop.example", "http://evil.example"], false),
        ("a look-alike of loopback", vec!["http://127.0.0.1.evil.example"], false),
        ("a look-alike of localhost", vec!["http://localhost.evil.example"], false),
        ("all addresses", vec!["http://0.0.0.0"], false),
        ("no scheme", vec!["stock.shop.example"], false),
        ("another scheme", vec!["wss://stock.shop.example"], false),
        ("a path", vec!["https://stock.shop.example/items"], false),
        ("a slash", vec!["https://stock.shop.example/"], false),
        ("user info", vec!["https://ada@stock.shop.example"], false),
        ("a wildcard", vec!["https://*.shop.example"], false),
        ("anything", vec!["*"], false),
        ("nowhere", vec![""], false),
        ("an invalid port", vec!["https://stock.shop.example:99999"], false),
    ] {
        assert_eq!(SetBearerLayer::caller(&list).is_ok(), fine, "caller: {case}");
        assert_eq!(SetBearerLayer::service(service_token(), &list).is_ok(), fine, "service: {case}");
    }
    let layer = || SetBearerLayer::caller(["https://stock.shop.example"]).unwrap();
    for origin in
        ["https://evil.example", "https://stock.shop.example:8443", "http://stock.shop.example", "", "/"]
    {
        assert!(layer().with_fixed_origin(origin).is_err(), "{origin} is not on the list");
    }
}

#[test]
fn a_service_token_that_cannot_be_issued_is_a_config_error() {
    let origins = ["https://stock.shop.example"];
    for lifetime in [Duration::ZERO, Duration::from_millis(999)] {
        let error = SetBearerLayer::service(service_token().with_lifetime(lifetime), origins).unwrap_err();
        assert!(error.to_string().contains("lifetime"), "{error}");
    }
    let year_8000 = Duration::from_secs(8000 * 365 * 24 * 60 * 60);
    for lifetime in [Duration::MAX, Duration::MAX / 2, Duration::from_secs(u64::MAX / 4), year_8000] {
        let error = SetBearerLayer::service(service_token().with_lifetime(lifetime), origins).unwrap_err();
        assert!(error.to_string().contains("with_lifetime"), "{lifetime:?}: {error}");
    }
    let ring = KeyRing::verify_only([Key::hs256("0123456789abcdef0123456789abcdef").unwrap()]);
    let token = ServiceToken::new(Issuer::new(ring.unwrap()), "shop");
    let error = SetBearerLayer::service(token, origins).unwrap_err();
    assert!(error.to_string().contains("only verifies"), "{error}");
}

#[tokio::test]
async fn an_existing_authorization_header_is_never_overwritten() {
    let origins = ["https://stock.shop.example"];
    let layers = [
        SetBearerLayer::caller(origins).unwrap(),
        SetBearerLayer::service(service_token(), origins).unwrap(),
    ];
    for own in ["Bearer of-the-handler", "Basic YWRhOmxvdmVsYWNl", "Negotiate", ""] {
        for layer in &layers {
            let mut request = to("https://stock.shop.example/");
            request.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static(own));
            assert_eq!(sent(layer, request).await.unwrap(), own);
        }
    }
    let mut without = to("https://stock.shop.example/");
    without.extensions_mut().clear();
    assert_eq!(sent(&layers[0], without).await, None, "no caller, no token");
}

#[tokio::test]
async fn logs_never_contain_a_token() {
    let origins = ["https://stock.shop.example"];
    let caller_layer = SetBearerLayer::caller(origins).unwrap();
    let token = service_token();
    let service_layer = SetBearerLayer::service(token.clone(), origins).unwrap();
    for layer in [&caller_layer, &service_layer] {
        let header = sent(layer, to("https://stock.shop.example/")).await.unwrap();
        assert!(header.is_sensitive(), "HTTP/2 then keeps it out of its tables, and `Debug` hides it");
        let secrets: Vec<_> = bearer_token(&header).split('.').map(str::to_owned).collect();
        let request = Request::get("/").header(AUTHORIZATION, &header).extension(caller()).body(()).unwrap();
        let shown: [&dyn Debug; 6] = [&caller(), &token, layer, &layer.layer(()), &header, &request];
        for shown in shown {
            let shown = format!("{shown:?} {shown:#?}");
            for secret in &secrets {
                assert!(!shown.contains(secret.as_str()), "{shown}");
            }
        }
    }
}

#[tokio::test]
async fn a_service_token_is_reused_until_it_is_about_to_expire() {
    for lifetime in [10, 300, 86_400] {
        let clock = TestClock::new();
        let token = service_token().with_lifetime(Duration::from_secs(lifetime)).with_clock(clock.clone());
        let layer = SetBearerLayer::service(token, ["https://stock.shop.example"]).unwrap();
        // The strictest of receivers: its clock is right, and it tolerates no skew.
        let verifier = Verifier::<()>::builder(keys())
            .with_types([SERVICE_TYPE])
            .with_clock(clock.clone())
            .with_leeway(Duration::ZERO)
            .build()
            .expect("the settings agree");
        let mut tokens = Vec::new();
        for at in
            [0, lifetime / 2, lifetime * 4 / 5 - 1, lifetime * 4 / 5, lifetime * 8 / 5 - 1, lifetime * 3]
        {
            clock.set(TestClock::new().now() + Duration::from_secs(at));
            let header = sent(&layer, to("https://stock.shop.example/")).await.unwrap();
            let token = bearer_token(&header);
            assert!(verifier.verify(&token).is_ok(), "{lifetime}: good at {at}");
            tokens.push(token);
        }
        assert_eq!(tokens[0], tokens[1], "{lifetime}: half of its life");
        assert_eq!(tokens[0], tokens[2], "{lifetime}: just before it is renewed");
        assert_ne!(tokens[2], tokens[3], "{lifetime}: renewed with a fifth of its life left");
        assert_eq!(tokens[3], tokens[4], "{lifetime}: and reused");
        assert_ne!(tokens[4], tokens[5], "{lifetime}: after a pause");
    }
}

#[tokio::test]
async fn a_service_token_is_signed_anew_when_the_keys_change() {
    let key = |id: u8| Key::hs256([id; 32]).unwrap().with_id(id.to_string());
    let ring = KeyRing::new(key(1)).unwrap();
    let token = ServiceToken::new(Issuer::new(ring.clone()).with_audience("stock"), "shop");
    let layer = SetBearerLayer::service(token, ["https://stock.shop.example"]).unwrap();
    let verifies = |id: u8, token: &str| {
        let ring = KeyRing::verify_only([key(id)]).unwrap();
        let verifier = Verifier::<()>::builder(ring).with_types([SERVICE_TYPE]).with_audience("stock");
        verifier.build().unwrap().verify(token).is_ok()
    };
    let ask = async || bearer_token(&sent(&layer, to("https://stock.shop.example/")).await.unwrap());
    let first = ask().await;
    assert!(verifies(1, &first));
    ring.replace(KeyRing::new(key(2)).unwrap());
    let second = ask().await;
    assert!(verifies(2, &second), "the first key has left the ring");
    assert_eq!(ask().await, second, "and then it is reused");
    ring.replace(KeyRing::verify_only([key(2)]).unwrap());
    assert_eq!(sent(&layer, to("https://stock.shop.example/")).await, None, "nothing signs");
}

/// A clock that goes on by a second at each look, so that no two tokens are alike.
#[derive(Clone, Default)]
struct Restless {
    looks: Arc<AtomicU64>,
}

impl Clock for Restless {
    fn now(&self) -> SystemTime {
        TestClock::new().now() + Duration::from_secs(self.looks.fetch_add(1, Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_share_one_issued_token() {
    const REQUESTS: usize = 200;
    let day = Duration::from_secs(86_400);
    let clock = Restless::default();
    let token = service_token().with_lifetime(day).with_clock(clock.clone());
    let first = SetBearerLayer::service(token.clone(), ["https://stock.shop.example"]).unwrap();
    let second = SetBearerLayer::service(token, ["https://stock.shop.example"]).unwrap();
    let barrier = Arc::new(Barrier::new(REQUESTS));
    let tasks: Vec<_> = (0..REQUESTS)
        .map(|index| {
            let layer = if index % 2 == 0 { first.clone() } else { second.clone() };
            let (barrier, request) = (barrier.clone(), to("https://stock.shop.example/"));
            tokio::spawn(async move {
                barrier.wait().await;
                sent(&layer, request).await.expect("it is on the list")
            })
        })
        .collect();
    let mut tokens = HashSet::new();
    for task in tasks {
        tokens.insert(bearer_token(&task.await.unwrap()));
    }
    assert_eq!(tokens.len(), 1, "one mint, also for clones in two layers");
    let apart = service_token().with_lifetime(day).with_clock(clock);
    let apart = SetBearerLayer::service(apart, ["https://stock.shop.example"]).unwrap();
    let other = sent(&apart, to("https://stock.shop.example/")).await.unwrap();
    assert!(!tokens.contains(&bearer_token(&other)), "two mints would have been told apart");
}

/// The requests to a server, and whether they carried an `Authorization`.
type Asked = Arc<Mutex<Vec<(String, bool)>>>;

/// A server that redirects `/STATUS/URL` to the URL by the status, and else answers.
async fn redirecting() -> (Loopback, Asked) {
    let asked = Asked::default();
    let log = asked.clone();
    let handler = service_fn(move |request: Request<Incoming>| {
        let path = request.uri().path().to_owned();
        let authorized = request.headers().contains_key(AUTHORIZATION);
        let mut response = Response::new(String::new());
        let name = match path[1..].split_once('/').and_then(|(status, to)| Some((status.parse().ok()?, to))) {
            Some((status, target)) => {
                *response.status_mut() = status;
                response.headers_mut().insert(LOCATION, target.parse().unwrap());
                "redirect".to_owned()
            }
            None => path,
        };
        log.lock().unwrap().push((name, authorized));
        async { Ok::<_, Infallible>(response) }
    });
    (Loopback::serve(handler).await, asked)
}

fn taken(asked: &Asked) -> Vec<(String, bool)> {
    std::mem::take(&mut *asked.lock().unwrap())
}

async fn follow<S>(client: S, url: &str)
where
    S: Service<Request<Full<Bytes>>, Response = Response<Incoming>, Error: Debug>,
{
    let mut request = Request::get(url).body(Full::default()).unwrap();
    request.extensions_mut().insert(caller());
    let response = client.oneshot(request).await.expect("the last server answers");
    assert_eq!(response.status(), StatusCode::OK, "the redirects were followed");
}

#[tokio::test]
async fn a_redirect_to_another_origin_gets_no_token() {
    let ((stock, stock_asked), (evil, evil_asked)) = (redirecting().await, redirecting().await);
    let origins = [stock.origin()];
    for layer in [
        SetBearerLayer::caller(&origins).unwrap(),
        SetBearerLayer::service(service_token(), &origins).unwrap(),
    ] {
        // Inside, no help of the other layer is needed: this policy lets everything through.
        let inside = || {
            let follow = FollowRedirectLayer::with_policy(Limited::new(5));
            ServiceBuilder::new().layer(follow).layer(layer.clone()).service(client(Version::HTTP_11))
        };
        // Outside, its standard policy drops the header on the way to another origin.
        let outside = || {
            let follow = FollowRedirectLayer::new();
            ServiceBuilder::new().layer(layer.clone()).layer(follow).service(client(Version::HTTP_11))
        };
        for status in [301, 302, 303, 307, 308] {
            for nesting in ["inside", "outside"] {
                let case = format!("{nesting}, {status}, {layer:?}");
                let url = stock.url(&format!("/{status}/{}", evil.url("/goal")));
                match nesting {
                    "inside" => follow(inside(), &url).await,
                    _ => follow(outside(), &url).await,
                }
                assert_eq!(taken(&stock_asked), [("redirect".to_owned(), true)], "{case}");
                assert_eq!(taken(&evil_asked), [("/goal".to_owned(), false)], "{case}: no leak");

                let url = stock.url(&format!("/{status}/{}", stock.url("/goal")));
                match nesting {
                    "inside" => follow(inside(), &url).await,
                    _ => follow(outside(), &url).await,
                }
                let both = [("redirect".to_owned(), true), ("/goal".to_owned(), true)];
                assert_eq!(taken(&stock_asked), both, "{case}: it stays on the way to the same origin");
            }
        }
        // From elsewhere to the list and out again: each hop is judged by itself.
        let out = stock.url(&format!("/302/{}", evil.url("/goal")));
        follow(inside(), &evil.url(&format!("/302/{out}"))).await;
        assert_eq!(taken(&stock_asked), [("redirect".to_owned(), true)]);
        let never = [("redirect".to_owned(), false), ("/goal".to_owned(), false)];
        assert_eq!(taken(&evil_asked), never);
    }
}

/// A gRPC server that tells its health to whom `verifier` accepts.
async fn grpc(verifier: Verifier<()>) -> Loopback {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let server =
        Server::builder().layer(CookieJwtLayer::new(verifier).with_rejection(GrpcStatus)).add_service(health);
    Loopback::run(|listener| async move {
        server.serve_with_incoming(TcpIncoming::from(listener)).await.expect("the server runs");
    })
    .await
}

fn channel(server: &Loopback) -> Channel {
    Endpoint::from_shared(server.origin()).unwrap().connect_lazy()
}

#[tokio::test]
async fn a_tonic_channel_carries_the_service_token() {
    let for_services = Verifier::<()>::builder(keys())
        .with_audience("stock")
        .with_types([SERVICE_TYPE])
        .build()
        .expect("the settings agree");
    let stock = grpc(for_services).await;
    let layer = SetBearerLayer::service(service_token(), [stock.origin()]).unwrap();
    let fixed = layer.clone().with_fixed_origin(&stock.origin()).unwrap();

    let mut health = HealthClient::new(fixed.layer(channel(&stock)));
    assert!(health.check(HealthCheckRequest::default()).await.is_ok(), "unary");
    let mut watch = health.watch(HealthCheckRequest::default()).await.expect("streaming").into_inner();
    assert!(watch.message().await.unwrap().is_some(), "the first state arrives");

    let mut unfixed = HealthClient::new(layer.layer(channel(&stock)));
    let refused = unfixed.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the path alone says nothing about where it goes");
    let mut named = HealthClient::with_origin(layer.layer(channel(&stock)), stock.origin().parse().unwrap());
    assert!(named.check(HealthCheckRequest::default()).await.is_ok(), "nor is it needed where the URI does");

    let mut bare = HealthClient::new(channel(&stock));
    let refused = bare.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the server does demand a token");

    let people = grpc(Verifier::<()>::new(keys())).await;
    let layer = SetBearerLayer::service(service_token(), [people.origin()]).unwrap();
    let fixed = layer.with_fixed_origin(&people.origin()).unwrap();
    let refused = HealthClient::new(fixed.layer(channel(&people))).check(HealthCheckRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::Unauthenticated, "its verifier takes no service tokens");
}

#[tokio::test]
async fn a_tonic_channel_carries_the_callers_token() {
    let stock = grpc(Verifier::<()>::new(keys())).await;
    let layer = SetBearerLayer::caller([stock.origin()]).unwrap();
    let layer = layer.with_fixed_origin(&stock.origin()).unwrap();
    let mut health = HealthClient::new(layer.layer(channel(&stock)));

    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request.extensions_mut().insert(caller());
    assert!(health.check(request).await.is_ok(), "in the name of the caller");
    let anonymous = health.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(anonymous.code(), Code::Unauthenticated, "and only for that call: the channel is shared");

    let mut own = tonic::Request::new(HealthCheckRequest::default());
    own.extensions_mut().insert(caller());
    own.metadata_mut().insert("authorization", "Bearer of-the-handler".parse().unwrap());
    let refused = health.check(own).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "metadata of the handler is not overwritten");
}
