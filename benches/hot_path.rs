//! Measures the cost of the layers per request, including allocations: `cargo bench`.
//!
//! Compare the figures as ratios within one run. `inner_service_alone` is the baseline.

use std::{convert::Infallible, hint::black_box, time::Duration};

use futures_util::FutureExt;
use http::{Request, Response};
use serde::{Deserialize, Serialize};
use tower::{Layer, Service, service_fn};
use tower_cookie_jwt::{
    CookieJwtLayer, KeyRing, MemoryStore, Sessions, Verifier,
    keys::{Algorithm, Key},
    token::{Issuer, NewToken},
};

#[global_allocator]
static ALLOC: divan::AllocProfiler = divan::AllocProfiler::system();

fn main() {
    divan::main();
}

#[derive(Clone, Serialize, Deserialize)]
struct User {
    name: String,
    roles: Vec<String>,
    tenant: u64,
}

fn user() -> User {
    User { name: "Ada".to_owned(), roles: vec!["customer".to_owned(), "beta".to_owned()], tenant: 42 }
}

fn inner() -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    service_fn(|request: Request<()>| {
        black_box(&request);
        std::future::ready(Ok::<_, Infallible>(Response::new(())))
    })
}

/// Calls a service whose futures are immediately ready.
fn call(
    service: &mut impl Service<Request<()>, Response = Response<()>, Error = Infallible>,
    request: Request<()>,
) {
    let response = service.call(request).now_or_never().expect("nothing to wait for");
    let _ = black_box(response);
}

fn token(key: &Key, xsrf: &str) -> String {
    let new = NewToken::access("ada", Duration::from_secs(3600)).with_xsrf_token(xsrf).with_session_id("s");
    let ring = KeyRing::new(key.clone()).expect("it signs");
    Issuer::new(ring).with_issuer("https://shop.example").issue(&new, &user()).expect("it is small")
}

fn get(cookie: &str) -> Request<()> {
    Request::get("/").header("cookie", cookie).body(()).expect("a request")
}

#[divan::bench]
fn inner_service_alone(bencher: divan::Bencher<'_, '_>) {
    let mut service = inner();
    bencher.with_inputs(|| get("theme=dark")).bench_local_values(|request| call(&mut service, request));
}

/// An uncached token. The cache is disabled, so every request verifies its token.
#[divan::bench(args = [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA])]
fn cookie_jwt_first_sight(bencher: divan::Bencher<'_, '_>, algorithm: Algorithm) {
    let key = Key::generate(algorithm).expect("not RSA");
    let cookie = format!("theme=dark; __Host-access={}", token(&key, "0123456789abcdefghijklmn"));
    let verifier = Verifier::<User>::builder(KeyRing::new(key).expect("it signs"))
        .with_cache_bytes(0)
        .build()
        .expect("the settings agree");
    let mut service = CookieJwtLayer::new(verifier).layer(inner());
    bencher.with_inputs(|| get(&cookie)).bench_local_values(|request| call(&mut service, request));
}

/// Cached tokens, one for each active user.
#[divan::bench(args = [1, 2048])]
fn cookie_jwt_seen_before(bencher: divan::Bencher<'_, '_>, tokens: usize) {
    let key = Key::generate(Algorithm::HS256).expect("not RSA");
    let cookies: Vec<_> = (0..tokens)
        .map(|index| format!("theme=dark; __Host-access={}", token(&key, &format!("{index:024}"))))
        .collect();
    let verifier = Verifier::<User>::new(KeyRing::new(key).expect("it signs"));
    let mut service = CookieJwtLayer::new(verifier).layer(inner());
    for cookie in &cookies {
        call(&mut service, get(cookie));
    }
    let mut next = 0;
    bencher
        .with_inputs(|| {
            next += 1;
            get(&cookies[next * 613 % tokens])
        })
        .bench_local_values(|request| call(&mut service, request));
}

#[divan::bench]
fn cookie_jwt_refuses_garbage(bencher: divan::Bencher<'_, '_>) {
    let keys = KeyRing::new(Key::generate(Algorithm::HS256).expect("not RSA")).expect("it signs");
    let mut service = CookieJwtLayer::new(Verifier::<User>::new(keys)).layer(inner());
    bencher
        .with_inputs(|| get("theme=dark; __Host-access=garbage"))
        .bench_local_values(|request| call(&mut service, request));
}

#[divan::bench]
fn cookie_jwt_optional_without_token(bencher: divan::Bencher<'_, '_>) {
    let keys = KeyRing::new(Key::generate(Algorithm::HS256).expect("not RSA")).expect("it signs");
    let mut service = CookieJwtLayer::new(Verifier::<User>::new(keys)).optional().layer(inner());
    bencher.with_inputs(|| get("theme=dark")).bench_local_values(|request| call(&mut service, request));
}

#[divan::bench(args = [0, 8 << 20])]
fn all_three_layers_on_a_post(bencher: divan::Bencher<'_, '_>, cache_bytes: usize) {
    let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef").expect("a long secret");
    let sessions = Sessions::<User>::builder(keys, MemoryStore::new())
        .with_audience("shop")
        .with_cache_bytes(cache_bytes)
        .build()
        .expect("a valid configuration");
    let (parts, ()) = Request::post("https://shop.example/login").body(()).expect("a request").into_parts();
    let signed_in =
        sessions.sign_in(&parts, "ada", user()).now_or_never().expect("memory").expect("it has room");
    let mut response = Response::new(());
    signed_in.append_to(response.headers_mut());
    let cookies: Vec<_> = response
        .headers()
        .get_all("set-cookie")
        .iter()
        .filter_map(|cookie| cookie.to_str().ok()?.split(';').next())
        .collect();
    let cookies = cookies.join("; ");
    let mut service = sessions.layer().layer(inner());
    bencher
        .with_inputs(|| {
            Request::post("/")
                .header("cookie", &cookies)
                .header("sec-fetch-site", "same-origin")
                .header("x-xsrf-token", signed_in.xsrf_token())
                .body(())
                .expect("a request")
        })
        .bench_local_values(|request| call(&mut service, request));
}
