//! The XSRF header against the claim.

use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, request};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer,
    reject::Refusal,
    testing::TestClock,
    token::{Issuer, NewToken, Source, XsrfErrorKind},
};

use crate::handler::{CountingHandler, XSRF, access_cookie, issue, keys, new_token, parts, token};
use crate::jar::{cookies_of, headers_of};

const OTHER: &str = "b3RoZXIteHNyZi12YWx1ZSEh";

fn claims(token: &NewToken) -> Claims<()> {
    Verifier::new(keys()).verify(&issue(token)).expect("the token is good")
}

fn with_claim(claim: &str) -> NewToken {
    NewToken::access("ada", Duration::from_secs(900)).with_xsrf_token(claim)
}

/// Sends a request through the two layers; the kind of the XSRF error, if that is what refused it.
async fn send(token: &str, method: Method, values: &[&str]) -> Result<(), XsrfErrorKind> {
    let handler = CountingHandler::<String>::new();
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
        .layer(XsrfLayer::new())
        .service(handler.clone());
    let request = Request::builder().method(method).uri("https://shop.example/orders");
    let request = request.header("cookie", access_cookie(token));
    let request = values.iter().fold(request, |request, value| request.header("x-xsrf-token", *value));
    let response = service.oneshot(request.body(()).expect("valid")).await.expect("infallible");
    assert_eq!(
        handler.calls(),
        usize::from(response.status().is_success()),
        "the handler runs exactly when it is let"
    );
    match response.extensions().get() {
        None => {
            assert_eq!(response.status(), StatusCode::OK);
            Ok(())
        }
        Some(Refusal::Xsrf(error)) => {
            assert_eq!(response.status(), StatusCode::FORBIDDEN);
            Err(error.kind())
        }
        Some(other) => panic!("refused for another reason: {other}"),
    }
}

#[tokio::test]
async fn the_header_must_equal_the_claim() {
    let masked = claims(&with_claim(XSRF)).masked_xsrf_token().expect("our shape");
    let foreign_mask = claims(&with_claim(OTHER)).masked_xsrf_token().expect("our shape");
    let (own_pad, foreign_pad) = (&masked[..24], &foreign_mask[..24]);
    let swapped = format!("{}{own_pad}", &masked[24..]);
    let crossed = format!("{own_pad}{}", &foreign_mask[24..]);
    let plain_twice = format!("{XSRF}{XSRF}");
    let plain_after_pad = format!("{foreign_pad}{XSRF}");
    let zero_pad = format!("{}{XSRF}", "A".repeat(24));
    let (garbage, capitals, a48) = ("!".repeat(48), XSRF.to_uppercase(), "A".repeat(48));
    let (padded, spaced) = (format!("{XSRF}="), format!("{XSRF},{XSRF}"));
    for (case, values, outcome) in [
        ("equal", vec![XSRF], Ok(())),
        ("two equal values", vec![XSRF, XSRF], Ok(())),
        ("masked", vec![&*masked], Ok(())),
        ("masked with the zero pad", vec![&*zero_pad], Ok(())),
        ("pad and value swapped", vec![&*swapped], Ok(())), // XOR: the same value
        ("missing", vec![], Err(XsrfErrorKind::Missing)),
        ("empty", vec![""], Err(XsrfErrorKind::Missing)),
        ("another session's", vec![OTHER], Err(XsrfErrorKind::Mismatch)),
        ("another session's, masked", vec![&*foreign_mask], Err(XsrfErrorKind::Mismatch)),
        ("two differing values", vec![XSRF, OTHER], Err(XsrfErrorKind::Mismatch)),
        ("two differing values, the right one last", vec![OTHER, XSRF], Err(XsrfErrorKind::Mismatch)),
        ("plain and masked", vec![XSRF, &masked], Err(XsrfErrorKind::Mismatch)),
        ("an empty second value", vec![XSRF, ""], Err(XsrfErrorKind::Mismatch)),
        ("48 characters of garbage", vec![&*garbage], Err(XsrfErrorKind::Mismatch)),
        ("a pad over itself", vec![&*a48], Err(XsrfErrorKind::Mismatch)),
        ("the value over itself", vec![&*plain_twice], Err(XsrfErrorKind::Mismatch)),
        ("the value behind a pad", vec![&*plain_after_pad], Err(XsrfErrorKind::Mismatch)),
        ("another's value behind the own pad", vec![&*crossed], Err(XsrfErrorKind::Mismatch)),
        ("a prefix", vec![&XSRF[..23]], Err(XsrfErrorKind::Mismatch)),
        ("with padding", vec![&*padded], Err(XsrfErrorKind::Mismatch)),
        ("twice in one line", vec![&*spaced], Err(XsrfErrorKind::Mismatch)),
        ("in capitals", vec![&*capitals], Err(XsrfErrorKind::Mismatch)),
    ] {
        assert_eq!(send(&token(), Method::POST, &values).await, outcome, "{case}");
        if let [value] = *values {
            let verified = claims(&with_claim(XSRF)).verify_xsrf(value).map_err(|error| error.kind());
            assert_eq!(verified, outcome, "verify_xsrf: {case}");
        }
    }
}

