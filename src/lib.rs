//! Sign browsers in.

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-cookie-jwt needs cryptography: enable its feature `aws-lc-rs` (the default) or `rust-crypto`"
);

#[cfg(feature = "axum")]
pub mod axum;
mod clock;
pub mod cookies;
mod credentials;
mod error;
pub mod jwt;
pub mod keys;
mod layers;
pub mod origin;
pub mod refresh;
pub mod reject;
pub mod session;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod token;
mod trace;
pub mod xsrf;

pub use self::{
    clock::{Clock, SystemClock},
    cookies::CookiePolicy,
    error::ConfigError,
    jwt::CookieJwtLayer,
    keys::KeyRing,
    layers::SessionLayer,
    refresh::RefreshLayer,
    session::Sessions,
    store::MemoryStore,
    token::{Claims, Verifier},
    xsrf::XsrfLayer,
};
