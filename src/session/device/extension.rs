//! The binding as bytes: the extension of a session record.
//!
//! ```text
//! 1   version of the extension
//! 1   algorithm: 1 is ES256, 2 is RS256
//! 1   enforcement: 0 is `Observe`, 1 is `Always`
//! 8   bound_at   milliseconds since the epoch, big-endian, as all numbers here
//! 8   proved_at
//! 4   proofs
//! 65  ES256: the uncompressed point
//!     RS256: 2 the length of the modulus, the modulus, 1 the length of the exponent, the exponent
//! ```
//!
//! The thumbprint is not among them. It follows from the key, so no record can hold the thumbprint of another key.

use std::{error::Error as StdError, fmt};

use super::{super::binding::Bound, key::DeviceKey, public_key::PublicKey};
use crate::store::millis::{begins, from_millis};

/// The extension of a record is not one that this version reads.
///
/// The reader must refuse the record: a session that may be bound counts as bound to a key that nobody has, never as
/// unbound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExtensionError {
    /// A later version of this crate has written it.
    UnknownVersion,
    /// Its version is known, but it is cut short or holds what this crate does not write.
    Malformed,
}

/// Reads the binding of a session from the extension of its record; `None` if the session is not bound.
pub(crate) fn binding(extension: &[u8]) -> Result<Option<DeviceKey>, ExtensionError> {
    match extension {
        [] => Ok(None),
        [VERSION, fields @ ..] => read(fields).map(Some).ok_or(ExtensionError::Malformed),
        _ => Err(ExtensionError::UnknownVersion),
    }
}

fn read(mut fields: &[u8]) -> Option<DeviceKey> {
    let fields = &mut fields;
    let [algorithm, enforcement] = take(fields)?;
    let is_enforced = match enforcement {
        0 => false,
        1 => true,
        _ => return None,
    };
    let [bound_at, proved_at] = [take(fields)?, take(fields)?].map(i64::from_be_bytes);
    let proofs = u32::from_be_bytes(take(fields)?);
    let public = match algorithm {
        ES256 => PublicKey::from_point(&take::<65>(fields)?),
        RS256 => {
            let modulus = u16::from_be_bytes(take(fields)?);
            let modulus = fields.split_off(..usize::from(modulus))?;
            let [exponent] = take(fields)?;
            PublicKey::from_rsa(modulus, fields.split_off(..usize::from(exponent))?)
        }
        _ => return None,
    };
    let public = public.ok().filter(|_| fields.is_empty())?;
    Some(DeviceKey {
        thumbprint: public.thumbprint(),
        public,
        bound: Bound { bound_at: from_millis(bound_at)?, is_enforced, proofs },
        proved_at: from_millis(proved_at)?,
    })
}

/// Takes the next `N` bytes.
fn take<const N: usize>(fields: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = fields.split_first_chunk()?;
    *fields = rest;
    Some(*taken)
}

impl DeviceKey {
    /// Returns the extension of a record whose session is bound to this key.
    pub(crate) fn to_extension(&self) -> Box<[u8]> {
        let Bound { bound_at, is_enforced, proofs } = self.bound;
        let algorithm = if self.public.point().is_some() { ES256 } else { RS256 };
        let mut bytes = vec![VERSION, algorithm, is_enforced.into()];
        bytes.extend(begins(bound_at).to_be_bytes());
        bytes.extend(begins(self.proved_at).to_be_bytes());
        bytes.extend(proofs.to_be_bytes());
        if let Some(point) = self.public.point() {
            bytes.extend(point);
        }
        if let Some((modulus, exponent)) = self.public.rsa() {
            // Both lengths are bounded where the key is made: 512 and 5 bytes.
            bytes.extend((modulus.len() as u16).to_be_bytes());
            bytes.extend(modulus);
            bytes.push(exponent.len() as u8);
            bytes.extend(exponent);
        }
        bytes.into()
    }
}

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownVersion => "a later version of this crate has written the extension of the record",
            Self::Malformed => "the extension of the record is malformed",
        })
    }
}

impl StdError for ExtensionError {}

/// The version of the extension that this crate writes: a device key, and nothing else.
const VERSION: u8 = 1;
const ES256: u8 = 1;
const RS256: u8 = 2;