#[tokio::test]
async fn behind_a_proxy_that_adds_tokens_headers_are_checked_like_cookies() {
    let (with, without) = (token(), issue(&NewToken::access("ada", Duration::from_secs(900))));
    let sessions = Sessions::<()>::builder(keys(), MemoryStore::new())
        .with_audience("shop")
        .with_xsrf_for_header_tokens()
        .build()
        .unwrap();
    let own = ("origin", "https://shop.example");
    let foreign = ("origin", "https://evil.example");
    let (proof, wrong) = (("x-xsrf-token", XSRF), ("x-xsrf-token", OTHER));
    let upgrade = ("upgrade", "websocket");
    for (case, token, method, headers, status, code) in [
        ("no proof", &with, Method::POST, vec![own], 403, Some("xsrf_missing")),
        ("a wrong proof", &with, Method::POST, vec![own, wrong], 403, Some("xsrf_mismatch")),
        ("another site", &with, Method::POST, vec![foreign, proof], 403, Some("origin_refused")),
        ("own page", &with, Method::DELETE, vec![own, proof], 200, None),
        ("no browser", &with, Method::POST, vec![proof], 200, None),
        ("no claim", &without, Method::POST, vec![own, proof], 403, Some("xsrf_mismatch")),
        ("no claim, safe", &without, Method::GET, vec![foreign], 200, None),
        (
            "a handshake of another site",
            &with,
            Method::GET,
            vec![foreign, upgrade],
            403,
            Some("origin_refused"),
        ),
        ("a handshake of the own page", &with, Method::GET, vec![own, upgrade], 200, None),
    ] {
        for name in ["authorization", "x-access-token"] {
            for layer in [XsrfLayer::new().with_xsrf_for_header_tokens(), sessions.xsrf_layer()] {
                let service = ServiceBuilder::new()
                    .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
                    .layer(layer)
                    .service(CountingHandler::<String>::new());
                let value = if name == "authorization" { format!("Bearer {token}") } else { token.clone() };
                let request = Request::builder().method(&method).uri("https://shop.example/orders");
                let request =
                    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
                let request = request.header(name, value).body(()).expect("valid");
                let response = service.oneshot(request).await.expect("infallible");
                let refusal = response.extensions().get().map(Refusal::code);
                assert_eq!((response.status().as_u16(), refusal), (status, code), "{case}, {name}");
            }
        }
    }
}

#[tokio::test]
async fn a_header_user_of_an_outer_verifier_proves_the_xsrf_token_where_headers_are_ambient() {
    let outer = CookieJwtLayer::new(Verifier::<()>::new(keys()));
    let inner =
        CookieJwtLayer::new(Verifier::<Option<()>>::new(keys())).with_sources([Source::Cookie]).optional();
    for (layer, proof, status) in [
        (XsrfLayer::new(), None, 200),
        (XsrfLayer::new().with_xsrf_for_header_tokens(), None, 403),
        (XsrfLayer::new().with_xsrf_for_header_tokens(), Some(XSRF), 200),
    ] {
        let service = outer.clone().layer(inner.clone().layer(layer.layer(crate::forge::whoami())));
        let request =
            Request::post("https://shop.example/").header("authorization", format!("Bearer {}", token()));
        let request = proof.iter().fold(request, |request, value| request.header("x-xsrf-token", *value));
        let response = service.oneshot(request.body(()).expect("valid")).await.expect("infallible");
        assert_eq!(response.status(), status, "{proof:?}");
    }
}

