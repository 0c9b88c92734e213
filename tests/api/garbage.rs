//! Arbitrary input never causes a panic, and never succeeds without a valid token.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use jsonwebtoken::{EncodingKey, crypto::CryptoProvider};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use tower::{Layer, ServiceExt};
use tower_cookie_jwt::{CookiePolicy, MemoryStore, Sessions, testing::TestClock};

use crate::handler::{CountingHandler, SECRET, keys, parts};
use crate::jar::{cookies_of, headers_of};

#[cfg(feature = "aws-lc-rs")]
static PROVIDER: &CryptoProvider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(not(feature = "aws-lc-rs"))]
static PROVIDER: &CryptoProvider = &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

/// A token of any header and claims, signed with the right key.
fn sign(header: &Value, claims: &[u8]) -> String {
    let message =
        format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signer = (PROVIDER.signer_factory)(&jsonwebtoken::Algorithm::HS256, &key).expect("HS256");
    let signature = signer.try_sign(message.as_bytes()).expect("signed");
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Configurations that take other ways through the layers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Default,
    /// Names without a prefix, so that access and refresh cookies must belong together.
    LocalCookies,
    SessionCheck,
    RefreshAhead,
}

const KINDS: [Kind; 4] = [Kind::Default, Kind::LocalCookies, Kind::SessionCheck, Kind::RefreshAhead];

/// One shop, its clock, and the cookies of a session in it.
struct World {
    clock: TestClock,
    store_clock: TestClock,
    sessions: Sessions<()>,
    handler: CountingHandler,
}

impl World {
    fn new() -> Self {
        Self::of(Kind::Default)
    }

    fn of(kind: Kind) -> Self {
        let (clock, store_clock) = (TestClock::new(), TestClock::new());
        let store = MemoryStore::new().with_clock(store_clock.clone());
        let sessions = Sessions::builder(keys(), store).with_audience("shop").with_clock(clock.clone());
        let sessions = match kind {
            Kind::Default => sessions,
            Kind::LocalCookies => sessions.with_cookies(CookiePolicy::new().for_local_http_development()),
            Kind::SessionCheck => sessions.with_session_check(),
            Kind::RefreshAhead => sessions.with_refresh_ahead(Duration::from_secs(899)),
        };
        Self {
            clock,
            store_clock,
            sessions: sessions.build().expect("valid"),
            handler: CountingHandler::new(),
        }
    }

    fn set(&self, now: SystemTime, store_now: SystemTime) {
        self.clock.set(now);
        self.store_clock.set(store_now);
    }

    /// The cookies of a new session, and when its access token expires.
    fn sign_in(&self) -> Option<(String, u64)> {
        let login = parts(Request::post("https://shop.example/login"));
        let signed_in = run(self.sessions.sign_in(&login, "ada", ())).ok()?;
        Some((cookies_of(&headers_of(&signed_in)), signed_in.expires_at_unix()))
    }

    fn ask(&self, request: Request<String>) -> StatusCode {
        let before = self.handler.calls();
        let service = self.sessions.layer().layer(self.handler.clone());
        let status = run(service.oneshot(request)).expect("infallible").status();
        assert_eq!(
            self.handler.calls() - before,
            usize::from(status.is_success()),
            "the handler runs when it is let"
        );
        status
    }

    fn refresh(&self, request: Request<String>) -> StatusCode {
        run(self.sessions.refresh_service().oneshot(request)).expect("infallible").status()
    }

    fn get(&self, cookies: &[u8]) -> StatusCode {
        self.ask(request("GET", &[("cookie", cookies)], ""))
    }

    fn post_refresh(&self, cookies: &[u8], form: &str) -> StatusCode {
        let form_type = ("content-type", &b"application/x-www-form-urlencoded"[..]);
        self.refresh(request("POST", &[("cookie", cookies), form_type], form))
    }
}

fn run<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(future)
}

