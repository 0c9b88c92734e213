//! The Tower layers and services.

pub mod authorize;
mod session;

pub use self::session::SessionLayer;
