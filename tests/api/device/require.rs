//! Routes that demand a bound session, or a recent proof.

use std::time::Duration;

use http::header::LOCATION;
use tower::ServiceBuilder;
use tower_cookie_jwt::RequireLayer;

use super::*;
use crate::shop::get;

const MINUTE: Duration = Duration::from_secs(60);

/// Returns the shop's service with this demand on all pages but `/me`.
fn guarded(shop: &Shop, demand: RequireLayer<User>) -> Inner {
    let open = shop.sessions.layer().with_rejection(ProblemJson).layer(service_fn(greet));
    let demand = demand.with_clock(shop.clock.clone()).with_rejection(ProblemJson);
    let handler = ServiceBuilder::new().layer(demand).service(service_fn(echo));
    let closed = shop.sessions.layer().with_rejection(ProblemJson).layer(handler);
    let both = service_fn(move |request: Request<String>| {
        let (open, closed) = (open.clone(), closed.clone());
        async move {
            if request.uri().path() == "/me" {
                open.oneshot(request).await
            } else {
                closed.oneshot(request).await
            }
        }
    });
    shop.service_over(both)
}

/// Answers with method and body.
async fn echo(request: Request<String>) -> Result<Answer, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    Ok(Response::new(format!("{} {body}", parts.method).into()))
}

#[tokio::test]
async fn an_unbound_session_gets_403() {
    for demand in [RequireLayer::device_bound(), RequireLayer::recent_device_proof(MINUTE)] {
        let shop = bound_shop();
        let browser = shop.browser().with_service(guarded(&shop, demand));
        post(&browser, "/login").await;
        shop.events();
        let response = post(&browser, "/pay").await;
        assert_eq!(said(&shop, &response), "403 device_binding_required");
        shop.clock.advance(ACCESS_GONE);
        let response = post(&browser, "/pay").await;
        assert_eq!((response.status().as_u16(), code(&response)), (403, "device_binding_required".into()));
        assert_eq!(get(&browser, "/me").await.status(), 200);
    }
}

#[tokio::test]
async fn a_bound_session_passes() {
    let shop = bound_shop();
    let browser = Chromium::over(&shop, guarded(&shop, RequireLayer::device_bound()));
    browser.post("/login").await;
    for _ in 0..3 {
        assert_eq!(text(&browser.post("/pay").await), "POST ");
        shop.clock.advance(ACCESS_GONE);
    }
    let thief = browser.copied(&shop);
    let response = post(&thief.with_service(guarded(&shop, RequireLayer::device_bound())), "/pay").await;
    assert_eq!((response.status().as_u16(), code(&response)), (401, "device_proof_required".into()));
}

/// The browser proves itself, and sends the request again: the handler runs once, with the body.
#[tokio::test]
async fn an_old_proof_is_renewed_on_the_way() {
    let shop = bound_shop();
    let service = guarded(&shop, RequireLayer::device_bound().and_recent_device_proof(MINUTE));
    let browser = Chromium::over(&shop, service.clone());
    browser.post("/login").await;
    browser.get("/me").await;
    for age in [Duration::ZERO, MINUTE, 2 * MINUTE, 12 * MINUTE, 30 * MINUTE] {
        shop.clock.advance(age);
        let request = browser.0.post("/pay?to=bob").with_xsrf().body("amount=1000".to_owned());
        let response = browser.send(request).await;
        assert_eq!(
            (response.status().as_u16(), text(&response)),
            (200, "POST amount=1000".into()),
            "{age:?}"
        );
    }
    assert!(shop.events().iter().all(|event| !event.contains("proof")), "nobody is refused");

    // What the browser is told.
    shop.clock.advance(2 * MINUTE);
    let plain = browser.copied(&shop).with_service(service);
    let Ok(response) = plain.get("/a/pay?to=bob").send().await;
    assert_eq!(said(&shop, &response), "307 device_proof_required -access");
    assert_eq!(
        (&response.headers()[LOCATION], &response.headers()["cache-control"]),
        (&"./pay?to=bob".parse().unwrap(), &"no-store".parse().unwrap())
    );
    // No loop: without the access cookie, a copy is asked for a proof.
    let Ok(response) = plain.get("/a/pay?to=bob").send().await;
    assert_eq!(said(&shop, &response), "401 device_proof_required: proof missing of 0 at 0");
}

