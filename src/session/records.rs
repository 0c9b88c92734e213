//! Access to the session records in the store.
//!
//! Store errors are logged here, for the operator, and become [`Unavailable`]. It keeps the cause for the application,
//! and answers tell clients nothing about it.

use std::{
    error::Error as StdError,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    events::{Listener, SessionEvent, StoreCall, StoreOperation},
    rotation::Write,
    rounds::Rounds,
};
use crate::{
    clock::SharedClock,
    request::Bound,
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
    /// Where this node's own sign-outs are noted, before anyone else hears of them.
    bound: Option<Bound>,
}

/// The store or the reload of claims failed, or a token could not be issued; the cause has been logged.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(super) BoxError);

impl Unavailable {
    /// More questions were to be asked at a time than may be.
    pub(super) fn too_many() -> Self {
        trace::store_failed("asking about an access token", &TooMany);
        Self(TooMany.into())
    }

    /// Other writers won each time.
    pub(super) fn contended() -> Self {
        trace::store_failed("changing a session", &Contended);
        Self(Contended.into())
    }
}

/// So many access tokens were being asked about that this one did not get its turn.
#[derive(Debug)]
struct TooMany;

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many access tokens were to be asked about at a time")
    }
}

impl StdError for TooMany {}

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
    pub(super) fn new(
        store: Box<dyn ErasedStore>,
        events: Listener,
        clock: SharedClock,
        bound: Option<Bound>,
    ) -> Self {
        Self { store: store.into(), events, rounds: Rounds::new(), clock, bound }
    }

    pub(super) fn store(&self) -> Arc<dyn ErasedStore> {
        self.store.clone()
    }

    pub(super) fn new_id(&self, subject: &str) -> SessionId {
        self.store.new_id(subject)
    }

    /// Creates a session and returns its record, or `None` if the store is full.
    pub(super) async fn create(&self, session: NewRecord) -> Result<Option<SessionRecord>, Unavailable> {
        let created = self.call(StoreOperation::Create, self.store.create(session)).await?;
        Ok(match created {
            Created::Done(record) => Some(record),
            Created::Full => None,
        })
    }

    pub(super) async fn read(&self, id: &SessionId) -> Result<Snapshot, Unavailable> {
        let snapshot = self.call(StoreOperation::Read, self.store.read(id)).await?;
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
        self.call(StoreOperation::Update, self.store.update(&write.record, write.stamps)).await
    }

    /// Writes a record with other claims, so that all nodes hear of it.
    pub(super) async fn update_announced(&self, write: &Write) -> Result<Update, Unavailable> {
        let writing = self.store.update_announced(&write.record, write.stamps);
        let update = self.call(StoreOperation::Update, writing).await?;
        self.note(&write.record.id);
        Ok(update)
    }

    pub(super) async fn remove(&self, id: &SessionId) -> Result<bool, Unavailable> {
        let removed = self.call(StoreOperation::Remove, self.store.remove(id)).await?;
        self.note(id);
        Ok(removed)
    }

    /// Notes a change that has been written, for this node.
    fn note(&self, id: &SessionId) {
        if let Some(bound) = &self.bound
            && !bound.heard.merge([id.as_str()], bound.now())
        {
            self.events.raise(SessionEvent::Overflow);
        }
    }

    pub(super) async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, Unavailable> {
        self.call(StoreOperation::List, self.store.list(subject)).await
    }

    pub(super) async fn remove_all(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> Result<u64, Unavailable> {
        self.call(StoreOperation::RemoveAll, self.store.remove_all(subject, keep)).await
    }

    /// Forgets what this process knows to be written, because the store has lost writes.
    pub(super) fn begin_round(&self) {
        self.rounds.next(self.clock.now());
    }

    /// Waits for a call of the store, tells the listener, and logs its failure.
    async fn call<T>(
        &self,
        operation: StoreOperation,
        call: impl Future<Output = Result<T, BoxError>>,
    ) -> Result<T, Unavailable> {
        let begun = Instant::now();
        let answer = call.await;
        let (elapsed, failed) = (begun.elapsed(), answer.is_err());
        self.events.called(StoreCall { operation, elapsed, failed });
        answer.map_err(|error| {
            trace::store_failed(doing(operation), &*error);
            self.begin_round();
            Unavailable(error)
        })
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

const fn doing(operation: StoreOperation) -> &'static str {
    match operation {
        StoreOperation::Create => "creating a session",
        StoreOperation::Read => "reading a session",
        StoreOperation::Update => "writing a session",
        StoreOperation::Remove => "ending a session",
        StoreOperation::List => "listing sessions",
        StoreOperation::RemoveAll => "ending sessions",
    }
}

/// The maximum number of attempts at an operation; each further one means that another writer won.
pub(super) const MAX_ROUNDS: usize = 16;
