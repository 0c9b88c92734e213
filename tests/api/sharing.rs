//! Which claims a layer accepts: token types, verifiers on nested routers, and what other code has left
//! in the extensions.

use std::{cell::Cell, convert::Infallible, time::Duration};

use http::{Method, Request, Response, StatusCode, header::COOKIE};
use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::json;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, MemoryStore, Sessions, Verifier, XsrfLayer,
    testing::TestClock,
    token::{TokenError, TokenErrorKind},
};

use crate::{cookies::builder, forge, jar::Jar};

fn layer(verifier: &Verifier<()>) -> CookieJwtLayer<()> {
    CookieJwtLayer::new(verifier.clone()).with_cookie_name("access").expect("a cookie name")
}

fn verifier() -> Verifier<()> {
    Verifier::new(forge::ring())
}

fn verifier_for(audience: &str) -> Verifier<()> {
    Verifier::builder(forge::ring()).with_audience(audience).build().expect("the settings agree")
}

fn request(cookie: &str) -> Request<()> {
    Request::get("/").header(COOKIE, cookie).body(()).expect("a request")
}

async fn ask<S>(service: S, request: Request<()>) -> String
where
    S: Service<Request<()>, Response = Response<String>, Error = Infallible>,
{
    forge::outcome(&service.oneshot(request).await.expect("infallible"))
}

fn access_for(subject: &str, audience: &str) -> String {
    format!("access={}", forge::valid_with(json!({ "sub": subject, "aud": audience })))
}

/// Access and refresh token of a sign-in.
async fn signed_in(sessions: &Sessions<()>) -> [String; 2] {
    let jar = Jar::signed_in(sessions, ()).await;
    ["__Host-access", "__Host-refresh"].map(|name| jar.value(name))
}

