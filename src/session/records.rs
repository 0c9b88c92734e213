//! Access to the session records in the store.
//!
//! Store errors are logged here, for the operator, and become [`Unavailable`]. It keeps the cause for the application,
//! and answers tell clients nothing about it.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use super::{events::Listener, rotation::Write, rounds::Rounds};
use crate::{
    clock::SharedClock,
    store::{BoxError, Created, ErasedStore, NewRecord, SessionId, SessionRecord, Snapshot, Update},
    trace,
};

/// The store, the listener to what is written to it, and the clock of this node. Clones share them.
#[derive(Clone)]
pub(crate) struct Records {
    store: Arc<dyn ErasedStore>,
    pub(super) events: Listener,
    pub(super) rounds: Rounds,
    clock: SharedClock,
}

/// The store or the reload of claims failed, or a token could not be issued; the cause has been logged.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(super) BoxError);

impl Unavailable {
    /// Other writers won each time.
    pub(super) fn contended() -> Self {
        trace::store_failed("changing a session", &Contended);
        Self(Contended.into())
    }
}

/// A session was changed by other requests at each attempt to change it.
#[derive(Debug)]
struct Contended;

impl fmt::Display for Contended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the session was changed by other requests at each attempt")
    }
}

impl StdError for Contended {}

impl Records {
    pub(super) fn new(store: Box<dyn ErasedStore>, events: Listener, clock: SharedClock) -> Self {
        Self { store: store.into(), events, rounds: Rounds::new(), clock }
    }

    pub(super) fn new_id(&self, subject: &str) -> SessionId {
        self.store.new_id(subject)
    }

    /// Creates a session and returns its record, or `None` if the store is full.
    pub(super) async fn create(&self, session: NewRecord) -> Result<Option<SessionRecord>, Unavailable> {
        let created = self.store.create(session).await.map_err(self.failed("creating a session"))?;
        Ok(match created {
            Created::Done(record) => Some(record),
            Created::Full => None,
        })
    }

    pub(super) async fn read(&self, id: &SessionId) -> Result<Snapshot, Unavailable> {
        let snapshot = self.store.read(id).await.map_err(self.failed("reading a session"))?;
        self.rounds.catch_up(|| self.clock.now());
        Ok(snapshot)
    }

    /// Reads a record, and measures by this node's clock how long the store took.
    pub(super) async fn read_timed(&self, id: &SessionId) -> Result<(Snapshot, Duration), Unavailable> {
        let asked_at = self.clock.now();
        let snapshot = self.read(id).await?;
        Ok((snapshot, self.clock.now().duration_since(asked_at).unwrap_or_default()))
    }

    pub(super) async fn update(&self, write: &Write) -> Result<Update, Unavailable> {
        self.store.update(&write.record, write.stamps).await.map_err(self.failed("writing a session"))
    }

    pub(super) async fn remove(&self, id: &SessionId) -> Result<bool, Unavailable> {
        self.store.remove(id).await.map_err(self.failed("ending a session"))
    }

    pub(super) async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Unavailable> {
        self.store.list(subject).await.map_err(self.failed("listing sessions"))
    }

    pub(super) async fn remove_all(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> Result<u64, Unavailable> {
        self.store.remove_all(subject, keep).await.map_err(self.failed("ending sessions"))
    }

    /// Forgets what this process knows to be written, because the store has lost writes.
    pub(super) fn begin_round(&self) {
        self.rounds.next(self.clock.now());
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(BoxError) -> Unavailable {
        move |error| {
            trace::store_failed(doing, &*error);
            self.begin_round();
            Unavailable(error)
        }
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

/// The maximum number of attempts at an operation; each further one means that another writer won.
pub(super) const MAX_ROUNDS: usize = 16;
