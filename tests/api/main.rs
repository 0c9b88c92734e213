//! What users can see, through the public API only: a module per concept.

mod attacks;
mod cookie_answers;
mod cookie_reading;
mod cookies;
mod forge;
mod key_ring;
mod keys;
mod sharing;
mod stores;
mod token_dates;
mod tokens;
mod typed_claims;
