use crate::store::{
    millis::{at_millis, begins, ends},
    record::{SessionId, SessionRecord},
};

/// A record as it takes least room: times in milliseconds, and all texts behind one pointer. The id
/// is what it is found by.
pub(super) struct Packed {
    secret_hash: [u8; 32],
    confirmed_at: Option<i64>,
    rotated_at: i64,
    created_at: i64,
    last_seen_at: i64,
    idle_expires_at: i64,
    absolute_expires_at: i64,
    version: u64,
    generation: u32,
    /// Subject, scope, claims, XSRF token and label, one after the other.
    texts: Box<str>,
    /// Where the texts but the last one end.
    ends: [usize; TEXTS - 1],
}

impl Packed {
    pub(super) fn new(record: &SessionRecord) -> Self {
        let texts: [&str; TEXTS] =
            [&record.subject, &record.scope, &record.claims, &record.xsrf_token, &record.label];
        let mut end = 0;
        let text_ends = texts.map(|text| {
            end += text.len();
            end
        });
        Self {
            secret_hash: record.secret_hash,
            confirmed_at: record.confirmed_at.map(begins),
            rotated_at: begins(record.rotated_at),
            created_at: begins(record.created_at),
            last_seen_at: begins(record.last_seen_at),
            idle_expires_at: ends(record.idle_expires_at),
            absolute_expires_at: ends(record.absolute_expires_at),
            version: record.version,
            generation: record.generation,
            texts: texts.concat().into(),
            ends: std::array::from_fn(|index| text_ends[index]),
        }
    }

    /// As it stands after it has been written over another.
    pub(super) const fn next_version(mut self) -> Self {
        self.version += 1;
        self
    }

    pub(super) fn unpack(&self, id: &SessionId) -> SessionRecord {
        let [subject, scope, claims, xsrf_token, label] = self.texts();
        SessionRecord {
            id: id.clone(),
            subject: subject.into(),
            secret_hash: self.secret_hash,
            generation: self.generation,
            confirmed_at: self.confirmed_at.map(at_millis),
            rotated_at: at_millis(self.rotated_at),
            created_at: at_millis(self.created_at),
            last_seen_at: at_millis(self.last_seen_at),
            idle_expires_at: at_millis(self.idle_expires_at),
            absolute_expires_at: at_millis(self.absolute_expires_at),
            scope: scope.into(),
            claims: claims.into(),
            xsrf_token: xsrf_token.into(),
            label: label.into(),
            version: self.version,
        }
    }

    pub(super) fn subject(&self) -> &str {
        &self.texts[..self.ends[0]]
    }

    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// When the session ends unless it is used, in milliseconds.
    pub(super) fn expires_at(&self) -> i64 {
        self.idle_expires_at.min(self.absolute_expires_at)
    }

    fn texts(&self) -> [&str; TEXTS] {
        let mut begin = 0;
        std::array::from_fn(|index| {
            let end = self.ends.get(index).copied().unwrap_or(self.texts.len());
            &self.texts[std::mem::replace(&mut begin, end)..end]
        })
    }
}

const TEXTS: usize = 5;

// A million sessions feel each byte.
const _: () = assert!(size_of::<Packed>() <= 152);
