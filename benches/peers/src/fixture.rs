//! The token, the keys and the requests used for all candidates.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::{
    body::{Body, Bytes},
    extract::Request,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789ABCDEF";
pub(crate) const KEY_ID: &str = "2026-nov";
pub(crate) const ISSUER: &str = "https://shop.example";
pub(crate) const AUDIENCE: &str = "https://shop.example/api";
pub(crate) const COOKIE: &str = "__Host-access";
pub(crate) const XSRF_TOKEN: &str = "MTIzNDU2Nzg5MDEyMzQ1Njc4";
pub(crate) const SUBJECT: &str = "6f1c2b7e-2f1d-4b7e-9d44-0a6d6f0c5b11";
pub(crate) const SCOPE: &str = "orders:read orders:write profile";
/// The number of different tokens in the tables with many tokens.
pub(crate) const MANY: usize = 2048;
/// The length of the HS256 token in bytes.
pub(crate) const TOKEN_LEN: usize = 532;

/// The ten claims that a hand-written middleware parses.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Claims {
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) exp: u64,
    pub(crate) iat: u64,
    pub(crate) sid: String,
    #[serde(rename = "gen")]
    pub(crate) generation: u32,
    pub(crate) scope: String,
    pub(crate) xsrf_token: String,
    pub(crate) roles: Vec<String>,
}

/// Returns the claims of session `session`. The token is five minutes old, like most tokens that a server receives.
pub(crate) fn claims(session: usize) -> Claims {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs();
    Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: SUBJECT.into(),
        exp: now + 86_400,
        iat: now - 300,
        sid: session_id(session),
        generation: 0,
        scope: SCOPE.into(),
        xsrf_token: XSRF_TOKEN.into(),
        roles: ["customer", "editor", "billing", "beta-testers"].map(String::from).to_vec(),
    }
}

/// Returns a session id of the same length as those of the library.
pub(crate) fn session_id(session: usize) -> String {
    format!("AbCdEfGhIjKlMnOp{session:06}")
}

pub(crate) fn token(algorithm: Algorithm, session: usize) -> String {
    let mut header = Header::new(algorithm);
    header.typ = Some("at+jwt".into());
    header.kid = Some(KEY_ID.into());
    jsonwebtoken::encode(&header, &claims(session), &encoding_key(algorithm)).expect("it can be signed")
}

/// Returns the tokens of so many sessions.
pub(crate) fn tokens(count: usize) -> Vec<String> {
    (0..count).map(|session| token(Algorithm::HS256, session)).collect()
}

/// Returns the HS256 token with a different signature.
pub(crate) fn forged_token() -> String {
    let token = token(Algorithm::HS256, 0);
    let (rest, signature) = token.rsplit_once('.').expect("it has three parts");
    format!("{rest}.{}", signature.chars().rev().collect::<String>().replace('_', "A"))
}

pub(crate) fn encoding_key(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 => Ok(EncodingKey::from_secret(SECRET.as_bytes())),
        Algorithm::RS256 => EncodingKey::from_rsa_pem(include_bytes!("../../../tests/api/keys/rsa2048.pem")),
        Algorithm::ES256 => EncodingKey::from_ec_pem(include_bytes!("../../../tests/api/keys/p256.pem")),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(include_bytes!("../../../tests/api/keys/ed25519.pem")),
        other => panic!("no key for {other:?}"),
    }
    .expect("the key is well-formed")
}

/// Returns the public key of an asymmetric algorithm.
pub(crate) fn public_pem(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RS256 => include_str!("../../../tests/api/keys/rsa2048.pub.pem"),
        Algorithm::ES256 => include_str!("../../../tests/api/keys/p256.pub.pem"),
        Algorithm::EdDSA => include_str!("../../../tests/api/keys/ed25519.pub.pem"),
        other => panic!("no public key for {other:?}"),
    }
}

