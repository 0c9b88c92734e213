//! The cryptography behind the keys: `jsonwebtoken`'s providers, called explicitly.
//!
//! Never through the process default, which panics as soon as any crate in an application's
//! dependency graph enables the other provider's feature as well.

use std::cell::RefCell;

use jsonwebtoken::{
    DecodingKey,
    crypto::{CryptoProvider, JwtVerifier},
    jwk::ThumbprintHash,
};

use super::algorithm::Algorithm;

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

/// HMAC-SHA-256 of `message` (RFC 2104), under a key of any length.
#[cfg(feature = "redis")]
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    use jsonwebtoken::{Algorithm, EncodingKey};

    let signer = (provider().signer_factory)(&Algorithm::HS256, &EncodingKey::from_secret(key)).ok();
    signer
        .and_then(|signer| signer.try_sign(message).ok()?.try_into().ok())
        .expect("both providers implement HMAC-SHA-256, whose tag has 32 bytes")
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

/// A verifier that has been set up: the HMAC key schedule and the parsing of a public key are not repeated for
/// each token.
struct Prepared {
    uid: u64,
    verifier: Box<dyn JwtVerifier>,
}

thread_local! {
    /// Most recently used first. The providers' verifiers are neither `Send` nor `Sync`, so each thread keeps its
    /// own.
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

/// Verifies a signature with the prepared verifier of the key `uid`.
pub(super) fn verify(
    uid: u64,
    algorithm: Algorithm,
    key: &DecodingKey,
    message: &[u8],
    signature: &Vec<u8>,
) -> bool {
    PREPARED.with_borrow_mut(|prepared| {
        match prepared.iter().position(|entry| entry.uid == uid) {
            Some(0) => {}
            Some(index) => prepared[..=index].rotate_right(1),
            None => {
                let Ok(verifier) = (provider().verifier_factory)(&algorithm.to_jsonwebtoken(), key) else {
                    return false;
                };
                prepared.truncate(MAX_PREPARED - 1);
                prepared.insert(0, Prepared { uid, verifier });
            }
        }
        prepared[0].verifier.verify(message, signature).is_ok()
    })
}

/// Enough for a ring in the middle of a rotation; a key beyond it is set up anew.
const MAX_PREPARED: usize = 16;
