//! Conveniences for tonic 0.14: claims from requests, and statuses from refusals.
//!
//! Put the layers around the server with [`GrpcStatus`](crate::reject::GrpcStatus), so that refusals arrive
//! as statuses: 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED`, 14 `UNAVAILABLE`. Clients that send the token as
//! `authorization` metadata need no XSRF header; browsers over gRPC-web, whose token is in a cookie, do.
//!
//! For gRPC-web, tonic-web's `GrpcWebLayer` goes outside of these layers, so that refusals are translated
//! for the browser as all other answers are. A page of another origin also needs that origin trusted
//! ([`with_trusted_origin`](crate::session::SessionsBuilder::with_trusted_origin)) and, outside of all,
//! tower-http's `CorsLayer` that allows credentials, `content-type`, `x-xsrf-token`, `x-grpc-web` and
//! `x-user-agent`, and exposes
//! `grpc-status` and `grpc-message`: a refusal has no body, so its status is in the headers.
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
//!     claims.require_scope("hello")?;
//!     Ok(Response::new(format!("Hello, {}", claims.custom().name)))
//! }
//! ```

use http::StatusCode;
use tonic::{Code, Request, Status};

use crate::{
    reject::Refusal,
    request::{AuthState, NoClaims},
    session::SessionError,
    token::{Claims, InsufficientScope},
};

/// The claims of a tonic request.
pub trait RequestClaims {
    /// The claims of the signed-in user.
    ///
    /// # Errors
    ///
    /// `UNAUTHENTICATED` when nobody is signed in; `INTERNAL` when the server is not behind a
    /// `CookieJwtLayer` for this type of claims, which the log says.
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status>;
}

impl<T> RequestClaims for Request<T> {
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status> {
        AuthState::claims(self.extensions(), "a gRPC method").map_err(|missing| match missing {
            NoClaims::Anonymous(error) => Refusal::Token(error).into(),
            NoClaims::LayerMissing => Status::internal("the server is not set up to authenticate"),
        })
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

/// So that a method can say `claims.require_scope("orders:write")?`.
impl From<InsufficientScope> for Status {
    fn from(error: InsufficientScope) -> Self {
        Refusal::Scope(error).into()
    }
}

impl From<SessionError> for Status {
    fn from(error: SessionError) -> Self {
        error.refusal().map_or_else(|| Self::internal("a token could not be issued"), Self::from)
    }
}
