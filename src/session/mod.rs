//! Sessions: signing in and out, and the rotation of refresh tokens.
//!
//! A session is one sign-in on one device. Its record in the store counts *generations*: each rotation of the
//! refresh token begins a new one. A pure function decides what happens to a refresh token, based on two things:
//!
//! * how the token's generation relates to the current one;
//! * whether the current generation is *settled*, that is, whether one of its tokens was seen from the client at
//!   least a grace period ago, so that nothing older can still be in flight.
//!
//! This gives two guarantees:
//!
//! * A legitimate client is never revoked and never gets stuck, with any number of tabs and whatever is lost, slow or
//!   reordered, as long as no message spends longer than the grace period on the network.
//! * Once a stolen refresh token has been used in a generation that the client does not hold, the client's next
//!   refresh after the grace period revokes the session.
//!
//! See [`Sessions`] for an example.

mod answers;
mod builder;
mod claims;
mod confirmation;
mod confirmer;
mod error;
mod events;
mod exchange;
mod issue;
mod records;
mod reload;
mod rotation;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod timer;

pub(crate) use self::exchange::{Answer, Grant, RefreshError};
pub use self::{
    answers::{SessionInfo, SignedIn, SignedOut, UpdatedClaims},
    builder::SessionsBuilder,
    error::SessionError,
    events::{SessionEvent, SessionEvents, TraceEvents},
    reload::ReloadClaims,
    rotation::LostResponse,
    sessions::Sessions,
    sign_in::SignIn,
};
