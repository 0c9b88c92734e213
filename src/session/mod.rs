//! Sessions: signing in and out, and the rotation of refresh tokens.
//!
//! A session is one sign-in on one device. Its record in the store counts *generations*: each
//! rotation of the refresh token begins a new one. Two questions decide everything, in one pure
//! table: which generation does the presented token belong to, and is the current one *settled*,
//! that is, has it been seen from the client for so long that nothing older is still on the way?
//!
//! What follows: an honest client, with any number of tabs, whatever is lost, slow or reordered,
//! is never revoked and never stuck, as long as no message is on the network for longer than the
//! grace period. And once a stolen refresh token has been used in a generation that the client does
//! not hold, the client's next refresh after the grace period revokes the session.
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
