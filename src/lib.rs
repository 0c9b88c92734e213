//! Tower layers that keep a browser signed in.
//!
//! A web application signs a user in once. From then on it must know, on every request, who makes it: without letting
//! another site make requests in the user's name, and without signing the user out in the middle of their work. Three
//! layers provide this around any `Service<http::Request<B>>`:
//!
//! | layer | what it does to a request |
//! |---|---|
//! | [`RefreshLayer`] | If the access token is missing or expired and the refresh cookie is valid: rotates the session, lets the request proceed as the signed-in user, and sets the new cookies on the response. |
//! | [`CookieJwtLayer`] | Finds the token (`Authorization: Bearer`, `X-Access-Token`, or the cookie), verifies it, and inserts [`Claims`] into the extensions. |
//! | [`XsrfLayer`] | On unsafe requests authenticated by a cookie: checks the origin and compares the `X-XSRF-TOKEN` header with the claim. |
//!
//! They are listed outermost first. [`Sessions::layer`] returns all three as one; each also works by itself.
//!
//! With axum (features `axum` and `sqlite`), a complete program:
//!
#![cfg_attr(all(feature = "axum", feature = "sqlite"), doc = "```rust,no_run")]
#![cfg_attr(not(all(feature = "axum", feature = "sqlite")), doc = "```rust,ignore")]
#![doc = include_str!("../examples/axum.rs")]
//! ```
//!
//! # How it works
//!
//! 1. The JWT travels in a cookie that is `HttpOnly; Secure; SameSite=Strict`. Page script cannot read it, so
//!    cross-site scripting cannot steal it.
//! 2. A second proof travels in a header. Browsers attach cookies on their own, so a cookie does not prove that the
//!    site's own page made the request. Unsafe requests must therefore repeat the random `xsrfToken` claim of the
//!    signed JWT in the `X-XSRF-TOKEN` header, which only the site's own script can set. The script gets the value
//!    from the body of the sign-in response or from the readable `XSRF-TOKEN` cookie, which axios, Angular and
//!    AngularJS send back automatically.
//! 3. Access tokens live for minutes. A refresh token in a cookie of its own is exchanged for the next pair of tokens
//!    and rotated, so that a stolen one is detected; see [`session`].
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
//!     .build()?; // finds every contradiction in the configuration
//!
//! let service = sessions.layer().layer(service_fn(|request: Request<()>| async move {
//!     let claims = request.extensions().get::<Claims<User>>().expect("the layer requires claims");
//!     Ok::<_, Infallible>(Response::new(claims.custom().name.clone()))
//! }));
//! let anonymous = service.oneshot(Request::get("/").body(())?).await?;
//! assert_eq!(anonymous.status(), StatusCode::UNAUTHORIZED);
//! # Ok(()) }
//! ```
//!
//! # Where to go from here
//!
//! | to … | see |
//! |---|---|
//! | sign users in and out | [`Sessions`] |
//! | write axum handlers or gRPC methods | the modules `axum` and `tonic`, with the features of the same names |
//! | verify tokens of a separate authorization server | [`layers::authenticate`] |
//! | require scopes, roles or a recent sign-in | [`layers::authorize`] |
//! | send tokens to other servers | [`layers::bearer`] |
//! | publish or follow JSON Web Key Sets | [`layers::jwks`] |
//! | choose a store | [`store`] |
//! | go to production: keys, lifetimes, deployment, monitoring | the page `guide` of the module `recipes` |
//! | connect a client (axios, Angular, `fetch`, native), or put a proxy or CDN in front | the pages of the module `recipes` |
//!
//! # Threat model
//!
//! The crate protects against:
//!
//! * **Cross-site request forgery**, whatever the `SameSite` attribute of the cookies. This includes requests from
//!   other ports and subdomains, which are same-site and so carry even strict cookies: the origin check and the XSRF
//!   token stop them. With the `__Host-` prefix, a subdomain cannot set the cookies either. Cookies ignore ports, so
//!   a server on another port of the same host receives them and can set them; it must be trusted.
//! * **Token theft by injected script.** Script cannot read the HttpOnly cookies. It can still act as the user while
//!   the page is open; no server can tell the difference.
//! * **Stolen refresh tokens.** Once a stolen token has been *used* in a generation that the client does not hold,
//!   the client's next refresh after the grace period revokes the session. A thief who uses it within the grace
//!   period after the client's own first use goes undetected; every scheme with a grace period has this limit.
//!
//! Access tokens outlive sign-out: they are valid until they expire, after 15 minutes by default, unless
//! [`with_sign_out_within`](session::SessionsBuilder::with_sign_out_within) bounds that, or
//! [`with_session_check`](session::SessionsBuilder::with_session_check) or [`Sessions::is_live`] asks the store.
//!
//! # Logging
//!
//! With the feature `tracing`, which is on by default, the crate says why. Targets and field names are stable.
//!
//! | target | level | event |
//! |---|---|---|
//! | `tower_cookie_jwt::refused` | `DEBUG` | each refused request: `code`, `reason`, `method`, `path` without the query, `host`, `origin`, `sec_fetch_site`, `subject` and `session` as far as they are known, and in `help` what to do about it |
//! | `tower_cookie_jwt::token` | `DEBUG` | what was configured and what a token has: `claim`, `configured`, `found`; or `algorithm`, `kid` and the ids in `configured` |
//! | `tower_cookie_jwt::session` | `TRACE` to `WARN` | session events, unless [`with_events`](session::SessionsBuilder::with_events) replaces the listener that logs them; see [`TraceEvents`](session::TraceEvents) |
//! | `tower_cookie_jwt` | `INFO` to `ERROR` | settings that cannot work, and outages, with all their causes |
//!
//! ```text
//! DEBUG tower_cookie_jwt::refused: request refused code="origin_refused" reason=the request was made by another site or
//!   origin method=POST path=/orders host=shop.example origin=https://www.shop.example sec_fetch_site=same-site
//!   help=if the page at that origin is yours, add `with_trusted_origin("https://www.shop.example")`; behind a proxy that
//!   rewrites the host, add `with_public_origin`
//! ```
//!
//! No event contains a token, a key, a cookie value or an XSRF token. What someone else has chosen is escaped and cut off.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `aws-lc-rs` | yes | cryptography by `aws-lc-rs`; preferred when both crypto features are enabled |
//! | `rust-crypto` | | cryptography by the RustCrypto crates, in pure Rust |
//! | `axum` | | extractors and response parts for axum 0.8, through `axum-core` |
//! | `tonic` | | claims and statuses for tonic 0.14 |
//! | `jwks-remote` | | `RemoteJwks`; requires Tokio |
//! | `postgres` | | `PostgresStore`; requires Tokio and Rust 1.94 |
//! | `redis` | | `RedisStore`, also for Redis Cluster and Valkey; requires Tokio |
//! | `sqlite` | | `SqliteStore`; requires Tokio and Rust 1.94 |
//! | `tls` | | TLS between `PostgresStore` or `RedisStore` and their servers, through rustls |
//! | `tracing` | yes | log events and warnings |
//! | `testing` | | `TestClock`, `Browser` and the store contract |
//!
//! At least one of the crypto features is required. The minimum supported Rust version is 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-cookie-jwt needs cryptography: enable its feature `aws-lc-rs` (the default) or `rust-crypto`"
);

