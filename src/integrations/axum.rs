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
//!     let body = json!({ "xsrfToken": signed_in.xsrf_token(), "expiresAt": signed_in.expires_at_unix() });
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
    response::{IntoResponse, IntoResponseParts, ResponseParts},
};
use bytes::Bytes;
use http::{Response, StatusCode, header::CONTENT_TYPE, request::Parts};
use serde_json::{Value, json};

use crate::{
    reject::{ProblemJson, Refusal, Reject, refuse_in_handler},
    request::{AuthState, NoClaims},
    session::{DeviceOffer, SessionError, SignedIn, SignedOut, UpdatedClaims},
    token::{Claims, TokenError, TokenErrorKind},
};

/// The rejection of the extractors in this module: why a handler received no claims.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimsRejection {
    /// The request has no signed-in user. Responds with 401.
    Unauthenticated(Unauthenticated),
    /// The route is not behind a `CookieJwtLayer` for this type of claims, which is also logged. Responds with 500.
    LayerMissing,
}

impl IntoResponse for ClaimsRejection {
    fn into_response(self) -> Response<Body> {
        match self {
            Self::Unauthenticated(refused) => refused.response.map(Body::from),
            Self::LayerMissing => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// A request without a signed-in user, and its answer.
///
/// It counts as refused, in the log and in the events of the sessions, once it is made: a handler that also serves
/// anonymous visitors takes `Option<Claims<C>>` rather than a `Result`. The answer is as
/// [`with_rejection`](crate::session::SessionsBuilder::with_rejection) builds it, or else problem details.
#[derive(Clone)]
pub struct Unauthenticated {
    error: TokenError,
    response: Response<Bytes>,
}

impl Unauthenticated {
    fn new(error: TokenError, request: &Parts) -> Self {
        let response = refuse_in_handler(Refusal::Token(error.clone()), request);
        Self { error, response }
    }

    /// Returns why there is no signed-in user.
    pub const fn error(&self) -> &TokenError {
        &self.error
    }

    /// Returns the kind of the [`error`](Self::error).
    pub const fn kind(&self) -> TokenErrorKind {
        self.error.kind()
    }
}

impl PartialEq for Unauthenticated {
    fn eq(&self, other: &Self) -> bool {
        self.error == other.error
    }
}

impl Eq for Unauthenticated {}

impl std::fmt::Debug for Unauthenticated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Unauthenticated").field(&self.error).finish()
    }
}

impl std::fmt::Display for ClaimsRejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unauthenticated(refused) => refused.error.fmt(f),
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
        AuthState::claims(&parts.extensions, HANDLER)
            .cloned()
            .map_err(|missing| ClaimsRejection::new(missing, parts))
    }
}

impl<S: Sync, C: Send + Sync + 'static> OptionalFromRequestParts<S> for Claims<C> {
    type Rejection = ClaimsRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, ClaimsRejection> {
        match AuthState::claims(&parts.extensions, HANDLER) {
            Ok(claims) => Ok(Some(claims.clone())),
            Err(NoClaims::Anonymous(_)) => Ok(None),
            Err(NoClaims::LayerMissing) => Err(ClaimsRejection::LayerMissing),
        }
    }
}

impl ClaimsRejection {
    fn new(missing: NoClaims, request: &Parts) -> Self {
        match missing {
            NoClaims::Anonymous(error) => Self::unauthenticated(error, request),
            NoClaims::LayerMissing => Self::LayerMissing,
        }
    }

    fn unauthenticated(error: TokenError, request: &Parts) -> Self {
        Self::Unauthenticated(Unauthenticated::new(error, request))
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
        let claims = state.user().map_err(|error| ClaimsRejection::unauthenticated(error, parts))?;
        let Some(value) = claims.registered.xsrf_token() else {
            return Err(ClaimsRejection::unauthenticated(TokenErrorKind::Missing.into(), parts));
        };
        let masked = crate::token::xsrf::mask(value).map(String::into_boxed_str);
        Ok(Self { value: value.into(), masked })
    }
}

/// Keeps caches from storing the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for SignedIn {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Keeps caches from storing the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for UpdatedClaims {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Keeps caches from storing the response. A part behind this one that sets `Cache-Control` permits it again, unless a
/// layer of this crate is outside the route.
impl IntoResponseParts for SignedOut {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

impl IntoResponseParts for DeviceOffer {
    type Error = Infallible;

    fn into_response_parts(self, mut response: ResponseParts) -> Result<ResponseParts, Infallible> {
        self.append_to(response.headers_mut());
        Ok(response)
    }
}

/// Responds with 200, the cookies and the body `{"expiresAt", "xsrfToken"}`, like the refresh service.
impl IntoResponse for SignedIn {
    fn into_response(self) -> Response<Body> {
        let body = json!({ "expiresAt": self.expires_at_unix(), "xsrfToken": self.xsrf_token() });
        (self, json_response(&body)).into_response()
    }
}

/// Responds with 200 and the body `{"xsrfToken"}`, and clears the access cookie.
impl IntoResponse for UpdatedClaims {
    fn into_response(self) -> Response<Body> {
        let body = json!({ "xsrfToken": self.xsrf_token() });
        (self, json_response(&body)).into_response()
    }
}

/// Responds with 204 and clears the cookies.
impl IntoResponse for SignedOut {
    fn into_response(self) -> Response<Body> {
        (self, StatusCode::NO_CONTENT).into_response()
    }
}

/// Responds with problem details, whatever rejection hook the sessions have: it is the handler that answers here. An error
/// that is a mistake of the application responds with a bare 500.
impl IntoResponse for SessionError {
    fn into_response(self) -> Response<Body> {
        match self.refusal() {
            Some(reason) => refusal(&reason),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}

/// Responds with problem details.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response<Body> {
        refusal(&self)
    }
}

fn refusal(refusal: &Refusal) -> Response<Body> {
    // `ProblemJson` does not use the request.
    let (parts, ()) = http::Request::new(()).into_parts();
    let mut response: Response<Body> = ProblemJson.reject(refusal, &parts);
    response.extensions_mut().insert(refusal.clone());
    response
}

fn json_response(body: &Value) -> Response<Body> {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

const HANDLER: &str = "a handler";
