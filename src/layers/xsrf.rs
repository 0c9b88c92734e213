//! Protects against cross-site request forgery: [`XsrfLayer`].
//!
//! Browsers attach cookies to requests automatically, whichever site makes them. Two checks establish that the
//! request comes from the application's own page:
//!
//! 1. **The origin**, on unsafe methods and WebSocket handshakes. The layer evaluates `Origin` and `Sec-Fetch-Site`,
//!    which no page can forge.
//! 2. **The XSRF token**, on unsafe methods if a cookie carried the access token. The `X-XSRF-TOKEN` header must
//!    equal the XSRF claim in the signed token, which another site cannot read. The comparison takes constant time.
//!
//! Requests authenticated by a header need neither: another site cannot make a browser send that header. Where a proxy
//! adds it on its own, see [`with_xsrf_for_header_tokens`](XsrfLayer::with_xsrf_for_header_tokens).
//!
//! Client libraries differ in which value they send when the application has set the header and there is also an
//! `XSRF-TOKEN` cookie. In axios and AngularJS, the cookie *overwrites* the header; in Angular, the application's
//! header wins. The cookie may belong to another session, if it was left behind or set by another port of the same
//! host, and a request with its value is refused with 403 `xsrf_mismatch`. An application that keeps the value from
//! the sign-in response should therefore not set the cookie
//! ([`without_xsrf_cookie`](crate::CookiePolicy::without_xsrf_cookie)), or name it differently
//! ([`with_xsrf_name`](crate::CookiePolicy::with_xsrf_name)).
//!
//! # Examples
//!
//! The default setup, inside a `CookieJwtLayer`:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_cookie_jwt::{CookieJwtLayer, KeyRing, Verifier, XsrfLayer, token::{Issuer, NewToken}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let service = ServiceBuilder::new()
//!     .layer(CookieJwtLayer::new(Verifier::<()>::new(keys.clone())))
//!     .layer(XsrfLayer::new())
//!     .service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("ordered")) });
//!
//! let token = NewToken::access("ada", Duration::from_secs(900)).with_xsrf_token("c2VjcmV0LXZhbHVl");
//! let token = Issuer::new(keys).issue(&token, &())?;
//! let order = || Request::post("/order").header("cookie", format!("__Host-access={token}"));
//!
//! let forged = service.clone().oneshot(order().body(())?).await?;
//! assert_eq!(forged.status(), StatusCode::FORBIDDEN);
//!
//! let legitimate = order().header("x-xsrf-token", "c2VjcmV0LXZhbHVl").body(())?;
//! assert_eq!(service.oneshot(legitimate).await?.body(), &"ordered");
//! # Ok(()) }
//! ```
//!
//! Only the origin check, with another trusted origin:
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::XsrfLayer;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let layer = XsrfLayer::origin_only().with_trusted_origin("https://app.shop.example")?;
//! let service = layer.layer(service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new("sent")) }));
//! let from = |origin| Request::post("/contact").header("host", "shop.example").header("origin", origin).body(());
//!
//! assert_eq!(service.clone().oneshot(from("https://app.shop.example")?).await?.status(), StatusCode::OK);
//! assert_eq!(service.oneshot(from("https://evil.example")?).await?.status(), StatusCode::FORBIDDEN);
//! # Ok(()) }
//! ```

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::ResponseFuture;
use crate::{
    error::ConfigError,
    reject::{DefaultReject, Refusal, Reject},
    request::{AuthState, FetchMetadata, Found, Head, OriginPolicy, XSRF_HEADER, is_handshake, is_unsafe},
    token::{Source, XsrfError, XsrfErrorKind, xsrf},
};

/// Layer that refuses requests which another site makes in the user's name.
///
/// See the [module docs](crate::layers::xsrf) for an example.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::XsrfLayer;
///
/// let layer = XsrfLayer::new()
///     .with_public_origin("https://shop.example")?
///     .with_trusted_origin("https://app.shop.example")?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct XsrfLayer<R = DefaultReject> {
    /// Shared, because services are cloned for every request.
    settings: Arc<Settings>,
    reject: R,
}

#[derive(Clone, Debug)]
struct Settings {
    origin: OriginPolicy,
    header: HeaderName,
    /// Skips the comparison of the header with the claim.
    origin_only: bool,
}

impl XsrfLayer {
    /// Creates a layer that checks the origin and the XSRF header.
    ///
    /// It must be inside a `CookieJwtLayer`; otherwise it refuses all unsafe requests.
    pub fn new() -> Self {
        Self::with_settings(OriginPolicy::default(), XSRF_HEADER)
    }

    /// Creates a layer that checks only the origin, for routes without a session, such as a contact form.
    pub fn origin_only() -> Self {
        let mut layer = Self::new();
        layer.settings_mut().origin_only = true;
        layer
    }

