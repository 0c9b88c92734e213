//! `RefreshLayer` and the refresh service: sessions that outlive their access tokens.
//!
//! Access tokens live minutes. When one is missing or has expired and the refresh cookie is good,
//! [`RefreshLayer`] exchanges that, lets the request go on as the signed-in user and sets the new
//! cookies on the response, of whatever kind that is. The body is never touched. Clients that would
//! rather refresh by themselves call the [`RefreshService`].
//!
//! What a signed-out session leaves behind: access tokens that live until they expire. Where that is
//! too long, switch on `with_session_check`, or ask [`Sessions::confirm`](crate::Sessions::confirm) in the
//! handlers that matter.
//!
//! # Examples
//!
//! An hour later, the same browser is still signed in:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
//! # #[cfg(not(feature = "testing"))] fn main() {}
//! # #[cfg(feature = "testing")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_cookie_jwt::testing::TestClock;
//!
//! let clock = TestClock::new();
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_clock(clock.clone()))
//!     .with_clock(clock.clone())
//!     .build()?;
//!
//! let (parts, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
//! let mut response = Response::new(());
//! sessions.sign_in(&parts, "ada", ()).await?.append_to(response.headers_mut());
//! let cookies = response.headers().get_all("set-cookie").iter();
//! let cookies: Vec<_> = cookies.map(|c| c.to_str().unwrap().split(';').next().unwrap()).collect();
//!
//! clock.advance(Duration::from_secs(3600));
//! let service = sessions.layer().layer(service_fn(|_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::new(()))
//! }));
//! let response = service.oneshot(Request::get("/").header("cookie", cookies.join("; ")).body(())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert!(response.headers()["set-cookie"].to_str()?.starts_with("__Host-access="));
//! # Ok(()) }
//! ```

mod endpoint;
mod form;
mod future;
mod layer;
mod plan;
mod service;
mod task;

pub use self::{
    endpoint::{EndpointFuture, RefreshService},
    future::RefreshFuture,
    layer::RefreshLayer,
    service::Refresh,
};
