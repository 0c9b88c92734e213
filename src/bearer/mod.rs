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
//! use tower_cookie_jwt::{KeyRing, Verifier, bearer::{SERVICE_TYPE, ServiceToken, SetBearerLayer}, token::Issuer};
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
//! let verifier = Verifier::<()>::new(keys).with_audience("stock");
//! assert!(verifier.verify(&token).is_err());
//! assert_eq!(verifier.with_types([SERVICE_TYPE]).verify(&token)?.subject(), Some("shop"));
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
//! use tower_cookie_jwt::bearer::{CallerToken, SetBearerLayer};
//!
//! let layer = SetBearerLayer::caller(["https://stock.shop.example"])?;
//!
//! fn outgoing(incoming: &Parts) -> Request<()> {
//!     let mut request = Request::get("https://stock.shop.example/items").body(()).expect("a request");
//!     if let Some(token) = CallerToken::of(incoming) {
//!         request.extensions_mut().insert(token);
//!     }
//!     request
//! }
//! # Ok::<(), tower_cookie_jwt::ConfigError>(())
//! ```

mod allowed;
mod caller;
mod layer;
mod minted;
mod service;

pub use self::{
    caller::CallerToken,
    layer::SetBearerLayer,
    minted::{SERVICE_TYPE, ServiceToken},
    service::SetBearer,
};