pub(crate) fn decoding_key(algorithm: Algorithm) -> DecodingKey {
    let pem = |algorithm| public_pem(algorithm).as_bytes();
    match algorithm {
        Algorithm::HS256 => Ok(DecodingKey::from_secret(SECRET.as_bytes())),
        Algorithm::RS256 => DecodingKey::from_rsa_pem(pem(algorithm)),
        Algorithm::ES256 => DecodingKey::from_ec_pem(pem(algorithm)),
        _ => DecodingKey::from_ed_pem(pem(algorithm)),
    }
    .expect("the key is well-formed")
}

pub(crate) fn validation(algorithm: Algorithm) -> Validation {
    let mut validation = Validation::new(algorithm);
    validation.set_audience(&[AUDIENCE]);
    validation.set_issuer(&[ISSUER]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation
}

/// A set of requests to cycle through.
#[derive(Clone)]
pub(crate) struct Requests {
    method: Method,
    headers: HeaderMap,
    /// The `Cookie` header of each request.
    cookies: Vec<Box<[u8]>>,
    next: usize,
}

impl Requests {
    /// Creates requests with this access cookie among others.
    pub(crate) fn with_cookie(token: &str) -> Self {
        Self::with_cookies([token])
    }

    /// Creates requests with these access cookies in turn, each among other cookies.
    pub(crate) fn with_cookies<T: AsRef<str>>(tokens: impl IntoIterator<Item = T>) -> Self {
        let cookies = |token: &str| format!("{COOKIE_BEFORE}; {COOKIE}={token}; {COOKIE_AFTER}");
        Self::from_cookies(tokens.into_iter().map(|token| cookies(token.as_ref())))
    }

    /// Creates requests with this `Cookie` header.
    pub(crate) fn with_cookie_header(cookies: &str) -> Self {
        Self::from_cookies([cookies.to_owned()])
    }

    pub(crate) fn without_token() -> Self {
        Self::with_cookie_header(&format!("{COOKIE_BEFORE}; {COOKIE_AFTER}"))
    }

    /// Creates requests with `Authorization: Bearer`.
    pub(crate) fn with_bearer(token: &str) -> Self {
        let mut requests = Self::without_token();
        requests.headers.insert(header::AUTHORIZATION, shared(format!("Bearer {token}").as_bytes()));
        requests
    }

    pub(crate) fn post(mut self) -> Self {
        self.method = Method::POST;
        self
    }

    /// Returns the next request. Many tokens are used in an order that no prefetcher can predict.
    ///
    /// The cookies are written to memory first, like those of a request that a server has just read.
    pub(crate) fn next(&mut self) -> Request {
        self.next = (self.next + 769) % self.cookies.len();
        let mut request = Request::new(Body::empty());
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().insert(header::COOKIE, shared(&self.cookies[self.next]));
        request
    }

    fn from_cookies(cookies: impl IntoIterator<Item = String>) -> Self {
        let cookies = cookies.into_iter().map(|text| text.into_bytes().into()).collect();
        Self { method: Method::GET, headers: other_headers(), cookies, next: 0 }
    }
}

/// Returns the headers that a browser typically sends besides cookies.
fn other_headers() -> HeaderMap {
    let fields = [
        ("host", "shop.example"),
        ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/156.0 Safari/537.36"),
        ("accept", "application/json"),
        ("accept-encoding", "gzip, deflate, br"),
        ("origin", "https://shop.example"),
        ("sec-fetch-site", "same-origin"),
        ("x-xsrf-token", XSRF_TOKEN),
    ];
    let fields = fields.into_iter().map(|(name, value)| (name.parse().expect("a name"), value.as_bytes()));
    fields.map(|(name, value): (HeaderName, _)| (name, shared(value))).collect()
}

/// Creates a header value as servers do, as a slice of the buffer that was read.
fn shared(value: &[u8]) -> HeaderValue {
    let buffer = Bytes::copy_from_slice(value);
    HeaderValue::from_maybe_shared(buffer.slice(..)).expect("a header value")
}

const COOKIE_BEFORE: &str = "theme=dark; _ga=GA1.1.1234567890.1700000000";
const COOKIE_AFTER: &str = "lang=en-GB";
