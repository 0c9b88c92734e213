//! What can be known of the application's claims type before there are claims: the names of its fields.

use std::any::type_name;

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, Visitor},
    forward_to_deserialize_any,
};

use super::registered::{self, RESERVED};
use crate::error::ConfigError;

/// Refuses a claims type that could never be read from a token: one that is no object, or has a field with the name of
/// a registered claim. Such a claim never reaches the application's type, so that an optional field would always be empty.
///
/// Of a map, a type with flattened fields or an enum, nothing is known before there are claims.
pub(super) fn check<C: DeserializeOwned>(
    accessor: impl Fn(&str) -> Option<&'static str>,
) -> Result<(), ConfigError> {
    let name = type_name::<C>();
    match C::deserialize(Probe).err() {
        Some(Shape::Struct(fields)) => {
            match fields.iter().find_map(|field| Some((field, accessor(field)?))) {
                None => Ok(()),
                Some((field, accessor)) => Err(ConfigError::new(format!(
                    "the claims type `{name}` has a field or an alias `{field}`, which is a registered claim and read with \
                     `Claims::{accessor}`; remove or rename it"
                ))),
            }
        }
        Some(Shape::NoObject) => Err(ConfigError::new(format!(
            "the claims type `{name}` is not a JSON object; use a struct with a field for each claim, or `()`"
        ))),
        Some(Shape::Unknown) | None => Ok(()),
    }
}

/// Returns the method of `Claims` that reads a claim of this name, if tokens with these settings give it to a registered
/// one.
pub(super) fn accessor(name: &str, scope_claim: &str, xsrf_claim: &str) -> Option<&'static str> {
    match name {
        _ if name == scope_claim => Some("scope"),
        _ if name == xsrf_claim => Some("xsrf_token"),
        "scope" => None,
        _ => RESERVED.contains(&name).then(|| registered::accessor(name)),
    }
}

/// What a type asks a deserializer for. It is the error of [`Probe`], so that nothing is deserialized.
#[derive(Debug)]
enum Shape {
    Struct(&'static [&'static str]),
    NoObject,
    Unknown,
}

impl de::Error for Shape {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self::Unknown
    }
}

impl de::StdError for Shape {}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nothing is deserialized")
    }
}

struct Probe;

macro_rules! no_object {
    ($($method:ident($($argument:ty),*))*) => {
        $(fn $method<V: Visitor<'de>>(self, $(_: $argument,)* _: V) -> Result<V::Value, Shape> {
            Err(Shape::NoObject)
        })*
    };
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Shape;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Shape> {
        Err(Shape::Unknown)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Shape> {
        Err(Shape::Struct(fields))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Shape> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Shape> {
        visitor.visit_newtype_struct(self)
    }

    no_object! {
        deserialize_bool() deserialize_char() deserialize_str() deserialize_string()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64() deserialize_bytes() deserialize_byte_buf()
        deserialize_seq() deserialize_tuple(usize) deserialize_tuple_struct(&'static str, usize)
    }

    forward_to_deserialize_any! { unit unit_struct map enum identifier ignored_any }
}
