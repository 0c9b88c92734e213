mod log;
mod table;

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
};

use self::table::{SLICE, Table};
use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    feed::{Changes, Cursor, Page},
    millis::ends,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
};
use crate::clock::{Clock, SharedClock};

/// A store that keeps sessions in the memory of one process (single process, not persistent).
///
/// Expired sessions are purged as others come, some with each. When it is full, sign-in is refused and nobody is
/// evicted. A session with small claims takes about half a KiB. Clones share the sessions.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_capacity(10_000)).with_audience("shop").build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Default)]
pub struct MemoryStore {
    sessions: Arc<Mutex<Table>>,
    clock: SharedClock,
    capacity: Option<usize>,
}

impl MemoryStore {
    /// Creates an empty store for up to a million sessions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the number of live sessions at which the store refuses new ones.
    ///
    /// Defaults to 1,000,000.
    #[must_use]
    pub const fn with_capacity(mut self, sessions: usize) -> Self {
        self.capacity = Some(sessions);
        self
    }

    /// Sets the clock that the store reads the time from.
    ///
    /// Defaults to the operating system's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// Returns the number of sessions in the store, including expired ones that have not been purged yet.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Returns `true` if the store contains no sessions.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic while the lock is held cannot leave a record partially written.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RefreshStore for MemoryStore {
    type Error = Infallible;

    async fn create(&self, session: NewRecord) -> Result<Created, Infallible> {
        let capacity = self.capacity.unwrap_or(DEFAULT_CAPACITY);
        loop {
            let mut table = self.table();
            let now = self.clock.now();
            let more_may_be_due = table.purge(ends(now));
            if table.len() < capacity && !table.contains(&session.id) {
                let record = session.begin(now).in_whole_millis();
                table.insert(&record);
                return Ok(Created::Done(record));
            }
            // Sessions that have ended take no room, however many must be looked at to find one: slice by
            // slice, so that others get the lock in between.
            if table.len() < capacity || !more_may_be_due {
                return Ok(Created::Full);
            }
        }
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Infallible> {
        let now = self.clock.now();
        Ok(Snapshot { record: self.table().read(id), now })
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Infallible> {
        let mut table = self.table();
        // Taken while the lock is held, so it is the time of the write.
        let now = self.clock.now();
        Ok(table.update(record, stamps, now))
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Infallible> {
        let mut table = self.table();
        let removed = table.remove(id);
        if removed {
            table.log.add(id);
        }
        wake(table);
        Ok(removed)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Infallible> {
        let now = ends(self.clock.now());
        let mut live = Vec::new();
        let mut from = Some(SessionId::from(""));
        // Slice by slice, so that others get the lock in between.
        while let Some(first) = from {
            let table = self.table();
            let mut sessions = table.of_subject(subject, &first);
            let slice = sessions.by_ref().take(SLICE).filter(|(_, session)| session.expires_at() > now);
            live.extend(slice.map(|(id, session)| session.unpack(id)));
            from = sessions.next().map(|(id, _)| id.clone());
        }
        live.sort_by(SessionRecord::by_sign_in);
        Ok(live)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Infallible> {
        let mut removed = 0;
        let mut from = Some(SessionId::from(""));
        while let Some(first) = from {
            let mut table = self.table();
            let mut ids: Vec<_> =
                table.of_subject(subject, &first).take(SLICE + 1).map(|(id, _)| id.clone()).collect();
            from = (ids.len() > SLICE).then(|| ids.pop()).flatten();
            for id in ids.iter().filter(|id| Some(*id) != keep) {
                if table.remove(id) {
                    table.log.add(id);
                    removed += 1;
                }
            }
            wake(table);
        }
        Ok(removed)
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, Infallible> {
        let page = self.table().log.after(cursor);
        Ok(Changes::Since(Page { now: Some(self.clock.now()), ..page }))
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        let end = self.table().log.end();
        poll_fn(move |cx| {
            let mut table = self.table();
            if table.log.end() != end {
                return Poll::Ready(());
            }
            table.log.wait(cx.waker());
            Poll::Pending
        })
    }

    async fn update_announced(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Infallible> {
        let mut table = self.table();
        let now = self.clock.now();
        let update = table.update(record, stamps, now);
        if update.is_done() {
            table.log.add(&record.id);
        }
        wake(table);
        Ok(update)
    }
}

/// Releases the lock, and wakes who waits for changes.
fn wake(mut table: MutexGuard<'_, Table>) {
    let waiting = table.log.waiting();
    drop(table);
    waiting.into_iter().for_each(Waker::wake);
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

const DEFAULT_CAPACITY: usize = 1_000_000;
