use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};
#[cfg(feature = "jwks-remote")]
use std::{sync::Weak, time::Instant};

use super::{algorithm::Algorithm, key::Key};
use crate::error::ConfigError;

/// The active signing key, and all other keys that are still accepted.
///
/// Clones share their keys: [`replace`](Self::replace) swaps the keys of all clones while requests are being served.
///
/// To rotate keys without rejecting valid tokens, add each new key as accepted only, then make it active, then
/// accepted only again, and finally remove it. Keep a retired key for the longest token lifetime (that of refresh
/// tokens, if the ring signs them) plus the leeway.
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
    shared: Arc<SharedKeys>,
}

pub(crate) struct SharedKeys {
    keys: RwLock<Arc<Keys>>,
    /// The epoch of `keys`, readable without taking the lock.
    epoch: AtomicU64,
    /// Called when no key in the ring verifies a token that is otherwise acceptable.
    on_missing: Option<OnMissing>,
}

/// Identifies the set of keys that verified a token. Cached results are valid only while that set is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    number: u64,
    /// Whether the keys can expire without being replaced.
    ages: bool,
    /// Which ring it is of those that a verifier has.
    realm: u16,
}

impl Epoch {
    pub(crate) fn of_realm(self, index: usize) -> Self {
        Self { realm: index as u16, ..self }
    }

    pub(crate) const fn realm(self) -> usize {
        self.realm as usize
    }
}

/// An immutable snapshot of a ring's keys.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Incremented each time the ring's keys are replaced.
    epoch: u64,
    /// Index of the signing key in `keys`.
    active: Option<usize>,
    keys: Vec<Key>,
    freshness: Freshness,
}

/// How long the keys may be used: those of a remote set must have been fetched recently enough.
#[derive(Clone, Copy, Default)]
pub(super) enum Freshness {
    #[default]
    Lasting,
    #[cfg(feature = "jwks-remote")]
    Until(Instant),
    #[cfg(feature = "jwks-remote")]
    NotYet,
}

impl KeyRing {
    /// Creates a ring that signs and verifies with one HS256 secret of at least 32 random bytes.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the secret is shorter than 32 bytes (RFC 7518 §3.2).
    pub fn hs256(secret: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Self::new(Key::hs256(secret)?)
    }

    /// Creates a ring that signs and verifies with `active`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the key cannot sign.
    pub fn new(active: Key) -> Result<Self, ConfigError> {
        if !active.can_sign() {
            return Err(ConfigError::new(
                "the active key is public and cannot sign; pass a private key, or use `KeyRing::verify_only` for a \
                 ring that only verifies",
            ));
        }
        Ok(Self::from_keys(Keys { active: Some(0), keys: vec![active], ..Keys::default() }))
    }

    /// Creates a ring that verifies with `keys` and cannot sign.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if there are no keys, if two keys have the same id and algorithm, or if the ring has
    /// so many keys of one algorithm without an id that some would never be tried.
    pub fn verify_only(keys: impl IntoIterator<Item = Key>) -> Result<Self, ConfigError> {
        let mut ring = Keys::default();
        for key in keys {
            ring.add(key)?;
        }
        if ring.keys.is_empty() {
            return Err(ConfigError::new("a key ring needs at least one key"));
        }
        ring.check_reachable()?;
        Ok(Self::from_keys(ring))
    }

    /// Creates a ring of the keys of a published set, which may share their ids.
    pub(super) fn of_published(keys: Vec<Key>) -> Result<Self, ConfigError> {
        let keys = Keys { keys, ..Keys::default() };
        keys.check_reachable()?;
        Ok(Self::from_keys(keys))
    }

    /// Also accepts tokens signed with `key`.
    ///
    /// Give every key an id: keys without one are tried in turn, and a request is limited to four signature checks in
    /// total, including those of its refresh token.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if another key of the ring has the same id and algorithm, if the ring then has so many
    /// keys of one algorithm without an id that some would never be tried, or if it follows a remote key set.
    pub fn with_accepted(self, key: Key) -> Result<Self, ConfigError> {
        let mut keys = (*self.keys()).clone();
        if !matches!(keys.freshness, Freshness::Lasting) {
            return Err(ConfigError::new(
                "the ring follows a remote key set, which is its only source of keys; use a separate verifier for \
                 other keys",
            ));
        }
        keys.add(key)?;
        keys.check_reachable()?;
        Ok(Self::from_keys(keys))
    }

    /// Replaces the keys of this ring and of all its clones with those of `other`, while requests are being served.
    ///
    /// A verification in progress finishes with the keys it started with. If `other` follows a remote key set, its
    /// current keys are copied; this ring does not follow the set.
    pub fn replace(&self, other: Self) {
        self.shared.set(&other.keys());
    }