#[tokio::test]
async fn claims_of_other_issuers_are_compared_verbatim() {
    let long = "x".repeat(48);
    let huge = "y".repeat(300);
    for claim in ["abc", "0", "a value with spaces, and more", "=====", &XSRF[..22], &long, &huge] {
        let token = issue(&with_claim(claim));
        assert_eq!(send(&token, Method::POST, &[claim]).await, Ok(()), "{claim}");
        let last_changed = format!("{}#", &claim[..claim.len() - 1]);
        for wrong in [&*format!("{claim}x"), &claim[1..], &*last_changed, &*claim.repeat(2)] {
            assert!(send(&token, Method::POST, &[wrong]).await.is_err(), "{claim} against {wrong}");
        }
        assert_eq!(
            claims(&with_claim(claim)).masked_xsrf_token(),
            None,
            "{claim}: not in the shape of the crate's values"
        );
    }
    // 24 characters that are no base64url cannot be masked, and so no masked value matches them.
    let foreign = "twenty-four characters!!";
    let token = issue(&with_claim(foreign));
    assert_eq!(send(&token, Method::POST, &[foreign]).await, Ok(()));
    let masked = claims(&with_claim(XSRF)).masked_xsrf_token().expect("our shape");
    assert_eq!(send(&token, Method::POST, &[&masked]).await, Err(XsrfErrorKind::Mismatch));
}

#[tokio::test]
async fn without_a_claim_nothing_can_be_proven() {
    let none = NewToken::access("ada", Duration::from_secs(900));
    for (case, new) in [("no claim", none), ("empty claim", with_claim(""))] {
        for values in [vec!["anything"], vec![""], vec![XSRF]] {
            let refused = send(&issue(&new), Method::POST, &values).await;
            assert_eq!(refused, Err(XsrfErrorKind::NoClaim), "{case}, {values:?}");
        }
        assert!(send(&issue(&new), Method::POST, &[]).await.is_err(), "{case}, no header");
        assert_eq!(send(&issue(&new), Method::GET, &[]).await, Ok(()), "{case}: safe methods need none");
        assert_eq!(claims(&new).xsrf_token(), None, "{case}");
        assert_eq!(claims(&new).masked_xsrf_token(), None, "{case}");
        for presented in ["", "anything"] {
            let error = claims(&new).verify_xsrf(presented).expect_err(case);
            assert_eq!(error.kind(), XsrfErrorKind::NoClaim, "{case}");
        }
    }
}

#[test]
fn masked_values_differ_each_time_and_hide_the_value() {
    let claims = claims(&new_token());
    let masked: std::collections::HashSet<_> = (0..100).filter_map(|_| claims.masked_xsrf_token()).collect();
    assert_eq!(masked.len(), 100);
    for value in &masked {
        assert_eq!(value.len(), 48);
        assert!(!value.contains(XSRF));
        assert_eq!(claims.verify_xsrf(value), Ok(()));
    }
}

#[tokio::test]
async fn only_unsafe_methods_need_the_header() {
    for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        assert_eq!(send(&token(), method.clone(), &[]).await, Ok(()), "{method}");
        assert_eq!(send(&token(), method.clone(), &["wrong"]).await, Ok(()), "{method}: not looked at");
    }
    for method in ["POST", "PUT", "PATCH", "DELETE", "QUERY", "FOO", "post", "get"] {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        assert_eq!(send(&token(), method.clone(), &[]).await, Err(XsrfErrorKind::Missing), "{method}");
        assert_eq!(send(&token(), method.clone(), &[XSRF]).await, Ok(()), "{method}");
    }
}

