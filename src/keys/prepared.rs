//! Verifiers that have been set up once: the HMAC key schedule and the parsing of a public key
//! are not repeated for each token.
//!
//! The providers' verifiers are neither `Send` nor `Sync`, so each thread keeps its own few.

use std::cell::RefCell;

use jsonwebtoken::{DecodingKey, crypto::JwtVerifier};

use super::{algorithm::Algorithm, crypto::provider};

struct Prepared {
    uid: u64,
    verifier: Box<dyn JwtVerifier>,
}

thread_local! {
    /// Most recently used first.
    static PREPARED: RefCell<Vec<Prepared>> = const { RefCell::new(Vec::new()) };
}

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
