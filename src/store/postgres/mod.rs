mod error;
mod lease;
mod names;
mod options;
mod rows;
mod schema;
mod sql;
mod store;
mod text;

pub use self::{error::PostgresStoreError, options::PostgresStoreOptions, store::PostgresStore};
