use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap, hash_map::RandomState},
    hash::BuildHasher,
    time::SystemTime,
};

use super::log::Log;
use crate::store::{
    contract::Update,
    millis::{at_millis, begins, ends},
    record::{SessionId, SessionRecord, Stamps},
};

/// The sessions, indexed by id, by subject and by expiry. The indexes share the allocations of the ids.
///
/// Times are in milliseconds since the epoch.
#[derive(Default)]
pub(super) struct Table<S = RandomState> {
    /// Boxed, because a growing map is half empty.
    sessions: HashMap<SessionId, Box<Packed>>,
    /// Keyed by the hash of the subject, which is smaller than its text. On a collision, the subject stored in the
    /// session decides.
    by_subject: BTreeSet<(u64, SessionId)>,
    /// Seeded, so that an attacker cannot choose subjects that collide.
    hasher: S,
    /// The times at which to check sessions for expiry. Each live session has an entry, which may be too early.
    expiries: BinaryHeap<Reverse<(i64, SessionId)>>,
    pub(super) log: Log,
}

impl<S: BuildHasher> Table<S> {
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn contains(&self, id: &SessionId) -> bool {
        self.sessions.contains_key(id)
    }

    pub(super) fn read(&self, id: &SessionId) -> Option<SessionRecord> {
        self.sessions.get(id).map(|session| session.unpack(id))
    }

    pub(super) fn insert(&mut self, record: &SessionRecord) {
        let session = Packed::new(record);
        self.expiries.push(Reverse((session.expires_at(), record.id.clone())));
        self.by_subject.insert((self.hasher.hash_one(&*record.subject), record.id.clone()));
        self.sessions.insert(record.id.clone(), Box::new(session));
        // The entries of removed sessions stay until they are due; rebuilding bounds how many accumulate.
        if self.expiries.len() > 2 * self.sessions.len() + SPARE_EXPIRIES {
            let live = self.sessions.iter().map(|(id, session)| Reverse((session.expires_at(), id.clone())));
            self.expiries = live.collect();
        }
    }

    pub(super) fn update(&mut self, record: &SessionRecord, stamps: Stamps, now: SystemTime) -> Update {
        match self.sessions.get_mut(&record.id) {
            None => Update::Gone,
            Some(stored) if stored.version() != record.version => Update::Conflict,
            Some(stored) => {
                let record = record.clone().stamped(stamps, now).in_whole_millis();
                **stored = Packed::new(&record);
                Update::Done(Box::new(record))
            }
        }
    }

    pub(super) fn remove(&mut self, id: &SessionId) -> bool {
        let Some((id, session)) = self.sessions.remove_entry(id) else {
            return false;
        };
        self.by_subject.remove(&(self.hasher.hash_one(session.subject()), id));
        true
    }

    /// Returns the sessions of a subject from the one with the id `first` on, in the order of their ids.
    pub(super) fn of_subject(
        &self,
        subject: &str,
        first: &SessionId,
    ) -> impl Iterator<Item = (&SessionId, &Packed)> {
        let hash = self.hasher.hash_one(subject);
        self.by_subject
            .range((hash, first.clone())..)
            .take_while(move |(other, _)| *other == hash)
            .filter_map(|(_, id)| Some((id, &**self.sessions.get(id)?)))
            .filter(move |(_, session)| session.subject() == subject)
    }

    /// Drops sessions that have ended, looking at a bounded number of entries; returns whether more may be due.
    ///
    /// Each entry is looked at once per lifetime, so the cost of a sign-in stays logarithmic.
    pub(super) fn purge(&mut self, now: i64) -> bool {
        for _ in 0..SLICE {
            match self.expiries.peek() {
                Some(Reverse((due, _))) if *due <= now => {}
                _ => return false,
            }
            let Some(Reverse((_, id))) = self.expiries.pop() else {
                return false;
            };
            match self.sessions.get(&id).map(|session| session.expires_at()) {
                Some(expires_at) if expires_at > now => self.expiries.push(Reverse((expires_at, id))),
                Some(_) => {
                    self.remove(&id);
                }
                None => {}
            }
        }
        true
    }
}

/// So many entries are looked at with the lock held: far more than a sign-in adds, and done in a fraction of a
/// millisecond, even after a quiet time in which a million sessions have ended.
pub(super) const SLICE: usize = 256;

const SPARE_EXPIRIES: usize = 1024;

