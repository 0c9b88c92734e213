//! A session store that can simulate an outage.

use std::{
    convert::Infallible,
    io,
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
pub(crate) struct Outage {
    store: MemoryStore,
    down: Arc<AtomicBool>,
}

impl Outage {
    pub(crate) fn new(store: MemoryStore) -> Self {
        Self { store, down: Arc::default() }
    }

    pub(crate) fn begin(&self) {
        self.down.store(true, Ordering::Relaxed);
    }

    pub(crate) fn end(&self) {
        self.down.store(false, Ordering::Relaxed);
    }

    async fn ask<T>(&self, answer: impl Future<Output = Result<T, Infallible>>) -> io::Result<T> {
        if self.down.load(Ordering::Relaxed) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        let Ok(answer) = answer.await;
        Ok(answer)
    }
}

impl RefreshStore for Outage {
    type Error = io::Error;

    async fn create(&self, session: NewRecord) -> io::Result<Created> {
        self.ask(self.store.create(session)).await
    }

    async fn read(&self, id: &SessionId) -> io::Result<Snapshot> {
        self.ask(self.store.read(id)).await
    }

    async fn update(&self, record: &SessionRecord, stamps: Stamps) -> io::Result<Update> {
        self.ask(self.store.update(record, stamps)).await
    }

    async fn remove(&self, id: &SessionId) -> io::Result<bool> {
        self.ask(self.store.remove(id)).await
    }

    async fn list(&self, subject: &str) -> io::Result<Vec<SessionRecord>> {
        self.ask(self.store.list(subject)).await
    }

    async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> io::Result<u64> {
        self.ask(self.store.remove_all(subject, keep)).await
    }
}
