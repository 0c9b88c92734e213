//! The promise to legitimate clients: browsers with several tabs, over nodes that share a store.

mod browser;
mod ledger;
mod nodes;
mod token;

pub(crate) use self::{
    browser::LegitimateClient,
    ledger::Ledger,
    nodes::{GRACE, Nodes},
};
