//! Tests of the public API, with a module per concept.

mod attacks;
#[cfg(feature = "axum")]
mod axum;
mod bearer;
mod builder;
mod cookie_answers;
mod cookie_reading;
mod cookies;
mod decision_table;
mod device;
mod device_calls;
mod differential;
#[cfg(feature = "jwks-remote")]
mod discovery;
mod ended_sessions;
mod following;
mod garbage;
#[cfg(feature = "tonic")]
mod grpc;
mod guarded;
mod hyper;
mod issuers;
mod jwk;
mod key_ring;
mod key_rotation;
mod keys;
mod late_answers;
mod lifetimes;
mod login_redirect;
mod memory_store;
#[cfg(feature = "axum")]
mod nesting;
mod origin;
mod policies;
mod presence;
mod readiness;
mod refresh_layer;
mod refresh_service;
mod refusals;
#[cfg(feature = "axum")]
mod rejection;
#[cfg(feature = "jwks-remote")]
mod remote_jwks;
mod require;
mod scenarios;
mod scenarios_requests;
mod sessions;
mod sharing;
mod sign_out_within;
mod slow_handlers;
mod store_faults;
mod stores;
mod thieves;
mod token_cache;
mod token_dates;
mod tokens;
mod typed_claims;
mod xsrf;

#[path = "../kit/mod.rs"]
mod kit;

use self::kit::{forge, handler, jar, loopback, shop, store};
