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
    shared: Arc<SharedKeys>,
}

pub(crate) struct SharedKeys {
    keys: RwLock<Arc<Keys>>,
    /// That of `keys`, to be asked without a lock.
    epoch: AtomicU64,
    /// Told when a token names a key that is not in the ring.
    on_unknown: Option<OnUnknown>,
}

/// Which keys a token was judged by: whatever is known of it counts for as long as they are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Epoch {
    number: u64,
    /// The keys get too old by themselves.
    ages: bool,
}

/// One state of the ring.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// Counts the states of one ring.
    epoch: u64,
    /// Index of the signing key in `keys`.
    active: Option<usize>,
    keys: Vec<Key>,
    freshness: Freshness,
}

/// Whether the keys may be used: those of a remote set have to be there, and not too old.
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
        Ok(Self::from_keys(Keys { active: Some(0), keys: vec![active], ..Keys::default() }))
    }

    /// A ring that verifies with `keys` and signs nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for no key at all and for two keys of one id and algorithm.
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
    /// Give keys ids: those without are tried one after the other, and a request is good for four
    /// signature checks in all, its refresh token's included.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when another key of the ring has the same id and algorithm, and for a ring that
    /// follows a remote set.
    pub fn with_accepted(self, key: Key) -> Result<Self, ConfigError> {
        let mut keys = (*self.keys()).clone();
        if !matches!(keys.freshness, Freshness::Lasting) {
            return Err(ConfigError::new(
                "the ring follows a remote key set and takes its keys from there alone; verify other keys by a verifier of \
                 their own",
            ));
        }
        keys.add(key)?;
        Ok(Self::from_keys(keys))
    }

    /// Swaps the keys of this ring and of all its clones for those of `other`, while serving.
    ///
    /// Requests that are being verified finish with the keys they began with. Of a ring that follows a
    /// remote set, the keys are taken as they are now; they do not follow it here.
    pub fn replace(&self, other: Self) {
        self.shared.set(&other.keys());
    }

    /// Whether the ring has an active key.
    pub fn can_sign(&self) -> bool {
        self.keys().active.is_some()
    }

    pub(crate) fn keys(&self) -> Arc<Keys> {
        self.shared.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the keys of `epoch` are still those in use, and may be used.
    pub(crate) fn is_in(&self, epoch: Epoch) -> bool {
        self.shared.epoch.load(Ordering::Acquire) == epoch.number
            && (!epoch.ages || self.keys().is_available())
    }

    /// A token names a key that is not here.
    pub(crate) fn miss(&self) {
        if let Some(on_unknown) = &self.shared.on_unknown {
            on_unknown();
        }
    }

    fn from_keys(keys: Keys) -> Self {
        Self { shared: Arc::new(SharedKeys::new(keys, None)) }
    }

    /// A ring whose keys are still to come.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn awaited(on_unknown: impl Fn() + Send + Sync + 'static) -> Self {
        let keys = Keys { freshness: Freshness::NotYet, ..Keys::default() };
        Self { shared: Arc::new(SharedKeys::new(keys, Some(Box::new(on_unknown)))) }
    }

    /// Does not keep the ring alive.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn downgrade(&self) -> Weak<SharedKeys> {
        Arc::downgrade(&self.shared)
    }
}

type OnUnknown = Box<dyn Fn() + Send + Sync>;

impl SharedKeys {
    fn new(keys: Keys, on_unknown: Option<OnUnknown>) -> Self {
        Self { epoch: AtomicU64::new(keys.epoch), keys: RwLock::new(Arc::new(keys)), on_unknown }
    }

    /// Begins an epoch. Once this has returned, nothing that was known of any token counts.
    fn set(&self, keys: &Keys) {
        let mut present = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = present.epoch + 1;
        *present = Arc::new(Keys { epoch, ..keys.clone() });
        self.epoch.store(epoch, Ordering::Release);
    }

    /// Takes the keys of `ring`, to be used until then.
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn take(&self, ring: &KeyRing, until: Instant) {
        let keys = Keys { freshness: Freshness::Until(until), ..(*ring.keys()).clone() };
        self.set(&keys);
    }
}

impl Keys {
    /// Whether tokens can be judged by these keys.
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
        Epoch { number: self.epoch, ages: !matches!(self.freshness, Freshness::Lasting) }
    }

    pub(crate) fn active(&self) -> Option<&Key> {
        self.active.map(|index| &self.keys[index])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
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
        let same = |other: &Key| other.id() == key.id() && other.algorithm() == key.algorithm();
        if key.id().is_some() && self.keys.iter().any(same) {
            return Err(ConfigError::new(
                "two keys of the ring have the same id and algorithm; give each its own id with `Key::with_id`",
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
