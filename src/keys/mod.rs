//! Keys that sign and verify tokens, and the key ring that holds them.
//!
//! A [`Key`] is bound to exactly one [`Algorithm`], which the `alg` of a token must match (RFC 8725 §3.1).
//! A [`KeyRing`] holds the active key, which signs, and all other keys that are still accepted.
//!
//! # Examples
//!
//! A single application with one shared secret:
//!
//! ```
//! use tower_cookie_jwt::KeyRing;
//!
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! # Ok::<(), tower_cookie_jwt::ConfigError>(())
//! ```
//!
//! A website that only verifies tokens signed by an authorization server:
//!
//! ```
//! use tower_cookie_jwt::keys::{Algorithm, Key, KeyRing};
//!
//! let pem = "-----BEGIN PUBLIC KEY-----\n\
//!            MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
//!            -----END PUBLIC KEY-----";
//! let keys = KeyRing::verify_only([Key::from_public_pem(Algorithm::EdDSA, pem)?.with_id("2026-11")])?;
//! assert!(!keys.can_sign());
//! # Ok::<(), tower_cookie_jwt::ConfigError>(())
//! ```

mod algorithm;
pub(crate) mod crypto;
mod jwk;
mod key;
mod public;
mod ring;

pub(crate) use self::ring::{Epoch, MAX_SIGNATURE_CHECKS};
pub use self::{algorithm::Algorithm, key::Key, ring::KeyRing};
#[cfg(feature = "jwks-remote")]
pub(crate) use self::{
    jwk::{KeySet, LeftOut, nothing_usable},
    ring::SharedKeys,
};
