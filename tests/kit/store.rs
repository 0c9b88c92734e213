//! A store that records its calls, fails on demand, and can be held back.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use tower_cookie_jwt::{
    MemoryStore,
    store::{
        Changes, Created, Cursor, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update,
    },
    testing::TestClock,
};

/// A `MemoryStore` that records its calls, fails on demand, and can be held back.
#[derive(Clone)]
pub(crate) struct TestStore {
    memory: MemoryStore,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    calls: Mutex<Vec<&'static str>>,
    down: AtomicBool,
    is_quiet: AtomicBool,
    /// How many seconds the clock of the feed is ahead.
    apart: AtomicI32,
    failing: Mutex<Option<&'static str>>,
    /// How many milliseconds a read takes, how many are under way, and how many were at most.
    slowness: AtomicU32,
    reading: AtomicU32,
    most_reading: AtomicU32,
    write_gate: Gate,
    read_gate: Gate,
}

/// Holds a call back. The receiver resolves when the call has arrived; sending lets it go on.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<Option<Closed>>>);

/// How many calls pass first, whom to tell about the one that is held, and what it waits for.
type Closed = (u32, oneshot::Sender<()>, oneshot::Receiver<()>);

impl Gate {
    /// Lets `before` calls pass, and holds the next one.
    pub(crate) fn close_after(&self, before: u32) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        let (reached, arrived) = oneshot::channel();
        let (go_on, resumed) = oneshot::channel();
        *self.0.lock().unwrap() = Some((before, reached, resumed));
        (arrived, go_on)
    }

    pub(crate) async fn pass(&self) {
        let held = {
            let mut closed = self.0.lock().unwrap();
            match closed.as_mut() {
                Some((before, ..)) if *before > 0 => {
                    *before -= 1;
                    None
                }
                _ => closed.take(),
            }
        };
        if let Some((_, reached, resumed)) = held {
            reached.send(()).expect("the test waits for it");
            resumed.await.expect("the test lets it go on");
        }
    }
}

impl TestStore {
    pub(crate) fn new(clock: &TestClock) -> Self {
        Self { memory: MemoryStore::new().with_clock(clock.clone()), state: Arc::default() }
    }

    /// Pushes no changes from now on.
    pub(crate) fn fall_silent(&self) {
        self.state.is_quiet.store(true, Ordering::Relaxed);
    }

    /// Sets by how many seconds the clock of the feed is ahead of the nodes'.
    pub(crate) fn set_clock_apart(&self, seconds: i32) {
        self.state.apart.store(seconds, Ordering::Relaxed);
    }

    /// Lets each read take so long.
    pub(crate) fn slow_down(&self, millis: u32) {
        self.state.slowness.store(millis, Ordering::Relaxed);
    }

    /// Returns how many slow reads were under way at a time.
    pub(crate) fn most_reading(&self) -> u32 {
        self.state.most_reading.load(Ordering::Relaxed)
    }

    pub(crate) fn go_down(&self) {
        self.set_down(true);
    }

    pub(crate) fn come_up(&self) {
        self.set_down(false);
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.state.down.store(down, Ordering::SeqCst);
    }

    /// Returns the calls since the last time.
    pub(crate) fn calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.state.calls.lock().unwrap())
    }

    /// Holds the next write back. The receiver resolves when it is on its way; sending lets it arrive.
    pub(crate) fn hold_update(&self) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        self.state.write_gate.close_after(0)
    }

    /// Holds a read back, the one after `before` others.
    pub(crate) fn hold_read_after(&self, before: u32) -> (oneshot::Receiver<()>, oneshot::Sender<()>) {
        self.state.read_gate.close_after(before)
    }

    /// Fails the calls of this name, or none.
    pub(crate) fn fail(&self, call: Option<&'static str>) {
        *self.state.failing.lock().unwrap() = call;
    }

    /// Returns the record without recording a call.
    pub(crate) async fn record(&self, id: &SessionId) -> Option<SessionRecord> {
        let Ok(snapshot) = self.memory.read(id).await;
        snapshot.record
    }

    /// Writes the record, as restoring a backup does.
    pub(crate) async fn restore(&self, mut record: SessionRecord) {
        record.version = self.record(&record.id).await.expect("the session exists").version;
        let Ok(outcome) = self.memory.update(&record, Stamps::default()).await;
        assert!(outcome.is_done(), "{outcome:?}");
    }

    async fn called(&self, name: &'static str) -> Result<(), Down> {
        self.state.calls.lock().unwrap().push(name);
        tokio::task::yield_now().await;
        let failing = *self.state.failing.lock().unwrap() == Some(name);
        if failing || self.state.down.load(Ordering::SeqCst) { Err(Down) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub(crate) struct Down;

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store is down")
    }
}

impl std::error::Error for Down {}

impl RefreshStore for TestStore {
    type Error = Down;

    async fn create(&self, session: NewRecord) -> Result<Created, Down> {
        self.called("create").await?;
        let Ok(created) = self.memory.create(session).await;
        Ok(created)
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Down> {
        self.state.read_gate.pass().await;
        self.called("read").await?;
        let slowness = Duration::from_millis(self.state.slowness.load(Ordering::Relaxed).into());
        if !slowness.is_zero() {
            let reading = self.state.reading.fetch_add(1, Ordering::Relaxed) + 1;
            self.state.most_reading.fetch_max(reading, Ordering::Relaxed);
            tokio::time::sleep(slowness).await;
            self.state.reading.fetch_sub(1, Ordering::Relaxed);
        }
        let Ok(snapshot) = self.memory.read(id).await;
        Ok(snapshot)
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Down> {
        self.state.write_gate.pass().await;
        self.called("update").await?;
        let Ok(update) = self.memory.update(record, stamps).await;
        Ok(update)
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Down> {
        self.called("remove").await?;
        let Ok(removed) = self.memory.remove(id).await;
        Ok(removed)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Down> {
        self.called("list").await?;
        let Ok(records) = self.memory.list(subject).await;
        Ok(records)
    }

    async fn changes(&self, cursor: Option<&Cursor>) -> Result<Changes, Down> {
        self.called("changes").await?;
        let Ok(mut changes) = self.memory.changes(cursor).await;
        if let Changes::Since(page) = &mut changes {
            let apart = self.state.apart.load(Ordering::Relaxed);
            let by = Duration::from_secs(apart.unsigned_abs().into());
            page.now = page.now.map(|now| if apart < 0 { now - by } else { now + by });
        }
        Ok(changes)
    }

    async fn changed(&self) {
        self.memory.changed().await;
        if self.state.is_quiet.load(Ordering::Relaxed) {
            std::future::pending().await
        }
    }

    async fn update_announced(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Down> {
        self.state.write_gate.pass().await;
        self.called("update").await?;
        let Ok(update) = self.memory.update_announced(record, stamps).await;
        Ok(update)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Down> {
        self.called("remove_all").await?;
        let Ok(count) = self.memory.remove_all(subject, keep).await;
        Ok(count)
    }
}
