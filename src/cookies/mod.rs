//! The cookies: which attributes they have, and how they are read, set and cleared.
//!
//! [`CookiePolicy`] is the only part that applications see; its defaults need no change for a
//! website of one host.

mod policy;
mod set_cookie;

#[cfg(feature = "testing")]
pub(crate) use self::policy::DEFAULT_XSRF_NAME;
pub use self::{policy::CookiePolicy, set_cookie::SameSite};
pub(crate) use self::{
    policy::{Cookies, DEFAULT_ACCESS_NAME},
    set_cookie::{Prefix, append, append_missing, check_name},
};
