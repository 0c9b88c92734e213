//! The stores on real servers, which the tests start on free loopback ports and stop: the contract,
//! and the promise to legitimate clients under faults.

mod balancer;
mod bounded;
mod clients;
mod deploy;
mod faults;
mod half_a_million;
#[path = "../kit/mod.rs"]
mod kit;
mod place;
mod poolers;
mod postgres;
mod processes;
mod proxy;
mod redis;
mod servers;
mod sharding;
mod sign_outs;
mod signing_out;
mod tls;
