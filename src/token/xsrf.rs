//! The XSRF token: its making, masking and comparing.

use std::{error::Error as StdError, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::registered::Registered;
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

/// The rule behind [`Claims::verify_xsrf`] and the layer's header check.
pub(crate) fn verify(registered: &Registered, presented: &[u8]) -> Result<(), XsrfErrorKind> {
    let claim = registered.xsrf_token().ok_or(XsrfErrorKind::NoClaim)?;
    if presented.is_empty() {
        return Err(XsrfErrorKind::Missing);
    }
    if matches(claim, presented) { Ok(()) } else { Err(XsrfErrorKind::Mismatch) }
}

/// Whether `presented` proves knowledge of `claim`; in constant time.
///
/// As long as the claim, it is compared as it is; 48 characters against a claim of 24 are unmasked
/// first; anything else, and an empty claim, is no proof.
fn matches(claim: &str, presented: &[u8]) -> bool {
    if claim.is_empty() {
        return false;
    }
    if presented.len() == claim.len() {
        return same(claim.as_bytes(), presented);
    }
    if claim.len() == LEN && presented.len() == MASKED_LEN {
        return unmask(presented).is_some_and(|value| same(claim.as_bytes(), value.as_bytes()));
    }
    false
}

/// Compares texts of one length in constant time: eight bytes at once, as each comparison is a call that no
/// optimizer may see through.
fn same(one: &[u8], other: &[u8]) -> bool {
    let (words, rest) = one.as_chunks();
    let (other_words, other_rest) = other.as_chunks();
    let pairs = words.iter().zip(other_words);
    let words = pairs.map(|(one, other)| u64::from_ne_bytes(*one).ct_eq(&u64::from_ne_bytes(*other)));
    words.fold(rest.ct_eq(other_rest), |all, word| all & word).into()
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

/// Why an XSRF token was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XsrfError {
    kind: XsrfErrorKind,
}

/// The kinds of [`XsrfError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XsrfErrorKind {
    /// The request does not carry the XSRF token.
    Missing,
    /// The value is not that of the session, or two different ones were sent.
    Mismatch,
    /// The token that authenticated the request has no XSRF claim, so nothing can be proven.
    NoClaim,
    /// No `CookieJwtLayer` ran before the `XsrfLayer`: a mistake in the application's set-up.
    LayerMissing,
}

impl XsrfError {
    /// What was wrong.
    pub const fn kind(&self) -> XsrfErrorKind {
        self.kind
    }

    pub(crate) const fn new(kind: XsrfErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for XsrfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            XsrfErrorKind::Missing => "the request carries no XSRF token",
            XsrfErrorKind::Mismatch => "the XSRF token is not that of the session",
            XsrfErrorKind::NoClaim => "the access token has no XSRF claim",
            XsrfErrorKind::LayerMissing => "no CookieJwtLayer ran before the XsrfLayer",
        })
    }
}

impl StdError for XsrfError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_that_differ_in_one_bit_anywhere_do_not_match() {
        for len in 1..=40 {
            let claim = "x".repeat(len);
            assert!(matches(&claim, claim.as_bytes()), "{len}");
            for bit in 0..8 * len {
                let mut presented = claim.clone().into_bytes();
                presented[bit / 8] ^= 1 << (bit % 8);
                assert!(!matches(&claim, &presented), "bit {bit} of {len} bytes");
            }
        }
    }
}
