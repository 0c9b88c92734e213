#![doc = include_str!("../../docs/stores.md")]

mod contract;
mod feed;
mod memory;
pub mod millis;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "redis", feature = "sqlite"))]
mod push;
mod record;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;
mod sweep;

pub(crate) use self::contract::{BoxError, BoxFuture, ErasedStore};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresStore, PostgresStoreError, PostgresStoreOptions};
pub(crate) use self::record::{DEFAULT_ABSOLUTE, DEFAULT_IDLE};
#[cfg(feature = "redis")]
pub use self::redis::{RedisStore, RedisStoreError, RedisStoreOptions};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteStore, SqliteStoreError, SqliteStoreOptions};
pub use self::{
    contract::{Created, RefreshStore, Snapshot, Update},
    feed::{Changes, Cursor, Page},
    memory::MemoryStore,
    record::{NewRecord, SessionId, SessionRecord, Stamps},
    sweep::{Sweep, Sweeps},
};
