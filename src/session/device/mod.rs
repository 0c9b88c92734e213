//! Device-bound sessions (Device Bound Session Credentials): the parts that need neither a store nor a service.
//!
//! The browser makes a key pair, this crate keeps the public key in the session's record, and from then on the cookies
//! alone no longer renew the session. Registration writes nothing; the first proof binds. The files:
//!
//! * `public_key`, `key`, `extension`: the key to which a session is bound, and how the record keeps it;
//! * `headers`, `proof`: what the browser sends, and whether it proves that it holds a key;
//! * `tickets`: the session identifier and the challenges, which the key ring signs, so that neither needs a table;
//! * `instructions`: what the browser is told.
//!
//! Everything here is a function of its arguments, and of the keys and the clock that it was made with.

mod extension;
mod headers;
mod instructions;
mod json;
mod key;
mod proof;
mod public_key;
#[cfg(test)]
mod tests;
mod tickets;
