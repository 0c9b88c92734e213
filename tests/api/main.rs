//! What users can see, through the public API only: a module per concept.

mod attacks;
#[cfg(feature = "axum")]
mod axum;
mod cookie_answers;
mod cookie_reading;
mod cookies;
mod forge;
mod garbage;
mod key_ring;
mod keys;
mod origin;
mod presence;
mod readiness;
mod refusals;
mod sharing;
mod shop;
mod stores;
mod token_dates;
mod tokens;
mod typed_claims;
mod xsrf;
