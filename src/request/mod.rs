//! What a request says: who is asking, by which token, and from where.
//!
//! The layers and the session look at a request through this room alone. [`Authenticator`] finds and verifies
//! its access token, [`RefreshReader`] its refresh token, [`OriginPolicy`] decides whether a page of the
//! application made it; [`Checked`] is the one extension in which the layers share the outcome.

mod auth_state;
mod authenticator;
mod cookies;
#[cfg(test)]
mod cookies_tests;
mod head;
mod origin;
mod refresh_token;
mod sources;

pub use self::origin::{OriginError, OriginErrorKind};
pub(crate) use self::{
    auth_state::{Checked, Located, Outcome},
    authenticator::Authenticator,
    cookies::cookie_values,
    head::{Found, Head, is_handshake, is_preflight, is_top_level_navigation, is_unsafe},
    origin::{OriginPolicy, Provenance, is_loopback, normalize, without_default_port},
    refresh_token::{PresentedRefresh, REFRESH_TYPE, RefreshReader, RefreshToken, SessionSecret},
    sources::Sources,
};
