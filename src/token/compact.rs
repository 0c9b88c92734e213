//! The compact serialization of a token, taken apart and decoded.

use base64::{Engine, decoded_len_estimate, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::{memchr, memrchr};

use super::error::TokenErrorKind;

/// The parts of a compact serialization (RFC 7515 §7.1), still encoded.
pub(super) struct Encoded<'t> {
    pub(super) header: &'t [u8],
    pub(super) payload: &'t [u8],
    pub(super) signature: &'t [u8],
    /// What is signed: header and payload with the dot between.
    pub(super) message: &'t [u8],
}

pub(super) fn split(token: &[u8]) -> Option<Encoded<'_>> {
    let first = memchr(b'.', token)?;
    let last = memrchr(b'.', token)?;
    let payload = token.get(first + 1..last)?;
    if memchr(b'.', payload).is_some() {
        return None; // four parts
    }
    Some(Encoded { header: &token[..first], payload, signature: &token[last + 1..], message: &token[..last] })
}

pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, TokenErrorKind> {
    // Room that is zeroed here comes cheaper than from the allocator.
    let mut decoded = Vec::with_capacity(decoded_len_estimate(part.len()));
    // Strict: no padding, no trailing bits, no white space (RFC 7515 §2).
    URL_SAFE_NO_PAD.decode_vec(part, &mut decoded).map_err(|_| TokenErrorKind::Malformed)?;
    Ok(decoded)
}

/// Lets `read` have what the part says, decoded to the stack, where nearly all payloads find room.
pub(super) fn with_decoded<T>(
    part: &[u8],
    read: impl FnOnce(&[u8]) -> Result<T, TokenErrorKind>,
) -> Result<T, TokenErrorKind> {
    if part.len() > ROOM / 3 * 4 {
        return read(&decode(part)?);
    }
    let mut room = [0; ROOM];
    let len = URL_SAFE_NO_PAD.decode_slice(part, &mut room).map_err(|_| TokenErrorKind::Malformed)?;
    read(&room[..len])
}

/// Bytes of a payload; a multiple of three, which four characters stand for.
const ROOM: usize = 768;
