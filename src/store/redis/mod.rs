mod connection;
mod error;
mod keys;
mod record;
mod scripts;
mod single;
mod store;

pub use self::{error::RedisStoreError, store::RedisStore};
