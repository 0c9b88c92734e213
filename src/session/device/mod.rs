//! Device-bound sessions (Device Bound Session Credentials).
//!
//! The browser makes a key pair, this crate keeps the public key in the session's record, and from then on the cookies
//! alone no longer renew the session. Registration writes nothing; the first proof binds. The files:
//!
//! * `public_key`, `key`, `extension`: the key to which a session is bound, and how the record keeps it;
//! * `headers`, `proof`: what the browser sends, and whether it proves that it holds a key;
//! * `tickets`: the session identifier and the challenges, which the key ring signs, so that neither needs a table;
//! * `instructions`, `offer`: what the browser is told;
//! * `options`: the settings;
//! * `proving`: applies the rules of `session::binding` to the store.
//!
//! Everything but `offer` and `proving` is a function of its arguments, and of the keys and the clock that it was made
//! with.

mod extension;
mod headers;
mod instructions;
mod json;
mod key;
mod offer;
mod options;
mod proof;
mod proving;
mod public_key;
#[cfg(test)]
mod tests;
mod tickets;

#[cfg(feature = "testing")]
pub(crate) use self::public_key::PublicKey;
pub(crate) use self::{
    extension::binding,
    headers::{is_skipped, response, session_id},
    instructions::{CHALLENGE, challenge},
    options::Device,
    proof::{ProofError, refresh, registration},
    proving::ProveError,
    tickets::Identifier,
};
pub use self::{key::Enforcement, offer::DeviceOffer, options::DeviceBinding};
pub(super) use self::{
    key::{DeviceKey, secret_hash},
    tickets::{Rules, Tickets},
};
