use std::{fmt, time::SystemTime};

use super::{
    super::binding::{self, Bound},
    public_key::PublicKey,
};
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
pub enum Enforcement {
    /// Cookies alone renew nothing.
    #[default]
    Always,
    /// Cookies alone still renew the session; only an event tells that the proof was missing.
    Observe,
}

impl Enforcement {
    pub(crate) const fn is_always(self) -> bool {
        matches!(self, Self::Always)
    }
}

/// The key to which a session is bound, and what has been proven with it.
///
/// A binding is never taken off and its key never replaced: the session can only end (DBSC §3.4).
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct DeviceKey {
    pub(super) public: PublicKey,
    pub(super) thumbprint: [u8; 32],
    pub(super) bound: Bound,
    pub(super) proved_at: SystemTime,
}

impl DeviceKey {
    /// Returns the binding after a proof with this key at `now`. The first proof binds; each uses up the challenge that it
    /// was made with (DBSC §3.1).
    ///
    /// Times are whole milliseconds, as stores keep them. A clock that has been set back does not move the time of the last
    /// proof back.
    pub(crate) fn proven(
        former: Option<&Self>,
        public: &PublicKey,
        now: SystemTime,
        enforcement: Enforcement,
    ) -> Self {
        let now = at_millis(begins(now));
        Self {
            thumbprint: public.thumbprint(),
            public: public.clone(),
            bound: binding::proven(former.map(|former| former.bound), enforcement.is_always(), now),
            proved_at: former.map_or(now, |former| former.proved_at.max(now)),
        }
    }

    /// Returns the SHA-256 thumbprint of the public key (RFC 7638).
    pub(crate) const fn thumbprint(&self) -> &[u8; 32] {
        &self.thumbprint
    }

    /// Returns what the rules know of the binding.
    pub(crate) const fn bound(&self) -> Bound {
        self.bound
    }

    /// Returns when the key was last proven to be in the client's hands.
    pub(crate) const fn proved_at(&self) -> SystemTime {
        self.proved_at
    }
}

/// Returns the hash by which the record of a session with this binding recognizes the secret (DBSC §3.6).
///
/// While a binding is enforced, the thumbprint is folded into the hash. Whatever loses or ignores the binding, such as an
/// older node or a custom store that drops the extension, then finds the wrong secret and refuses.
pub(crate) fn secret_hash(binding: Option<&DeviceKey>, secret: &SessionSecret) -> [u8; 32] {
    match binding {
        Some(key) if key.bound.is_enforced => folded(secret, &key.thumbprint),
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
            .field("bound", &self.bound)
            .field("proved_at", &self.proved_at)
            .finish_non_exhaustive()
    }
}
