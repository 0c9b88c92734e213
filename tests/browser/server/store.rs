//! A store that fails when it is told to.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tower_cookie_jwt::{
    MemoryStore,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update},
};

#[derive(Clone)]
pub(crate) struct LabStore(Arc<Inner>);

struct Inner {
    memory: MemoryStore,
    is_down: AtomicBool,
}

#[derive(Debug)]
pub(crate) struct Down;

impl LabStore {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Inner { memory: MemoryStore::new(), is_down: AtomicBool::new(false) }))
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::Relaxed);
    }

    fn memory(&self) -> Result<&MemoryStore, Down> {
        match self.0.is_down.load(Ordering::Relaxed) {
            false => Ok(&self.0.memory),
            true => Err(Down),
        }
    }
}

impl RefreshStore for LabStore {
    type Error = Down;

    async fn create(&self, session: NewRecord) -> Result<Created, Down> {
        let Ok(created) = self.memory()?.create(session).await;
        Ok(created)
    }

    async fn read(&self, id: &SessionId) -> Result<Snapshot, Down> {
        let Ok(snapshot) = self.memory()?.read(id).await;
        Ok(snapshot)
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, Down> {
        let Ok(update) = self.memory()?.update(record, stamps).await;
        Ok(update)
    }

    async fn remove(&self, id: &SessionId) -> Result<bool, Down> {
        let Ok(existed) = self.memory()?.remove(id).await;
        Ok(existed)
    }

    async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Down> {
        let Ok(records) = self.memory()?.list(subject).await;
        Ok(records)
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, Down> {
        let Ok(removed) = self.memory()?.remove_all(subject, keep).await;
        Ok(removed)
    }
}

impl fmt::Display for Down {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the store is down, as it was told to be")
    }
}

impl std::error::Error for Down {}