/// A compact record: times in milliseconds, all texts in one allocation, and no id, which is the key in the map.
pub(super) struct Packed {
    secret_hash: [u8; 32],
    seen: Option<u32>,
    parent: u32,
    confirmed_at: Option<i64>,
    issued_at: i64,
    claims_at: i64,
    extension: Option<Box<[u8]>>,
    rotated_at: i64,
    created_at: i64,
    last_seen_at: i64,
    idle_expires_at: i64,
    absolute_expires_at: i64,
    version: u64,
    generation: u32,
    /// The subject, scope, claims, XSRF token and label, concatenated.
    texts: Box<str>,
    /// The end of each text except the last.
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
            seen: record.seen,
            parent: record.parent,
            confirmed_at: record.confirmed_at.map(begins),
            issued_at: begins(record.issued_at),
            claims_at: begins(record.claims_at),
            extension: (!record.extension.is_empty()).then(|| record.extension.clone()),
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

    pub(super) fn unpack(&self, id: &SessionId) -> SessionRecord {
        let [subject, scope, claims, xsrf_token, label] = self.texts();
        SessionRecord {
            id: id.clone(),
            subject: subject.into(),
            secret_hash: self.secret_hash,
            generation: self.generation,
            parent: self.parent,
            seen: self.seen,
            confirmed_at: self.confirmed_at.map(at_millis),
            issued_at: at_millis(self.issued_at),
            claims_at: at_millis(self.claims_at),
            extension: self.extension.clone().unwrap_or_default(),
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

    /// Returns the time at which the session ends unless it is used before, in milliseconds.
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
const _: () = assert!(size_of::<Packed>() <= 200);

#[cfg(test)]
mod tests {
    use std::{
        hash::{BuildHasherDefault, Hasher},
        time::SystemTime,
    };

    use super::*;
    use crate::store::record::NewRecord;

    #[derive(Default)]
    struct AlwaysTheSame;

    impl Hasher for AlwaysTheSame {
        fn finish(&self) -> u64 {
            u64::MAX
        }

        fn write(&mut self, _: &[u8]) {}
    }

    #[test]
    fn subjects_with_colliding_hashes_keep_separate_sessions() {
        let mut table = Table::<BuildHasherDefault<AlwaysTheSame>>::default();
        for (id, subject) in [("1", "ada"), ("2", "bob"), ("3", "ada"), ("", "ada")] {
            table.insert(&NewRecord::new(id.into(), subject, [7; 32]).begin(SystemTime::now()));
        }
        let ids = |table: &Table<_>, subject| -> Vec<String> {
            table.of_subject(subject, &"".into()).map(|(id, _)| id.to_string()).collect()
        };
        assert_eq!(ids(&table, "ada"), ["", "1", "3"]);
        assert_eq!(ids(&table, "bob"), ["2"]);
        assert!(table.remove(&"1".into()));
        assert_eq!((ids(&table, "ada").len(), ids(&table, "bob").len(), ids(&table, "eve").len()), (2, 1, 0));
    }

    #[test]
    fn removed_sessions_leave_nothing_behind() {
        let mut table = Table::<RandomState>::default();
        let start = SystemTime::UNIX_EPOCH;
        for id in 0..10_000 {
            let id = SessionId::new(id.to_string());
            table.insert(&NewRecord::new(id.clone(), id.as_str(), [7; 32]).begin(start));
            assert!(table.remove(&id));
        }
        assert_eq!((table.sessions.len(), table.by_subject.len()), (0, 0));
        assert!(table.expiries.len() <= SPARE_EXPIRIES + 2, "{}", table.expiries.len());
        table.insert(&NewRecord::new("live".into(), "ada", [7; 32]).begin(start));
        while table.purge(i64::MAX) {}
        assert_eq!((table.sessions.len(), table.by_subject.len(), table.expiries.len()), (0, 0, 0));
    }
    #[test]
    fn sessions_that_have_ended_are_purged_in_slices() {
        let mut table = Table::<RandomState>::default();
        let ended = 2 * SLICE + 10;
        for id in 0..ended {
            table
                .insert(&NewRecord::new(id.to_string().into(), "ada", [7; 32]).begin(SystemTime::UNIX_EPOCH));
        }
        for left in [ended - SLICE, ended - 2 * SLICE, 0] {
            assert_eq!(table.purge(i64::MAX), left > 0, "{left} are left");
            assert_eq!(table.len(), left);
        }
        assert!(!table.purge(i64::MAX), "nothing is left");
    }
}
