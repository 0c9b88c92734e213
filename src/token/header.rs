//! The JOSE header of a token (RFC 7515 §4), parsed once and strictly.

use std::{borrow::Cow, sync::OnceLock};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny},
};

use super::{error::TokenErrorKind, json::is_object};
use crate::keys::Algorithm;

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
pub(super) struct KnownHeaders([OnceLock<Known>; 8]);

struct Known {
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
        let _ = free.set(Known { encoded: encoded.into(), algorithm, kid: kid.map(Into::into) });
    }
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
