//! The stores on real servers, which the tests start on free loopback ports and stop: the contract,
//! and the promise to honest clients under faults.

mod postgres;
mod redis;
mod servers;
