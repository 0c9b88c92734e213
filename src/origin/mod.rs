//! The origin check: does a request come from the application's own pages?
//!
//! A browser says so in `Origin` and `Sec-Fetch-Site`, which no page can forge (Fetch Metadata,
//! OWASP CSRF prevention). One policy serves `XsrfLayer`, `RefreshLayer`, the refresh service,
//! sign-in and sign-out.

mod check;
mod error;
mod policy;
mod request;

pub use self::error::{OriginError, OriginErrorKind};
pub(crate) use self::{
    check::Provenance,
    policy::{OriginPolicy, is_loopback, normalize, without_default_port},
    request::{is_handshake, is_preflight, is_top_level_navigation, is_unsafe},
};