    /// Returns `true` if the ring has an active key.
    pub fn can_sign(&self) -> bool {
        self.keys().active.is_some()
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.shared.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns `true` if the keys of `epoch` are still in use and have not expired.
    pub(crate) fn is_in(&self, epoch: Epoch) -> bool {
        self.shared.epoch.load(Ordering::Acquire) == epoch.number
            && (!epoch.ages || self.keys().is_available())
    }

    /// Returns `true` if the keys are those of a remote set, which may change.
    pub(crate) fn is_remote(&self) -> bool {
        self.shared.on_missing.is_some()
    }

    /// Reports that no key verifies a token that is otherwise acceptable, so that a remote set is fetched again.
    ///
    /// `id` is that of a key which the set does not have. Returns `true` if a fetch may still bring it.
    pub(crate) fn miss(&self, id: Option<&str>) -> bool {
        self.shared.on_missing.as_ref().is_some_and(|on_missing| on_missing(id))
    }

    fn from_keys(keys: Keys) -> Self {
        Self { shared: Arc::new(SharedKeys::new(keys, None)) }
    }

    /// Creates a ring without keys, which become available with the first remote set.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn awaited(on_missing: impl Fn(Option<&str>) -> bool + Send + Sync + 'static) -> Self {
        let keys = Keys { freshness: Freshness::NotYet, ..Keys::default() };
        Self { shared: Arc::new(SharedKeys::new(keys, Some(Box::new(on_missing)))) }
    }

    /// Returns a weak reference, so that following a remote set does not keep the ring alive.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn downgrade(&self) -> Weak<SharedKeys> {
        Arc::downgrade(&self.shared)
    }
}

type OnMissing = Box<dyn Fn(Option<&str>) -> bool + Send + Sync>;

impl SharedKeys {
    fn new(keys: Keys, on_missing: Option<OnMissing>) -> Self {
        Self { epoch: AtomicU64::new(keys.epoch), keys: RwLock::new(Arc::new(keys)), on_missing }
    }

    /// Replaces the keys and starts a new epoch, which invalidates all cached results.
    fn set(&self, keys: &Keys) {
        let mut present = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = present.epoch + 1;
        *present = Arc::new(Keys { epoch, ..keys.clone() });
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Replaces the keys with those of a remote set, which may be used until `until`.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn take(&self, keys: Vec<Key>, until: Instant) {
        self.set(&Keys { keys, freshness: Freshness::Until(until), ..Keys::default() });
    }
}

impl Keys {
    /// Returns `true` if the keys may be used now.
    pub(crate) fn is_available(&self) -> bool {
        match self.freshness {
            Freshness::Lasting => true,
            #[cfg(feature = "jwks-remote")]
            Freshness::Until(end) => Instant::now() < end,
            #[cfg(feature = "jwks-remote")]
            Freshness::NotYet => false,
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        Epoch { number: self.epoch, ages: !matches!(self.freshness, Freshness::Lasting), realm: 0 }
    }

    pub(crate) fn active(&self) -> Option<&Key> {
        self.active.map(|index| &self.keys[index])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// Returns the keys that may have signed a token with this header.
    ///
    /// A `kid` selects the keys with that id, and after these those without an id. A token without a `kid` is tried with
    /// every key of its algorithm.
    pub(crate) fn candidates<'a>(
        &'a self,
        algorithm: Algorithm,
        kid: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Key> {
        let of_it = move |key: &&Key| key.algorithm() == algorithm;
        let named = self.keys.iter().filter(of_it).filter(move |key| kid.is_none() || key.id() == kid);
        let unnamed = self.keys.iter().filter(of_it).filter(move |key| kid.is_some() && key.id().is_none());
        named.chain(unnamed)
    }

    /// Rejects keys that a token is never checked against, because the checks are spent on others.
    fn check_reachable(&self) -> Result<(), ConfigError> {
        for algorithm in Algorithm::ALL {
            let of_it = || self.keys.iter().filter(|key| key.algorithm() == algorithm);
            let without_id = of_it().filter(|key| key.id().is_none()).count();
            let by_id = usize::from(without_id < of_it().count());
            if without_id + by_id > MAX_SIGNATURE_CHECKS {
                return Err(ConfigError::new(format!(
                    "the ring has {without_id} keys for {algorithm} without an id, but a token is checked against at most \
                     {MAX_SIGNATURE_CHECKS} keys; give each key an id with `Key::with_id`, or remove retired keys"
                )));
            }
        }
        Ok(())
    }

    fn add(&mut self, key: Key) -> Result<(), ConfigError> {
        let same = |other: &Key| other.id() == key.id() && other.algorithm() == key.algorithm();
        if key.id().is_some() && self.keys.iter().any(same) {
            return Err(ConfigError::new(
                "two keys in the ring have the same id and algorithm; give each its own id with `Key::with_id`",
            ));
        }
        self.keys.push(key);
        Ok(())
    }
}

/// The most signature checks per request, and so the most keys that a token is checked against.
pub(crate) const MAX_SIGNATURE_CHECKS: usize = 4;

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys();
        f.debug_struct("KeyRing").field("active", &keys.active()).field("keys", &keys.keys).finish()
    }
}
