//! Claims from requests and statuses from refusals for tonic 0.14.
//!
//! Wrap the server in the layers with [`GrpcStatus`](crate::reject::GrpcStatus) as the rejection, so that refusals
//! arrive as gRPC statuses: 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED`, 14 `UNAVAILABLE`. Clients that send the
//! token as `authorization` metadata need no XSRF header. Browsers that use gRPC-web send it in a cookie, and do need
//! the header.
//!
//! For gRPC-web, put tonic-web's `GrpcWebLayer` outside these layers, so that refusals are translated for the browser
//! like all other responses. If the page is served from another origin, that origin must be trusted
//! ([`with_trusted_origin`](crate::session::SessionsBuilder::with_trusted_origin)), and tower-http's `CorsLayer` must
//! be the outermost layer. It must allow credentials and the headers `content-type`, `x-xsrf-token`, `x-grpc-web` and
//! `x-user-agent`, and expose `grpc-status` and `grpc-message`, because a refusal has no body and carries its status
//! in the headers.
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

/// Extension trait that returns the claims of a tonic request.
pub trait RequestClaims {
    /// Returns the claims of the signed-in user.
    ///
    /// # Errors
    ///
    /// Returns `UNAUTHENTICATED` if the request has no signed-in user, and `INTERNAL` if the server is not behind a
    /// `CookieJwtLayer` for this type of claims, which is also logged.
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status>;
}

impl<T> RequestClaims for Request<T> {
    fn claims<C: Send + Sync + 'static>(&self) -> Result<&Claims<C>, Status> {
        AuthState::claims(self.extensions(), "a gRPC method").map_err(|missing| match missing {
            NoClaims::Anonymous(error) => Refusal::Token(error).into(),
            NoClaims::LayerMissing => Status::internal("the server is not configured for authentication"),
        })
    }
}

/// Converts a refusal into a status whose message is the refusal's stable code.
impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.status() {
            StatusCode::UNAUTHORIZED | StatusCode::TEMPORARY_REDIRECT => Code::Unauthenticated,
            StatusCode::FORBIDDEN => Code::PermissionDenied,
            _ => Code::Unavailable,
        };
        Self::new(code, refusal.code())
    }
}

/// Converts a missing scope into a status, so that methods can use `claims.require_scope("orders:write")?`.
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
