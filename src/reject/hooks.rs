use std::fmt;

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
    request::Parts,
};
use serde_json::json;

use super::refusal::Refusal;

/// Builds the response to a refused request.
///
/// Closures that take `(&Refusal, &Parts)` implement this trait. With [`reject_fn`], their arguments need no type
/// annotations.
///
/// # Examples
///
/// ```
/// use http::{Request, Response, request::Parts};
/// use tower_cookie_jwt::reject::{Refusal, Reject};
///
/// /// Answers with a page.
/// struct Page;
///
/// impl Reject<String> for Page {
///     fn reject(&self, refusal: &Refusal, _: &Parts) -> Response<String> {
///         let mut response = Response::new(format!("<p>{}</p>", refusal.code()));
///         *response.status_mut() = refusal.status();
///         refusal.write_headers(response.headers_mut());
///         response
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot answer refused requests with a body of the type `{B}`",
    label = "not a rejection hook for this body",
    note = "a closure needs annotated arguments, as in `|refusal: &Refusal, request: &Parts| …`, or `reject_fn` around it",
    note = "`DefaultReject` needs a body that is `Default`, `ProblemJson` one that is `From<Bytes>`"
)]
pub trait Reject<B> {
    /// Builds the response to `request`, which was refused because of `refusal`.
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B>;
}

impl<F, B> Reject<B> for F
where
    F: Fn(&Refusal, &Parts) -> Response<B>,
{
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        self(refusal, request)
    }
}

/// Creates a hook from a closure, whose arguments need no type annotations.
///
/// See the [module docs](crate::reject) for an example.
pub const fn reject_fn<F, B>(hook: F) -> RejectFn<F>
where
    F: Fn(&Refusal, &Parts) -> Response<B>,
{
    RejectFn { hook }
}

/// The hook that [`reject_fn`] returns.
#[derive(Clone, Copy)]
pub struct RejectFn<F> {
    hook: F,
}

impl<F, B> Reject<B> for RejectFn<F>
where
    F: Fn(&Refusal, &Parts) -> Response<B>,
{
    fn reject(&self, refusal: &Refusal, request: &Parts) -> Response<B> {
        (self.hook)(refusal, request)
    }
}

impl<F> fmt::Debug for RejectFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RejectFn")
    }
}

/// Responds with problem details (RFC 9457): `type`, `title`, `status`, `detail`, and a stable `code`.
///
/// The `type` is `about:blank`, so the `title` is the reason phrase of the status (RFC 9457 §4.2.1). The `detail`
/// says why the request was refused.
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_cookie_jwt::reject::{ProblemJson, Refusal, Reject};
///
/// let (parts, ()) = Request::new(()).into_parts();
/// let response: http::Response<bytes::Bytes> = ProblemJson.reject(&Refusal::Unavailable, &parts);
/// let problem: serde_json::Value = serde_json::from_slice(response.body())?;
/// assert_eq!((&problem["status"], &problem["code"]), (&503.into(), &"unavailable".into()));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct ProblemJson;

impl<B: From<Bytes>> Reject<B> for ProblemJson {
    fn reject(&self, refusal: &Refusal, _: &Parts) -> Response<B> {
        let status = refusal.status();
        let body = json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": refusal.to_string(),
            "code": refusal.code(),
        });
        let mut response = answer(refusal, B::from(Bytes::from(body.to_string())));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}

/// Responds as gRPC servers do: with HTTP 200 and a trailers-only gRPC status.
///
/// The status is 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED` or 14 `UNAVAILABLE`.
///
/// # Security
///
/// Use this only for stacks that serve gRPC and nothing else: clients that look only at the HTTP status would mistake
/// a refusal for success.
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcStatus;

impl<B: Default> Reject<B> for GrpcStatus {
    fn reject(&self, refusal: &Refusal, _: &Parts) -> Response<B> {
        let (code, message) = match refusal.status() {
            StatusCode::UNAUTHORIZED | StatusCode::TEMPORARY_REDIRECT => ("16", refusal.code()),
            StatusCode::FORBIDDEN => ("7", refusal.code()),
            _ => ("14", refusal.code()),
        };
        let mut response = Response::new(B::default());
        let headers: &mut HeaderMap = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(GRPC_STATUS, HeaderValue::from_static(code));
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
        response
    }
}

/// Builds the response with the status and the headers that belong to it.
pub(super) fn answer<B>(refusal: &Refusal, body: B) -> Response<B> {
    let mut response = Response::new(body);
    *response.status_mut() = refusal.status();
    refusal.write_headers(response.headers_mut());
    response
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
