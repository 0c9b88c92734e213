//! What a request says: who makes it, with which token, and from which origin.
//!
//! Layers and sessions inspect requests only through this module. [`Authenticator`] finds and verifies the access
//! token, and [`RefreshCookieReader`] the refresh token. [`OriginPolicy`] decides whether a page of the application
//! made the request. [`AuthState`] is the one extension in which the layers share the outcome.

mod auth_state;
mod authenticator;
mod cookies;
#[cfg(test)]
mod cookies_tests;
mod head;
mod heard;
mod origin;
mod refresh_token;
mod report;
mod session_check;
mod sources;

#[cfg(any(feature = "axum", feature = "tonic"))]
pub(crate) use self::auth_state::NoClaims;
pub(crate) use self::{
    auth_state::{AuthState, AuthStatus},
    authenticator::{AccessCookie, Authenticator},
    cookies::cookie_values,
    head::{Found, Head, XSRF_HEADER, is_handshake, is_preflight, is_top_level_navigation, is_unsafe},
    heard::Heard,
    origin::{FetchMetadata, OriginPolicy, is_loopback, normalize, without_default_port},
    refresh_token::{REFRESH_TYPE, RefreshCookie, RefreshCookieReader, RefreshToken, SessionSecret},
    report::{ErasedRejection, RefusalListener, Report},
    session_check::{Bound, SessionCheck},
    sources::Sources,
};
pub use self::{
    origin::{OriginError, OriginErrorKind},
    session_check::WhenBehind,
};
