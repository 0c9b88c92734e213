//! For the tests of applications and of stores.
//!
//! [`TestClock`] is a clock that a test drives by hand, [`Browser`] a cookie jar over any Tower
//! service, and [`store_contract`] checks an implementation of
//! [`RefreshStore`](crate::store::RefreshStore).

mod browser;
mod clock;
mod contract;
mod jar;

pub use self::{
    browser::{Browser, BrowserRequest},
    clock::TestClock,
    contract::{store_contract, store_contract_at_size, store_contract_with_clock},
};
