//! Publishes and follows JSON Web Key Sets.
//!
//! [`JwksService`] publishes the public keys of a key ring; `RemoteJwks` (feature `jwks-remote`) follows the set of
//! another server.

#[cfg(feature = "jwks-remote")]
mod discovery;
#[cfg(feature = "jwks-remote")]
mod fetch;
#[cfg(feature = "jwks-remote")]
mod remote;
#[cfg(feature = "jwks-remote")]
mod unknown;

#[cfg(feature = "jwks-remote")]
pub use self::{fetch::KeySetError, remote::RemoteJwks};

use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use tower_service::Service;

use super::body::JsonBody;
use crate::keys::{KeyRing, crypto::sha256};

/// Service that publishes the public keys of a key ring as a JWK set.
///
/// Mount it at `GET /.well-known/jwks.json`. The set is built from the public parts of the keys only, so it never
/// contains private keys or shared secrets. Responses may be cached for five minutes and have an `ETag`.
///
/// Created by [`KeyRing::jwks_service`].
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower::ServiceExt;
/// use tower_cookie_jwt::keys::{Algorithm, Key, KeyRing};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::new(Key::generate(Algorithm::EdDSA)?.with_id("2026-11"))?;
/// let response = keys.jwks_service().oneshot(Request::get("/jwks.json").body(())?).await?;
/// assert_eq!(response.headers()["content-type"], "application/jwk-set+json");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct JwksService {
    keys: KeyRing,
}

impl KeyRing {
    /// Returns the service that publishes the public keys of the ring.
    ///
    /// They include the keys that are only accepted, so that other servers learn a key before it signs.
    pub fn jwks_service(&self) -> JwksService {
        JwksService { keys: self.clone() }
    }
}

impl<B> Service<Request<B>> for JwksService {
    type Response = Response<JsonBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(answer(&self.keys, request.method(), request.headers())))
    }
}

fn answer(keys: &KeyRing, method: &Method, headers: &HeaderMap) -> Response<JsonBody> {
    let mut response = Response::new(JsonBody::default());
    if *method != Method::GET && *method != Method::HEAD {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let set = keys.public_jwks();
    let tag = format!("\"{}\"", &URL_SAFE_NO_PAD.encode(sha256(set.as_bytes()))[..TAG_LEN]);
    if matches(headers, &tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
        if *method == Method::GET {
            *response.body_mut() = JsonBody::from(Bytes::from(set));
        }
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(ETAG, HeaderValue::try_from(tag).expect("base64url in quotes is a header value"));
    response
}

/// Returns whether `If-None-Match` matches `tag`, by weak comparison (RFC 9110 §13.1.2).
fn matches(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag)
}

const TAG_LEN: usize = 22;
