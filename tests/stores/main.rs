//! The stores on real servers, which the tests start on free loopback ports and stop: the contract,
//! and the promise to honest clients under faults.

mod balancer;
mod faults;
mod honest;
mod place;
mod postgres;
mod processes;
mod proxy;
mod redis;
mod servers;
mod signing_out;
