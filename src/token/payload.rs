//! The claims set as it stands in a token: registered claims and the application's own fields side
//! by side in one object, read in one pass.
//!
//! The application's type is deserialized from a view of the object that leaves the registered
//! claims out; they are picked up on the way. So its type may deny unknown fields or collect the
//! rest into a map, and gives back on the next rotation exactly what it was given.

use std::{fmt, str, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IgnoredAny, MapAccess, Visitor,
        value::{CowStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};

use super::{
    claims::Verified,
    jws::is_object,
    registered::{ParsedClaims, Registered, Text},
};
use crate::keys::Epoch;

/// The names that the application's own claims may not have, besides the XSRF claim's.
pub(crate) const RESERVED: [&str; 11] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "sid", "gen", "scope"];

/// Why a claims set could not be read.
pub(super) enum Unreadable {
    /// Not a JSON object, or a registered claim is of another type or given twice, or `exp` is missing.
    Malformed,
    /// The registered claims are in order; the application's own are not of its type.
    ClaimsMismatch(Box<Registered>),
}

/// Reads registered claims and the application's own, to where they stay: they are large.
///
/// When only the latter fail, the registered claims are returned all the same, so that "expired"
/// is not hidden behind a changed type.
pub(super) fn read<'de, C: Deserialize<'de>>(
    json: &'de [u8],
    xsrf_claim: &str,
    epoch: Epoch,
) -> Result<Arc<Verified<C>>, Unreadable> {
    // Once for the whole, and not for each string.
    let json = str::from_utf8(json).map_err(|_| Unreadable::Malformed)?;
    if let Ok(both) = read_in_one_pass(json, xsrf_claim, epoch) {
        return Ok(both);
    }
    // Off the hot path: find out which of the two is at fault.
    match read_in_one_pass::<IgnoredAny>(json, xsrf_claim, epoch) {
        Ok(verified) => Err(Unreadable::ClaimsMismatch(Box::new(verified.registered.clone()))),
        Err(_) => Err(Unreadable::Malformed),
    }
}

fn read_in_one_pass<'de, C: Deserialize<'de>>(
    json: &'de str,
    xsrf_claim: &str,
    epoch: Epoch,
) -> Result<Arc<Verified<C>>, serde_json::Error> {
    if !is_object(json.as_bytes()) {
        return Err(de::Error::custom("claims are not an object"));
    }
    let mut parsed = ParsedClaims::default();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let custom = C::deserialize(Own { deserializer: &mut deserializer, parsed: &mut parsed, xsrf_claim })?;
    deserializer.end()?;
    let registered = Registered::keep(parsed).ok_or_else(|| de::Error::custom("a token without `exp`"))?;
    Ok(Arc::new(Verified::new(epoch, registered, custom)))
}

/// A deserializer of the claims set that shows only the application's own claims.
struct Own<'r, 'de, D> {
    deserializer: D,
    parsed: &'r mut ParsedClaims<'de>,
    xsrf_claim: &'r str,
}

impl<'de, D> Own<'_, 'de, D> {
    fn read<V: Visitor<'de>>(self, visitor: V, shape: Shape) -> Result<V::Value, D::Error>
    where
        D: Deserializer<'de>,
    {
        self.deserializer.deserialize_map(OwnVisitor {
            visitor,
            shape,
            parsed: self.parsed,
            xsrf_claim: self.xsrf_claim,
        })
    }
}

/// How the application's type wants to be visited.
#[derive(Clone, Copy)]
enum Shape {
    Map,
    Unit,
    Enum,
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Own<'_, 'de, D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.read(visitor, Shape::Map)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.read(visitor, Shape::Unit)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.read(visitor, Shape::Unit)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.read(visitor, Shape::Enum)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct OwnVisitor<'r, 'de, V> {
    visitor: V,
    shape: Shape,
    parsed: &'r mut ParsedClaims<'de>,
    xsrf_claim: &'r str,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for OwnVisitor<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let mut own = OwnMap { map, parsed: self.parsed, xsrf_claim: self.xsrf_claim };
        let value = match self.shape {
            Shape::Map => self.visitor.visit_map(&mut own)?,
            Shape::Enum => self.visitor.visit_enum(MapAccessDeserializer::new(&mut own))?,
            Shape::Unit => self.visitor.visit_unit()?,
        };
        // The application's type may have stopped early; the registered claims behind still count.
        while own.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct OwnMap<'r, 'de, A> {
    map: A,
    parsed: &'r mut ParsedClaims<'de>,
    xsrf_claim: &'r str,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OwnMap<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(name)) = self.map.next_key::<Text<'de>>()? {
            if !self.take(&name)? {
                return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> OwnMap<'_, 'de, A> {
    /// Takes the value of a registered claim; false when `name` is the application's.
    fn take(&mut self, name: &str) -> Result<bool, A::Error> {
        let Self { map, parsed, xsrf_claim, .. } = self;
        match name {
            _ if name == *xsrf_claim => once(map, &mut parsed.xsrf_token)?,
            "iss" => once(map, &mut parsed.issuer)?,
            "sub" => once(map, &mut parsed.subject)?,
            "aud" => once(map, &mut parsed.audience)?,
            "exp" => once(map, &mut parsed.expires_at)?,
            "nbf" => once(map, &mut parsed.not_before)?,
            "iat" => once(map, &mut parsed.issued_at)?,
            "auth_time" => once(map, &mut parsed.authenticated_at)?,
            "jti" => once(map, &mut parsed.token_id)?,
            "sid" => once(map, &mut parsed.session_id)?,
            "gen" => once(map, &mut parsed.generation)?,
            "scope" => once(map, &mut parsed.scope)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Fills `slot` with the next value: a second one of the name is refused (RFC 7519 §4).
fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    slot: &mut Option<T>,
) -> Result<(), A::Error> {
    if slot.is_some() {
        return Err(de::Error::custom("a registered claim occurs twice"));
    }
    *slot = Some(map.next_value()?);
    Ok(())
}
