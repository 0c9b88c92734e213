//! `XsrfLayer`: did the application's own page make this request?
//!
//! A browser sends cookies by itself, whoever makes the request. Two checks stand against that:
//!
//! 1. the origin, on all but safe methods and on WebSocket handshakes: `Origin` and
//!    `Sec-Fetch-Site`, which no page can forge;
//! 2. where a cookie carried the token, the `X-XSRF-TOKEN` header: it must equal the XSRF claim inside
//!    the signed token, which another site cannot read. It is compared in constant time.
//!
//! Requests that a header authenticates need neither: no other site can make a browser send them.
//!
//! Clients differ in which value they send when they know two. The `XSRF-TOKEN` cookie of another session, left
//! behind or set by another port of the host, *overwrites* the header that the application has set in axios and
//! in AngularJS, and such a request is refused with 403 `xsrf_mismatch`; in Angular the application's header wins. An
//! application that keeps the value of the sign-in response should therefore set no cookie
//! ([`without_xsrf_cookie`](crate::CookiePolicy::without_xsrf_cookie)), or name it differently
//! ([`with_xsrf_name`](crate::CookiePolicy::with_xsrf_name)).
//!
//! # Examples
//!
//! The default set-up, inside of a `CookieJwtLayer`:
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
//! let honest = order().header("x-xsrf-token", "c2VjcmV0LXZhbHVl").body(())?;
//! assert_eq!(service.oneshot(honest).await?.body(), &"ordered");
//! # Ok(()) }
//! ```
//!
//! The origin alone, with a trusted second origin:
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

mod layer;
mod service;

pub use self::{layer::XsrfLayer, service::Xsrf};
