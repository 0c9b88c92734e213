//! The cookies as they are read: from all headers, cookie by cookie, and which of several counts.

use std::convert::Infallible;

use http::{HeaderValue, Request, header::COOKIE};
use serde_json::{Value, json};
use tower::{Layer, Service, ServiceExt};
use tower_cookie_jwt::{
    CookieJwtLayer, CookiePolicy, Sessions, Verifier,
    testing::{Browser, TestClock},
};

use crate::{
    cookies::{builder, shop, sign_in},
    forge,
};

/// A service that is asked for `Claims<()>` by the cookie `access`.
fn service()
-> impl Service<Request<()>, Response = http::Response<String>, Error = Infallible, Future: Send> + Clone {
    let verifier = Verifier::<()>::builder(forge::ring())
        .with_clock(TestClock::new())
        .build()
        .expect("the settings agree");
    CookieJwtLayer::new(verifier).with_cookie_name("access").expect("a cookie name").layer(forge::whoami())
}

/// Asks with these `Cookie` headers.
async fn ask<S>(service: S, headers: &[Vec<u8>]) -> http::Response<String>
where
    S: Service<Request<()>, Response = http::Response<String>, Error = Infallible>,
{
    let mut request = Request::new(());
    for header in headers {
        request.headers_mut().append(COOKIE, HeaderValue::from_bytes(header).expect("a header value"));
    }
    service.oneshot(request).await.expect("infallible")
}

async fn outcome(headers: &[Vec<u8>]) -> String {
    forge::outcome(&ask(service(), headers).await)
}

fn access(claims: Value) -> String {
    format!("access={}", forge::valid_with(claims))
}

/// Returns all permutations of `items`.
fn orders<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let Some((first, rest)) = items.split_first() else { return vec![Vec::new()] };
    let shorter = orders(rest);
    let at = |order: &Vec<T>, index: usize| {
        [&order[..index], std::slice::from_ref(first), &order[index..]].concat()
    };
    shorter.iter().flat_map(|order| (0..=order.len()).map(move |index| at(order, index))).collect()
}

