//! Conversion between records and Redis values.
//!
//! A single value is smaller and faster than a hash with one entry per field. It begins with a head of 17 bytes that
//! the scripts compare: 8 random bytes that identify the write, 8 bytes of version, and 1 byte of format. The head is
//! followed by five times, which the script of `create` fills in, and then by the remaining fields. Numbers are
//! big-endian.

use std::time::SystemTime;

use super::error::Corrupt;
use crate::{
    keys::crypto::random,
    store::{
        millis::{begins, ends, from_millis},
        record::{SessionId, SessionRecord},
    },
};

/// Encodes `record` as the value to write, with `version` as its version.
pub(super) fn encode(record: &SessionRecord, version: u64) -> Vec<u8> {
    let texts = [&record.subject, &record.scope, &record.claims, &record.xsrf_token, &record.label];
    let mut value = Vec::with_capacity(FIXED_LEN + texts.iter().map(|text| 4 + text.len()).sum::<usize>());
    value.extend(random::<8>());
    value.extend(version_bytes(version));
    value.push(FORMAT);
    value.extend(begins(record.rotated_at).to_be_bytes());
    value.extend(begins(record.created_at).to_be_bytes());
    value.extend(begins(record.last_seen_at).to_be_bytes());
    value.extend(ends(record.idle_expires_at).to_be_bytes());
    value.extend(ends(record.absolute_expires_at).to_be_bytes());
    value.extend(record.confirmed_at.map_or(NEVER, begins).to_be_bytes());
    value.extend(record.generation.to_be_bytes());
    value.extend(record.secret_hash);
    for text in texts {
        // The length always fits: Redis values have at most 512 MB.
        value.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        value.extend(text.as_bytes());
    }
    value
}

/// Splits a value into the parts before and after the five times.
pub(super) fn around_times(value: &[u8]) -> (&[u8], &[u8]) {
    (&value[..HEAD_LEN], &value[HEAD_LEN + TIMES_LEN..])
}

/// Encodes a version the way the head contains it.
pub(super) const fn version_bytes(version: u64) -> [u8; 8] {
    version.to_be_bytes()
}

pub(super) fn decode(id: &SessionId, value: &[u8]) -> Result<SessionRecord, Corrupt> {
    let mut rest = Rest(value);
    rest.array::<8>()?;
    let version = u64::from_be_bytes(rest.array()?);
    if rest.array()? != [FORMAT] {
        return Err(Corrupt);
    }
    let record = SessionRecord {
        id: id.clone(),
        version,
        rotated_at: rest.time()?,
        created_at: rest.time()?,
        last_seen_at: rest.time()?,
        idle_expires_at: rest.time()?,
        absolute_expires_at: rest.time()?,
        confirmed_at: rest.time_if_any()?,
        generation: u32::from_be_bytes(rest.array()?),
        secret_hash: rest.array()?,
        subject: rest.text()?,
        scope: rest.text()?,
        claims: rest.text()?,
        xsrf_token: rest.text()?,
        label: rest.text()?,
    };
    if rest.0.is_empty() { Ok(record) } else { Err(Corrupt) }
}

/// The part of a value that has not been read yet.
///
/// `decode` relies on Rust evaluating the fields of a struct expression in the order in which they are written.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Corrupt)?;
        self.0 = rest;
        Ok(*array)
    }

    fn time(&mut self) -> Result<SystemTime, Corrupt> {
        from_millis(i64::from_be_bytes(self.array()?)).ok_or(Corrupt)
    }

    fn time_if_any(&mut self) -> Result<Option<SystemTime>, Corrupt> {
        match i64::from_be_bytes(self.array()?) {
            NEVER => Ok(None),
            millis => from_millis(millis).map(Some).ok_or(Corrupt),
        }
    }

    fn text(&mut self) -> Result<Box<str>, Corrupt> {
        let len = u32::from_be_bytes(self.array()?) as usize;
        let (text, rest) = self.0.split_at_checked(len).ok_or(Corrupt)?;
        self.0 = rest;
        Ok(std::str::from_utf8(text).map_err(|_| Corrupt)?.into())
    }
}

const FORMAT: u8 = 1;
const HEAD_LEN: usize = 17;
const TIMES_LEN: usize = 5 * 8;
const FIXED_LEN: usize = HEAD_LEN + TIMES_LEN + 8 + 4 + 32;
const NEVER: i64 = -1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::NewRecord;

    fn record() -> SessionRecord {
        let new = NewRecord::new(SessionId::new("id"), "ada", [3; 32]);
        new.begin(from_millis(1_800_000_000_000).expect("a time"))
    }

    #[test]
    fn value_round_trips() {
        let mut record = record();
        for confirmed_at in [None, Some(record.created_at)] {
            record.confirmed_at = confirmed_at;
            record.version = u64::MAX;
            let value = encode(&record, record.version);
            assert_eq!(decode(&record.id, &value), Ok(record.clone()));
        }
    }

    #[test]
    fn truncated_extended_or_newer_value_is_corrupt() {
        let record = record();
        let value = encode(&record, 0);
        for len in 0..value.len() {
            assert_eq!(decode(&record.id, &value[..len]), Err(Corrupt), "{len} bytes");
        }
        let longer = [value.as_slice(), b"x"].concat();
        assert_eq!(decode(&record.id, &longer), Err(Corrupt));
        let mut newer = value;
        newer[16] = FORMAT + 1;
        assert_eq!(decode(&record.id, &newer), Err(Corrupt));
    }
}
