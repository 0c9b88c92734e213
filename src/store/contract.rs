//! The store contract and its object-safe counterpart.

use std::{error::Error as StdError, pin::Pin, sync::Arc, time::SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    feed::{Changes, Cursor},
    record::{NewRecord, SessionId, SessionRecord, Stamps},
};
use crate::keys::crypto::random;

/// A session store: one record per session, changed only by compare-and-set.
///
/// Implementations must be linearizable per session: a read sees every write that completed before the read began.
/// Reads from a lagging replica violate this:
///
/// * While the replica lags, the use of a stolen refresh token may go undetected, and a signed-out session may stay
///   live.
/// * If the lag plus the time a message spends on the network is shorter than the grace period, no legitimate user
///   is signed out, with one exception: a session that the replica does not know yet is treated as ended.
/// * If the lag is longer, a slow response may carry a refresh cookie that has since been replaced, and the
///   legitimate user who receives it is mistaken for a thief.
///
/// Losing writes, for example in a failover, does not sign anyone out whose session is still in the store, but a
/// session whose sign-out was lost is live again. An operation that cannot complete within a few seconds must return
/// an error: the layers then respond with 503 and clear no cookies.
///
/// `testing::store_contract` tests an implementation against the whole contract.
///
/// # Examples
///
/// A store around another one, which counts what it is asked. For a store over a database, see the recipe `own_store`.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use tower_cookie_jwt::store::{
///     Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update,
/// };
///
/// struct Counting<S> {
///     store: S,
///     reads: AtomicU64,
/// }
///
/// impl<S: RefreshStore> RefreshStore for Counting<S> {
///     type Error = S::Error;
///
///     fn new_id(&self, subject: &str) -> SessionId {
///         self.store.new_id(subject)
///     }
///
///     async fn create(&self, session: NewRecord) -> Result<Created, S::Error> {
///         self.store.create(session).await
///     }
///
///     async fn read(&self, id: &SessionId) -> Result<Snapshot, S::Error> {
///         self.reads.fetch_add(1, Ordering::Relaxed);
///         self.store.read(id).await
///     }
///
///     async fn update(&self, record: &SessionRecord, stamps: Stamps) -> Result<Update, S::Error> {
///         self.store.update(record, stamps).await
///     }
///
///     async fn remove(&self, id: &SessionId) -> Result<bool, S::Error> {
///         self.store.remove(id).await
///     }
///
///     async fn list(&self, subject: &str) -> Result<Vec<SessionRecord>, S::Error> {
///         self.store.list(subject).await
///     }
///
///     async fn remove_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, S::Error> {
///         self.store.remove_all(subject, keep).await
///     }
/// }
/// ```
pub trait RefreshStore: Send + Sync + 'static {
    /// The error returned when the backend cannot complete an operation.
    ///
    /// The error is logged, so its text must not contain secrets.
    type Error: StdError + Send + Sync + 'static;

    /// Returns a new session id for `subject`, unguessable and never used before.
    ///
    /// Defaults to 128 random bits in base64url. A store that locates sessions by their id can encode what it needs
    /// in the id; every token contains it.
    fn new_id(&self, subject: &str) -> SessionId {
        let _ = subject;
        SessionId::new(URL_SAFE_NO_PAD.encode(random::<16>()))
    }

    /// Creates a session that begins at the store's current time, and returns its record as later reads return it.
    ///
    /// Returns [`Created::Full`] if the store is full; it must not evict other sessions. An id that is already in use
    /// must not be overwritten.
    fn create(&self, session: NewRecord) -> impl Future<Output = Result<Created, Self::Error>> + Send;

    /// Returns the record of a session, if it exists, and the store's current time.
    ///
    /// The record of an expired session may still be returned: callers compare its expiry with the returned time.
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

    /// Removes a session permanently and returns `true` if it existed.
    fn remove(&self, id: &SessionId) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// Returns the live sessions of `subject`, oldest first, however many there are.
    fn list(&self, subject: &str) -> impl Future<Output = Result<Vec<SessionRecord>, Self::Error>> + Send;

    /// Removes all sessions of `subject` except `keep` and returns how many were removed.
    ///
    /// Works for any number. It may remove them in batches; if one fails, those before it stay removed. A session that
    /// begins meanwhile may remain.
    fn remove_all(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> impl Future<Output = Result<u64, Self::Error>> + Send;

    /// Returns the sessions that have ended or changed after `cursor`, so that nodes need not ask about each. Where
    /// `cursor` is `None`, only where the feed ends now.
    ///
    /// A store with a feed has three duties:
    ///
    /// * The session is gone, or has its new claims, before its entry can be seen here.
    /// * The entry can be seen before `remove`, `remove_all` or [`update_announced`](Self::update_announced) returns.
    /// * The answer has everything that could be seen when the question was sent, or says that it has a gap. It comes from
    ///   the primary.
    ///
    /// Sessions that merely expire need no entry. Entries are kept for some minutes at least.
    ///
    /// Defaults to no feed: with [`with_sign_out_within`](crate::session::SessionsBuilder::with_sign_out_within), each token
    /// is then asked about once in the bound.
    fn changes(&self, cursor: Option<&Cursor>) -> impl Future<Output = Result<Changes, Self::Error>> + Send {
        let _ = cursor;
        std::future::ready(Ok(Changes::Unsupported))
    }

    /// Waits until there may be something new in [`changes`](Self::changes), which then is asked at once. It may come late,
    /// for nothing, or never.
    ///
    /// It is called before `changes`, and polled beside it: what is new since the call counts.
    ///
    /// Defaults to never.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// Does what [`update`](Self::update) does, for claims that must count at once: the session appears in
    /// [`changes`](Self::changes).
    ///
    /// Defaults to `update`.
    fn update_announced(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> impl Future<Output = Result<Update, Self::Error>> + Send {
        self.update(record, stamps)
    }
}

/// The outcome of [`RefreshStore::create`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "created once per sign-in and matched immediately")]
pub enum Created {
    /// The session was created, with this record.
    Done(SessionRecord),
    /// The store has no room for another session.
    Full,
}

impl Update {
    /// Returns whether the record was written.
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }

    /// Returns what [`RefreshStore::update`] makes of a stored record, for a store that holds a lock on it: on
    /// [`Update::Done`], the record that it returns must be stored.
    ///
    /// `now` is the store's present time, taken while the lock is held.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::SystemTime;
    /// use tower_cookie_jwt::store::{NewRecord, Stamps, Update};
    ///
    /// let now = SystemTime::now();
    /// let record = NewRecord::new("id".into(), "ada", [0; 32]).begin(now);
    /// let update = |stored| Update::of(stored, &record, Stamps::default(), now);
    ///
    /// assert_eq!(update(None), Update::Gone);
    /// let Update::Done(written) = update(Some(&record)) else { panic!("the versions are equal") };
    /// assert_eq!(written.version, 1);
    /// assert_eq!(update(Some(&written)), Update::Conflict);
    /// ```
    pub fn of(
        stored: Option<&SessionRecord>,
        record: &SessionRecord,
        stamps: Stamps,
        now: SystemTime,
    ) -> Self {
        match stored {
            None => Self::Gone,
            Some(stored) if stored.version != record.version => Self::Conflict,
            Some(_) => Self::Done(Box::new(record.clone().stamped(stamps, now))),
        }
    }

    /// Returns the outcome of a conditional write that has changed no row: `exists` says whether there is a row with the
    /// id, which a second statement finds out.
    ///
    /// The second statement may run after the first: ids are never used again, and versions only grow, so the outcome was
    /// also that of the first, or the session has been removed since.
    pub const fn not_written(exists: bool) -> Self {
        if exists { Self::Conflict } else { Self::Gone }
    }
}