#[tokio::test(flavor = "current_thread")]
async fn all_cookie_headers_are_read() {
    let own = access(json!({}));
    let table = [
        ("one header", vec![own.clone()]),
        ("the last of one header", vec![format!("a=1; b=2; {own}")]),
        ("no space between", vec![format!("a=1;{own};b=2")]),
        ("the second header", vec!["a=1".to_owned(), own.clone()]),
        ("the first header", vec![own.clone(), "a=1".to_owned()]),
        ("each in its own", vec!["a=1".to_owned(), "b=2".to_owned(), own.clone(), "c=3".to_owned()]),
        ("behind an empty one", vec![String::new(), own]),
    ];
    for (name, headers) in table {
        let headers: Vec<_> = headers.into_iter().map(String::into_bytes).collect();
        assert_eq!(outcome(&headers).await, "ada", "{name}");
    }

    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let browser = Browser::new(shop(sessions)).with_clock(clock.clone());
    browser.post("/login").http2().send().await.expect("infallible");
    for wait in [0, 60, 3600, 3600] {
        clock.advance(std::time::Duration::from_secs(wait));
        let response = browser.get("/").http2().send().await.expect("infallible");
        assert_eq!(forge::outcome(&response), "ada", "over HTTP/2, {wait} s later");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_malformed_foreign_cookie_hides_no_other_cookie() {
    let own = access(json!({})).into_bytes();
    let foreign: [&[u8]; 16] = [
        b"=",
        b"=x",
        b"",
        b" ",
        b"noequals",
        b"access",
        b"a=\"unterminated",
        b"a=b\"c",
        b"b=%E0%A4%A",
        b"b=100%",
        b"c=\xff\xfe",
        b"\xc3\xa4=1",
        b"a=b=c==",
        b"a b=c d",
        b"$Version=1",
        b"a=1, b=2",
    ];
    for other in foreign {
        let name = String::from_utf8_lossy(other).into_owned();
        for (place, parts) in [("before", [other, &own]), ("behind", [&own[..], other])] {
            assert_eq!(outcome(&[parts.join(&b"; "[..])]).await, "ada", "`{name}` {place}");
            assert_eq!(
                outcome(&parts.map(<[u8]>::to_vec)).await,
                "ada",
                "`{name}` {place}, in its own header"
            );
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn names_are_compared_exactly_and_quotes_around_a_value_are_tolerated() {
    let token = forge::valid_with(json!({}));
    let table = [
        (format!("access={token}"), "ada"),
        (format!("  access = {token}\t"), "ada"),
        (format!("access=\"{token}\""), "ada"),
        (format!("access=\"{token}"), "token_invalid"),
        (format!("access={token}\""), "token_invalid"),
        (format!("access=\"\"{token}\"\""), "token_invalid"),
        (format!("access='{token}'"), "token_invalid"),
        ("access=\"".to_owned(), "token_invalid"),
        ("access=\"\"".to_owned(), "token_invalid"),
        ("access=".to_owned(), "token_invalid"),
        (format!("Access={token}"), "token_missing"),
        (format!("access2={token}"), "token_missing"),
        (format!("xaccess={token}"), "token_missing"),
        (format!("__Host-access={token}"), "token_missing"),
        (format!("a=access={token}"), "token_missing"),
        (format!("acc%65ss={token}"), "token_missing"),
        (format!("access={}", token.replacen('.', "%2E", 1)), "token_invalid"),
    ];
    for (cookie, expected) in table {
        assert_eq!(outcome(&[cookie.clone().into_bytes()]).await, expected, "{cookie}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn cookies_that_verify_count_regardless_of_their_order() {
    let garbage = || "access=x".to_owned();
    let forged =
        || format!("access={}", forge::hs256(&[7; 32], r#"{"alg":"HS256"}"#, r#"{"exp":4102444800}"#));
    let in_session = |sid: &str, sub: &str, iat: f64| access(json!({ "sid": sid, "sub": sub, "iat": iat }));
    let expired = |sid: &str| access(json!({ "sid": sid, "sub": "old", "exp": 1 }));
    let without = |sub: &str, iat: u64| access(json!({ "sub": sub, "iat": iat }));
    let anonymous = |iat: u64| access(json!({ "sub": "", "iat": iat, "x": iat }));
    let generation =
        |number: u32, sub: &str| access(json!({ "sid": "s", "gen": number, "sub": sub, "iat": 5 }));
    let table = [
        ("one and garbage", vec![in_session("s", "ada", 1.0), garbage(), forged()], "ada"),
        ("one twice", vec![in_session("s", "ada", 1.0), in_session("s", "ada", 1.0)], "ada"),
        ("one session: the latest", vec![in_session("s", "old", 1.0), in_session("s", "new", 2.0)], "new"),
        ("by a fraction", vec![in_session("s", "old", 1.25), in_session("s", "new", 1.5)], "new"),
        (
            "three of one session",
            vec![in_session("s", "a", 1.0), in_session("s", "b", 2.0), in_session("s", "c", 3.0)],
            "c",
        ),
        (
            "issued in one second: the highest generation",
            vec![generation(1, "old"), generation(2, "new")],
            "new",
        ),
        ("two sessions", vec![in_session("s", "ada", 1.0), in_session("t", "eve", 2.0)], "token_ambiguous"),
        (
            "two sessions of one user",
            vec![in_session("s", "ada", 1.0), in_session("t", "ada", 2.0)],
            "token_ambiguous",
        ),
        (
            "two sessions and garbage",
            vec![in_session("s", "ada", 1.0), garbage(), in_session("t", "eve", 2.0)],
            "token_ambiguous",
        ),
        ("a session and none", vec![in_session("s", "ada", 1.0), without("ada", 2)], "token_ambiguous"),
        ("an expired one of another session", vec![in_session("s", "ada", 1.0), expired("t")], "ada"),
        ("without sessions: the user's latest", vec![without("ada", 1), without("ada", 2)], "ada"),
        ("without sessions: two users", vec![without("ada", 1), without("eve", 2)], "token_ambiguous"),
        ("none that verifies", vec![garbage(), forged()], "token_invalid"),
        ("an expired one and garbage", vec![garbage(), expired("s"), forged()], "token_expired"),
        ("without a session, twice", vec![anonymous(1), anonymous(1)], ""),
    ];
    for (name, cookies, expected) in table {
        for order in orders(&cookies) {
            let one = vec![order.join("; ").into_bytes()];
            assert_eq!(outcome(&one).await, expected, "{name}, in one header");
            let several: Vec<_> = order.into_iter().map(String::into_bytes).collect();
            assert_eq!(outcome(&several).await, expected, "{name}, in several");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn ambiguous_cookies_are_refused_with_401_even_in_optional_mode() {
    let verifier = Verifier::<()>::new(forge::ring());
    let layer = CookieJwtLayer::new(verifier).with_cookie_name("access").expect("a cookie name").optional();
    let two = ["s", "t"].map(|sid| access(json!({ "sid": sid }))).join("; ").into_bytes();
    let response = ask(layer.layer(forge::whoami()), &[two]).await;
    assert_eq!(forge::outcome(&response), "token_ambiguous");
    assert_eq!(response.status(), 401);
    assert!(!response.headers().contains_key("set-cookie"));
}

/// Access and refresh pair of a fresh sign-in, as they stand in a `Cookie` header.
async fn pair(sessions: &Sessions<()>) -> [String; 2] {
    let cookies = sign_in(sessions).await;
    [0, 1].map(|index| format!("{}={}", cookies[index].name, cookies[index].value))
}

/// Sessions whose cookies a neighbour could set, of ada and of the thief.
async fn tossed(policy: CookiePolicy) -> (Sessions<()>, [String; 2], [String; 2]) {
    let sessions = builder::<()>(&TestClock::new()).with_cookies(policy).build().expect("sessions");
    let (ada, eve) = (pair(&sessions).await, pair(&sessions).await);
    (sessions, ada, eve)
}

#[tokio::test(flavor = "current_thread")]
async fn without_the_host_prefix_an_access_cookie_of_another_session_is_ignored() {
    let plain = || CookiePolicy::new().with_access_name("access").with_refresh_name("refresh");
    let policies = [
        ("no prefix", plain()),
        ("a domain", CookiePolicy::new().with_domain("shop.example")),
        ("local development", CookiePolicy::new().for_local_http_development()),
    ];
    for (policy_name, policy) in policies {
        let (sessions, [access, refresh], [evil_access, evil_refresh]) = tossed(policy).await;
        let service = sessions.cookie_jwt_layer().layer(forge::whoami());
        let table = [
            ("her own", vec![&access, &refresh], "ada"),
            ("the thief's and her own", vec![&access, &refresh, &evil_access], "ada"),
            ("the thief's instead of her own", vec![&refresh, &evil_access], "token_missing"),
            ("only access cookies", vec![&access, &evil_access], "token_ambiguous"),
            ("both of both", vec![&access, &refresh, &evil_access, &evil_refresh], "token_ambiguous"),
            (
                "the thief's when hers has expired",
                vec![&refresh, &evil_access, &evil_refresh],
                "token_ambiguous",
            ),
            ("only the access cookie", vec![&access], "ada"),
        ];
        for (name, cookies, expected) in table {
            for order in orders(&cookies) {
                let header = order.iter().map(|cookie| cookie.as_str()).collect::<Vec<_>>().join("; ");
                let response = ask(service.clone(), &[header.into_bytes()]).await;
                assert_eq!(forge::outcome(&response), expected, "{policy_name}: {name}");
                assert!(!response.headers().contains_key("set-cookie"), "{policy_name}: {name}");
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn with_the_host_prefix_a_valid_access_cookie_is_accepted_regardless_of_the_refresh_cookie() {
    let (sessions, [access, refresh], [evil_access, evil_refresh]) = tossed(CookiePolicy::new()).await;
    let table = [
        ("another session's refresh cookie", vec![&access, &evil_refresh]),
        ("refresh cookies of two sessions", vec![&access, &refresh, &evil_refresh]),
        ("no refresh cookie", vec![&evil_access]),
    ];
    for (name, cookies) in table {
        let header = cookies.iter().map(|cookie| cookie.as_str()).collect::<Vec<_>>().join("; ");
        let response = ask(sessions.layer().layer(forge::whoami()), &[header.into_bytes()]).await;
        assert_eq!(forge::outcome(&response), "ada", "{name}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_tossed_cookie_never_signs_a_browser_in_as_the_thief() {
    let clock = TestClock::new();
    let named = CookiePolicy::new().with_access_name("access").with_refresh_name("refresh");
    let sessions = builder::<()>(&clock).with_cookies(named).build().expect("sessions");
    let [evil_access, evil_refresh] = {
        let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
        let mut headers = http::HeaderMap::new();
        sessions.sign_in(&parts, "eve", ()).await.expect("signed in").append_to(&mut headers);
        let set = crate::cookies::set_cookies(&headers);
        [0, 1].map(|index| set[index].value.clone())
    };
    for tossed in [vec![("access", &evil_access)], vec![("access", &evil_access), ("refresh", &evil_refresh)]]
    {
        let browser = Browser::new(shop(sessions.clone())).with_clock(clock.clone());
        browser.post("/login").send().await.expect("infallible");
        for (name, value) in &tossed {
            let line = format!("{name}={value}; Domain=shop.example; Path=/; Secure; HttpOnly");
            assert!(browser.toss(&line), "a neighbour can set it");
        }
        for held in [true, false] {
            if !held {
                // Her own access cookie has run out, the thief's has been renewed.
                browser.remove_cookie("access");
                assert!(browser.toss(&format!("access={evil_access}; Domain=shop.example; Path=/; Secure")));
            }
            let response = browser.get("/").send().await.expect("infallible");
            assert_ne!(forge::outcome(&response), "eve", "{} tossed, held: {held}", tossed.len());
        }
    }
    let browser = Browser::new(shop(sessions)).with_clock(clock);
    let line = format!("__Host-access={evil_access}; Domain=shop.example; Path=/; Secure; HttpOnly");
    assert!(!browser.toss(&line), "with the prefix no neighbour can");
}

/// Tokens of the right shape that no key has signed; each costs a signature check.
fn junk(typ: &str, count: usize) -> Vec<String> {
    let header = format!(r#"{{"alg":"HS256","typ":"{typ}"}}"#);
    let payload = |index| json!({ "aud": "shop", "sid": "s", "jti": format!("{index}.AAAAAAAAAAAAAAAAAAAAAA"), "exp": 4_102_444_800_u64 });
    (0..count)
        .map(|index| {
            forge::hs256(b"another secret of at least 32 bytes", &header, payload(index).to_string())
        })
        .collect()
}

/// `name=value` for each, and then this.
fn flooded(name: &str, tossed: &[String], own: &str) -> Vec<u8> {
    let mut cookies: Vec<_> = tossed.iter().map(|value| format!("{name}={value}")).collect();
    cookies.push(own.to_owned());
    cookies.join("; ").into_bytes()
}

#[tokio::test(flavor = "current_thread")]
async fn a_flood_of_tossed_cookies_never_replaces_the_users_session_with_the_thiefs() {
    let clock = TestClock::new();
    let named = CookiePolicy::new().with_access_name("access").with_refresh_name("refresh");
    let sessions = builder::<()>(&clock).with_cookies(named).build().expect("sessions");
    let own = sign_in(&sessions).await;
    let thief = {
        let (parts, ()) = Request::post("/login").body(()).expect("a request").into_parts();
        let mut headers = http::HeaderMap::new();
        sessions.sign_in(&parts, "eve", ()).await.expect("signed in").append_to(&mut headers);
        crate::cookies::set_cookies(&headers)
    };
    for (name, index, typ) in [("access", 0, "at+jwt"), ("refresh", 1, "refresh+jwt")] {
        for count in 0..6 {
            let mut tossed = junk(typ, count);
            tossed.push(thief[index].value.clone());
            let own = format!("{name}={}", own[index].value);
            let service = sessions.layer().layer(forge::whoami());
            let response = ask(service, &[flooded(name, &tossed, &own)]).await;
            let outcome = forge::outcome(&response);
            assert!(outcome == "token_ambiguous", "{count} before the thief's {name} cookie: {outcome}");
            assert!(response.headers().get("set-cookie").is_none(), "{count}, {name}: nothing is cleared");
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn expired_tokens_tossed_before_a_valid_one_clear_nothing() {
    let clock = TestClock::new();
    let sessions = builder::<()>(&clock).build().expect("sessions");
    let own = sign_in(&sessions).await;
    let secret = forge::SECRET;
    let expired = |index: usize| {
        let payload =
            json!({ "aud": "shop", "sid": "s", "jti": format!("{index}.AAAAAAAAAAAAAAAAAAAAAA"), "exp": 1 });
        forge::hs256(secret, r#"{"alg":"HS256","typ":"refresh+jwt"}"#, payload.to_string())
    };
    let name = &*own[1].name;
    for count in 1..6 {
        let tossed: Vec<_> = (0..count).map(expired).collect();
        let cookies = flooded(name, &tossed, &format!("{name}={}", own[1].value));
        let response = ask(sessions.layer().layer(forge::whoami()), &[cookies]).await;
        let expected = if count < 4 { "ada" } else { "token_ambiguous" };
        assert_eq!(forge::outcome(&response), expected, "{count} expired ones");
        let cleared = response
            .headers()
            .get_all("set-cookie")
            .iter()
            .any(|cookie| cookie.to_str().expect("text").contains("Max-Age=0"));
        assert!(!cleared, "{count} expired ones");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_inner_layer_with_other_sources_sees_refreshed_claims() {
    for check in [false, true] {
        let clock = TestClock::new();
        let sessions = builder::<()>(&clock);
        let sessions = if check { sessions.with_session_check() } else { sessions };
        let sessions = sessions.build().expect("sessions");
        let own = sign_in(&sessions).await;
        let inner = sessions.cookie_jwt_layer().with_sources([tower_cookie_jwt::token::Source::Cookie]);
        let service = sessions.refresh_layer().layer(inner.layer(forge::whoami()));
        let cookie = |index: usize| format!("{}={}", own[index].name, own[index].value).into_bytes();
        let good = ask(service.clone(), &[cookie(0), cookie(1)]).await;
        assert_eq!(forge::outcome(&good), "ada", "a good access token, checked: {check}");
        let refreshed = ask(service, &[cookie(1)]).await;
        assert_eq!(forge::outcome(&refreshed), "ada", "refreshed, checked: {check}");
    }
}
