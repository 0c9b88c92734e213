//! The cryptography behind the keys: `jsonwebtoken`'s providers, called explicitly.
//!
//! Never through the process default, which panics as soon as any crate in an application's
//! dependency graph enables the other provider's feature as well.

use jsonwebtoken::{crypto::CryptoProvider, jwk::ThumbprintHash};

#[cfg(feature = "aws-lc-rs")]
static PROVIDER: &CryptoProvider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
static PROVIDER: &CryptoProvider = &jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;

#[cfg(any(feature = "aws-lc-rs", feature = "rust-crypto"))]
pub(crate) fn provider() -> &'static CryptoProvider {
    PROVIDER
}

/// SHA-256 of `data`.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = (provider().key_utils.compute_digest)(data, ThumbprintHash::SHA256);
    digest
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .expect("both providers implement SHA-256, whose digest has 32 bytes")
}

/// Fills an array with bytes from the operating system's random source.
///
/// # Panics
///
/// When the operating system has no randomness to give: nothing safe could be done then.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}
