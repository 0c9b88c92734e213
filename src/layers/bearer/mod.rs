//! `SetBearerLayer`: tokens on the way to other servers.
//!
//! Wraps an HTTP client (hyper-util, a tonic channel) and writes `Authorization: Bearer`: the caller's own
//! token, passed on, or a service token that this server mints in its own name. Only requests to the
//! origins of a mandatory list get one, over https (or to loopback), and an `Authorization` that is there
//! already is never overwritten.
//!
//! The list is checked for each request that passes. Put the layer inside of one that follows redirects,
//! next to the client: each hop is then judged by itself, and a redirect to elsewhere leads no token
//! astray. Outside of it the layer sees the first request alone, and it is the other layer's policy that
//! has to drop `Authorization` on the way (tower-http's standard policy does).
//!
//! # Examples
//!
//! A service token of its own type and audience:
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
//! // The receiving side accepts service tokens only where its verifier says so.
//! let stock = || Verifier::<()>::builder(keys.clone()).with_audience("stock");
//! assert!(stock().build()?.verify(&token).is_err());
//! assert_eq!(stock().with_types([SERVICE_TYPE]).build()?.verify(&token)?.subject(), Some("shop"));
//!
//! let elsewhere = Request::get("https://evil.example/").body(())?;
//! assert!(client.oneshot(elsewhere).await?.into_body().is_none());
//! # Ok(()) }
//! ```
//!
//! The caller's token, passed on by a handler:
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

/// Layer that writes `Authorization: Bearer` on the requests of a client.
///
/// See the [module docs](crate::layers::bearer) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct SetBearerLayer {
    token: Token,
    allowed: Allowed,
}

/// Whose token is sent.
#[derive(Clone, Debug)]
enum Token {
    /// That in the extensions of the outgoing request.
    Caller,
    Service(ServiceToken),
}

impl SetBearerLayer {
    /// Passes the caller's token on: the `CallerToken` in the extensions of the outgoing request.
    ///
    /// Only requests to these origins get one. The receiver sees the user's token with its own audience:
    /// let it accept that.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an empty list, for what is no origin, and for http but to loopback.
    pub fn caller<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        Ok(Self { token: Token::Caller, allowed: Allowed::new(origins)? })
    }

    /// Sends a token in the name of this server.
    ///
    /// Only requests to these origins get it.
    ///
    /// # Errors
    ///
    /// As [`caller`](Self::caller), and for a token whose ring cannot sign or whose lifetime is under a
    /// second.
    pub fn service<T: AsRef<str>>(
        token: ServiceToken,
        origins: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        token.check()?;
        Ok(Self { token: Token::Service(token), allowed: Allowed::new(origins)? })
    }

    /// Takes requests whose URI is a path alone as going to `origin`: for channels to one server, as
    /// tonic's, which add the rest further in.
    ///
    /// Defaults to sending such requests without a token.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `origin` is not on the list.
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

/// Client service that [`SetBearerLayer`] makes.
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