/// Whatever path a proxy passes on, the browser stays where it is.
#[tokio::test]
async fn the_redirect_leads_nowhere_else() {
    let shop = bound_shop();
    let service = guarded(&shop, RequireLayer::recent_device_proof(MINUTE));
    let browser = Chromium::over(&shop, service.clone());
    browser.post("/login").await;
    browser.get("/me").await;
    shop.clock.advance(2 * MINUTE);
    let cookie = format!("{ACCESS}={}", browser.0.cookie(ACCESS).unwrap());
    for (uri, location) in [
        ("/pay", "./pay"),
        ("/", "./"),
        ("/a/b/", "./"),
        ("//evil.example/", "./"),
        ("//evil.example", "./evil.example"),
        ("//evil.example/pay?a=//b", "./pay?a=//b"),
        ("/\\evil.example", "./\\evil.example"),
        ("/https://evil.example", "./evil.example"),
        ("/https:evil.example", "./https:evil.example"),
        ("/..", "./.."),
        ("https://shop.example/pay", "./pay"),
    ] {
        let Ok(uri_parsed) = uri.parse::<http::Uri>() else { continue };
        let request = Request::get(uri_parsed).header("host", "shop.example").header("cookie", &cookie);
        let Ok(response) = service.clone().oneshot(request.body(String::new()).unwrap()).await;
        assert_eq!(
            (response.status().as_u16(), response.headers()[LOCATION].to_str().unwrap()),
            (307, location),
            "{uri}"
        );
    }
}

/// Nobody holds requests with a header back for a proof, and a token in it is no proof of a device.
#[tokio::test]
async fn bearers_get_403() {
    for demand in [RequireLayer::device_bound(), RequireLayer::recent_device_proof(MINUTE)] {
        let shop = bound_shop();
        let browser = Chromium::over(&shop, guarded(&shop, demand));
        browser.post("/login").await;
        browser.get("/me").await;
        let scope = browser.0.post("/refresh").header("content-type", "application/x-www-form-urlencoded");
        let narrow = crate::shop::json(&browser.send(scope.body("scope=read".to_owned())).await);
        let bearer = format!("Bearer {}", narrow["access_token"].as_str().unwrap());
        let response = browser.send(browser.0.separate().get("/pay").header("authorization", bearer)).await;
        assert_eq!((response.status().as_u16(), code(&response)), (403, "device_binding_required".into()));
        // The cookie's token in a header: no redirect, which a client with a header would follow for ever.
        shop.clock.advance(2 * MINUTE);
        let bearer = format!("Bearer {}", browser.0.cookie(ACCESS).unwrap());
        let request = browser.0.separate().get("/pay").header("authorization", bearer);
        let response = browser.send(request).await;
        assert!([200, 403].contains(&response.status().as_u16()));
        assert!(!response.headers().contains_key(LOCATION));
    }
}

#[cfg(feature = "axum")]
mod nested {
    use axum::{Router, body::Body, routing::post as route};

    use super::*;

    /// Relative, as `nest` has taken the beginning of the path away.
    #[tokio::test]
    async fn the_redirect_leads_back_through_nested_routers() {
        let shop = bound_shop();
        let demand = RequireLayer::<User>::recent_device_proof(MINUTE).with_clock(shop.clock.clone());
        let pay = Router::new().route("/pay", route(async |body: String| body)).layer(demand);
        let sessions = shop.sessions.clone();
        let login = async move |request: Request<Body>| {
            let (parts, _) = request.into_parts();
            sessions.sign_in(&parts, "ada", crate::shop::role("customer")).await.unwrap()
        };
        let app = Router::new()
            .nest("/shop", Router::new().nest("/api", pay))
            .layer(shop.sessions.layer())
            .route("/login", route(login))
            .route_service("/device", shop.sessions.device_service());
        let browser = Browser::new(app).with_clock(shop.clock.clone()).with_device_key();
        let Ok(response) = browser.post("/login").send().await;
        assert_eq!(response.status(), 200);
        for _ in 0..3 {
            let Ok(response) = browser.post("/shop/api/pay").with_xsrf().body("7").send().await;
            assert_eq!(response.status(), 200);
            let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
            assert_eq!(body, "7");
            shop.clock.advance(2 * MINUTE);
        }
    }
}
