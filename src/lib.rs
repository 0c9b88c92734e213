//! Sign browsers in.

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!(
    "tower-cookie-jwt needs cryptography: enable its feature `aws-lc-rs` (the default) or `rust-crypto`"
);

mod clock;
mod error;
pub mod keys;
pub mod token;

pub use self::{
    clock::{Clock, SystemClock},
    error::ConfigError,
    keys::KeyRing,
    token::{Claims, Verifier},
};
