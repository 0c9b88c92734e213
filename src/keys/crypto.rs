//! Explicit calls into `jsonwebtoken`'s crypto providers.
//!
//! The process-wide default provider is never used: it panics if any crate in the application's dependency graph
//! enables the features of both providers.

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

/// Returns the SHA-256 digest of `data`.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let digest = (provider().key_utils.compute_digest)(data, ThumbprintHash::SHA256);
    digest
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .expect("both providers implement SHA-256, whose digest has 32 bytes")
}

/// Returns the HMAC-SHA-256 of `message` (RFC 2104) under a key of any length.
#[cfg(feature = "redis")]
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    use jsonwebtoken::{Algorithm, EncodingKey};

    let signer = (provider().signer_factory)(&Algorithm::HS256, &EncodingKey::from_secret(key)).ok();
    signer
        .and_then(|signer| signer.try_sign(message).ok()?.try_into().ok())
        .expect("both providers implement HMAC-SHA-256, whose tag has 32 bytes")
}

/// Returns random bytes from the operating system.
///
/// # Panics
///
/// Panics if the operating system cannot provide randomness, as there is no safe way to continue.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// A verifier that is reused, so that the HMAC key schedule or the parsing of the public key is not repeated for each
/// token.
struct Prepared {
    uid: u64,
    verifier: Box<dyn JwtVerifier>,
}

thread_local! {
    /// The prepared verifiers, most recently used first.
    ///
    /// The providers' verifiers are neither `Send` nor `Sync`, so each thread has separate ones.
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

/// Verifies a signature with the prepared verifier of the key `uid`, preparing it if necessary.
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

/// The number of prepared verifiers per thread: enough for a key ring during a key rotation. Beyond it, the least
/// recently used verifier is dropped and prepared again when needed.
const MAX_PREPARED: usize = 16;
