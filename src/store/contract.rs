//! The object-safe twin of [`RefreshStore`], so that `Sessions` needs no type parameter for its
//! store: one box per store call, which a request with a good token does not make.

use std::{error::Error as StdError, pin::Pin, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::record::{NewRecord, SessionId, SessionRecord, Stamps};
use crate::keys::crypto::random;

/// Where sessions are kept: one record per session, changed by compare-and-set.
///
/// Implementations must be linearizable for one session: a read sees every write that finished
/// before it began. Reads from a replica that is behind break that. For as long as it is behind, a
/// stolen refresh token may be used without being noticed, and a signed-out session lives on. Where
/// it is behind for less than the grace period (together with a message's way), no honest user is signed
/// out by it, but for one: a session that it does not know yet is taken for ended. Where it is behind
/// for longer, a slow answer may carry a refresh cookie that has been replaced since, and the honest user
/// who gets it is taken for a thief. Writes that are lost, as by a failover, sign nobody out, but a
/// signed-out session may live on where the sign-out was lost. An operation that cannot be completed in a few
/// seconds must fail: the layers then answer 503 and clear nothing.
///
/// `testing::store_contract` runs the whole contract against an implementation.
pub trait RefreshStore: Send + Sync + 'static {
    /// What the backend reports when it cannot answer. Its text goes to the log: keep secrets out.
    type Error: StdError + Send + Sync + 'static;

    /// A fresh id for a session of `subject`, unguessable and never used before.
    ///
    /// Defaults to 128 random bits in base64url. A store that places sessions by their id adds what
    /// it needs; the text goes into every token.
    fn new_id(&self, subject: &str) -> SessionId {
        let _ = subject;
        SessionId::new(URL_SAFE_NO_PAD.encode(random::<16>()))
    }

    /// Stores a new session, begun at the store's present time, and returns its record as it will be
    /// read back.
    ///
    /// A full store refuses with [`Created::Full`] and evicts nobody. An id that is in use must not be
    /// overwritten.
    fn create(&self, session: NewRecord) -> impl Future<Output = Result<Created, Self::Error>> + Send;

    /// The record of a session, if there is one, and the store's present time.
    ///
    /// An expired record may or may not be there still: callers check it against the time.
    fn read(&self, id: &SessionId) -> impl Future<Output = Result<Snapshot, Self::Error>> + Send;

    /// Replaces the stored record by `record` if its version is still `record.version`, with the times that `stamps`
    /// asks for, and increments the version, in one atomic step. Returns the record as it will be read back.
    ///
    /// [`SessionRecord::stamped`] is that step, with the store's present time. It must be the time of the write: a
    /// write that waits for a lock takes the time once it has the lock.
    ///
    /// Of any number of concurrent calls with one version, exactly one returns [`Update::Done`].
    /// A removed or missing session is never written: nothing revives it. Subject and time of
    /// creation never change. Times may be rounded, to 2 ms at the most, but those from which something
    /// is counted (`confirmed_at`, `rotated_at`, `issued_at`, `claims_at`) never to earlier: nothing
    /// settles before its time. The extension comes back byte for byte, whatever it is.
    fn update(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> impl Future<Output = Result<Update, Self::Error>> + Send;

    /// Removes a session for good; true when there was one.
    fn remove(&self, id: &SessionId) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// The live sessions of `subject`, oldest first.
    fn list(&self, subject: &str) -> impl Future<Output = Result<Vec<SessionRecord>, Self::Error>> + Send;

    /// Removes all sessions of `subject` but `keep`, and says how many there were.
    fn remove_all(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;
}

/// The outcome of [`RefreshStore::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "made once a sign-in, and matched at once")]
pub enum Created {
    /// The session exists now, with this record.
    Done(SessionRecord),
    /// There is no room for another session.
    Full,
}

impl Update {
    /// Returns whether the record was written.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

/// The outcome of [`RefreshStore::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The record, if there is one.
    pub record: Option<SessionRecord>,
    /// The store's present time: rules are decided by it, so that nodes need not agree on clocks.
    pub now: SystemTime,
}

/// The outcome of [`RefreshStore::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Written: this is the record now.
    Done(Box<SessionRecord>),
    /// Somebody else has written since the record was read.
    Conflict,
    /// There is no such session any more.
    Gone,
}

impl<T: RefreshStore> RefreshStore for Arc<T> {
    type Error = T::Error;

    fn new_id(&self, subject: &str) -> SessionId {
        (**self).new_id(subject)
    }

    fn create(&self, session: NewRecord) -> impl Future<Output = Result<Created, T::Error>> + Send {
        (**self).create(session)
    }

    fn read(&self, id: &SessionId) -> impl Future<Output = Result<Snapshot, T::Error>> + Send {
        (**self).read(id)
    }

    fn update(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> impl Future<Output = Result<Update, T::Error>> + Send {
        (**self).update(record, stamps)
    }

    fn remove(&self, id: &SessionId) -> impl Future<Output = Result<bool, T::Error>> + Send {
        (**self).remove(id)
    }

    fn list(&self, subject: &str) -> impl Future<Output = Result<Vec<SessionRecord>, T::Error>> + Send {
        (**self).list(subject)
    }

    fn remove_all(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<u64, T::Error>> + Send {
        (**self).remove_all(subject, keep)
    }
}

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer<'a, T> = BoxFuture<'a, Result<T, BoxError>>;

/// [`RefreshStore`] behind a pointer: the same operations, boxed.
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn new_id(&self, subject: &str) -> SessionId;
    fn create(&self, session: NewRecord) -> Answer<'_, Created>;
    fn read<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Snapshot>;
    fn update<'a>(&'a self, record: &'a SessionRecord, stamps: Stamps) -> Answer<'a, Update>;
    fn remove<'a>(&'a self, id: &'a SessionId) -> Answer<'a, bool>;
    fn list<'a>(&'a self, subject: &'a str) -> Answer<'a, Vec<SessionRecord>>;
    fn remove_all<'a>(&'a self, subject: &'a str, keep: Option<&'a SessionId>) -> Answer<'a, u64>;
}

// Both traits are in scope here, so each call names the one that it means.
impl<T: RefreshStore> ErasedStore for T {
    fn new_id(&self, subject: &str) -> SessionId {
        RefreshStore::new_id(self, subject)
    }

    fn create(&self, session: NewRecord) -> Answer<'_, Created> {
        Box::pin(async move { RefreshStore::create(self, session).await.map_err(Into::into) })
    }

    fn read<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Snapshot> {
        Box::pin(async move { RefreshStore::read(self, id).await.map_err(Into::into) })
    }

    fn update<'a>(&'a self, record: &'a SessionRecord, stamps: Stamps) -> Answer<'a, Update> {
        Box::pin(async move { RefreshStore::update(self, record, stamps).await.map_err(Into::into) })
    }

    fn remove<'a>(&'a self, id: &'a SessionId) -> Answer<'a, bool> {
        Box::pin(async move { RefreshStore::remove(self, id).await.map_err(Into::into) })
    }

    fn list<'a>(&'a self, subject: &'a str) -> Answer<'a, Vec<SessionRecord>> {
        Box::pin(async move { RefreshStore::list(self, subject).await.map_err(Into::into) })
    }

    fn remove_all<'a>(&'a self, subject: &'a str, keep: Option<&'a SessionId>) -> Answer<'a, u64> {
        Box::pin(async move { RefreshStore::remove_all(self, subject, keep).await.map_err(Into::into) })
    }
}
