//! Conversion between records and Redis values.
//!
//! One value is smaller and faster than a hash with a field each. It begins with a head of 17 bytes
//! that scripts compare: 8 random ones of the write, 8 of the version, 1 of the format. Eight times
//! follow, which the scripts fill in, then the rest. Numbers are big-endian.
//!
//! Values of the former format are read, and get the present one with their next write. Those of a
//! format that is not known are refused, and there is no `compatible_from` as the tables of the other
//! stores have it: a write replaces the whole value, and would lose what it does not know. What later
//! versions add goes into the extension, which is kept as it is.

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
    let parts = texts.map(|text| text.as_bytes()).into_iter().chain([&*record.extension]);
    let mut value = Vec::with_capacity(FIXED_LEN + parts.clone().map(|part| 4 + part.len()).sum::<usize>());
    value.extend(random::<8>());
    value.extend(version_bytes(version));
    value.push(FORMAT);
    value.extend(begins(record.rotated_at).to_be_bytes());
    value.extend(begins(record.created_at).to_be_bytes());
    value.extend(begins(record.last_seen_at).to_be_bytes());
    value.extend(ends(record.idle_expires_at).to_be_bytes());
    value.extend(ends(record.absolute_expires_at).to_be_bytes());
    value.extend(begins(record.issued_at).to_be_bytes());
    value.extend(begins(record.claims_at).to_be_bytes());
    value.extend(record.confirmed_at.map_or(NONE, begins).to_be_bytes());
    value.extend(record.generation.to_be_bytes());
    value.extend(record.parent.to_be_bytes());
    value.extend(record.seen.map_or(NONE, i64::from).to_be_bytes());
    value.extend(record.secret_hash);
    for part in parts {
        // A value of Redis has 512 MB at the most.
        value.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        value.extend(part);
    }
    value
}

/// The parts of a value that are not times.
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
    let record = match rest.array()? {
        [FORMAT] => rest.record(id, version)?,
        [FORMER_FORMAT] => rest.former_record(id, version)?,
        _ => return Err(Corrupt),
    };
    if rest.0.is_empty() { Ok(record) } else { Err(Corrupt) }
}

/// The record with the times of a value, as a script has filled them in.
pub(super) fn with_times(record: SessionRecord, times: &[u8]) -> Result<SessionRecord, Corrupt> {
    let mut rest = Rest(times);
    let record = SessionRecord {
        rotated_at: rest.time()?,
        created_at: rest.time()?,
        last_seen_at: rest.time()?,
        idle_expires_at: rest.time()?,
        absolute_expires_at: rest.time()?,
        issued_at: rest.time()?,
        claims_at: rest.time()?,
        confirmed_at: rest.time_if_any()?,
        ..record
    };
    if rest.0.is_empty() { Ok(record) } else { Err(Corrupt) }
}

/// The part of a value that has not been read yet.
///
/// `decode` relies on Rust evaluating the fields of a struct expression in the order in which they are written.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn record(&mut self, id: &SessionId, version: u64) -> Result<SessionRecord, Corrupt> {
        Ok(SessionRecord {
            id: id.clone(),
            version,
            rotated_at: self.time()?,
            created_at: self.time()?,
            last_seen_at: self.time()?,
            idle_expires_at: self.time()?,
            absolute_expires_at: self.time()?,
            issued_at: self.time()?,
            claims_at: self.time()?,
            confirmed_at: self.time_if_any()?,
            generation: u32::from_be_bytes(self.array()?),
            parent: u32::from_be_bytes(self.array()?),
            seen: self.generation_if_any()?,
            secret_hash: self.array()?,
            subject: self.text()?,
            scope: self.text()?,
            claims: self.text()?,
            xsrf_token: self.text()?,
            label: self.text()?,
            extension: self.bytes()?.into(),
        })
    }

    /// A record from before there were parents.
    fn former_record(&mut self, id: &SessionId, version: u64) -> Result<SessionRecord, Corrupt> {
        let record = SessionRecord {
            id: id.clone(),
            version,
            rotated_at: self.time()?,
            created_at: self.time()?,
            last_seen_at: self.time()?,
            idle_expires_at: self.time()?,
            absolute_expires_at: self.time()?,
            confirmed_at: self.time_if_any()?,
            generation: u32::from_be_bytes(self.array()?),
            secret_hash: self.array()?,
            subject: self.text()?,
            scope: self.text()?,
            claims: self.text()?,
            xsrf_token: self.text()?,
            label: self.text()?,
            parent: 0,
            seen: None,
            issued_at: SystemTime::UNIX_EPOCH,
            claims_at: SystemTime::UNIX_EPOCH,
            extension: Box::default(),
        };
        Ok(record.of_first_version())
    }

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
            NONE => Ok(None),
            millis => from_millis(millis).map(Some).ok_or(Corrupt),
        }
    }

    fn generation_if_any(&mut self) -> Result<Option<u32>, Corrupt> {
        match i64::from_be_bytes(self.array()?) {
            NONE => Ok(None),
            generation => generation.try_into().map(Some).map_err(|_| Corrupt),
        }
    }

    fn text(&mut self) -> Result<Box<str>, Corrupt> {
        Ok(std::str::from_utf8(self.bytes()?).map_err(|_| Corrupt)?.into())
    }

    fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = u32::from_be_bytes(self.array()?) as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Corrupt)?;
        self.0 = rest;
        Ok(bytes)
    }
}

/// The format of the values that are written. The one before had neither `issued_at` and `claims_at`, nor `parent` and
/// `seen`, nor an extension.
const FORMAT: u8 = 2;
const FORMER_FORMAT: u8 = 1;
const HEAD_LEN: usize = 17;
const TIMES_LEN: usize = 8 * 8;
const FIXED_LEN: usize = HEAD_LEN + TIMES_LEN + 4 + 4 + 8 + 32;
/// No time, and no generation.
const NONE: i64 = -1;

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
        record.version = u64::MAX;
        record.parent = 3;
        for (confirmed_at, seen) in [(None, None), (Some(record.created_at), Some(u32::MAX))] {
            for extension in [&b""[..], b"\0", &[7; 1024]] {
                record.confirmed_at = confirmed_at;
                record.seen = seen;
                record.extension = extension.into();
                let value = encode(&record, record.version);
                assert_eq!(decode(&record.id, &value), Ok(record.clone()));
            }
        }
    }

    #[test]
    fn value_of_the_former_format_is_read() {
        let mut record = record();
        record.generation = 7;
        let times = [5, 1, 6, 900, 1000].map(|millis: i64| millis.to_be_bytes()).concat();
        let texts = ["ada", "", "{}", "", ""];
        for (confirmed_at, seen, seen_at) in [(NONE, 6, 0), (8, 7, 8)] {
            let mut value = [random::<8>(), 9_u64.to_be_bytes()].concat();
            value.push(FORMER_FORMAT);
            value.extend(&times);
            value.extend(confirmed_at.to_be_bytes());
            value.extend(7_u32.to_be_bytes());
            value.extend([3; 32]);
            for text in texts {
                value.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
                value.extend(text.as_bytes());
            }
            let read = decode(&record.id, &value).expect("it is of the former format");
            assert_eq!((read.generation, read.version, &*read.subject), (7, 9, "ada"));
            assert_eq!((read.parent, read.seen), (6, Some(seen)));
            assert_eq!(read.confirmed_at, from_millis(seen_at));
            assert_eq!([read.issued_at, read.claims_at], [read.rotated_at; 2]);
            assert_eq!(read.extension.len(), 0);
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
