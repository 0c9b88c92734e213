//! Refusals, and how they become responses.
//!
//! A layer that refuses a request answers it with a response of the inner service's body type. The service's error
//! type stays untouched. A [`Reject`] hook builds the response.
//!
//! # Examples
//!
//! By default, the response is a bare status with the headers that belong to it. [`ProblemJson`] adds a body:
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
//! A custom hook, which also sets the headers that belong to the status:
//!
//! ```
//! use http::{Request, Response};
//! use tower_cookie_jwt::reject::{Refusal, Reject, reject_fn};
//!
//! let hook = reject_fn(|refusal, _| {
//!     let mut response = Response::new(format!("refused: {}", refusal.code()));
//!     *response.status_mut() = refusal.status();
//!     refusal.write_headers(response.headers_mut()); // `WWW-Authenticate`, `Retry-After`
//!     response
//! });
//! let (parts, ()) = Request::new(()).into_parts();
//! assert_eq!(hook.reject(&Refusal::Unavailable, &parts).body(), "refused: unavailable");
//! ```

#[cfg(feature = "tracing")]
mod explain;
mod hooks;
mod login;
mod refusal;
mod shared;

pub use self::{
    hooks::{GrpcStatus, ProblemJson, Reject, RejectFn, reject_fn},
    login::RedirectToLogin,
    refusal::{ProveAgain, Refusal},
    shared::{DefaultReject, SharedReject},
};
pub use super::request::{OriginError, OriginErrorKind};

#[cfg(feature = "axum")]
use bytes::Bytes;
use http::{Response, request::Parts};

use crate::request::AuthState;

/// Answers a refused request, and tells the sessions that it belongs to.
pub(crate) fn refuse<B>(hook: &impl Reject<B>, refusal: Refusal, request: &Parts) -> Response<B> {
    AuthState::report_refusal(&request.extensions, refusal.code(), &refusal);
    answer_refused(hook, refusal, request)
}

/// Answers a request that an extractor refuses, as the sessions have it answered or else with problem details.
#[cfg(feature = "axum")]
pub(crate) fn refuse_in_handler(refusal: Refusal, request: &Parts) -> Response<Bytes> {
    let mut response = match SharedReject::of(&request.extensions) {
        Some(hook) => refuse(hook, refusal, request),
        None => refuse(&ProblemJson, refusal, request),
    };
    // A handler may have run by the time this is sent, and cookies that were set meanwhile must stay.
    response.extensions_mut().remove::<RefusedByLayer>();
    response
}

/// Answers a refused request, and inserts the refusal into the extensions of the response.
pub(crate) fn answer_refused<B>(hook: &impl Reject<B>, refusal: Refusal, request: &Parts) -> Response<B> {
    explain(&refusal, request);
    let mut response = hook.reject(&refusal, request);
    response.extensions_mut().insert(refusal);
    response.extensions_mut().insert(RefusedByLayer);
    response
}

#[cfg(feature = "tracing")]
pub(crate) fn explain(refusal: &Refusal, request: &Parts) {
    explain::explain(refusal, request);
}

#[cfg(not(feature = "tracing"))]
pub(crate) fn explain(_: &Refusal, _: &Parts) {}

/// Marks a response built by a layer, since responses of handlers may also carry a [`Refusal`].
#[derive(Clone, Copy)]
pub(crate) struct RefusedByLayer;
