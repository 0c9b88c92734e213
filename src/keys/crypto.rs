//! Explicit calls into `jsonwebtoken`'s crypto providers.
//!
//! The process-wide default provider is never used: it panics if any crate in the application's dependency graph
//! enables the features of both providers.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

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

/// Identifies a key among the prepared verifiers of each thread. The clones of a key share it.
#[derive(Clone)]
pub(super) struct KeyId(Arc<()>);

impl KeyId {
    pub(super) fn new() -> Self {
        Self(Arc::new(()))
    }
}

/// A verifier that is reused, so that the HMAC key schedule or the parsing of the public key is not repeated for each
/// token.
struct Prepared {
    /// Dead when no ring has the key any more, nor the application. Its allocation is not used again while this lives.
    key: Weak<()>,
    verifier: Box<dyn JwtVerifier>,
}

thread_local! {
    /// The prepared verifiers, most recently used first.
    ///
    /// The providers' verifiers are neither `Send` nor `Sync`, so each thread has separate ones.
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

/// Verifies a signature with the prepared verifier of the key `id`, preparing it if necessary.
///
/// Verifiers contain their secrets. Those of keys that have been dropped since the last call in this thread are dropped
/// too.
pub(super) fn verify(
    id: &KeyId,
    algorithm: Algorithm,
    key: &DecodingKey,
    message: &[u8],
    signature: &Vec<u8>,
) -> bool {
    PREPARED.with_borrow_mut(|prepared| {
        prepared.retain(|entry| entry.key.strong_count() > 0);
        match prepared.iter().position(|entry| std::ptr::eq(entry.key.as_ptr(), Arc::as_ptr(&id.0))) {
            Some(0) => {}
            Some(index) => prepared[..=index].rotate_right(1),
            None => {
                let Ok(verifier) = (provider().verifier_factory)(&algorithm.to_jsonwebtoken(), key) else {
                    return false;
                };
                prepared.truncate(MAX_PREPARED - 1);
                prepared.insert(0, Prepared { key: Arc::downgrade(&id.0), verifier });
            }
        }
        prepared[0].verifier.verify(message, signature).is_ok()
    })
}

/// Returns the number of prepared verifiers of this thread.
#[cfg(test)]
fn prepared() -> usize {
    PREPARED.with_borrow(Vec::len)
}

/// The number of prepared verifiers per thread: enough for a key ring during a key rotation. Beyond it, the least
/// recently used verifier is dropped and prepared again when needed.
const MAX_PREPARED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Key, KeyRing};

    #[test]
    fn the_verifier_of_a_removed_key_is_dropped_at_the_next_use() {
        let use_it = |ring: &KeyRing| {
            let keys = ring.keys();
            let key = keys.active().expect("it signs");
            let signature = key.sign(b"message").expect("it signs");
            assert!(key.verifies(b"message", &signature));
        };
        let secret = |byte: u8| Key::hs256([byte; 32]).expect("a secret");
        let ring = KeyRing::new(secret(1)).expect("a ring");
        let clone = ring.clone();
        for _ in 0..3 {
            use_it(&ring);
            use_it(&clone);
            assert_eq!(prepared(), 1, "clones share it");
        }
        for byte in 2..20 {
            ring.replace(KeyRing::new(secret(byte)).expect("a ring"));
            use_it(&ring);
            assert_eq!(prepared(), 1, "{byte}: the former key has left the ring");
        }
        let kept = KeyRing::new(secret(20)).expect("a ring");
        use_it(&kept);
        use_it(&ring);
        assert_eq!(prepared(), 2, "keys in use keep theirs");
    }
}
