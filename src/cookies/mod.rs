//! The cookies: which attributes they have, and how they are read, set and cleared.
//!
//! [`CookiePolicy`] is the only part that applications see; its defaults need no change for a
//! website of one host.

mod policy;
mod spec;
mod write;

pub use self::policy::{CookiePolicy, SameSite};
pub(crate) use self::{
    policy::{Cookies, DEFAULT_ACCESS_NAME},
    spec::Prefix,
    write::{append, append_missing},
};
