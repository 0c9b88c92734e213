//! Small things about JSON that serde leaves open.

use std::{borrow::Cow, fmt, ops::Deref, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use crate::clock::END_OF_YEAR_9999;

/// Whether the text begins as an object; derived types would take an array as well.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// A NumericDate (RFC 7519 §2): an integer or a fraction, not negative, not after the year 9999.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate(pub(crate) Duration);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DateVisitor;
        impl Visitor<'_> for DateVisitor {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a NumericDate")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                if seconds > END_OF_YEAR_9999 {
                    return Err(E::custom("date after the year 9999"));
                }
                Ok(NumericDate(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                u64::try_from(seconds)
                    .map_err(|_| E::custom("date before the epoch"))
                    .and_then(|seconds| self.visit_u64(seconds))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // The comparison is false for anything that is no number.
                if !(seconds >= 0.0 && seconds < (END_OF_YEAR_9999 + 1) as f64) {
                    return Err(E::custom("date out of range"));
                }
                Duration::try_from_secs_f64(seconds).map(NumericDate).map_err(E::custom)
            }
        }
        // Asks for a number, not for anything: `arbitrary_precision` of serde_json, which another
        // crate may enable, would else present numbers as maps.
        deserializer.deserialize_f64(DateVisitor)
    }
}

/// A text, or the name of a member; borrowed unless it has escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// `aud`: one string or an array of strings (RFC 7519 §4.1.3).
pub(super) enum Audience<'de> {
    One(Text<'de>),
    Several(Vec<Text<'de>>),
}

impl<'de> Audience<'de> {
    pub(super) fn names(&self) -> &[Text<'de>] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl<'de> Deserialize<'de> for Audience<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AudienceVisitor;
        impl<'de> Visitor<'de> for AudienceVisitor {
            type Value = Audience<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Audience<'de>, E> {
                TextVisitor.visit_borrowed_str(name).map(Audience::One)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Audience<'de>, E> {
                TextVisitor.visit_str(name).map(Audience::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Audience<'de>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(Audience::Several)
            }
        }
        deserializer.deserialize_any(AudienceVisitor)
    }
}
