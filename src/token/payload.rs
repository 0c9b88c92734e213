//! Single-pass parsing of a token's claims set.
//!
//! The claims set is one JSON object that contains both the registered claims and the application's fields.
//!
//! The application's type is deserialized from a view of the object without the registered claims, which are
//! collected on the way. The type may therefore deny unknown fields, or flatten the rest into a map, and serializes
//! to the same fields at the next rotation.

use std::{fmt, str, sync::Arc};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeOwned, DeserializeSeed, IgnoredAny, MapAccess, Visitor,
        value::{CowStrDeserializer, MapAccessDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

use super::{
    claims::Verified,
    jws::is_object,
    mismatch::Mismatch,
    registered::{ParsedClaims, Registered, Text},
};
use crate::keys::Epoch;

/// How to read the registered claims.
#[derive(Clone, Copy)]
pub(super) struct Rules<'r> {
    /// The name of the claim that holds the XSRF token.
    pub(super) xsrf_claim: &'r str,
    /// The name of the claim that holds the scopes.
    pub(super) scope_claim: &'r str,
    /// Whether `iss` is compared. If not, and if it is no string, it counts as absent.
    pub(super) compares_issuer: bool,
    /// Whether `aud` is compared. If not, and if it is of another type, it counts as absent.
    pub(super) compares_audience: bool,
    /// Whether `sid` and `gen` are those of this crate's sessions. If not, and if they are of another type, they count
    /// as absent: other issuers give these names to something else.
    pub(super) of_sessions: bool,
}

/// The reason why a claims set cannot be read.
pub(super) enum Unreadable {
    /// It is not a JSON object, a claim that decides about the token has another type, a registered claim occurs twice,
    /// or `exp` is missing.
    Malformed,
    /// The registered claims are valid, but the application's claims do not deserialize to its type.
    ClaimsMismatch { registered: Box<Registered>, mismatch: Mismatch },
}

/// Reads the registered claims and the application's claims.
///
/// They are returned in their `Arc`, as they are too large to move around. If only the application's claims cannot be
/// read, the error contains the registered claims, so that an expired token is reported as such even if the type has
/// changed.
pub(super) fn read<'de, C: Deserialize<'de>>(
    json: &'de [u8],
    rules: Rules<'_>,
    epoch: Epoch,
) -> Result<Arc<Verified<C>>, Unreadable> {
    // Validating the whole text at once is cheaper than validating each string.
    let json = str::from_utf8(json).map_err(|_| Unreadable::Malformed)?;
    // Nearly all tokens have the expected types, and need no second look.
    if let Ok(both) = read_in_one_pass(json, rules, Types::AsExpected, epoch, &mut None) {
        return Ok(both);
    }
    let mut last = None;
    let error = match read_in_one_pass(json, rules, Types::AsTheyCome, epoch, &mut last) {
        Ok(both) => return Ok(both),
        Err(error) => error,
    };
    // Parse again to find out which claims are invalid.
    match read_in_one_pass::<IgnoredAny>(json, rules, Types::AsTheyCome, epoch, &mut None) {
        Ok(verified) => Err(Unreadable::ClaimsMismatch {
            registered: Box::new(verified.registered.clone()),
            mismatch: Mismatch::of(&error, last.as_deref()),
        }),
        Err(_) => Err(Unreadable::Malformed),
    }
}

/// Checks that an object of the application's claims deserializes as the application's type.
pub(super) fn check_custom<C: DeserializeOwned>(json: &str) -> Result<(), Mismatch> {
    let rules = Rules {
        xsrf_claim: "",
        scope_claim: "",
        compares_issuer: false,
        compares_audience: false,
        of_sessions: false,
    };
    let (mut parsed, mut last) = (ParsedClaims::default(), None);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let own = Own {
        deserializer: &mut deserializer,
        parsed: &mut parsed,
        rules,
        types: Types::AsTheyCome,
        last: &mut last,
    };
    let read = C::deserialize(own);
    read.map(drop).map_err(|error| Mismatch::of(&error, last.as_deref()))
}

fn read_in_one_pass<'de, C: Deserialize<'de>>(
    json: &'de str,
    rules: Rules<'_>,
    types: Types,
    epoch: Epoch,
    last: &mut Option<String>,
) -> Result<Arc<Verified<C>>, serde_json::Error> {
    if !is_object(json.as_bytes()) {
        return Err(de::Error::custom("claims are not an object"));
    }
    let mut parsed = ParsedClaims::default();
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let custom =
        C::deserialize(Own { deserializer: &mut deserializer, parsed: &mut parsed, rules, types, last })?;
    deserializer.end()?;
    let registered = Registered::keep(parsed).ok_or_else(|| de::Error::custom("a token without `exp`"))?;
    Ok(Arc::new(Verified::new(epoch, registered, custom)))
}

