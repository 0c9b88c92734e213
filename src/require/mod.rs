//! `RequireLayer`: may this user do that?
//!
//! Inside of a `CookieJwtLayer`, on the routes that need more than being signed in. Refuses with 403
//! `insufficient_scope`, or with 401 where the user has to sign in again (RFC 9470).
//!
//! # Examples
//!
//! A scope:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_cookie_jwt::{
//!     CookieJwtLayer, KeyRing, Verifier,
//!     require::RequireLayer,
//!     token::{Issuer, NewToken, Scopes},
//! };
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let service = ServiceBuilder::new()
//!     .layer(CookieJwtLayer::new(Verifier::<()>::new(keys.clone())))
//!     .layer(RequireLayer::<()>::scope("orders:write")?)
//!     .service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(())) });
//!
//! let reader = NewToken::access("ada", Duration::from_secs(900)).with_scope(Scopes::new("orders:read")?);
//! let token = Issuer::new(keys).issue(&reader, &())?;
//! let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(())?;
//! let refused = service.oneshot(request).await?;
//! assert_eq!(refused.status(), StatusCode::FORBIDDEN);
//! assert_eq!(refused.headers()["www-authenticate"], r#"Bearer error="insufficient_scope", scope="orders:write""#);
//! # Ok(()) }
//! ```
//!
//! A role of the application's own, by a recent sign-in:
//!
//! ```
//! use std::time::Duration;
//! use tower_cookie_jwt::{Claims, require::RequireLayer};
//!
//! struct User { roles: Vec<String> }
//!
//! let admins = RequireLayer::new(|claims: &Claims<User>| claims.custom().roles.iter().any(|role| role == "admin"))
//!     .and_recent_sign_in(Duration::from_secs(600));
//! ```

mod layer;
mod service;

pub use self::{layer::RequireLayer, service::Require};
