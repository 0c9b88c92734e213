//! Tower layers that sign browsers in.
//!
//! A web application signs a user in once and then needs, on every request, to know who is asking,
//! without letting another site ask in the user's name, and without ever signing the user out in
//! the middle of work. Three layers do that around any `Service<http::Request<B>>`:
//!
//! | layer | what it does to a request |
//! |---|---|
//! | [`RefreshLayer`] | access token missing or expired, refresh cookie good: rotates, lets the request go on as the signed-in user and sets the new cookies on the response |
//! | [`CookieJwtLayer`] | finds the token (cookie, `Authorization: Bearer`, `X-Access-Token`), verifies it, puts [`Claims`] into the extensions |
//! | [`XsrfLayer`] | on unsafe requests that a cookie authenticates, checks the origin and compares the `X-XSRF-TOKEN` header with the claim |
//!
//! That is their order, outermost first. [`Sessions::layer`] gives the three in one; each also works
//! alone.
//!
//! # How it works
//!
//! 1. The JWT travels in a cookie that is `HttpOnly; Secure; SameSite=Strict`, where the page's script
//!    cannot read it: cross-site scripting cannot steal it.
//! 2. A browser sends cookies by itself, so a second proof travels in a header that only the site's own
//!    script can write: the random `xsrfToken` claim inside the signed JWT must come back as
//!    `X-XSRF-TOKEN`. The client learns the value from the sign-in response's body or from the readable
//!    `XSRF-TOKEN` cookie, which axios, Angular and AngularJS send back by themselves.
//! 3. Access tokens live minutes. A refresh token in its own cookie is exchanged for the next one and
//!    rotated, so that a stolen one is noticed; how, is told in [`session`].
//!
//! # Examples
//!
//! ```
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use serde::{Deserialize, Serialize};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{Claims, KeyRing, MemoryStore, Sessions};
//!
//! #[derive(Serialize, Deserialize)]
//! struct User { name: String }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keys = KeyRing::hs256("at least 32 bytes of randomness, from a file")?;
//! let sessions = Sessions::<User>::builder(keys, MemoryStore::new())
//!     .with_issuer("https://shop.example")
//!     .with_audience("shop")
//!     .build()?; // every contradiction is found here, not at run time
//!
//! let service = sessions.layer().layer(service_fn(|request: Request<()>| async move {
//!     let claims = request.extensions().get::<Claims<User>>().expect("the layer demands claims");
//!     Ok::<_, Infallible>(Response::new(claims.custom().name.clone()))
//! }));
//! let anonymous = service.oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```
//!
//! Signing in is shown at [`Sessions`], a website whose authorization server is elsewhere in [`jwt`], and
//! axum and gRPC handlers in the modules `axum` and `tonic` of the features of these names. [`require`] asks
//! more of a signed-in user, [`bearer`] sends tokens to other servers, [`keys`] publishes and follows key
//! sets.
//!
//! The `recipes` are short pages on clients (axios, Angular, `fetch`, native ones, forms, HTMX, WebSocket) and on what
//! stands in front of a server (proxies, CDNs, subdomains).
//!
//! # What it protects from, and what not
//!
//! * Another site that makes requests in the user's name: refused, whatever the cookie's `SameSite`.
//! * A neighbour on the same site (another port or subdomain): `SameSite` lets its requests carry the
//!   cookies, the origin check and the XSRF header stop them. With the `__Host-` prefix a subdomain cannot
//!   set our cookies either. Cookies know no ports: a server on another port of the very same host is
//!   sent them and can set them, and must be trusted.
//! * Script injected into the page (XSS) cannot read the tokens, but can act as the user while the page is
//!   open: nothing that runs on a server can tell it apart.
//! * A stolen refresh token is noticed at the client's next refresh after the grace period, once it has
//!   been *used* in a generation that the client does not hold. A thief who uses it within the grace period
//!   after the client's own first use stays unnoticed, as under every grace period.
//! * After sign-out, access tokens of the session live until they expire, 15 minutes by default:
//!   [`with_session_check`](session::SessionsBuilder::with_session_check) or [`Sessions::confirm`] asks the store.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | cryptography by `aws-lc-rs`; preferred when both are on |
//! | `rust-crypto` | | cryptography by the RustCrypto crates: pure Rust |
//! | `axum` | | extractors and response parts for axum 0.8, through `axum-core`; includes `tracing` |
//! | `tonic` | | claims and statuses for tonic 0.14; includes `tracing` |
//! | `jwks-remote` | | `RemoteJwks`; needs Tokio |
//! | `postgres` | | `PostgresStore`; needs Tokio, and Rust 1.94 |
//! | `redis` | | `RedisStore`, also for Redis Cluster and Valkey; needs Tokio |
//! | `sqlite` | | `SqliteStore`; needs Tokio, and Rust 1.94 |
//! | `tracing` | | events and warnings in the log |
//! | `testing` | | `TestClock`, `Browser` and the store contract |
//!
//! One of the crypto features is needed, both may be on. The crate needs Rust 1.88.

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-cookie-jwt needs cryptography: enable its feature `aws-lc-rs` (the default) or `rust-crypto`"
);

