//! Refusals, and how they become responses.
//!
//! A layer that refuses a request answers it: its response has the inner service's body type, and
//! the service's error type stays untouched. How the answer looks is up to a [`Reject`] hook.
//!
//! # Examples
//!
//! The default is a bare status with the headers that belong to it; [`ProblemJson`] adds a body:
//!
//! ```
//! use http::{Request, header::CONTENT_TYPE};
//! use tower_cookie_jwt::reject::{DefaultReject, ProblemJson, Refusal, Reject};
//!
//! let (parts, ()) = Request::new(()).into_parts();
//! let bare: http::Response<String> = DefaultReject.reject(&Refusal::Unavailable, &parts);
//! assert_eq!(bare.status(), 503);
//! assert_eq!(bare.headers()["retry-after"], "5");
//!
//! let problem: http::Response<bytes::Bytes> = ProblemJson.reject(&Refusal::Unavailable, &parts);
//! assert_eq!(problem.headers()[CONTENT_TYPE], "application/problem+json");
//! ```
//!
//! A hook of one's own:
//!
//! ```
//! use http::{Request, Response};
//! use tower_cookie_jwt::reject::{Refusal, Reject, reject_fn};
//!
//! let hook = reject_fn(|refusal, _| {
//!     let mut response = Response::new(format!("refused: {}", refusal.code()));
//!     *response.status_mut() = refusal.status();
//!     response
//! });
//! let (parts, ()) = Request::new(()).into_parts();
//! assert_eq!(hook.reject(&Refusal::Unavailable, &parts).body(), "refused: unavailable");
//! ```

mod hooks;
mod login;
mod refusal;

pub use self::{
    hooks::{DefaultReject, GrpcStatus, ProblemJson, Reject, RejectFn, reject_fn},
    login::RedirectToLogin,
    refusal::Refusal,
};
pub use super::request::{OriginError, OriginErrorKind};

use http::{Response, request::Parts};

/// Answers a refused request and leaves the refusal in the answer's extensions.
pub(crate) fn refuse<B>(hook: &impl Reject<B>, refusal: Refusal, request: &Parts) -> Response<B> {
    let mut response = hook.reject(&refusal, request);
    response.extensions_mut().insert(refusal);
    response.extensions_mut().insert(RefusedByLayer);
    response
}

/// Marks an answer that no handler has made; a handler's own may carry a [`Refusal`] as well.
#[derive(Clone, Copy)]
pub(crate) struct RefusedByLayer;
