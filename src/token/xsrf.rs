//! Generating, masking and comparing XSRF tokens.

use std::{error::Error as StdError, fmt};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use subtle::ConstantTimeEq;

use super::registered::Registered;
use crate::keys::crypto::random;

/// The number of random bytes in an XSRF token of this crate: 144 bits.
const RAW_LEN: usize = 18;
/// The length of an XSRF token of this crate in characters.
const LEN: usize = 24;
/// The length of a masked token in characters: the pad, followed by the value XORed with the pad.
const MASKED_LEN: usize = 2 * LEN;

/// Generates a random XSRF token of 24 characters.
///
/// It is base64url without padding, so clients send the same text whether or not they percent-decode the cookie.
pub(crate) fn generate() -> String {
    URL_SAFE_NO_PAD.encode(random::<RAW_LEN>())
}

/// Masks a token with a fresh one-time pad.
///
/// The result differs on each call, which defeats the BREACH attack on pages that embed it. Returns `None` if the
/// value does not have the format of this crate's tokens.
pub(crate) fn mask(value: &str) -> Option<String> {
    let value = decode(value.as_bytes())?;
    let pad = random::<RAW_LEN>();
    let masked: [u8; RAW_LEN] = std::array::from_fn(|i| pad[i] ^ value[i]);
    Some(URL_SAFE_NO_PAD.encode(pad) + &URL_SAFE_NO_PAD.encode(masked))
}

/// Checks a presented XSRF token against the claim, for both `Claims::verify_xsrf` and `XsrfLayer`.
pub(crate) fn verify(registered: &Registered, presented: &[u8]) -> Result<(), XsrfErrorKind> {
    let claim = registered.xsrf_token().ok_or(XsrfErrorKind::NoClaim)?;
    if presented.is_empty() {
        return Err(XsrfErrorKind::Missing);
    }
    if matches(claim, presented) { Ok(()) } else { Err(XsrfErrorKind::Mismatch) }
}

/// Returns `true` if `presented` proves knowledge of `claim`. Takes constant time.
///
/// A value of the claim's length is compared directly. If the claim has 24 characters, a value of 48 is unmasked
/// first. No other value matches, and nothing matches an empty claim.
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

/// Compares strings of the same length in constant time.
///
/// It compares eight bytes at a time, because each `ct_eq` is a call that the optimizer must not see through.
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

/// The error returned when a request does not prove that it comes from the site's own page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XsrfError {
    kind: XsrfErrorKind,
}

/// The kinds of [`XsrfError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum XsrfErrorKind {
    /// The request carries no XSRF token.
    Missing,
    /// The value does not match the session's, or the request carries two different values.
    Mismatch,
    /// The token that authenticated the request has no XSRF claim to compare with.
    NoClaim,
    /// No `CookieJwtLayer` ran before the `XsrfLayer`, which is a mistake in the application.
    LayerMissing,
}

impl XsrfError {
    /// Returns the kind of the error.
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
            XsrfErrorKind::Mismatch => "the XSRF token does not match the session",
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
