use std::{fmt, time::SystemTime};

use super::public_key::PublicKey;
use crate::{
    request::SessionSecret,
    store::millis::{at_millis, begins},
};

/// Whether cookies alone still renew a session that is bound to a device (DBSC §3.4).
///
/// It is part of the binding: a session is under the rule that it was last proven under, so another setting takes hold at
/// each session's next proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub(crate) enum Enforcement {
    /// Cookies alone renew nothing.
    #[default]
    Always,
    /// Cookies alone still renew the session; only an event tells that the proof was missing.
    Observe,
}

/// The key to which a session is bound, and what has been proven with it.
///
/// A binding is never taken off and its key never replaced: the session can only end (DBSC §3.4).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceKey {
    pub(super) public: PublicKey,
    pub(super) thumbprint: [u8; 32],
    pub(super) bound_at: SystemTime,
    pub(super) proved_at: SystemTime,
    pub(super) proofs: u32,
    pub(super) enforcement: Enforcement,
}

impl DeviceKey {
    /// Returns the binding that the first proof makes. Times are whole milliseconds, as stores keep them.
    pub(crate) fn bound(public: PublicKey, now: SystemTime, enforcement: Enforcement) -> Self {
        let thumbprint = public.thumbprint();
        let bound_at = at_millis(begins(now));
        Self { public, thumbprint, bound_at, proved_at: bound_at, proofs: 1, enforcement }
    }

    /// Returns the binding after another proof, which uses up the challenge that it was made with (DBSC §3.1).
    ///
    /// A clock that has been set back does not move the time of the last proof back.
    #[must_use]
    pub(crate) fn proven(self, now: SystemTime, enforcement: Enforcement) -> Self {
        let proved_at = self.proved_at.max(at_millis(begins(now)));
        // Wraps around, as a count that stands still would leave the last challenge usable again and again.
        Self { proved_at, proofs: self.proofs.wrapping_add(1), enforcement, ..self }
    }

    /// Returns the device's public key.
    pub(crate) const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Returns the SHA-256 thumbprint of the public key (RFC 7638).
    pub(crate) const fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Returns when the first proof bound the session.
    pub(crate) const fn bound_at(&self) -> SystemTime {
        self.bound_at
    }

    /// Returns when the key was last proven to be in the client's hands.
    pub(crate) const fn proved_at(&self) -> SystemTime {
        self.proved_at
    }

    /// Returns how many proofs have been accepted. The next challenge is good for this number only.
    pub(crate) const fn proofs(&self) -> u32 {
        self.proofs
    }

    /// Returns the rule that the session was last proven under.
    pub(crate) const fn enforcement(&self) -> Enforcement {
        self.enforcement
    }
}

/// Returns the hash by which the record of a session with this binding recognizes the secret (DBSC §3.6).
///
/// While a binding is enforced, the thumbprint is folded into the hash. Whatever loses or ignores the binding, such as an
/// older node or a custom store that drops the extension, then finds the wrong secret and refuses.
pub(crate) fn secret_hash(binding: Option<&DeviceKey>, secret: &SessionSecret) -> [u8; 32] {
    match binding {
        Some(key) if key.enforcement == Enforcement::Always => folded(secret, &key.thumbprint),
        _ => secret.hash(),
    }
}

/// Returns the SHA-256 of the secret and the thumbprint, one after the other.
pub(crate) fn folded(secret: &SessionSecret, thumbprint: &[u8; 32]) -> [u8; 32] {
    secret.hash_with(thumbprint)
}

impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceKey")
            .field("algorithm", &self.public.algorithm())
            .field("bound_at", &self.bound_at)
            .field("proved_at", &self.proved_at)
            .field("proofs", &self.proofs)
            .field("enforcement", &self.enforcement)
            .finish_non_exhaustive()
    }
}