async fn status<S>(service: S, request: request::Builder) -> StatusCode
where
    S: Service<Request<()>, Response = Response<String>>,
    S::Error: std::fmt::Debug,
{
    service.oneshot(request.body(()).expect("valid")).await.expect("answers").status()
}

#[tokio::test]
async fn handshakes_need_the_origin_but_not_the_header() {
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
        .layer(XsrfLayer::new())
        .service(CountingHandler::<String>::new());
    let request = |method: &str, origin: Option<&str>| {
        let request = Request::builder().method(method).uri("https://shop.example/ws");
        let request = request.header("cookie", access_cookie(&token()));
        let request = if method == "GET" { request.header("upgrade", "websocket") } else { request };
        origin.into_iter().fold(request, |request, origin| request.header("origin", origin))
    };
    for method in ["GET", "CONNECT"] {
        for (origin, expected) in
            [(Some("https://shop.example"), 200), (Some("https://evil.example"), 403), (None, 403)]
        {
            assert_eq!(
                status(service.clone(), request(method, origin)).await,
                expected,
                "{method} {origin:?}"
            );
        }
    }
}

/// A handshake over HTTP/1 is a GET (RFC 6455 §4.1): `Upgrade` on anything else exempts from nothing.
#[tokio::test]
async fn an_upgrade_header_on_an_unsafe_method_does_not_waive_the_xsrf_header() {
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
        .layer(XsrfLayer::new())
        .service(CountingHandler::<String>::new());
    for method in ["POST", "PUT", "DELETE", "FOO"] {
        let request = Request::builder().method(method).uri("https://shop.example/orders");
        let request = request.header("cookie", access_cookie(&token())).header("upgrade", "websocket");
        let request = request.header("origin", "https://shop.example");
        assert_eq!(status(service.clone(), request).await, StatusCode::FORBIDDEN, "{method}");
    }
}

#[tokio::test]
async fn neither_bearer_tokens_nor_anonymous_requests_need_the_header() {
    let jwt = CookieJwtLayer::new(Verifier::<()>::new(keys())).optional();
    let service =
        ServiceBuilder::new().layer(jwt).layer(XsrfLayer::new()).service(CountingHandler::<String>::new());
    let post = || Request::post("https://shop.example/orders");
    let bearer = post().header("authorization", format!("Bearer {}", issue(&with_claim(""))));
    assert_eq!(status(service.clone(), bearer).await, StatusCode::OK);
    assert_eq!(status(service.clone(), post().header("x-access-token", token())).await, StatusCode::OK);
    assert_eq!(status(service.clone(), post()).await, StatusCode::OK, "anonymous");
    let cookie = post().header("cookie", access_cookie(&token()));
    assert_eq!(
        status(service, cookie).await,
        StatusCode::FORBIDDEN,
        "optional mode spares no user the header"
    );
}

#[tokio::test]
async fn without_a_preceding_cookie_jwt_layer_it_fails_closed() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let handler = CountingHandler::<String>::new();
    let post = || {
        let request = Request::post("https://shop.example/orders").header("x-xsrf-token", XSRF);
        request.header("cookie", access_cookie(&token())).header("origin", "https://shop.example")
    };
    assert_eq!(
        status(XsrfLayer::new().layer(handler.clone()), post()).await,
        StatusCode::FORBIDDEN,
        "only XsrfLayer"
    );
    let bearer = post().header("authorization", format!("Bearer {}", token()));
    assert_eq!(
        status(XsrfLayer::new().layer(handler.clone()), bearer).await,
        StatusCode::FORBIDDEN,
        "bearer"
    );
    let planted = post().extension(claims(&new_token()));
    assert_eq!(
        status(XsrfLayer::new().layer(handler.clone()), planted).await,
        StatusCode::FORBIDDEN,
        "only claims"
    );
    let service = sessions.refresh_layer().layer(sessions.xsrf_layer().layer(handler.clone()));
    assert_eq!(status(service, post()).await, StatusCode::FORBIDDEN, "only behind RefreshLayer");
    let wrong_order = ServiceBuilder::new().layer(XsrfLayer::new()).layer(sessions.cookie_jwt_layer());
    assert_eq!(
        status(wrong_order.service(handler.clone()), post()).await,
        StatusCode::FORBIDDEN,
        "wrong order"
    );
    assert_eq!(handler.calls(), 0);
    assert_eq!(
        status(XsrfLayer::new().layer(handler.clone()), Request::get("/")).await,
        StatusCode::OK,
        "safe"
    );
    assert_eq!(status(XsrfLayer::origin_only().layer(handler), post()).await, StatusCode::OK, "origin only");
}

