//! The usual hand-written middleware, with axum's `from_fn` and `jsonwebtoken::decode`.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use axum_extra::extract::CookieJar;
use cookie::Cookie;
use http::{HeaderMap, StatusCode, header};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};

use crate::fixture::{self, COOKIE, Claims};

pub(crate) struct Keys {
    key: DecodingKey,
    validation: Validation,
}

pub(crate) fn keys(algorithm: Algorithm) -> Arc<Keys> {
    Arc::new(Keys { key: fixture::decoding_key(algorithm), validation: fixture::validation(algorithm) })
}

impl Keys {
    fn claims(&self, token: &str) -> Result<Claims, StatusCode> {
        let decoded = decode::<Claims>(token, &self.key, &self.validation);
        decoded.map(|token| token.claims).map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

/// The variant with the `cookie` crate, which is the reference (1.00).
pub(crate) async fn with_cookie(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let token = cookie(request.headers()).ok_or(StatusCode::UNAUTHORIZED)?;
    let claims = keys.claims(token.value())?;
    request.extensions_mut().insert(claims);
    Ok(next.run(request).await)
}

/// The variant with axum-extra's `CookieJar`.
pub(crate) async fn with_cookie_jar(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let jar = CookieJar::from_headers(request.headers());
    let token = jar.get(COOKIE).ok_or(StatusCode::UNAUTHORIZED)?;
    let claims = keys.claims(token.value())?;
    request.extensions_mut().insert(claims);
    Ok(next.run(request).await)
}

/// The variant that also admits anonymous visitors.
pub(crate) async fn optional(
    State(keys): State<Arc<Keys>>,
    mut request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    if let Some(token) = cookie(request.headers()) {
        let claims = keys.claims(token.value())?;
        request.extensions_mut().insert(claims);
    }
    Ok(next.run(request).await)
}

fn cookie(headers: &HeaderMap) -> Option<Cookie<'_>> {
    let header = headers.get(header::COOKIE)?.to_str().ok()?;
    Cookie::split_parse(header).filter_map(Result::ok).find(|cookie| cookie.name() == COOKIE)
}
