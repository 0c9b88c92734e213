mod connection;
mod error;
mod keys;
mod record;
mod scripts;
mod store;

pub use self::{error::RedisStoreError, store::RedisStore};
