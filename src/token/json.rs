//! Small things about JSON that serde leaves open.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::clock::END_OF_YEAR_9999;

/// Whether the text begins as an object; derived types would take an array as well.
pub(super) fn is_object(json: &[u8]) -> bool {
    json.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}

/// A NumericDate (RFC 7519 §2): an integer or a fraction, not negative, not after the year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
