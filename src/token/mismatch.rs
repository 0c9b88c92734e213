//! Why the claims of a valid token are not those of the application: told once, to the developer.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use super::registered::{RESERVED, accessor};
use crate::error::excerpt;

/// A field that keeps claims from being deserialized as the application's type. Says nothing of its value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mismatch {
    field: Option<Box<str>>,
    fault: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Fault {
    Missing,
    Unknown,
    OtherType,
}

impl Mismatch {
    /// Creates it from the error, whose text may contain values, and the claim that was being read, if any.
    pub(super) fn of(error: &serde_json::Error, reading: Option<&str>) -> Self {
        let text = error.to_string();
        let named = |start: &str| text.strip_prefix(start)?.split('`').next();
        let short = |name: &str| Some(excerpt(name).into());
        match reading {
            Some(claim) if named("unknown field `") == Some(claim) => {
                Self { field: short(claim), fault: Fault::Unknown }
            }
            Some(claim) => Self { field: short(claim), fault: Fault::OtherType },
            // Not inside a claim, so it is a field of the type itself.
            None => Self { field: named("missing field `").and_then(short), fault: Fault::Missing },
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, fault } = self;
        let name = field.as_deref().unwrap_or_default();
        if field.is_none() {
            return f
                .write_str("it is not made for these claims; use a struct with a field for each, or a map");
        }
        if *fault == Fault::Missing && RESERVED.contains(&name) {
            return write!(
                f,
                "its field `{name}` is a registered claim, which is read with `Claims::{}`; remove the field",
                accessor(name)
            );
        }
        match fault {
            Fault::Missing => write!(
                f,
                "its field `{name}` is not in the token; make it an `Option`, give it a default, or have the issuer add it"
            ),
            Fault::Unknown => {
                write!(f, "it denies the claim `{name}`; add the field, or leave out `deny_unknown_fields`")
            }
            Fault::OtherType => {
                write!(f, "the claim `{name}` does not fit the type of its field; change that")
            }
        }
    }
}

/// The mismatches that have been told.
#[derive(Default)]
pub(super) struct Mismatches(Mutex<HashSet<Mismatch>>);

impl Mismatches {
    /// Tells a mismatch unless it has been told before.
    pub(super) fn tell(&self, mismatch: &Mismatch, claims_type: &str) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() < MAX_TOLD && told.insert(mismatch.clone()) {
            crate::trace::claims_mismatch(claims_type, mismatch);
        }
    }
}

/// The most mismatches that are told: a type has few fields, but an issuer may add any.
const MAX_TOLD: usize = 16;