#[cfg(feature = "axum")]
pub mod axum;
pub use self::layers::bearer;
mod clock;
pub mod cookies;
mod error;
pub use self::layers::authenticate as jwt;
pub mod keys;
pub mod layers;
pub use self::layers::refresh;
pub mod reject;
mod request;
pub use self::layers::authorize as require;
pub mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
#[cfg(feature = "tonic")]
pub mod tonic;
mod trace;
pub use self::layers::xsrf;

/// The origin check's errors.
pub mod origin {
    pub use crate::request::{OriginError, OriginErrorKind};
}

pub use self::{
    clock::{Clock, SystemClock},
    cookies::CookiePolicy,
    error::ConfigError,
    keys::KeyRing,
    layers::JsonBody,
    layers::SessionLayer,
    layers::authenticate::CookieJwtLayer,
    layers::authorize::RequireLayer,
    layers::bearer::SetBearerLayer,
    layers::refresh::RefreshLayer,
    layers::xsrf::XsrfLayer,
    session::Sessions,
    store::MemoryStore,
    token::{Claims, Verifier},
};

/// Recipes for people in a hurry: what to write, why, and what goes wrong otherwise.
///
/// | page | for |
/// |---|---|
/// | [`axios`](recipes::axios), [`angular`](recipes::angular), [`fetch`](recipes::fetch) | a page's script: 401, 503 and the XSRF token |
/// | [`native`](recipes::native) | mobile and other native clients, with bearer tokens |
/// | [`forms`](recipes::forms), [`htmx`](recipes::htmx) | pages that the server renders |
/// | [`websocket`](recipes::websocket) | who may open a socket, and when it ends |
/// | [`proxy`](recipes::proxy), [`cdn`](recipes::cdn) | nginx, Caddy or a cache in front |
/// | [`api_subdomain`](recipes::api_subdomain), [`subdomains`](recipes::subdomains) | several hosts: the page's side, the servers' side |
/// | `own_store` | a `RefreshStore` of one's own (feature `testing`) |
#[cfg(any(doc, doctest))]
pub mod recipes {
    #[doc = include_str!("../docs/recipes/angular.md")]
    pub mod angular {}
    #[doc = include_str!("../docs/recipes/api-subdomain.md")]
    pub mod api_subdomain {}
    #[doc = include_str!("../docs/recipes/axios.md")]
    pub mod axios {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/cdn.md")]
    pub mod cdn {}
    #[doc = include_str!("../docs/recipes/fetch.md")]
    pub mod fetch {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/forms.md")]
    pub mod forms {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/htmx.md")]
    pub mod htmx {}
    #[doc = include_str!("../docs/recipes/native.md")]
    pub mod native {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/own-store.md")]
    pub mod own_store {}
    #[doc = include_str!("../docs/recipes/proxy.md")]
    pub mod proxy {}
    #[doc = include_str!("../docs/subdomains.md")]
    pub mod subdomains {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/websocket.md")]
    pub mod websocket {}
}

/// The README's programs compile.
#[cfg(all(doctest, feature = "axum", feature = "jwks-remote", feature = "sqlite", feature = "tonic"))]
#[doc = include_str!("../README.md")]
struct Readme;