/// A deserializer of the claims set that exposes only the application's claims.
struct Own<'r, 'de, D> {
    deserializer: D,
    parsed: &'r mut ParsedClaims<'de>,
    rules: Rules<'r>,
    types: Types,
    /// The name of the application's claim that is being read, where it is of interest.
    last: &'r mut Option<String>,
}

/// What to make of a claim of another type than the expected one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    /// Fail.
    AsExpected,
    /// Fail if the claim decides about the token, and otherwise take it for absent.
    AsTheyCome,
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
            rules: self.rules,
            types: self.types,
            last: self.last,
        })
    }
}

/// The data model type that the application's type asks for.
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
    rules: Rules<'r>,
    types: Types,
    last: &'r mut Option<String>,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for OwnVisitor<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let mut own =
            OwnMap { map, parsed: self.parsed, rules: self.rules, types: self.types, last: self.last };
        let value = match self.shape {
            Shape::Map => self.visitor.visit_map(&mut own)?,
            Shape::Enum => self.visitor.visit_enum(MapAccessDeserializer::new(&mut own))?,
            Shape::Unit => self.visitor.visit_unit()?,
        };
        // The application's type may have stopped early, but registered claims may follow.
        while own.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct OwnMap<'r, 'de, A> {
    map: A,
    parsed: &'r mut ParsedClaims<'de>,
    rules: Rules<'r>,
    types: Types,
    last: &'r mut Option<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for OwnMap<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        while let Some(Text(name)) = self.map.next_key::<Text<'de>>()? {
            if !self.take(&name)? {
                if self.types == Types::AsTheyCome {
                    *self.last = Some(name.to_string());
                }
                return seed.deserialize(CowStrDeserializer::new(name)).map(Some);
            }
        }
        *self.last = None;
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, A: MapAccess<'de>> OwnMap<'_, 'de, A> {
    /// Reads the value if `name` is a registered claim, and returns `false` if it is the application's.
    fn take(&mut self, name: &str) -> Result<bool, A::Error> {
        let Self { map, parsed, rules, types, .. } = self;
        let tolerant = *types == Types::AsTheyCome;
        let seen = &mut parsed.seen;
        match name {
            _ if name == rules.xsrf_claim => once(map, seen, 0, tolerant, &mut parsed.xsrf_token)?,
            _ if name == rules.scope_claim => once(map, seen, 1, tolerant, &mut parsed.scope)?,
            "iss" => once(map, seen, 2, tolerant && !rules.compares_issuer, &mut parsed.issuer)?,
            "sub" => once(map, seen, 3, false, &mut parsed.subject)?,
            "aud" => once(map, seen, 4, tolerant && !rules.compares_audience, &mut parsed.audience)?,
            "exp" => once(map, seen, 5, false, &mut parsed.expires_at)?,
            "nbf" => once(map, seen, 6, false, &mut parsed.not_before)?,
            "iat" => once(map, seen, 7, tolerant, &mut parsed.issued_at)?,
            "auth_time" => once(map, seen, 8, tolerant, &mut parsed.authenticated_at)?,
            "jti" => once(map, seen, 9, false, &mut parsed.token_id)?,
            "sid" => once(map, seen, 10, tolerant && !rules.of_sessions, &mut parsed.session_id)?,
            "gen" => once(map, seen, 11, tolerant && !rules.of_sessions, &mut parsed.generation)?,
            "proof_time" => once(map, seen, 12, tolerant && !rules.of_sessions, &mut parsed.proof_time)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Reads the next value into `slot`, and rejects a duplicate (RFC 7519 §4), whatever the values.
///
/// If `tolerant`, a value of another type leaves the slot empty.
fn once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
    seen: &mut u16,
    bit: u8,
    tolerant: bool,
    slot: &mut Option<T>,
) -> Result<(), A::Error> {
    if *seen & 1 << bit != 0 {
        return Err(de::Error::custom("a registered claim occurs twice"));
    }
    *seen |= 1 << bit;
    *slot = match tolerant {
        false => Some(map.next_value()?),
        true => T::deserialize(map.next_value::<Value>()?).ok(),
    };
    Ok(())
}
