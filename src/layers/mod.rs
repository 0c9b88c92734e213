//! The Tower layers and services.

pub mod authenticate;
pub mod authorize;
mod session;
pub mod xsrf;

pub use self::session::SessionLayer;