/// A request with those of the headers whose values HTTP allows.
fn request(method: &str, headers: &[(&str, &[u8])], body: &str) -> Request<String> {
    let mut request = Request::new(body.to_owned());
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name.parse::<HeaderName>().expect("a name"), value);
        }
    }
    request
}

/// The access or the refresh cookie, whatever its prefix.
fn cookie<'c>(cookies: &'c str, name: &str) -> &'c str {
    let is = |pair: &&str| pair.strip_prefix("__Host-").unwrap_or(pair).starts_with(name);
    cookies.split("; ").find(is).expect("the cookie")
}

const HEADERS: [&str; 14] = [
    "authorization",
    "x-access-token",
    "cookie",
    "x-xsrf-token",
    "origin",
    "host",
    "sec-fetch-site",
    "sec-fetch-mode",
    "sec-fetch-dest",
    "upgrade",
    "access-control-request-method",
    "content-type",
    "user-agent",
    "x-forwarded-host",
];

const METHODS: [&str; 9] = ["GET", "POST", "OPTIONS", "HEAD", "CONNECT", "TRACE", "DELETE", "FOO", "post"];

/// Bytes of a header: any at all, or with beginnings that lead further in.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let beginning = select(vec![
        "",
        "Bearer ",
        "bearer",
        "__Host-access=",
        "__Host-refresh=",
        "XSRF-TOKEN=",
        "https://",
        "eyJ",
        "same-origin",
        "websocket",
        "..",
        "__Host-access=\"",
        "access=",
        "refresh=",
        "; ",
        "eyJhbGciOiJIUzI1NiJ9.",
        "application/x-www-form-urlencoded",
    ]);
    (beginning, vec(any::<u8>(), 0..60), any::<bool>()).prop_map(|(beginning, bytes, printable)| {
        let bytes = bytes.into_iter().map(|byte| if printable { b' ' + byte % 95 } else { byte });
        beginning.bytes().chain(bytes).collect()
    })
}

/// A time: before the epoch, at it, ordinary, at the end of the year 9999, and far beyond.
fn time() -> impl Strategy<Value = SystemTime> {
    let near = prop_oneof![
        Just(0_i64),
        Just(1_767_225_600),
        Just(253_402_300_799),
        Just(i64::from(i32::MAX)),
        Just(i64::MAX / 2),
        Just(i64::MAX - 1),
        Just(-62_135_596_800),
        any::<i64>(),
        0..300_000_000_000_i64,
    ];
    (near, -100_000_000..100_000_000_i64).prop_filter_map("a time of this platform", |(seconds, shift)| {
        let seconds = seconds.saturating_add(shift);
        let distance = Duration::from_secs(seconds.unsigned_abs());
        if seconds < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    })
}

fn since_epoch(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A JSON value of every type, numbers at the borders of dates above all.
fn member(now: i64) -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (-90..90_i64).prop_map(move |shift| json!(now + shift)),
        1 => (-90.0..90.0_f64).prop_map(move |shift| json!(now as f64 + shift)),
        1 => any::<i64>().prop_map(|number| json!(number)),
        1 => any::<u64>().prop_map(|number| json!(number)),
        1 => any::<u32>().prop_map(|number| json!(number)),
        1 => any::<f64>().prop_map(|number| json!(number)), // not finite: null
        1 => select(vec![json!(253_402_300_799_u64), json!(253_402_300_800_u64), json!(0), json!(-0.0), json!(1e19)]),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        2 => "[ -~]{0,12}".prop_map(Value::from),
        1 => vec("[a-z]{0,5}", 0..3).prop_map(|list| json!(list)),
        1 => Just(json!({ "a": [null, { "exp": 1 }] })),
    ]
}

const NAMES: [&str; 14] = [
    "nbf",
    "iat",
    "aud",
    "gen",
    "iss",
    "sub",
    "jti",
    "sid",
    "scope",
    "auth_time",
    "xsrfToken",
    "name",
    "roles",
    "",
];

