//! An issuer that nobody here wrote: a certified OpenID provider as a process of its own, on loopback.
//!
//! `tests/run issuers` installs what it needs.

#![cfg(feature = "jwks-remote")]

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde::Deserialize;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};
use tower_cookie_jwt::{
    Claims, CookieJwtLayer, Verifier,
    layers::jwks::RemoteJwks,
    token::{TokenErrorKind, VerifierBuilder},
};

const API: &str = "urn:shop.example:api";

/// Stopped when dropped.
struct Provider {
    child: Child,
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    issuer: String,
}

impl Provider {
    fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/issuers");
        assert!(folder.join("node_modules").exists(), "the provider is missing: run `tests/run issuers`");
        let mut child = Command::new("node")
            .arg("provider.mjs")
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node runs: install Node.js 20 or later");
        let commands = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut provider = Self { child, commands, answers, issuer: String::new() };
        provider.issuer = provider.line_with("http://");
        provider
    }

    /// Signs with a new key from now on. The former one stays in the set until the next time.
    fn rotate(&mut self) {
        self.commands.write_all(b"rotate\n").expect("it reads");
        self.line_with("rotated");
    }

    fn line_with(&mut self, start: &str) -> String {
        let mut line = String::new();
        while !line.starts_with(start) {
            line.clear();
            assert!(self.answers.read_line(&mut line).expect("text") > 0, "the provider has ended");
        }
        line.trim().to_owned()
    }

    /// Returns an access token, by the client credentials grant (RFC 6749 §4.4).
    async fn token(&self, scope: &str) -> String {
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let secret = STANDARD.encode("web:a+secret+of+the+client+of+the+tests");
        let request = Request::post(format!("{}/token", self.issuer))
            .header("authorization", format!("Basic {secret}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Full::from(format!("grant_type=client_credentials&scope={scope}")));
        let response = client.request(request.expect("a request")).await.expect("the provider answers");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {answer}")).to_owned()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Deserialize)]
struct OfClient {
    client_id: String,
}

async fn status(verifier: &Verifier<OfClient>, token: &str) -> StatusCode {
    let page = CookieJwtLayer::new(verifier.clone()).layer(service_fn(async |request: Request<()>| {
        assert!(request.extensions().get::<Claims<OfClient>>().is_some());
        Ok::<_, std::convert::Infallible>(http::Response::new(String::new()))
    }));
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    let Ok(response) = page.oneshot(request.body(()).expect("a request")).await;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        assert!(response.headers().contains_key("retry-after"));
    }
    response.status()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certified_provider_is_discovered_and_followed_through_its_rotations() {
    let mut provider = Provider::start();
    let client = || Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let remote = RemoteJwks::discover(&provider.issuer).expect("loopback");
    let (keys, follow) =
        remote.with_min_gap(Duration::from_millis(100)).start(client()).await.expect("it is there");
    tokio::spawn(follow);
    let builder = || -> VerifierBuilder<OfClient> {
        Verifier::builder(keys.clone()).with_issuer(&provider.issuer).with_audience(API)
    };
    // Its access tokens are those of RFC 9068.
    let verifier = builder().with_rfc9068().build().expect("the settings agree");

    let token = provider.token("orders:read").await;
    let claims = verifier.verify(&token).expect("it is accepted");
    assert_eq!((claims.subject(), claims.issuer()), (Some("web"), Some(&*provider.issuer)));
    assert_eq!(claims.custom().client_id, "web");
    assert!(claims.has_scope("orders:read") && !claims.has_scope("orders:write"));
    assert_eq!(claims.audience().collect::<Vec<_>>(), [API]);
    let other = builder().with_audience("urn:shop.example:desk").build().expect("the settings agree");
    assert_eq!(other.verify(&token).map(drop).unwrap_err().kind(), TokenErrorKind::WrongAudience);

    for rotation in 1..=3 {
        provider.rotate();
        let new = provider.token("orders:write").await;
        // Later, a fetch that a former key has caused may be under way.
        let first = status(&verifier, &new).await;
        assert!(
            first == 503 || rotation > 1 && first == 200,
            "rotation {rotation}: not known yet, but {first}"
        );
        assert_eq!(settled(&verifier, &new).await, 200, "rotation {rotation}: the new key");
        let expected = if rotation == 1 { 200 } else { 401 };
        assert_eq!(settled(&verifier, &token).await, expected, "rotation {rotation}: the first key");
    }
}

/// Tries again while the answer is that it is not known yet.
async fn settled(verifier: &Verifier<OfClient>, token: &str) -> StatusCode {
    let start = Instant::now();
    loop {
        match status(verifier, token).await {
            StatusCode::SERVICE_UNAVAILABLE => tokio::time::sleep(Duration::from_millis(10)).await,
            status => return status,
        }
        assert!(start.elapsed() < Duration::from_secs(30), "the key is not looked for");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_by_another_name_is_refused() {
    let provider = Provider::start();
    let client = || Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    for (issuer, message) in [
        (format!("{}/", provider.issuer), "another issuer"),
        (provider.issuer.replace("127.0.0.1", "localhost"), "another issuer"),
        (format!("{}/elsewhere", provider.issuer), "404"),
    ] {
        let remote = RemoteJwks::discover(&issuer).expect("loopback");
        let error = remote.start(client()).await.map(drop).expect_err(&issuer).to_string();
        assert!(error.contains(message), "{issuer}: {error}");
    }
}
