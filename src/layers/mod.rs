//! The Tower layers and services.

pub mod authenticate;
pub mod authorize;
pub mod bearer;
mod body;
pub mod device;
mod exempt;
mod future;
pub mod jwks;
pub mod refresh;
mod session;
pub mod xsrf;

pub use self::{body::JsonBody, future::ResponseFuture, session::SessionLayer};
