//! Sessions: signing in and out, and the rotation of refresh tokens.
//!
//! A session is one sign-in on one device. Its record in the store counts *generations*: each rotation of the refresh
//! token begins a new one. The record also holds the *parent*, the oldest generation that a legitimate client may still
//! hold, and the highest generation that has been *seen* from the client: presented as a refresh token, or sighted in an
//! access token, in a cookie or in a header. The current generation is *confirmed* once it has been seen, and *settled* a
//! grace period after that: then nothing older can still be in flight. A pure function decides what a presented refresh
//! token means:
//!
//! | presented | answer |
//! |---|---|
//! | the current generation, settled | the next generation; the current one becomes the parent |
//! | the current generation, not settled | an access token; the client holds the refresh token already |
//! | from the parent up to the current one | the pair of the current generation again: its answer may have been lost |
//! | before the parent, or before one that was seen a grace period ago | reuse: the session is revoked |
//! | later than the current one | the store has lost writes: the record is moved forward |
//!
//! A generation is answered again for two grace periods. A *late* answer, after that, begins a generation of its own,
//! with [`SessionEvent::AnswerLost`]; 32 of them in a row that are never confirmed are reuse. Before cookies go on a
//! response, the record is read once more, so that a slow handler neither overwrites a newer cookie nor revives a
//! session that has ended.
//!
//! # What this gives
//!
//! A legitimate client is never revoked and never gets stuck, with any number of tabs and whatever is lost, slow or
//! reordered, under one assumption: each of two ways takes less than the grace period, from the cookie jar to the first
//! look at the record, and from the second look to the cookie jar. Handlers, reloads and stores may take any time; a
//! proxy that buffers a long upload, or a device that sleeps with a request in flight, count as network. (A client, or
//! something between, that drops `Set-Cookie` 32 times in a row is signed out.)
//!
//! And of a thief with a copy of a refresh token:
//!
//! 1. Once a use of the current generation has been written to the store, and the client neither holds that generation
//!    nor has its answer on the way, the client gets access tokens for at most a grace period more, never a refresh
//!    cookie, and its next refresh after that revokes the session.
//! 2. The thief is left behind if the client refreshes two grace periods or more after cookies were last sent: once the
//!    client's first use of its new generation is written, older tokens bring an access token for one more grace period,
//!    then they are reuse. Until it is written, the thief can join the client.
//! 3. Without a confirmation, at most 32 late answers begin a generation, each with an event.
//!
//! A thief who refreshes within two grace periods of the client's own refresh goes undetected, as under every grace
//! period.
//!
//! See [`Sessions`] for an example.

mod answers;
mod binding;
mod builder;
#[cfg(any(feature = "jwks-remote", feature = "postgres", feature = "redis", feature = "sqlite"))]
mod carried;
mod claims;
mod confirmation;
mod confirmer;
pub(crate) mod device;
mod error;
mod events;
mod exchange;
mod follow;
mod issue;
mod places;
mod presented;
mod records;
mod reload;
mod rotation;
mod rounds;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
mod timer;
mod writes;

pub use self::{
    answers::{DeviceInfo, SessionInfo, SignedIn, SignedOut, UpdatedClaims},
    builder::SessionsBuilder,
    device::{DeviceBinding, DeviceOffer, Enforcement},
    error::SessionError,
    events::{SessionEvent, SessionEvents, StoreCall, StoreOperation, TraceEvents},
    follow::View,
    reload::ReloadClaims,
    rotation::LostResponse,
    sessions::Sessions,
    sign_in::SignIn,
};
pub(crate) use self::{
    exchange::{Answer, Grant, Narrowing, RefreshError},
    presented::EitherToken,
};
pub use crate::request::WhenBehind;
