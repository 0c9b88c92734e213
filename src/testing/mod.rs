//! Utilities for testing applications and stores.
//!
//! [`TestClock`] is a clock that a test sets by hand, [`Browser`] wraps any Tower service with a cookie jar, and
//! [`store_contract`] tests an implementation of [`RefreshStore`](crate::store::RefreshStore).

mod browser;
mod clock;
mod contract;
mod jar;

pub use self::{
    browser::{Browser, BrowserRequest},
    clock::TestClock,
    contract::{store_contract, store_contract_at_size, store_contract_with_clock},
};
