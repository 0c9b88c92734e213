//! The parts of a compact JWS (RFC 7515 §7.1), and its JOSE header, parsed once and strictly.

use std::{borrow::Cow, sync::OnceLock};

use base64::{Engine, decoded_len_estimate, engine::general_purpose::URL_SAFE_NO_PAD};
use memchr::{memchr, memrchr};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};

use super::error::TokenErrorKind;
use crate::keys::Algorithm;

/// Longest token in bytes that is looked at; a longer one is refused before any cryptography.
pub const MAX_TOKEN_LEN: usize = 8 * 1024;

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

/// What of the header matters for the choice of a key. `jku`, `x5u`, `jwk` and `x5c` are known only
/// so that they cannot be given twice: they are never followed.
#[derive(Deserialize)]
#[expect(dead_code, reason = "known so that `crit`, or a second one of the others, is refused")]
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
        // An algorithm that does not exist here is one that no key has.
        let algorithm = Algorithm::from_name(&wire.alg).ok_or(TokenErrorKind::UnknownKey)?;
        Ok(Self { algorithm, typ: wire.typ, kid: wire.kid })
    }
}

/// Headers of tokens that a verifier has accepted: the tokens of one key all have the same, byte for byte.
///
/// What is known of one is what parsing it again would say. Only headers whose signature was good get in,
/// and none gets out: after so many key changes in the life of a verifier, new ones are parsed each time.
#[derive(Default)]
pub(super) struct KnownHeaders([OnceLock<KnownHeader>; 8]);

struct KnownHeader {
    encoded: Box<[u8]>,
    algorithm: Algorithm,
    kid: Option<Box<str>>,
}

impl KnownHeaders {
    /// The algorithm and the key id of a header of accepted tokens.
    pub(super) fn get(&self, encoded: &[u8]) -> Option<(Algorithm, Option<&str>)> {
        let mut known = self.0.iter().map_while(OnceLock::get);
        let found = known.find(|known| *known.encoded == *encoded)?;
        Some((found.algorithm, found.kid.as_deref()))
    }

    pub(super) fn remember(&self, encoded: &[u8], algorithm: Algorithm, kid: Option<&str>) {
        let Some(free) = self.0.iter().find(|slot| slot.get().is_none()) else {
            return;
        };
        // Another thread may take the place first, perhaps for the same header: the next token tries again.
        let _ = free.set(KnownHeader { encoded: encoded.into(), algorithm, kid: kid.map(Into::into) });
    }
}

/// Whether the text begins as an object; derived types would take an array as well.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// Compares `typ` values as media types: without case, and `application/` may be left out (RFC 7515 §4.1.9).
pub(super) fn same_media_type(one: &str, other: &str) -> bool {
    const PREFIX: &str = "application/";
    fn strip(name: &str) -> &str {
        match name.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &name[PREFIX.len()..],
            _ => name,
        }
    }
    strip(one).eq_ignore_ascii_case(strip(other))
}

/// A string that must be one when the parameter is there: `null` is another type.
fn present_text<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'a, str>>, D::Error> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    Text::deserialize(deserializer).map(|text| Some(text.0))
}

/// Any `crit` refuses: no extension is understood here (RFC 7515 §4.1.11).
fn refuse<'de, D: Deserializer<'de>>(_: D) -> Result<(), D::Error> {
    Err(D::Error::custom("crit"))
}
