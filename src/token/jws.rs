//! Strict parsing of compact JWSs (RFC 7515 §7.1) and their JOSE headers.

use std::{borrow::Cow, sync::OnceLock};

use base64::{Engine, decoded_len_estimate, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::{memchr, memrchr};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};

use super::error::TokenErrorKind;
use crate::keys::Algorithm;

/// The maximum length of a token in bytes. Longer tokens are rejected before any cryptography.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;

/// The parts of a compact JWS (RFC 7515 §7.1), still base64url-encoded.
pub(crate) struct Encoded<'t> {
    pub(crate) header: &'t [u8],
    pub(crate) payload: &'t [u8],
    pub(crate) signature: &'t [u8],
    /// The signing input: header and payload, separated by a dot.
    pub(crate) message: &'t [u8],
}

pub(crate) fn split(token: &[u8]) -> Option<Encoded<'_>> {
    let first = memchr(b'.', token)?;
    let last = memrchr(b'.', token)?;
    let payload = token.get(first + 1..last)?;
    if memchr(b'.', payload).is_some() {
        return None; // more than three parts
    }
    Some(Encoded { header: &token[..first], payload, signature: &token[last + 1..], message: &token[..last] })
}

pub(crate) fn decode(part: &[u8]) -> Result<Vec<u8>, TokenErrorKind> {
    // Faster than `Engine::decode`, which asks the allocator for zeroed memory.
    let mut decoded = Vec::with_capacity(decoded_len_estimate(part.len()));
    // Strict: no padding, no trailing bits, no whitespace (RFC 7515 §2).
    URL_SAFE_NO_PAD.decode_vec(part, &mut decoded).map_err(|_| TokenErrorKind::Malformed)?;
    Ok(decoded)
}

/// Decodes a part and passes it to `read`. Most payloads fit into a buffer on the stack.
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

/// The size of the stack buffer in bytes: a multiple of three, as four characters encode three bytes.
const ROOM: usize = 768;

/// The header parameters that select a key.
///
/// The others, such as `jku`, `x5u`, `jwk` and `x5c`, are declared only so that duplicates are rejected. They are
/// never used or followed.
#[derive(Deserialize)]
#[expect(dead_code, reason = "declared so that `crit`, and duplicates of the others, are rejected")]
struct Wire<'a> {
    #[serde(borrow)]
    alg: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "present_text")]
    typ: Option<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "present_text")]
    kid: Option<Cow<'a, str>>,
    #[serde(default, deserialize_with = "refuse")]
    crit: (),
    #[serde(default)]
    jku: Option<IgnoredAny>,
    #[serde(default)]
    jwk: Option<IgnoredAny>,
    #[serde(default)]
    x5u: Option<IgnoredAny>,
    #[serde(default)]
    x5c: Option<IgnoredAny>,
    #[serde(default)]
    x5t: Option<IgnoredAny>,
    #[serde(default, rename = "x5t#S256")]
    x5t_s256: Option<IgnoredAny>,
    #[serde(default)]
    cty: Option<IgnoredAny>,
}

pub(super) struct Header<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) typ: Option<Cow<'a, str>>,
    pub(super) kid: Option<Cow<'a, str>>,
}

impl<'a> Header<'a> {
    pub(super) fn parse(json: &'a [u8]) -> Result<Self, TokenErrorKind> {
        if !is_object(json) {
            return Err(TokenErrorKind::Malformed);
        }
        let wire: Wire<'a> = serde_json::from_slice(json).map_err(|_| TokenErrorKind::Malformed)?;
        // No key has an algorithm that is not supported.
        let algorithm = Algorithm::from_name(&wire.alg).ok_or(TokenErrorKind::UnknownKey)?;
        Ok(Self { algorithm, typ: wire.typ, kid: wire.kid })
    }
}

/// The parsed headers of tokens whose signature was valid, as tokens signed with the same key usually have identical
/// headers.
///
/// Entries stay correct forever, since parsing the same header again would give the same result, and are never
/// removed. Once all slots are taken, new headers are parsed each time.
#[derive(Default)]
pub(super) struct KnownHeaders([OnceLock<KnownHeader>; 8]);

struct KnownHeader {
    encoded: Box<[u8]>,
    algorithm: Algorithm,
    kid: Option<Box<str>>,
}

impl KnownHeaders {
    /// Returns the algorithm and the key id of a remembered header.
    pub(super) fn get(&self, encoded: &[u8]) -> Option<(Algorithm, Option<&str>)> {
        let mut known = self.0.iter().map_while(OnceLock::get);
        let found = known.find(|known| *known.encoded == *encoded)?;
        Some((found.algorithm, found.kid.as_deref()))
    }

    pub(super) fn remember(&self, encoded: &[u8], algorithm: Algorithm, kid: Option<&str>) {
        let Some(free) = self.0.iter().find(|slot| slot.get().is_none()) else {
            return;
        };
        // Another thread may have taken the slot, perhaps for the same header. The next token tries again.
        let _ = free.set(KnownHeader { encoded: encoded.into(), algorithm, kid: kid.map(Into::into) });
    }
}

/// Returns `true` if the JSON text starts as an object. Derived `Deserialize` implementations accept arrays, too.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Compares `typ` values as media types: case-insensitively and with `application/` optional (RFC 7515 §4.1.9).
pub(crate) fn same_media_type(one: &str, other: &str) -> bool {
    const PREFIX: &str = "application/";
    fn strip(name: &str) -> &str {
        match name.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &name[PREFIX.len()..],
            _ => name,
        }
    }
    strip(one).eq_ignore_ascii_case(strip(other))
}

/// Deserializes an optional parameter that must be a string if it is present, not `null`.
fn present_text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Text::deserialize(deserializer).map(|text| Some(text.0))
}

/// Rejects any `crit` parameter, as no extensions are supported (RFC 7515 §4.1.11).
fn refuse<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("crit"))
}
