mod error;
mod rows;
mod sql;
mod store;

pub use self::{error::SqliteStoreError, store::SqliteStore};