#[tokio::test]
async fn header_and_claim_can_be_renamed() {
    let token = Issuer::new(keys()).with_xsrf_claim("csrf").issue(&new_token(), &()).expect("signed");
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(
            Verifier::<()>::builder(keys()).with_xsrf_claim("csrf").build().expect("the settings agree"),
        ))
        .layer(XsrfLayer::new().with_xsrf_header(http::HeaderName::from_static("x-csrf")))
        .service(CountingHandler::<String>::new());
    let post = |name: &str| {
        let request = Request::post("https://shop.example/orders").header("cookie", access_cookie(&token));
        request.header(name, XSRF)
    };
    assert_eq!(status(service.clone(), post("x-csrf")).await, StatusCode::OK);
    assert_eq!(status(service.clone(), post("x-xsrf-token")).await, StatusCode::FORBIDDEN);
    let usual = access_cookie(&crate::handler::token());
    let usual = Request::post("https://shop.example/").header("cookie", usual).header("x-csrf", XSRF);
    assert_eq!(
        status(service, usual).await,
        StatusCode::FORBIDDEN,
        "the claim of the usual name is another's"
    );

    let builder = || Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop");
    let sessions = builder()
        .with_xsrf_claim("csrf")
        .with_xsrf_header(http::HeaderName::from_static("x-csrf"))
        .build()
        .expect("valid");
    let (cookies, xsrf) = sign_in(&sessions, "").await;
    let service = sessions.layer().layer(CountingHandler::<String>::new());
    let post =
        |name: &str| Request::post("https://shop.example/").header("cookie", &cookies).header(name, &xsrf);
    assert_eq!(status(service.clone(), post("x-csrf")).await, StatusCode::OK);
    assert_eq!(status(service, post("x-xsrf-token")).await, StatusCode::FORBIDDEN);
    for claim in ["", "sub", "exp", "jti", "gen"] {
        assert!(builder().with_xsrf_claim(claim).build().is_err(), "{claim:?}");
    }
}

/// Signs ada in, in a browser that has these cookies; the new cookies and the XSRF value.
async fn sign_in(sessions: &Sessions<()>, cookies: &str) -> (String, String) {
    let request = parts(Request::post("https://shop.example/login").header("cookie", cookies));
    let signed_in = sessions.sign_in(&request, "ada", ()).await.expect("signed in");
    (cookies_of(&headers_of(&signed_in)), signed_in.xsrf_token().to_owned())
}

#[tokio::test]
async fn the_value_is_24_characters_of_base64url_and_unique_per_session() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..50 {
        let (cookies, value) = sign_in(&sessions, "").await;
        assert_eq!(value.len(), 24, "{value}");
        assert!(value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{value}");
        let cookie = format!("XSRF-TOKEN={value}");
        assert!(cookies.split("; ").any(|pair| pair == cookie), "the readable cookie carries it as it is");
        assert!(seen.insert(value), "fresh for each session");
    }
}

