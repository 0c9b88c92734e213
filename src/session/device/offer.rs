use std::fmt;

use http::{HeaderMap, HeaderValue};

use super::{
    super::sessions::{Sessions, speaks_for},
    instructions::REGISTRATION,
};
use crate::{
    clock::since_epoch,
    store::{SessionId, SessionRecord},
    token::Claims,
    trace,
};

/// An offer to bind the session to the browser's device, made by
/// [`Sessions::offer_device_binding`](crate::Sessions::offer_device_binding).
///
/// With the `axum` feature it is a response part; otherwise call [`append_to`](Self::append_to).
#[derive(Clone)]
#[must_use = "the browser registers a key once the offer is on a response"]
pub struct DeviceOffer(HeaderValue);

impl DeviceOffer {
    /// Adds the header with the offer to a response.
    pub fn append_to(&self, headers: &mut HeaderMap) {
        headers.append(REGISTRATION, self.0.clone());
    }
}

impl fmt::Debug for DeviceOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceOffer")
    }
}

impl<C> Sessions<C> {
    /// Offers once more to bind the session of these claims to the browser's device, as the response to a sign-in does.
    ///
    /// Returns `None` without [`with_device_binding`](super::super::SessionsBuilder::with_device_binding), if the claims show
    /// that the session is bound already, or if the sign-in was longer ago than
    /// [`with_offer_window`](super::DeviceBinding::with_offer_window): a thief who comes later must not bind it.
    pub fn offer_device_binding(&self, claims: &Claims<C>) -> Option<DeviceOffer> {
        let inner = self.inner();
        let device = inner.device.as_ref()?;
        let (session, _) = speaks_for(claims)?;
        let signed_in = claims.authenticated_at()?;
        let age = since_epoch(inner.clock.now()).saturating_sub(since_epoch(signed_in));
        if claims.proof_time().is_some() || age > device.settings.offer_window {
            return None;
        }
        let ends = crate::clock::later(signed_in, inner.lifetimes.absolute);
        self.offer(&session, ends)
    }

    /// Returns the offer that goes with a sign-in.
    pub(in crate::session) fn first_offer(&self, record: &SessionRecord) -> Option<DeviceOffer> {
        self.offer(&record.id, record.absolute_expires_at)
    }

    fn offer(&self, session: &SessionId, ends: std::time::SystemTime) -> Option<DeviceOffer> {
        let device = self.inner().device.as_ref()?;
        // Without an offer, the session stays unbound, as with a browser that has no support.
        let challenge = device.tickets.registration_challenge(session, ends);
        let challenge = challenge.inspect_err(|error| trace::cannot_issue(error)).ok()?;
        Some(DeviceOffer(device.settings.instructions.offer(&challenge)))
    }
}
