//! Extractors and response parts for axum 0.8.
//!
//! The extractor `Claims<C>` requires a signed-in user. `Option<Claims<C>>` also accepts anonymous visitors, behind a
//! layer in optional mode. [`XsrfToken`] is for server-rendered pages. `SignedIn`, `UpdatedClaims` and `SignedOut`
//! can be returned alongside a response body, and `SessionError` converts into a response.
//!
//! # Examples
//!
//! ```
//! use axum::{Json, Router, extract::State, http::request::Parts, response::IntoResponse, routing::{get, post}};
//! use serde_json::{Value, json};
//! use tower_cookie_jwt::{Claims, KeyRing, MemoryStore, Sessions, session::{SessionError, SignedOut}};
//!
//! async fn me(claims: Claims<()>) -> String {
//!     claims.subject().unwrap_or_default().to_owned()
//! }
//!
//! async fn login(State(sessions): State<Sessions<()>>, parts: Parts) -> Result<impl IntoResponse, SessionError> {
//!     let signed_in = sessions.sign_in(&parts, "ada", ()).await?;
//!     let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at() });
//!     Ok((signed_in, Json(body)))
//! }
//!
//! async fn logout(State(sessions): State<Sessions<()>>, parts: Parts) -> Result<SignedOut, SessionError> {
//!     sessions.sign_out(&parts).await
//! }
//!
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
//! let app: Router = Router::new()
//!     .route("/api/me", get(me))
//!     .layer(sessions.layer())
//!     .route("/api/login", post(login))
//!     .route("/api/logout", post(logout))
//!     .route_service("/api/refresh", sessions.refresh_service())
//!     .with_state(sessions);
//! # Ok::<(), tower_cookie_jwt::ConfigError>(())
//! ```

use std::convert::Infallible;

use axum_core::{
    body::Body,
    extract::{FromRequestParts, OptionalFromRequestParts},
    response::{IntoResponse, IntoResponseParts, Response, ResponseParts},
};
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::{Value, json};

use crate::{
    reject::{ProblemJson, Refusal, Reject},
    request::{AuthState, NoClaims},
    session::{SessionError, SignedIn, SignedOut, UpdatedClaims},
    token::{Claims, TokenError, TokenErrorKind},
};

/// The rejection of the extractors in this module: why a handler received no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request has no signed-in user. Responds with 401.
    Unauthenticated(TokenError),
    /// The route is not behind a `CookieJwtLayer` for this type of claims, which is also logged. Responds with 500.
    LayerMissing,
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response {
        match self {
            Self::Unauthenticated(error) => refusal(&Refusal::Token(error)),
            Self::LayerMissing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl std::fmt::Display for ClaimsRejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unauthenticated(error) => error.fmt(f),
            Self::LayerMissing => {
                f.write_str("the route is not behind a `CookieJwtLayer` for these claims; add the layer")
            }
        }
    }
}

impl std::error::Error for ClaimsRejection {}

impl<S: Sync, C: Send + Sync + 'static> FromRequestParts<S> for Claims<C> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        Ok(AuthState::claims(&parts.extensions, HANDLER)?.clone())
    }
}

impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for Claims<C> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        match AuthState::claims(&parts.extensions, HANDLER) {
            Ok(claims) => Ok(Some(claims.clone())),
            Err(NoClaims::Anonymous(_)) => Ok(None),
            Err(missing @ NoClaims::LayerMissing) => Err(missing.into()),
        }
    }
}

impl From<NoClaims> for ClaimsRejection {
    fn from(missing: NoClaims) -> Self {
        match missing {
            NoClaims::Anonymous(error) => Self::Unauthenticated(error),
            NoClaims::LayerMissing => Self::LayerMissing,
        }
    }
}

/// Extractor for the XSRF token of the signed-in user, for a hidden field or a `<meta>` element of a rendered page.
///
/// # Examples
///
/// ```
/// use axum::response::Html;
/// use tower_cookie_jwt::axum::XsrfToken;
///
/// async fn form(xsrf: XsrfToken) -> Html<String> {
///     let value = xsrf.masked().unwrap_or(xsrf.value());
///     Html(format!(r#"<form method="post"><input type="hidden" name="xsrf" value="{value}"></form>"#))
/// }
/// ```
#[derive(Clone)]
pub struct XsrfToken {
    value: Box<str>,
    masked: Option<Box<str>>,
}

impl XsrfToken {
    /// Returns the plain value, as it is sent in the header and the cookie.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the value masked with a one-time pad, which differs for every request.
    ///
    /// Use it in pages that are compressed and reflect input, where the BREACH attack could recover the plain value.
    /// `Claims::verify_xsrf` accepts it, and so does the header.
    ///
    /// Returns `None` if the token comes from another issuer and its value has a format that cannot be masked. Such a
    /// value can only be sent plain.
    pub fn masked(&self) -> Option<&str> {
        self.masked.as_deref()
    }
}

impl std::fmt::Debug for XsrfToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("XsrfToken")
    }
}

impl<S: Sync> FromRequestParts<S> for XsrfToken {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ClaimsRejection> {
        let state = AuthState::enforced(&parts.extensions, "a handler that takes `XsrfToken`")
            .ok_or(ClaimsRejection::LayerMissing)?;
        let claims = state.user().map_err(ClaimsRejection::Unauthenticated)?;
        let Some(value) = claims.registered.xsrf_token() else {
            return Err(ClaimsRejection::Unauthenticated(TokenErrorKind::Missing.into()));
        };
        let masked = crate::token::xsrf::mask(value).map(String::into_boxed_str);
        Ok(Self { value: value.into(), masked })
    }
}

/// Forbids caches to store the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for SignedIn {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Forbids caches to store the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for UpdatedClaims {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Forbids caches to store the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for SignedOut {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Responds with 200, the cookies and the body `{"expiresAt", "xsrfToken"}`, like the refresh service.
impl IntoResponse for SignedIn {
    fn into_response(self) -> Response {
        let body = json!({ "expiresAt": self.expires_at_unix(), "xsrfToken": self.xsrf_token() });
        (self, json_response(&body)).into_response()
    }
}

/// Responds with 200 and the body `{"xsrfToken"}`, and clears the access cookie.
impl IntoResponse for UpdatedClaims {
    fn into_response(self) -> Response {
        let body = json!({ "xsrfToken": self.xsrf_token() });
        (self, json_response(&body)).into_response()
    }
}

/// Responds with 204 and clears the cookies.
impl IntoResponse for SignedOut {
    fn into_response(self) -> Response {
        (self, StatusCode::NO_CONTENT).into_response()
    }
}

impl IntoResponse for SessionError {
    fn into_response(self) -> Response {
        match self.refusal() {
            Some(reason) => refusal(&reason),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        refusal(&self)
    }
}

fn refusal(refusal: &Refusal) -> Response {
    // `ProblemJson` does not use the request.
    let (parts, ()) = http::Request::new(()).into_parts();
    let mut response: Response<Body> = ProblemJson.reject(refusal, &parts);
    response.extensions_mut().insert(refusal.clone());
    response
}

fn json_response(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

const HANDLER: &str = "a handler";