mod clock;
pub mod cookies;
mod error;
mod integrations;
pub mod keys;
pub mod layers;
pub mod reject;
mod request;
pub mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
mod trace;

#[cfg(feature = "axum")]
pub use self::integrations::axum;
#[cfg(feature = "tonic")]
pub use self::integrations::tonic;
pub use self::{
    clock::{Clock, SystemClock},
    cookies::CookiePolicy,
    error::ConfigError,
    keys::KeyRing,
    layers::{
        JsonBody, SessionLayer, authenticate::CookieJwtLayer, authorize::RequireLayer,
        bearer::SetBearerLayer, refresh::RefreshLayer, xsrf::XsrfLayer,
    },
    session::{SessionError, Sessions, SignedIn, SignedOut},
    store::MemoryStore,
    token::{Claims, Verifier},
};

/// Recipes: short, task-oriented pages.
///
/// | page | subject |
/// |---|---|
/// | [`guide`](recipes::guide) | from zero to production: keys, lifetimes, CORS, deployment, monitoring, a checklist |
/// | [`troubleshooting`](recipes::troubleshooting) | why a request is refused, by its `code` |
/// | [`axios`](recipes::axios), [`angular`](recipes::angular), [`fetch`](recipes::fetch) | page script: 401, 503 and the XSRF token |
/// | [`issuers`](recipes::issuers) | tokens of Keycloak, Auth0, Entra ID, Cognito and others |
/// | [`native`](recipes::native) | mobile and other native clients, with bearer tokens |
/// | [`rendered`](recipes::rendered), [`forms`](recipes::forms), [`htmx`](recipes::htmx) | server-rendered pages |
/// | [`websocket`](recipes::websocket), [`sse`](recipes::sse) | who may connect, and when to disconnect |
/// | [`passkeys`](recipes::passkeys) | signing in with `webauthn-rs`, and asking for the passkey again |
/// | [`password_change`](recipes::password_change) | changing a password, an address or a role, and closing an account |
/// | [`poolers`](recipes::poolers) | PgBouncer or HAProxy between `PostgresStore` and PostgreSQL, and the sizes of pools |
/// | [`proxy`](recipes::proxy), [`cdn`](recipes::cdn) | nginx, Caddy or a cache in front |
/// | [`api_subdomain`](recipes::api_subdomain), [`subdomains`](recipes::subdomains) | several hosts: the page's side, the servers' side |
/// | [`embedded`](recipes::embedded) | an application inside another site's frame |
/// | [`device_binding`](recipes::device_binding) | sessions bound to the browser's device: copied cookies renew nothing |
/// | [`monitoring`](recipes::monitoring) | metrics with Prometheus or OpenTelemetry, and what to watch for |
/// | [`tests`](recipes::tests) | testing an application, in the process and over HTTP |
/// | `own_store` | a custom `RefreshStore`, and sharding by subject (feature `testing`) |
/// | [`limits`](recipes::limits) | what the crate does not do, why, and what to do instead |
/// | [`personal_data`](recipes::personal_data) | what is kept about users, for how long, and how to erase it |
/// | [`migrate_from_fn`](recipes::migrate_from_fn), [`migrate_tower_sessions`](recipes::migrate_tower_sessions), [`migrate_jwt_authorizer`](recipes::migrate_jwt_authorizer), [`migrate_web_storage`](recipes::migrate_web_storage) | moving to this crate, and moving the users |
/// | [`comparison`](recipes::comparison) | what others do and do not, and when they are the better choice |
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
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/device-binding.md")]
    pub mod device_binding {}
    #[doc = include_str!("../docs/recipes/embedded.md")]
    pub mod embedded {}
    #[doc = include_str!("../docs/comparison.md")]
    pub mod comparison {}
    #[doc = include_str!("../docs/recipes/fetch.md")]
    pub mod fetch {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/forms.md")]
    pub mod forms {}
    #[doc = include_str!("../docs/guide.md")]
    pub mod guide {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/htmx.md")]
    pub mod htmx {}
    #[cfg(any(not(doctest), feature = "jwks-remote"))]
    #[doc = include_str!("../docs/recipes/issuers.md")]
    pub mod issuers {}
    #[doc = include_str!("../docs/limits.md")]
    pub mod limits {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/migrate/from-fn.md")]
    pub mod migrate_from_fn {}
    #[cfg(any(not(doctest), all(feature = "axum", feature = "jwks-remote")))]
    #[doc = include_str!("../docs/migrate/jwt-authorizer.md")]
    pub mod migrate_jwt_authorizer {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/migrate/tower-sessions.md")]
    pub mod migrate_tower_sessions {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/migrate/web-storage.md")]
    pub mod migrate_web_storage {}
    #[doc = include_str!("../docs/recipes/monitoring.md")]
    pub mod monitoring {}
    #[doc = include_str!("../docs/recipes/native.md")]
    pub mod native {}
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/own-store.md")]
    ///
    /// ```
    #[doc = include_str!("../examples/sharding.rs")]
    /// ```
    pub mod own_store {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/passkeys.md")]
    pub mod passkeys {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/password-change.md")]
    pub mod password_change {}
    #[doc = include_str!("../docs/personal-data.md")]
    pub mod personal_data {}
    #[cfg(any(not(doctest), feature = "postgres"))]
    #[doc = include_str!("../docs/recipes/poolers.md")]
    pub mod poolers {}
    #[doc = include_str!("../docs/recipes/proxy.md")]
    pub mod proxy {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/rendered.md")]
    pub mod rendered {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/sse.md")]
    pub mod sse {}
    #[doc = include_str!("../docs/subdomains.md")]
    pub mod subdomains {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/tests.md")]
    pub mod tests {}
    #[doc = include_str!("../docs/recipes/troubleshooting.md")]
    pub mod troubleshooting {}
    #[cfg(any(not(doctest), feature = "axum"))]
    #[doc = include_str!("../docs/recipes/websocket.md")]
    pub mod websocket {}
}

/// Compiles the programs in the README.
#[cfg(all(doctest, feature = "axum", feature = "jwks-remote", feature = "sqlite", feature = "tonic"))]
#[doc = include_str!("../README.md")]
struct Readme;
