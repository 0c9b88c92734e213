//! The object-safe twin of [`RefreshStore`], so that `Sessions` needs no type parameter for its
//! store: one box per store call, which a request with a good token does not make.

use std::{error::Error as StdError, pin::Pin};

use super::{
    contract::{Created, RefreshStore, Snapshot, Update},
    record::{NewRecord, SessionId, SessionRecord},
};

pub(crate) type BoxError = Box<dyn StdError + Send + Sync>;
pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
type Answer<'a, T> = BoxFuture<'a, Result<T, BoxError>>;

pub(crate) trait ErasedStore: Send + Sync + 'static {
    fn fresh_id(&self, subject: &str) -> SessionId;
    fn insert(&self, session: NewRecord) -> Answer<'_, Created>;
    fn load<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Snapshot>;
    fn swap<'a>(&'a self, record: &'a SessionRecord) -> Answer<'a, Update>;
    fn delete<'a>(&'a self, id: &'a SessionId) -> Answer<'a, bool>;
    fn all<'a>(&'a self, subject: &'a str) -> Answer<'a, Vec<SessionRecord>>;
    fn delete_all<'a>(&'a self, subject: &'a str, keep: Option<&'a SessionId>) -> Answer<'a, u64>;
}

impl<T: RefreshStore> ErasedStore for T {
    fn fresh_id(&self, subject: &str) -> SessionId {
        self.new_id(subject)
    }

    fn insert(&self, session: NewRecord) -> Answer<'_, Created> {
        Box::pin(async move { self.create(session).await.map_err(Into::into) })
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> Answer<'a, Snapshot> {
        Box::pin(async move { self.read(id).await.map_err(Into::into) })
    }

    fn swap<'a>(&'a self, record: &'a SessionRecord) -> Answer<'a, Update> {
        Box::pin(async move { self.update(record).await.map_err(Into::into) })
    }

    fn delete<'a>(&'a self, id: &'a SessionId) -> Answer<'a, bool> {
        Box::pin(async move { self.remove(id).await.map_err(Into::into) })
    }

    fn all<'a>(&'a self, subject: &'a str) -> Answer<'a, Vec<SessionRecord>> {
        Box::pin(async move { self.list(subject).await.map_err(Into::into) })
    }

    fn delete_all<'a>(&'a self, subject: &'a str, keep: Option<&'a SessionId>) -> Answer<'a, u64> {
        Box::pin(async move { self.remove_all(subject, keep).await.map_err(Into::into) })
    }
}
