use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use super::{Algorithm, Key};
use crate::ConfigError;

/// The active signing key and all keys still accepted.
///
/// Clones share their keys: [`replace`](Self::replace) on one swaps them for all, while serving.
///
/// To change keys without refusing anybody, a key goes accept-only → active → accept-only →
/// removed. Keep a retired key for the longest token lifetime (that of refresh tokens, if the ring
/// signs them) plus the leeway.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::keys::{Algorithm, Key, KeyRing};
///
/// let old = Key::generate(Algorithm::HS256)?.with_id("2026-10");
/// let new = Key::generate(Algorithm::EdDSA)?.with_id("2026-11");
///
/// let ring = KeyRing::new(old.clone())?;
/// ring.replace(KeyRing::new(old.clone())?.with_accepted(new.clone())?); // every instance accepts it
/// ring.replace(KeyRing::new(new)?.with_accepted(old)?); // then it signs
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct KeyRing {
    shared: Arc<RwLock<Arc<Keys>>>,
}

/// One state of the ring.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Index of the signing key in `keys`.
    active: Option<usize>,
    keys: Vec<Key>,
}

impl KeyRing {
    /// A ring that signs and verifies with one HS256 secret of at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for a secret under 32 bytes (RFC 7518 §3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::new(Key::hs256(secret)?)
    }

    /// A ring whose active key is `active`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the key cannot sign.
    pub fn new(active: Key) -> Result<Self, ConfigError> {
        if !active.can_sign() {
            return Err(ConfigError::new(
                "the active key is public and cannot sign; give a private key, or build a ring that only \
                 verifies with `KeyRing::verify_only`",
            ));
        }
        Ok(Self::from_keys(Keys { active: Some(0), keys: vec![active] }))
    }

    /// A ring that verifies with `keys` and signs nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for no key at all and for two keys of one id.
    pub fn verify_only(keys: impl IntoIterator<Item = Key>) -> Result<Self, ConfigError> {
        let mut ring = Keys::default();
        for key in keys {
            ring.add(key)?;
        }
        if ring.keys.is_empty() {
            return Err(ConfigError::new("a key ring needs at least one key"));
        }
        Ok(Self::from_keys(ring))
    }

    /// Also accepts tokens that `key` has signed.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when another key of the ring has the same id.
    pub fn with_accepted(self, key: Key) -> Result<Self, ConfigError> {
        let mut keys = (*self.keys()).clone();
        keys.add(key)?;
        Ok(Self::from_keys(keys))
    }

    /// Swaps the keys of this ring and of all its clones for those of `other`, while serving.
    ///
    /// Requests that are being verified finish with the keys they began with.
    pub fn replace(&self, other: Self) {
        let keys = other.keys();
        *self.shared.write().unwrap_or_else(PoisonError::into_inner) = keys;
    }

    /// Whether the ring has an active key.
    pub fn can_sign(&self) -> bool {
        self.keys().active.is_some()
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.shared.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn from_keys(keys: Keys) -> Self {
        Self { shared: Arc::new(RwLock::new(Arc::new(keys))) }
    }
}

impl Keys {
    pub(crate) fn active(&self) -> Option<&Key> {
        self.active.map(|index| &self.keys[index])
    }

    /// The keys that may have signed a token with this header.
    ///
    /// A `kid` selects the key of that id; a key without an id is tried for any token of its
    /// algorithm, and a token without `kid` with any key of its algorithm.
    pub(crate) fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        self.keys.iter().filter(move |key| {
            key.algorithm() == algorithm && (kid.is_none() || key.id().is_none() || key.id() == kid)
        })
    }

    fn add(&mut self, key: Key) -> Result<(), ConfigError> {
        if key.id().is_some() && self.keys.iter().any(|other| other.id() == key.id()) {
            return Err(ConfigError::new(
                "two keys of the ring have the same id; give each its own with `Key::with_id`",
            ));
        }
        self.keys.push(key);
        Ok(())
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        f.debug_struct("KeyRing").field("active", &keys.active()).field("keys", &keys.keys).finish()
    }
}
