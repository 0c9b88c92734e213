//! Sends tokens to other servers: [`SetBearerLayer`].
//!
//! The layer wraps an HTTP client (hyper-util, a tonic channel) and sets `Authorization: Bearer` on outgoing
//! requests. The token is either the caller's, forwarded, or a service token that this server issues for itself. Only
//! requests to the origins in a mandatory list receive one, and only over https (or to loopback). An existing
//! `Authorization` header is never overwritten.
//!
//! The list is checked for every request that passes through the layer. If the client follows redirects, put this
//! layer inside the redirecting layer, next to the client: each hop is then checked separately, and an origin that is
//! not in the list receives no token. Outside the redirecting layer it sees only the first request, and the redirect
//! policy has to remove `Authorization` on the way (tower-http's standard policy does).
//!
//! # Examples
//!
//! Sending a service token, which has its own type and audience:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{KeyRing, Verifier, SetBearerLayer, layers::bearer::{SERVICE_TYPE, ServiceToken}, token::Issuer};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let token = ServiceToken::new(Issuer::new(keys.clone()).with_audience("stock"), "shop");
//! let layer = SetBearerLayer::service(token, ["https://stock.shop.example"])?;
//! let client = layer.layer(service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.headers().get("authorization").cloned()))
//! }));
//!
//! let request = Request::get("https://stock.shop.example/items").body(())?;
//! let sent = client.clone().oneshot(request).await?.into_body().expect("on the list");
//! let token = sent.to_str()?.strip_prefix("Bearer ").expect("a bearer token").to_owned();
//! // The receiver accepts service tokens only if its verifier lists their type.
//! let stock = || Verifier::<()>::builder(keys.clone()).with_audience("stock");
//! assert!(stock().build()?.verify(&token).is_err());
//! assert_eq!(stock().with_types([SERVICE_TYPE]).build()?.verify(&token)?.subject(), Some("shop"));
//!
//! let elsewhere = Request::get("https://evil.example/").body(())?;
//! assert!(client.oneshot(elsewhere).await?.into_body().is_none());
//! # Ok(()) }
//! ```
//!
//! Forwarding the caller's token from a handler:
//!
//! ```
//! use http::{Request, request::Parts};
//! use tower_cookie_jwt::{SetBearerLayer, layers::bearer::CallerToken};
//!
//! let layer = SetBearerLayer::caller(["https://stock.shop.example"])?;
//!
//! fn outgoing(incoming: &Parts) -> Request<()> {
//!     let mut request = Request::get("https://stock.shop.example/items").body(()).expect("a request");
//!     if let Some(token) = CallerToken::from_parts(incoming) {
//!         request.extensions_mut().insert(token);
//!     }
//!     request
//! }
//! # Ok::<(), tower_cookie_jwt::ConfigError>(())
//! ```

mod allowed;
mod token;

pub use self::token::{CallerToken, SERVICE_TYPE, ServiceToken};

use std::task::{Context, Poll};

use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower_layer::Layer;
use tower_service::Service;

use self::allowed::Allowed;
use crate::error::ConfigError;

/// Layer that sets `Authorization: Bearer` on the requests of a client.
///
/// See the [module docs](crate::layers::bearer) for an example.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{KeyRing, SetBearerLayer, layers::bearer::ServiceToken, token::Issuer};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let token = ServiceToken::new(Issuer::new(keys).with_audience("stock"), "shop");
/// let layer = SetBearerLayer::service(token, ["https://stock.shop.example"])?;
///
/// // A list that would send tokens in the clear is a mistake:
/// assert!(SetBearerLayer::caller(["http://stock.shop.example"]).is_err());
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SetBearerLayer {
    token: Token,
    allowed: Allowed,
}

#[derive(Clone, Debug)]
enum Token {
    /// The `CallerToken` in the extensions of the outgoing request.
    Caller,
    Service(ServiceToken),
}

impl SetBearerLayer {
    /// Creates a layer that forwards the caller's token: the [`CallerToken`] in the extensions of the outgoing
    /// request.
    ///
    /// Only requests to `origins` receive it. The token keeps its audience, so the receiver must accept the audience
    /// of this server.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origins` is empty, contains something other than an origin, or contains an
    /// `http` origin that is not loopback.
    pub fn caller<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        Ok(Self { token: Token::Caller, allowed: Allowed::new(origins)? })
    }

    /// Creates a layer that sends a token which this server issues for itself.
    ///
    /// Only requests to `origins` receive it.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origins` is empty, contains something other than an origin, or contains an
    /// `http` origin that is not loopback, if the key ring of `token` cannot sign, or if its lifetime is less than
    /// one second or ends after the year 9999.
    pub fn service<T: AsRef<str>>(
        token: ServiceToken,
        origins: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        token.check()?;
        Ok(Self { token: Token::Service(token), allowed: Allowed::new(origins)? })
    }

    /// Treats requests whose URI is only a path as requests to `origin`.
    ///
    /// This is for channels to a single server, such as tonic's, which add the scheme and the authority further
    /// inside.
    ///
    /// Defaults to sending such requests without a token.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origin` is not one of the origins that may receive a token.
    pub fn with_fixed_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.allowed.fix(origin)?;
        Ok(self)
    }
}

impl<S> Layer<S> for SetBearerLayer {
    type Service = SetBearer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SetBearer { inner, settings: self.clone() }
    }
}

/// Client service created by [`SetBearerLayer`].
///
/// See the [module docs](crate::layers::bearer) for an example.
#[derive(Clone, Debug)]
pub struct SetBearer<S> {
    inner: S,
    settings: SetBearerLayer,
}

impl<S, B> Service<Request<B>> for SetBearer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if !request.headers().contains_key(AUTHORIZATION)
            && self.settings.allowed.holds(request.uri())
            && let Some(header) = self.settings.header(&request)
        {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        self.inner.call(request)
    }
}

impl SetBearerLayer {
    fn header<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        match &self.token {
            Token::Caller => request.extensions().get::<CallerToken>().map(CallerToken::header),
            Token::Service(token) => token.header(),
        }
    }
}
