//! Where sessions are kept.
//!
//! A [`RefreshStore`] holds one [`SessionRecord`] per session and changes it by compare-and-set;
//! it knows nothing of the rules. [`MemoryStore`] is always there, `SqliteStore` comes with the
//! feature `sqlite`.

mod contract;
mod erased;
mod memory;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod millis;
mod record;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use self::erased::{BoxError, BoxFuture, ErasedStore};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreError};
pub use self::{
    contract::{Created, RefreshStore, Snapshot, Update},
    memory::MemoryStore,
    record::{NewRecord, SessionId, SessionRecord},
};