/// Returns whether the claims are valid by the rules, for a verifier without an issuer and with the audience `shop`.
fn in_order(claims: &Map<String, Value>, now: f64) -> bool {
    let date = |value: &Value| value.as_f64().filter(|date| (0.0..253_402_300_800.0).contains(date));
    let get = |name: &str| claims.get(name);
    let all =
        |names: &[&str], test: &dyn Fn(&Value) -> bool| names.iter().all(|name| get(name).is_none_or(test));
    // Of other claims, another type counts as if they were absent.
    let texts = all(&["sub", "jti", "sid"], &Value::is_string);
    let dates = all(&["nbf"], &|value| date(value).is_some());
    let audience = get("aud").is_some_and(|value| {
        let is_in = |list: &Vec<Value>| list.iter().all(Value::is_string) && list.contains(&json!("shop"));
        *value == "shop" || value.as_array().is_some_and(is_in)
    });
    let generation =
        all(&["gen"], &|value| value.as_u64().is_some_and(|number| u32::try_from(number).is_ok()));
    let expires = get("exp").and_then(date).is_some_and(|date| now < date + 30.0);
    let begun = get("nbf").and_then(date).is_none_or(|date| date <= now + 30.0);
    texts && dates && audience && generation && expires && begun
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_requests_never_panic_and_never_pass(
        kind in select(KINDS.to_vec()),
        method in select(METHODS.to_vec()),
        headers in vec((select(HEADERS.to_vec()), value()), 0..8),
        body in ".{0,40}",
        now in time(),
    ) {
        let world = World::of(kind);
        world.set(now, now);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
        let request = || request(method, &headers, &body);
        let has = |name| request().headers().contains_key(name);
        let preflight = method == "OPTIONS" && has("origin") && has("access-control-request-method");
        prop_assert_eq!(world.ask(request()).is_success(), preflight);
        prop_assert!(!world.refresh(request()).is_success());
        let parts = request().into_parts().0;
        let _ = run(world.sessions.sign_in(&parts, "ada", ()));
        let _ = run(world.sessions.sign_out(&parts));
    }

    #[test]
    fn a_token_with_any_byte_changed_never_passes(
        kind in select(KINDS.to_vec()),
        refresh in any::<bool>(),
        position in any::<prop::sample::Index>(),
        change in 0..6,
        byte in select(b"AQgw019-_.=+/\"eE \xff".to_vec()),
    ) {
        let world = World::of(kind);
        let (cookies, _) = world.sign_in().expect("signed in");
        let pair = cookie(&cookies, if refresh { "refresh" } else { "access" });
        let other = cookie(&cookies, if refresh { "access" } else { "refresh" });
        let (name, token) = pair.split_once('=').expect("a pair");
        let good = token.as_bytes();
        let at = position.index(good.len());
        let mut bytes = good.to_vec();
        match change {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            2 => { bytes.remove(at); }
            3 => bytes.truncate(at),
            4 => bytes.swap(at, good.len() - 1 - at),
            _ => {
                // Header, payload or signature of the other token.
                let mut segments: Vec<_> = token.split('.').collect();
                let others: Vec<_> = other.split('=').next_back().expect("a value").split('.').collect();
                segments[at % 3] = others[at % 3];
                bytes = segments.join(".").into_bytes();
            }
        }
        prop_assume!(bytes.trim_ascii() != good);
        let cookies = [name.as_bytes(), b"=", &bytes].concat();
        prop_assert!(!world.get(&cookies).is_success(), "{:?}", String::from_utf8_lossy(&bytes));
        prop_assert!(!world.post_refresh(&cookies, "").is_success());
        for (header, value) in [("x-access-token", bytes.clone()), ("authorization", [b"Bearer ", &*bytes].concat())] {
            prop_assert!(!world.ask(request("GET", &[(header, &value)], "")).is_success(), "{}", header);
        }
        let twice = [pair.as_bytes(), b"; ", &cookies].concat();
        prop_assert!(world.get(&twice).is_success(), "and does not hide a valid one");
    }

    #[test]
    fn any_clock_value_is_handled_without_panic(
        kind in select(KINDS.to_vec()),
        times in vec((time(), option::of(time())), 2..5),
        form in "[ -~]{0,20}",
    ) {
        let world = World::of(kind);
        let mut known: Option<(String, u64)> = None;
        for (now, store_now) in times {
            world.set(now, store_now.unwrap_or(now));
            if let Some((cookies, expires_at)) = &known {
                let access = cookie(cookies, "access");
                let valid = since_epoch(now) < *expires_at as f64 + 30.0;
                let passed = world.get(access.as_bytes()).is_success();
                let may_be_stricter = kind == Kind::SessionCheck;
                prop_assert!(valid == passed || (may_be_stricter && !passed), "{} {}", valid, passed);
                let refresh = cookie(cookies, "refresh");
                let _ = world.get(refresh.as_bytes());
                let _ = world.get(cookies.as_bytes());
                let _ = world.post_refresh(refresh.as_bytes(), &form);
                let _ = world.post_refresh(refresh.as_bytes(), "");
                let _ = run(world.sessions.list("ada"));
                let post = parts(Request::post("https://shop.example/").header("cookie", cookies));
                let _ = run(world.sessions.sign_out(&post));
            }
            known = world.sign_in().or(known);
        }
    }

    #[test]
    fn claims_of_any_type_pass_exactly_when_they_are_valid(
        exp in prop_oneof![3 => (-60..900).prop_map(|shift| json!(1_767_225_600 + shift)), 1 => member(1_767_225_600)],
        members in vec((select(NAMES.to_vec()), member(1_767_225_600)), 0..4),
        without_exp in prop::bool::weighted(0.05),
        audience in option::weighted(0.95, prop_oneof![
            8 => Just(json!("shop")),
            1 => Just(json!(["desk", "shop"])),
            1 => member(1_767_225_600),
        ]),
    ) {
        let world = World::new();
        let mut claims: Map<String, Value> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if !without_exp {
            claims.insert("exp".to_owned(), exp);
        }
        if let Some(audience) = audience {
            claims.insert("aud".to_owned(), audience);
        }
        let text = Value::Object(claims.clone()).to_string();
        let expected = in_order(&claims, 1_767_225_600.0);
        for typ in ["at+jwt", "refresh+jwt", "JWT"] {
            let token = sign(&json!({ "alg": "HS256", "typ": typ }), text.as_bytes());
            let passed = world.get(format!("__Host-access={token}").as_bytes()).is_success();
            prop_assert_eq!(passed, expected && typ == "at+jwt", "{} {}", typ, &text);
            let refresh = format!("__Host-refresh={token}");
            prop_assert!(!world.get(refresh.as_bytes()).is_success(), "{} {}", typ, &text);
            prop_assert!(!world.post_refresh(refresh.as_bytes(), "").is_success(), "{} {}", typ, &text);
        }
    }

    #[test]
    fn payloads_that_are_not_claims_never_pass(payload in vec(any::<u8>(), 0..80), header in member(0)) {
        let world = World::new();
        let genuine = json!({ "alg": "HS256", "typ": "at+jwt" });
        for header in [&genuine, &header] {
            let token = sign(header, &payload);
            let (access, refresh) = (format!("__Host-access={token}"), format!("__Host-refresh={token}"));
            prop_assert!(!world.get(access.as_bytes()).is_success());
            prop_assert!(!world.post_refresh(refresh.as_bytes(), "").is_success());
        }
    }

    #[test]
    fn any_form_gets_an_answer_from_the_refresh_service(form in "(scope=)?[ -~]{0,40}(&scope=[a-z+%]{0,9})?") {
        let world = World::new();
        let (cookies, _) = world.sign_in().expect("signed in");
        let status = world.post_refresh(cookie(&cookies, "refresh").as_bytes(), &form).as_u16();
        prop_assert!(status == 200 || status == 400, "{}: {}", form, status);
    }
}
