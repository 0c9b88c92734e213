//! `CookieJwtLayer`: who is asking?
//!
//! Finds the token (`Authorization: Bearer`, `X-Access-Token`, cookie), verifies it and puts
//! [`Claims`](crate::Claims) into the request's extensions. Requests without a valid token are
//! answered 401 (RFC 6750 §3) and never reach the inner service.
//!
//! # Examples
//!
//! The default set-up, for a website whose authorization server is elsewhere:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{Claims, CookieJwtLayer, KeyRing, Verifier, token::{Issuer, NewToken}};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let service = CookieJwtLayer::new(Verifier::<()>::new(keys.clone())).layer(service_fn(
//!     |request: Request<()>| async move {
//!         let claims = request.extensions().get::<Claims<()>>().expect("the layer demands claims");
//!         Ok::<_, Infallible>(Response::new(claims.subject().unwrap_or_default().to_owned()))
//!     },
//! ));
//!
//! let token = Issuer::new(keys).issue(&NewToken::access("ada", Duration::from_secs(900)), &())?;
//! let request = Request::get("/").header("cookie", format!("__Host-access={token}")).body(())?;
//! assert_eq!(service.clone().oneshot(request).await?.body(), "ada");
//!
//! let refused = service.oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
//! assert_eq!(refused.headers()["www-authenticate"], "Bearer");
//! # Ok(()) }
//! ```
//!
//! Anonymous visitors welcome, the token in a cookie of another name only:
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{Claims, CookieJwtLayer, KeyRing, Verifier, token::Source};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let layer = CookieJwtLayer::new(Verifier::<()>::new(keys))
//!     .with_cookie_name("token")
//!     .with_sources([Source::Cookie])
//!     .optional();
//! let service = layer.layer(service_fn(|request: Request<()>| async move {
//!     Ok::<_, Infallible>(Response::new(request.extensions().get::<Claims<()>>().is_some().to_string()))
//! }));
//! assert_eq!(service.oneshot(Request::get("/").body(())?).await?.body(), "false");
//! # Ok(()) }
//! ```

mod layer;
mod service;

pub(crate) use self::layer::Presence;
pub use self::{layer::CookieJwtLayer, service::CookieJwt};