#[test]
fn types_are_compared_as_media_types() {
    let sessions_alike =
        Verifier::builder(forge::ring()).with_types(["at+jwt"]).build().expect("the settings agree");
    // The header parameter, then whether `Verifier::new` and one for `at+jwt` alone accept it.
    let table = [
        (json!("at+jwt"), true, true),
        (json!("AT+JWT"), true, true),
        (json!("application/at+jwt"), true, true),
        (json!("Application/At+Jwt"), true, true),
        (json!("JWT"), true, false),
        (json!("jwt"), true, false),
        (json!("application/jwt"), true, false),
        (json!("refresh+jwt"), false, false),
        (json!("application/refresh+jwt"), false, false),
        (json!("dpop+jwt"), false, false),
        (json!("jose"), false, false),
        (json!(""), false, false),
        (json!("application/"), false, false),
        (json!("text/at+jwt"), false, false),
        (json!("application/application/at+jwt"), false, false),
        (json!("at+jwt "), false, false),
        (json!("at+jwt;v=1"), false, false),
        (json!("äpplicatio/at+jwt"), false, false),
    ];
    let payload = r#"{"exp":4102444800}"#;
    let kind = |verifier: &Verifier<()>, header: &str| {
        verifier.verify(&forge::hs256(forge::SECRET, header, payload)).map(drop).map_err(|error| error.kind())
    };
    for (typ, by_default, by_sessions) in table {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        for (verifier, accepts) in [(verifier(), by_default), (sessions_alike.clone(), by_sessions)] {
            let expected = if accepts { Ok(()) } else { Err(TokenErrorKind::WrongType) };
            assert_eq!(kind(&verifier, &header), expected, "{typ}, {verifier:?}");
        }
    }
    let without = r#"{"alg":"HS256"}"#;
    assert_eq!(kind(&verifier(), without), Ok(()), "without a type");
    assert_eq!(kind(&sessions_alike, without), Err(TokenErrorKind::WrongType), "without a type");
    for typ in [json!(null), json!(1), json!(["at+jwt"])] {
        let header = json!({ "alg": "HS256", "typ": typ }).to_string();
        assert_eq!(kind(&verifier(), &header), Err(TokenErrorKind::Malformed), "{typ}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn refresh_and_access_tokens_are_never_interchangeable() {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let [access, refresh] = signed_in(&sessions).await;
    let service = sessions.layer().layer(forge::whoami());
    let by = |name: &str, value: &str| Request::get("/").header(name, value).body(()).expect("a request");
    let table = [
        ("access as access", request(&format!("__Host-access={access}")), "ada"),
        ("refresh as refresh", request(&format!("__Host-refresh={refresh}")), "ada"),
        ("access as bearer", by("authorization", &format!("Bearer {access}")), "ada"),
        ("refresh as access", request(&format!("__Host-access={refresh}")), "token_invalid"),
        ("access as refresh", request(&format!("__Host-refresh={access}")), "token_missing"),
        ("refresh as bearer", by("authorization", &format!("Bearer {refresh}")), "token_invalid"),
        ("refresh in X-Access-Token", by("x-access-token", &refresh), "token_invalid"),
    ];
    for (name, request, expected) in table {
        assert_eq!(ask(service.clone(), request).await, expected, "{name}");
    }
    let error = Verifier::<()>::builder(forge::ring())
        .with_clock(clock)
        .build()
        .expect("the settings agree")
        .verify(&refresh)
        .unwrap_err();
    assert_eq!(error.kind(), TokenErrorKind::WrongType, "not by a verifier without sessions either");
}

#[tokio::test(flavor = "current_thread")]
async fn sessions_accept_only_at_jwt_as_access_token() {
    let sessions = Sessions::<()>::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .build()
        .expect("sessions");
    let service = sessions.layer().layer(forge::whoami());
    let payload = r#"{"sub":"ada","aud":"shop","exp":4102444800}"#;
    for (typ, expected) in [
        (Some("at+jwt"), "ada"),
        (Some("application/AT+jwt"), "ada"),
        (Some("JWT"), "token_invalid"),
        (Some("refresh+jwt"), "token_invalid"),
        (None, "token_invalid"),
    ] {
        let mut header = json!({ "alg": "HS256" });
        if let Some(typ) = typ {
            header["typ"] = typ.into();
        }
        let text = forge::hs256(forge::SECRET, header.to_string(), payload);
        let answer = ask(service.clone(), request(&format!("__Host-access={text}"))).await;
        assert_eq!(answer, expected, "{typ:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn nested_verifiers_never_reuse_each_others_claims() {
    let shop = verifier_for("shop");
    let admin = verifier_for("admin");
    let for_shop = access_for("ada", "shop");

    let strict = layer(&shop).layer(layer(&admin).layer(forge::whoami()));
    assert_eq!(ask(strict.clone(), request(&for_shop)).await, "token_invalid", "a customer at the admin's");
    let welcoming = layer(&shop).layer(layer(&admin).optional().layer(forge::whoami()));
    assert_eq!(ask(welcoming, request(&for_shop)).await, "anonymous", "a customer at the optional admin's");
    let exempt = layer(&shop).layer(layer(&admin).with_exempt(|_| true).layer(forge::whoami()));
    assert_eq!(ask(exempt, request(&for_shop)).await, "anonymous", "a customer at the exempt admin's");
    let same = layer(&shop).layer(layer(&shop).layer(forge::whoami()));
    assert_eq!(ask(same, request(&for_shop)).await, "ada", "the same verifier twice");

    // Each with a cookie of its own, both users come through to the inner handler as the inner says.
    let inner = layer(&admin).with_cookie_name("admin").expect("a cookie name");
    let nested = layer(&shop).layer(inner.layer(forge::whoami()));
    let admins = access_for("grace", "admin").replacen("access", "admin", 1);
    assert_eq!(ask(nested.clone(), request(&format!("{for_shop}; {admins}"))).await, "grace");
    assert_eq!(
        ask(nested, request(&for_shop)).await,
        "token_missing",
        "another cookie's claims do not count"
    );
}

thread_local! {
    static READ: Cell<u32> = const { Cell::new(0) };
}

/// Counts how often claims are read on this thread.
#[derive(Serialize)]
struct Counted {}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        READ.set(READ.get() + 1);
        IgnoredAny::deserialize(deserializer).map(|_| Self {})
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_token_is_verified_once_per_verifier() {
    let builder = || Verifier::<Counted>::builder(forge::ring()).with_cache_bytes(0);
    let verifier = builder().build().expect("the settings agree");
    let other_verifier = builder().with_leeway(Duration::ZERO).build().expect("the settings agree");
    let layer = |verifier: &Verifier<Counted>| {
        CookieJwtLayer::new(verifier.clone()).with_cookie_name("access").expect("a cookie name")
    };
    let cookie = access_for("ada", "shop");
    let inner = service_fn(|request: Request<()>| async move {
        let claims = request.extensions().get::<Claims<Counted>>();
        Ok::<_, Infallible>(Response::new(claims.and_then(Claims::subject).unwrap_or("anonymous").to_owned()))
    });
    let read_by = async |answer: String| {
        assert_eq!(answer, "ada");
        READ.replace(0)
    };

    READ.set(0); // building a verifier looks at the type
    let once = layer(&verifier).layer(inner);
    assert_eq!(read_by(ask(once.clone(), request(&cookie)).await).await, 1, "one layer");
    let twice = layer(&verifier).layer(XsrfLayer::new().layer(once.clone()));
    assert_eq!(read_by(ask(twice, request(&cookie)).await).await, 1, "two layers of one verifier");
    let other = layer(&other_verifier).layer(once);
    assert_eq!(read_by(ask(other, request(&cookie)).await).await, 2, "two verifiers");

    let sessions = Sessions::<Counted>::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .with_cache_bytes(0)
        .build()
        .expect("sessions");
    let jar = Jar::signed_in(&sessions, Counted {}).await;
    let access = format!("__Host-access={}", jar.value("__Host-access"));
    READ.set(0);
    let all = sessions.layer().layer(sessions.cookie_jwt_layer().layer(inner));
    assert_eq!(
        read_by(ask(all, request(&access)).await).await,
        1,
        "all the layers of sessions, and one again"
    );
}

/// Foreign claims, as a confused or hostile layer might leave them.
fn foreign() -> Claims<()> {
    verifier().verify(&forge::valid_with(json!({ "sub": "eve" }))).expect("it verifies")
}

#[tokio::test(flavor = "current_thread")]
async fn foreign_claims_are_removed_wherever_a_layer_lets_a_request_pass() {
    let sessions = Sessions::<()>::builder(forge::ring(), MemoryStore::new())
        .with_audience("shop")
        .build()
        .expect("sessions");
    let shop = verifier();
    let whoami = forge::whoami();
    let on = |path: &str| Request::get(path).extension(foreign()).body(()).expect("a request");
    let preflight = || {
        let mut request = on("/");
        *request.method_mut() = Method::OPTIONS;
        request.headers_mut().insert("origin", "https://shop.example".parse().expect("a value"));
        request.headers_mut().insert("access-control-request-method", "POST".parse().expect("a value"));
        request
    };
    let own = |mut request: Request<()>| {
        request.headers_mut().insert(COOKIE, access_for("ada", "shop").parse().expect("a value"));
        request
    };
    let invalid = |mut request: Request<()>| {
        request.headers_mut().insert(COOKIE, "access=a.b.c; __Host-access=a.b.c".parse().expect("a value"));
        request
    };
    let free = |parts: &http::request::Parts| parts.uri.path() == "/free";

    assert_eq!(ask(whoami.clone(), on("/")).await, "eve", "what the handler would see without a layer");
    let required = layer(&shop).with_exempt(free).layer(whoami.clone());
    let optional = layer(&shop).optional().layer(whoami.clone());
    let whole = sessions.layer().with_exempt(free).layer(whoami.clone());
    let welcoming = sessions.layer().optional().layer(whoami.clone());
    let refresh = sessions.refresh_layer().with_exempt(free).layer(whoami);
    assert_eq!(ask(required.clone(), on("/")).await, "token_missing", "required");
    assert_eq!(ask(required.clone(), own(on("/"))).await, "ada", "required, with a token");
    assert_eq!(ask(required.clone(), on("/free")).await, "anonymous", "exempt");
    assert_eq!(ask(required.clone(), own(on("/free"))).await, "anonymous", "exempt, with a token");
    assert_eq!(ask(required, preflight()).await, "anonymous", "a preflight");
    assert_eq!(ask(optional.clone(), on("/")).await, "anonymous", "optional");
    assert_eq!(ask(optional.clone(), invalid(on("/"))).await, "anonymous", "optional, with an invalid token");
    assert_eq!(ask(optional, own(on("/"))).await, "ada", "optional, with a token");
    assert_eq!(ask(whole.clone(), on("/")).await, "token_missing", "sessions");
    assert_eq!(ask(whole.clone(), on("/free")).await, "anonymous", "sessions, exempt");
    assert_eq!(ask(whole, preflight()).await, "anonymous", "sessions, a preflight");
    assert_eq!(ask(welcoming, invalid(on("/"))).await, "anonymous", "sessions, optional");
    assert_eq!(ask(refresh.clone(), on("/")).await, "anonymous", "refresh alone");
    assert_eq!(ask(refresh.clone(), on("/free")).await, "anonymous", "refresh alone, exempt");
    assert_eq!(ask(refresh, preflight()).await, "anonymous", "refresh alone, a preflight");
}

#[tokio::test(flavor = "current_thread")]
async fn claims_inserted_between_two_layers_of_one_verifier_are_ignored() {
    let shop = verifier();
    let slip = |inner| {
        tower::util::MapRequest::new(inner, |mut request: Request<()>| {
            request.extensions_mut().insert(foreign());
            request
        })
    };
    let inner = layer(&shop).optional().layer(forge::whoami());
    let service = layer(&shop).optional().layer(slip(inner));
    assert_eq!(ask(service.clone(), request(&access_for("ada", "shop"))).await, "ada", "behind a good token");
    assert_eq!(ask(service.clone(), request("access=a.b.c")).await, "anonymous", "behind a bad one");
    assert_eq!(ask(service, request("other=1")).await, "anonymous", "behind none");
}

#[tokio::test(flavor = "current_thread")]
async fn optional_mode_exposes_the_reason() {
    let why = service_fn(|request: Request<()>| async move {
        let kind = TokenError::from_extensions(request.extensions()).map(TokenError::kind);
        Ok::<_, Infallible>(Response::new(format!("{kind:?}")))
    });
    let expired = format!("access={}", forge::valid_with(json!({ "exp": 1 })));
    let service = layer(&verifier()).optional().with_exempt(|parts| parts.uri.path() == "/free").layer(why);
    let table = [
        ("no token", request("other=1"), "Some(Missing)"),
        ("an expired one", request(&expired), "Some(Expired)"),
        ("a malformed one", request("access=x"), "Some(Malformed)"),
        ("a good one", request(&access_for("ada", "shop")), "None"),
        ("an exempt path", Request::get("/free").header(COOKIE, "access=x").body(()).unwrap(), "None"),
    ];
    for (name, request, expected) in table {
        assert_eq!(ask(service.clone(), request).await, expected, "{name}");
    }
    assert_eq!(ask(why, request("access=x")).await, "None", "without a layer nothing is known");

    let response = layer(&verifier()).layer(why).oneshot(request("access=x")).await.expect("infallible");
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "required never gets there");
}

/// Sessions whose access cookie has expired, and the refresh cookie of one.
async fn refreshable() -> (Sessions<()>, String) {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let [_, refresh] = signed_in(&sessions).await;
    clock.advance(Duration::from_secs(3600));
    (sessions, format!("__Host-refresh={refresh}"))
}

#[tokio::test(flavor = "current_thread")]
async fn a_refreshed_request_is_accepted_only_where_cookies_are() {
    use tower_cookie_jwt::token::Source::{AccessTokenHeader, Bearer, Cookie};

    let (sessions, cookie) = refreshable().await;
    for (sources, expected) in [
        (vec![Bearer], "token_missing"),
        (vec![AccessTokenHeader], "token_missing"),
        (vec![Bearer, AccessTokenHeader], "token_missing"),
        (vec![], "token_missing"),
        (vec![Cookie], "ada"),
        (vec![Cookie, Bearer], "ada"),
    ] {
        let name = format!("{sources:?}");
        let layer = sessions.cookie_jwt_layer().with_sources(sources);
        let service = sessions.refresh_layer().layer(layer.clone().layer(forge::whoami()));
        assert_eq!(ask(service, request(&cookie)).await, expected, "{name}");
        let optional = sessions.refresh_layer().layer(layer.optional().layer(forge::whoami()));
        let expected = if expected == "ada" { "ada" } else { "anonymous" };
        assert_eq!(ask(optional, request(&cookie)).await, expected, "{name}, optional");
    }
}

#[derive(Deserialize)]
struct Desk {}

#[tokio::test(flavor = "current_thread")]
async fn a_user_of_an_outer_refresh_layer_proves_the_xsrf_token_behind_another_verifier() {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let jar = Jar::signed_in(&sessions, ()).await;
    let cookie = |name: &str| format!("{name}={}", jar.value(name));
    let (access, refresh, xsrf) =
        (cookie("__Host-access"), cookie("__Host-refresh"), jar.value("XSRF-TOKEN"));
    let desk =
        CookieJwtLayer::new(Verifier::<Desk>::new(forge::ring())).with_cookie_name("desk").expect("a name");
    let exempt = desk.clone().with_exempt(|_| true);
    let inner = XsrfLayer::new().layer(forge::whoami());
    let services = [
        ("optional", sessions.refresh_layer().layer(desk.optional().layer(inner.clone()))),
        ("exempt", sessions.refresh_layer().layer(exempt.layer(inner))),
    ];
    let post = |cookie: &str, xsrf: Option<&str>| {
        let request = Request::post("/").header(COOKIE, cookie);
        let request = xsrf.into_iter().fold(request, |request, value| request.header("x-xsrf-token", value));
        request.body(()).expect("a request")
    };
    for (how, cookie, wait) in [("by its cookie", &access, 0), ("by a refresh", &refresh, 3600)] {
        clock.advance(Duration::from_secs(wait));
        for (layer, service) in &services {
            let name = format!("{how}, {layer}");
            assert_eq!(ask(service.clone(), post(cookie, None)).await, "xsrf_missing", "{name}");
            assert_eq!(ask(service.clone(), post(cookie, Some("other"))).await, "xsrf_mismatch", "{name}");
            assert_eq!(ask(service.clone(), post(cookie, Some(&xsrf))).await, "ada", "{name}");
            assert_eq!(ask(service.clone(), request(cookie)).await, "ada", "{name}, GET");
        }
    }
}
