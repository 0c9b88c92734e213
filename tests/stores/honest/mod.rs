//! The promise to honest clients: browsers with several tabs, over nodes that share a store.

mod browser;
mod ledger;
mod shop;
mod token;

pub(crate) use self::{
    browser::Honest,
    ledger::Ledger,
    shop::{GRACE, Shop},
};
