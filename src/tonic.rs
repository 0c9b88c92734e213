//! Conveniences for tonic 0.14: claims from requests, and statuses from refusals.
//!
//! Put the layers around the server with [`GrpcStatus`](crate::reject::GrpcStatus), so that refusals arrive
//! as statuses: 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED`, 14 `UNAVAILABLE`. Clients that send the token as
//! `authorization` metadata need no XSRF header; browsers over gRPC-web, whose token is in a cookie, do.
//!
//! # Examples
//!
//! ```
//! use tonic::{Request, Response, Status};
//! use tower_cookie_jwt::tonic::RequestClaims;
//! # struct User { name: String }
//!
//! async fn say_hello(request: Request<()>) -> Result<Response<String>, Status> {
//!     let claims = request.claims::<User>()?;
//!     claims.require_scope("hello").map_err(|_| Status::permission_denied("not granted"))?;
//!     Ok(Response::new(format!("Hello, {}", claims.custom().name)))
//! }
//! ```

use http::StatusCode;
use tonic::{Code, Request, Status};

use crate::{
    Claims,
    credentials::Checked,
    reject::Refusal,
    session::SessionError,
    token::{TokenError, TokenErrorKind},
};

/// The claims of a tonic request.
pub trait RequestClaims {
    /// The claims of the signed-in user.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` when nobody is signed in; `INTERNAL` when the server is not behind a
    /// `CookieJwtLayer`, which the log says.
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status>;
}

impl<T> RequestClaims for Request<T> {
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status> {
        if let Some(claims) = self.extensions().get::<Claims<C>>() {
            return Ok(claims);
        }
        if self.extensions().get::<Checked>().is_none_or(|checked| !checked.enforced) {
            crate::trace::layer_missing("a gRPC method that takes claims", "CookieJwtLayer");
            return Err(Status::internal("the server is not set up to authenticate"));
        }
        let error = TokenError::of(self.extensions()).cloned();
        Err(Refusal::Token(error.unwrap_or(TokenErrorKind::Missing.into())).into())
    }
}

/// The status with the refusal's stable code as its message.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.status() {
            StatusCode::UNAUTHORIZED => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            _ => Code::Unavailable,
        };
        Self::new(code, refusal.code())
    }
}

impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        error.refusal().map_or_else(|| Self::internal("a token could not be issued"), Self::from)
    }
}
