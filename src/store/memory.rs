use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Update};
use crate::{Clock, clock::SharedClock};

/// Sessions in the memory of one process: for tests, and for applications whose users may sign in
/// again after a restart.
///
/// Expired sessions are purged as others come. When it is full, sign-in is refused and nobody is
/// evicted. Clones share the sessions.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_capacity(10_000)).build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    sessions: Arc<Mutex<Table>>,
    clock: SharedClock,
    capacity: Option<usize>,
}

#[derive(Default)]
struct Table {
    records: HashMap<SessionId, SessionRecord>,
    by_subject: HashMap<Box<str>, BTreeSet<SessionId>>,
    /// When to look at which session again; each live session has an entry, which may be too early.
    expiries: BinaryHeap<Reverse<(SystemTime, SessionId)>>,
}

impl MemoryStore {
    /// An empty store for up to a million sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses new sessions while it holds this many live ones.
    ///
    /// Defaults to 1,000,000.
    #[must_use]
    pub const fn with_capacity(mut self, sessions: usize) -> Self {
        self.capacity = Some(sessions);
        self
    }

    /// Takes the time from `clock`.
    ///
    /// Defaults to the operating system's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// How many sessions it holds, expired ones that have not been purged yet included.
    pub fn len(&self) -> usize {
        self.table().records.len()
    }

    /// Whether it holds no session.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while the lock is held cannot leave a record half written.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshStore for MemoryStore {
    type Error = Infallible;

    async fn create(&self, session: NewRecord) -> Result<Created, Infallible> {
        let now = self.clock.now();
        let mut table = self.table();
        table.purge(now);
        let full = table.records.len() >= self.capacity.unwrap_or(DEFAULT_CAPACITY);
        if full || table.records.contains_key(&session.id) {
            return Ok(Created::Full);
        }
        let record = session.begin(now);
        table.insert(record.clone());
        Ok(Created::Done(record))
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Infallible> {
        let now = self.clock.now();
        Ok(Snapshot { record: self.table().records.get(id).cloned(), now })
    }

    async fn update(&self, record: &SessionRecord) -> Result<Update, Infallible> {
        let mut table = self.table();
        Ok(match table.records.get_mut(&record.id) {
            None => Update::Gone,
            Some(stored) if stored.version != record.version => Update::Conflict,
            Some(stored) => {
                *stored = record.clone();
                stored.version += 1;
                Update::Done
            }
        })
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Infallible> {
        Ok(self.table().remove(id))
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Infallible> {
        let now = self.clock.now();
        let table = self.table();
        let ids = table.by_subject.get(subject).into_iter().flatten();
        let mut live: Vec<_> = ids
            .filter_map(|id| table.records.get(id))
            .filter(|record| record.is_live(now))
            .cloned()
            .collect();
        drop(table);
        live.sort_by(|one, other| (one.created_at, &one.id).cmp(&(other.created_at, &other.id)));
        Ok(live)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Infallible> {
        let mut table = self.table();
        let ids: Vec<SessionId> = table.by_subject.get(subject).into_iter().flatten().cloned().collect();
        let removed = ids.iter().filter(|id| Some(*id) != keep && table.remove(id)).count();
        Ok(removed as u64)
    }
}

impl Table {
    fn insert(&mut self, record: SessionRecord) {
        self.expiries.push(Reverse((record.expires_at(), record.id.clone())));
        self.by_subject.entry(record.subject.clone()).or_default().insert(record.id.clone());
        self.records.insert(record.id.clone(), record);
        // Entries of removed sessions wait for their time; do not let sign-out pile them up.
        if self.expiries.len() > 2 * self.records.len() + SPARE_EXPIRIES {
            self.expiries = self
                .records
                .values()
                .map(|record| Reverse((record.expires_at(), record.id.clone())))
                .collect();
        }
    }

    fn remove(&mut self, id: &SessionId) -> bool {
        let Some(record) = self.records.remove(id) else {
            return false;
        };
        if let Some(ids) = self.by_subject.get_mut(&record.subject) {
            ids.remove(id);
            if ids.is_empty() {
                self.by_subject.remove(&record.subject);
            }
        }
        true
    }

    /// Drops the sessions that have ended. Each entry is looked at once per lifetime, so the cost
    /// of a sign-in stays logarithmic.
    fn purge(&mut self, now: SystemTime) {
        while let Some(Reverse((due, _))) = self.expiries.peek() {
            if *due > now {
                return;
            }
            let Some(Reverse((_, id))) = self.expiries.pop() else {
                return;
            };
            match self.records.get(&id).map(SessionRecord::expires_at) {
                Some(expires_at) if expires_at > now => self.expiries.push(Reverse((expires_at, id))),
                Some(_) => {
                    self.remove(&id);
                }
                None => {}
            }
        }
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

const DEFAULT_CAPACITY: usize = 1_000_000;
const SPARE_EXPIRIES: usize = 1024;
