//! The names and attributes of the cookies.
//!
//! [`CookiePolicy`] holds the names and attributes of all three. Its defaults suit any website on a single host.

mod policy;
mod set_cookie;

#[cfg(feature = "testing")]
pub(crate) use self::policy::DEFAULT_XSRF_NAME;
pub use self::{policy::CookiePolicy, set_cookie::SameSite};
pub(crate) use self::{
    policy::{Cookies, DEFAULT_ACCESS_NAME},
    set_cookie::{CookieSpec, Prefix, append, append_missing, check_name, keep_from_storing},
};