    pub(super) fn with_settings(origin: OriginPolicy, header: HeaderName) -> Self {
        let settings = Settings { origin, header, origin_only: false };
        Self { settings: settings.into(), reject: DefaultReject }
    }
}

impl Default for XsrfLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> XsrfLayer<R> {
    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    fn origin_mut(&mut self) -> &mut OriginPolicy {
        &mut self.settings_mut().origin
    }

    /// Sets the origin under which browsers see the application, such as `https://shop.example`.
    ///
    /// Use it behind proxies that rewrite the host.
    ///
    /// Defaults to the request's own authority or `Host`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origin` is not a valid origin.
    pub fn with_public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin_mut().set_public(origin)?;
        Ok(self)
    }

    /// Also accepts unsafe requests from pages of `origin`.
    ///
    /// Defaults to no trusted origins.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origin` is not a valid origin.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin_mut().trust(origin)?;
        Ok(self)
    }

    /// Accepts WebSocket handshakes without `Origin`, as sent by clients other than browsers.
    ///
    /// Defaults to refusing them.
    pub fn with_handshakes_without_origin(mut self) -> Self {
        self.origin_mut().allow_handshakes_without_origin();
        self
    }

    /// Also checks the origin and the XSRF token of requests whose token is in a header.
    ///
    /// Needed behind a proxy that adds `Authorization` or `X-Access-Token` to requests from a session of its own:
    /// another site can then make a browser send an authenticated request, as with cookies. A token without an XSRF
    /// claim is then refused on unsafe methods.
    ///
    /// Defaults to trusting these requests: without such a proxy, no other site can make a browser send the header.
    pub fn with_xsrf_for_header_tokens(mut self) -> Self {
        self.origin_mut().distrust_header_tokens();
        self
    }

    /// Reads the XSRF token from this request header.
    ///
    /// Defaults to `X-XSRF-TOKEN`.
    pub fn with_xsrf_header(mut self, header: HeaderName) -> Self {
        self.settings_mut().header = header;
        self
    }

    /// Sets the hook that builds the response to refused requests.
    ///
    /// Defaults to [`DefaultReject`]: the hook of the sessions, or else a bare status.
    pub fn with_rejection<T>(self, reject: T) -> XsrfLayer<T> {
        XsrfLayer { settings: self.settings, reject }
    }
}

impl<S, R: Clone> Layer<S> for XsrfLayer<R> {
    type Service = Xsrf<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Xsrf { inner, settings: self.settings.clone(), reject: self.reject.clone() }
    }
}

/// Service created by [`XsrfLayer`].
///
/// See the [module docs](crate::layers::xsrf) for an example.
#[derive(Clone, Debug)]
pub struct Xsrf<S, R = DefaultReject> {
    inner: S,
    settings: Arc<Settings>,
    reject: R,
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Xsrf<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let verdict = self.settings.check(&mut request);
        ResponseFuture::forward_or_refuse(verdict, &mut self.inner, &self.reject, request)
    }
}

impl Settings {
    fn check(&self, request: &mut impl Head) -> Result<(), Refusal> {
        let handshake = is_handshake(request);
        if !is_unsafe(request.method()) && !handshake {
            return Ok(());
        }
        if self.origin_only {
            return Ok(self.origin.check(request)?);
        }
        let state = AuthState::enforced(request.extensions(), "an XsrfLayer")
            .ok_or(XsrfError::new(XsrfErrorKind::LayerMissing))?;
        self.check_users(state, request, handshake)?;
        if state.pass_xsrf() {
            AuthState::forget_outer_users(request.extensions_mut());
        }
        Ok(())
    }

    fn check_users(&self, state: &AuthState, request: &impl Head, handshake: bool) -> Result<(), Refusal> {
        let distrusts_headers = self.origin.distrusts_header_tokens();
        if state.is_by_header_alone() && !distrusts_headers {
            return Ok(());
        }
        let (mut metadata, mut header) = (FetchMetadata::default(), Found::default());
        for (name, value) in request.headers() {
            metadata.note(name, value);
            if *name == self.header {
                header.note(value);
            }
        }
        self.origin.check_metadata(metadata, request)?;
        if handshake {
            return Ok(());
        }
        let users = state.users().filter(|(_, source)| distrusts_headers || *source == Source::Cookie);
        for (claims, _) in users {
            let presented = only_header(header, request.headers(), &self.header)?;
            xsrf::verify(&claims.registered, presented).map_err(XsrfError::new)?;
        }
        Ok(())
    }
}

/// Returns the value of the header, which may be repeated only with the same value.
fn only_header<'h>(
    header: Found<'h>,
    headers: &'h HeaderMap,
    name: &HeaderName,
) -> Result<&'h [u8], XsrfError> {
    let first = header.first.ok_or(XsrfError::new(XsrfErrorKind::Missing))?;
    if header.again && header.values(headers, name).any(|other| other != first) {
        return Err(XsrfError::new(XsrfErrorKind::Mismatch));
    }
    Ok(first.as_bytes())
}
