//! The Tower layers and services.

mod session;

pub use self::session::SessionLayer;