/// The outcome of [`RefreshStore::read`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The record, if the session exists.
    pub record: Option<SessionRecord>,
    /// The store's current time.
    ///
    /// The rules of rotation are evaluated against this time, so the clocks of the nodes need not agree.
    pub now: SystemTime,
}

/// The outcome of [`RefreshStore::update`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Written: this is the record now.
    Done(Box<SessionRecord>),
    /// Another writer has written since the record was read.
    Conflict,
    /// The session no longer exists.
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

    fn changes(&self, cursor: Option<&Cursor>) -> impl Future<Output = Result<Changes, T::Error>> + Send {
        (**self).changes(cursor)
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        (**self).changed()
    }

    fn update_announced(
        &self,
        record: &SessionRecord,
        stamps: Stamps,
    ) -> impl Future<Output = Result<Update, T::Error>> + Send {
        (**self).update_announced(record, stamps)
    }
}

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer<'a, T> = BoxFuture<'a, Result<T, BoxError>>;

/// The object-safe counterpart of [`RefreshStore`], so that `Sessions` needs no type parameter for its store.
///
/// Each store call boxes one future. Requests with a valid access token normally make no store call.
pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn new_id(&self, subject: &str) -> SessionId;
    fn create(&self, session: NewRecord) -> Answer<'_, Created>;
    fn read<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Snapshot>;
    fn update<'a>(&'a self, record: &'a SessionRecord, stamps: Stamps) -> Answer<'a, Update>;
    fn remove<'a>(&'a self, id: &'a SessionId) -> Answer<'a, bool>;
    fn list<'a>(&'a self, subject: &'a str) -> Answer<'a, Vec<SessionRecord>>;
    fn remove_all<'a>(&'a self, subject: &'a str, keep: Option<&'a SessionId>) -> Answer<'a, u64>;
    fn changes<'a>(&'a self, cursor: Option<&'a Cursor>) -> Answer<'a, Changes>;
    fn changed(&self) -> BoxFuture<'_, ()>;
    fn update_announced<'a>(&'a self, record: &'a SessionRecord, stamps: Stamps) -> Answer<'a, Update>;
}

// Both traits are in scope and share method names, so every call is qualified.
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

    fn changes<'a>(&'a self, cursor: Option<&'a Cursor>) -> Answer<'a, Changes> {
        Box::pin(async move { RefreshStore::changes(self, cursor).await.map_err(Into::into) })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(RefreshStore::changed(self))
    }

    fn update_announced<'a>(&'a self, record: &'a SessionRecord, stamps: Stamps) -> Answer<'a, Update> {
        Box::pin(
            async move { RefreshStore::update_announced(self, record, stamps).await.map_err(Into::into) },
        )
    }
}
