//! The Tower layers and services.

pub mod authenticate;
pub mod authorize;
pub mod bearer;
pub mod refresh;
mod session;
pub mod xsrf;

pub use self::session::SessionLayer;
