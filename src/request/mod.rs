//! What a request says: who is asking, by which token, and from where.
//!
//! The layers and the session look at a request through this room alone. [`Authenticator`] finds and verifies
//! its access token, [`RefreshCookieReader`] its refresh token, [`OriginPolicy`] decides whether a page of the
//! application made it; [`AuthState`] is the one extension in which the layers share the outcome.

mod auth_state;
mod authenticator;
mod cookies;
#[cfg(test)]
mod cookies_tests;
mod head;
mod origin;
mod refresh_token;
mod sources;

#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) use self::auth_state::NoClaims;
pub use self::origin::{OriginError, OriginErrorKind};
pub(crate) use self::{
    auth_state::AuthState,
    authenticator::Authenticator,
    cookies::cookie_values,
    head::{Found, Head, XSRF_HEADER, is_handshake, is_preflight, is_top_level_navigation, is_unsafe},
    origin::{FetchMetadata, OriginPolicy, is_loopback, normalize, without_default_port},
    refresh_token::{REFRESH_TYPE, RefreshCookie, RefreshCookieReader, RefreshToken, SessionSecret},
    sources::Sources,
};
