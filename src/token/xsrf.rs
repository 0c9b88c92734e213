//! The XSRF token: its making, masking and comparing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use crate::keys::crypto::random;

/// Bytes of randomness in a token of ours: 144 bits.
const RAW_LEN: usize = 18;
/// Characters of a token of ours.
const LEN: usize = 24;
/// Characters of a masked token: the pad, then pad XOR value.
const MASKED_LEN: usize = 2 * LEN;

/// A fresh token: 24 characters of base64url without padding, so that a client which
/// percent-decodes or copies the raw cookie sends the same text.
pub(crate) fn generate() -> String {
    URL_SAFE_NO_PAD.encode(random::<RAW_LEN>())
}

/// The token under a fresh one-time pad; different on each call, it defeats BREACH on pages that
/// embed it. `None` for a value that is not one of ours.
pub(crate) fn mask(value: &str) -> Option<String> {
    let value = decode(value.as_bytes())?;
    let pad = random::<RAW_LEN>();
    let masked: [u8; RAW_LEN] = std::array::from_fn(|i| pad[i] ^ value[i]);
    Some(URL_SAFE_NO_PAD.encode(pad) + &URL_SAFE_NO_PAD.encode(masked))
}

/// Whether `presented` proves knowledge of `claim`; in constant time.
///
/// As long as the claim, it is compared as it is; 48 characters against a claim of 24 are unmasked
/// first; anything else, and an empty claim, is no proof.
pub(super) fn matches(claim: &str, presented: &[u8]) -> bool {
    if claim.is_empty() {
        return false;
    }
    if presented.len() == claim.len() {
        return claim.as_bytes().ct_eq(presented).into();
    }
    if claim.len() == LEN && presented.len() == MASKED_LEN {
        return unmask(presented).is_some_and(|value| claim.as_bytes().ct_eq(value.as_bytes()).into());
    }
    false
}

fn unmask(masked: &[u8]) -> Option<String> {
    let (pad, value) = masked.split_at_checked(LEN)?;
    let (pad, value) = (decode(pad)?, decode(value)?);
    let raw: [u8; RAW_LEN] = std::array::from_fn(|i| pad[i] ^ value[i]);
    Some(URL_SAFE_NO_PAD.encode(raw))
}

fn decode(text: &[u8]) -> Option<[u8; RAW_LEN]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}
