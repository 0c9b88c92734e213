mod packed;
mod store;
mod table;

pub use self::store::MemoryStore;
