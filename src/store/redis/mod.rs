mod connection;
mod error;
mod keys;
mod record;
mod scripts;
mod single;
mod store;
mod subject;

pub use self::{error::RedisStoreError, store::RedisStore};