#[tokio::test]
async fn the_value_survives_rotations_and_ends_with_a_new_sign_in() {
    let clock = TestClock::new();
    let store = MemoryStore::new().with_clock(clock.clone());
    let sessions = Sessions::<()>::builder(keys(), store)
        .with_audience("shop")
        .with_clock(clock.clone())
        .build()
        .expect("valid");
    let service = sessions.layer().layer(CountingHandler::<String>::new());
    let post = |cookies: &str, xsrf: &str| {
        Request::post("https://shop.example/").header("cookie", cookies).header("x-xsrf-token", xsrf)
    };
    let (mut cookies, first) = sign_in(&sessions, "").await;
    for round in 0..3 {
        clock.advance(Duration::from_secs(3600));
        let request = post(&cookies, &first).body(()).expect("valid");
        let response = service.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK, "round {round}: rotated, the same value");
        assert_eq!(
            status(service.clone(), post(&cookies, "")).await,
            StatusCode::FORBIDDEN,
            "refreshed and without"
        );
        let fresh = cookies_of(response.headers());
        let kept =
            cookies.split("; ").filter(|old| !fresh.contains(old.split('=').next().unwrap_or_default()));
        cookies = kept.chain([&*fresh]).collect::<Vec<_>>().join("; ");
        assert_eq!(
            status(service.clone(), post(&cookies, &first)).await,
            StatusCode::OK,
            "round {round}: after"
        );
        clock.advance(Duration::from_secs(60));
    }
    let (renewed, second) = sign_in(&sessions, &cookies).await;
    assert_ne!(first, second);
    assert_eq!(
        status(service.clone(), post(&renewed, &first)).await,
        StatusCode::FORBIDDEN,
        "before re-login"
    );
    assert_eq!(status(service.clone(), post(&renewed, &second)).await, StatusCode::OK);
    let (_, others) = sign_in(&sessions, "").await;
    assert_eq!(
        status(service, post(&renewed, &others)).await,
        StatusCode::FORBIDDEN,
        "another session's value"
    );
}

#[tokio::test]
async fn changing_privileges_renews_the_value_and_changing_claims_keeps_it() {
    let sessions =
        Sessions::<()>::builder(keys(), MemoryStore::new()).with_audience("shop").build().expect("valid");
    let service = sessions.layer().layer(CountingHandler::<String>::new());
    let (cookies, first) = sign_in(&sessions, "").await;
    let get = async |cookies: &str| {
        let request = Request::get("/").header("cookie", cookies).body(()).expect("valid");
        service.clone().oneshot(request).await.expect("infallible")
    };
    let claims = get(&cookies).await.extensions().get::<Claims<()>>().expect("a user").clone();
    let kept = sessions.update_claims(&claims, &()).await.expect("updated");
    assert_eq!(kept.xsrf_token(), first);
    let changed = sessions.update_privileges(&claims, &()).await.expect("updated");
    let second = changed.xsrf_token();
    assert_ne!(second, first);
    let mut headers = HeaderMap::new();
    changed.append_to(&mut headers);
    assert_eq!(cookies_of(&headers), "", "the access cookie is cleared");
    let refresh =
        cookies.split("; ").find(|pair| pair.starts_with("__Host-refresh")).expect("a refresh cookie");
    let renewed = cookies_of(get(refresh).await.headers());
    assert!(renewed.ends_with(&format!("; XSRF-TOKEN={second}")), "the next request brings it");
    let post = |xsrf: &str| {
        let request = Request::post("https://shop.example/").header("cookie", &renewed);
        request.header("x-xsrf-token", xsrf)
    };
    assert_eq!(status(service.clone(), post(&first)).await, StatusCode::FORBIDDEN, "a value from before");
    assert_eq!(status(service, post(second)).await, StatusCode::OK);
}

/// The claims that the outer layer put there are still in the request's extensions.
#[tokio::test]
async fn a_second_inner_verifier_does_not_waive_the_header_for_cookies() {
    let partners = Verifier::<serde_json::Value>::builder(keys())
        .with_audience("partners")
        .build()
        .expect("the settings agree");
    let service = ServiceBuilder::new()
        .layer(CookieJwtLayer::new(Verifier::<()>::new(keys())))
        .layer(
            CookieJwtLayer::new(partners)
                .with_cookie_name("__Host-partner")
                .expect("a cookie name")
                .optional(),
        )
        .layer(XsrfLayer::new())
        .service_fn(async |_: Request<()>| Ok::<_, std::convert::Infallible>(Response::new(String::new())));
    let post = || Request::post("https://shop.example/").header("cookie", access_cookie(&token()));
    assert_eq!(status(service.clone(), post()).await, StatusCode::FORBIDDEN, "ada by cookie, and no header");
    assert_eq!(status(service, post().header("x-xsrf-token", XSRF)).await, StatusCode::OK);
}
