//! A cache of accepted tokens and their claims.
//!
//! A valid signature stays valid. What can change is checked on every hit: `exp` and `nbf` against the time, and the
//! keys by the epoch of the ring. A verifier's other requirements are fixed for its lifetime, and each verifier has a
//! separate cache, so a token that one verifier accepted is not accepted by another.
//!
//! Only accepted tokens are cached. An invalid token costs one lookup and takes no space.

use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::{BuildHasher, BuildHasherDefault, Hasher},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use super::claims::Verified;

/// A bounded map from whole tokens to their verified claims.
///
/// It is divided into shards to reduce lock contention. Each shard evicts by the second-chance algorithm (CLOCK): an
/// entry that was used since the hand last passed it is kept. A stream of tokens that are used once therefore evicts
/// other such tokens, not those of active users.
pub(super) struct TokenCache<C> {
    shards: [RwLock<Shard<C>>; SHARDS],
    /// Random, so that an attacker cannot choose tokens whose hashes collide.
    seeds: [u64; 4],
    /// The capacity of each shard in bytes.
    shard_bytes: usize,
}

struct Shard<C> {
    /// Keyed by the hash of the token, which is not hashed again.
    entries: HashMap<u64, Entry<C>, BuildHasherDefault<Hashed>>,
    /// The hashes of all entries, in the order in which the hand visits them.
    ring: Vec<u64>,
    hand: usize,
    bytes: usize,
}

struct Entry<C> {
    token: Box<[u8]>,
    verified: Arc<Verified<C>>,
    /// Whether the entry was used since the hand last passed it.
    used: AtomicBool,
}

impl<C> TokenCache<C> {
    pub(super) fn new(bytes: usize) -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::new(Shard::new())),
            seeds: std::array::from_fn(|_| RandomState::new().hash_one(0)),
            shard_bytes: bytes / SHARDS,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.shard_bytes * SHARDS
    }

    /// Returns the claims cached for exactly this token, if `stands` returns `true` for them.
    pub(super) fn get(
        &self,
        token: &[u8],
        stands: impl FnOnce(&Verified<C>) -> bool,
    ) -> Option<Arc<Verified<C>>> {
        if self.shard_bytes == 0 {
            return None;
        }
        let hash = self.hash(token);
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.entries.get(&hash)?;
        // The comparison need not take constant time: it is reached only if 64 seeded hash bits match, so its timing
        // reveals nothing about tokens that the client does not have.
        //
        // Checking the claims first lets the loads of the claims and of the token from memory overlap.
        if !stands(&entry.verified) || *entry.token != *token {
            return None;
        }
        // Stored only if unset, so that readers do not contend for the cache line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.verified.clone())
    }

    /// Caches the verified claims of `token`, evicting other entries if necessary.
    pub(super) fn insert(&self, token: &[u8], verified: Arc<Verified<C>>) {
        let weight = weight::<C>(token);
        if weight > self.shard_bytes {
            return;
        }
        let hash = self.hash(token);
        let entry = Entry { token: token.into(), verified, used: AtomicBool::new(false) };
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        shard.remove(hash);
        shard.make_room(self.shard_bytes - weight);
        shard.add(hash, entry);
    }

    /// Hashes the end of the token, which is part of its signature.
    ///
    /// Accepted tokens differ in their signatures, and hashing only these costs the same for tokens of any length.
    /// Signatures cannot be chosen without the key, so seeded multiplications mix well enough.
    fn hash(&self, token: &[u8]) -> u64 {
        let mut end = [0; HASHED];
        let known = &token[token.len().saturating_sub(HASHED)..];
        end[..known.len()].copy_from_slice(known);
        let word = |place: usize| u64::from_le_bytes(std::array::from_fn(|byte| end[8 * place + byte]));
        let [first, second, third, fourth] = self.seeds;
        let mixed = fold(word(0) ^ first, word(1) ^ second) ^ fold(word(2) ^ third, fourth);
        fold(mixed, GOLDEN)
    }

    fn shard(&self, hash: u64) -> &RwLock<Shard<C>> {
        // The hash map uses the lowest and the highest bits, so the shard is selected by the middle ones.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }
}

impl<C> Shard<C> {
    fn new() -> Self {
        Self { entries: HashMap::default(), ring: Vec::new(), hand: 0, bytes: 0 }
    }

    fn add(&mut self, hash: u64, entry: Entry<C>) {
        self.bytes += weight::<C>(&entry.token);
        self.ring.push(hash);
        self.entries.insert(hash, entry);
    }

    /// Evicts entries until the shard uses at most `bytes`.
    fn make_room(&mut self, bytes: usize) {
        while self.bytes > bytes {
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let hash = self.ring[self.hand];
            let entry = self.entries.get_mut(&hash);
            if entry.is_some_and(|entry| std::mem::take(entry.used.get_mut())) {
                self.hand += 1;
            } else {
                self.evict(self.hand);
            }
        }
    }

    fn remove(&mut self, hash: u64) {
        if self.entries.contains_key(&hash)
            && let Some(place) = self.ring.iter().position(|other| *other == hash)
        {
            self.evict(place);
        }
    }

    fn evict(&mut self, place: usize) {
        let hash = self.ring.swap_remove(place);
        if let Some(entry) = self.entries.remove(&hash) {
            self.bytes -= weight::<C>(&entry.token);
        }
    }
}

/// Returns the approximate size of an entry in bytes: the token, its parsed claims, and its share of the tables.
fn weight<C>(token: &[u8]) -> usize {
    OVERHEAD + size_of::<Verified<C>>() + token.len() * CLAIMS_FACTOR
}

impl<C> fmt::Debug for TokenCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// Multiplies two words and folds the upper half of the product onto the lower half.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}

/// A [`Hasher`] that returns the key, which is already a hash.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole hashes are keys")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// 2⁶⁴ divided by the golden ratio, which spreads differences in few bits over the whole word.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const SHARDS: usize = 32;
/// The number of hashed characters at the end of a signature: 144 bits, a few of which are always zero in Ed25519
/// signatures.
const HASHED: usize = 24;
/// The approximate bytes per entry that depend neither on the token nor on the type of the claims.
const OVERHEAD: usize = 160;
/// Estimates the size of the token together with its claims, as a multiple of the token's length.
const CLAIMS_FACTOR: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::Epoch, token::registered::Registered};

    fn verified() -> Arc<Verified<u32>> {
        Arc::new(Verified::new(Epoch::default(), Registered::default(), 7))
    }

    /// Returns a token of a realistic length that differs from the others throughout.
    fn token(number: usize) -> Vec<u8> {
        format!("{number:08}").repeat(60).into_bytes()
    }

    fn held(cache: &TokenCache<u32>) -> usize {
        let shards = cache.shards.iter().map(|shard| shard.read().expect("no panic"));
        shards
            .map(|shard| shard.entries.values().map(|entry| weight::<u32>(&entry.token)).sum::<usize>())
            .sum()
    }

    fn get(cache: &TokenCache<u32>, token: &[u8]) -> Option<Arc<Verified<u32>>> {
        cache.get(token, |_| true)
    }

    fn filled(bytes: usize, tokens: std::ops::Range<usize>) -> TokenCache<u32> {
        let cache = TokenCache::new(bytes);
        for number in tokens {
            cache.insert(&token(number), verified());
        }
        cache
    }

    #[test]
    fn a_stream_of_tokens_stays_within_the_bound() {
        for bytes in [0, 1, 1000, 100_000, 1 << 20] {
            let cache = filled(bytes, 0..5000);
            assert!(held(&cache) <= bytes, "{} of {bytes}", held(&cache));
            for shard in &cache.shards {
                let shard = shard.read().expect("no panic");
                assert_eq!(shard.entries.len(), shard.ring.len(), "each entry is in the ring once");
                let sum: usize = shard.entries.values().map(|entry| weight::<u32>(&entry.token)).sum();
                assert_eq!(shard.bytes, sum, "the byte count is correct");
            }
        }
    }

    #[test]
    fn tokens_in_use_outlive_a_stream_of_unused_tokens() {
        let cache = filled(1 << 20, 0..32);
        for number in 1000..20_000 {
            cache.insert(&token(number), verified());
            if number % 50 == 0 {
                for at_work in 0..32 {
                    assert!(get(&cache, &token(at_work)).is_some(), "{at_work} at {number}");
                }
            }
        }
    }

    #[test]
    fn a_token_too_large_for_a_shard_is_not_cached_and_evicts_nothing() {
        let cache = filled(100_000, 0..10);
        let before = held(&cache);
        cache.insert(&vec![b'x'; 4000], verified());
        assert_eq!(held(&cache), before);
    }

    #[test]
    fn only_the_identical_token_is_found() {
        let cache = filled(1 << 20, 0..10);
        let mut other = token(3);
        other[0] ^= 1;
        assert!(get(&cache, &token(3)).is_some());
        assert!(get(&cache, &other).is_none(), "same end, different beginning");
        assert!(get(&cache, &token(3)[1..]).is_none());
        assert!(get(&cache, b"").is_none());
    }

    #[test]
    fn inserting_a_token_again_replaces_its_entry() {
        let cache = filled(1 << 20, 0..10);
        let before = held(&cache);
        for number in 0..10 {
            cache.insert(&token(number), verified());
        }
        assert_eq!(held(&cache), before);
    }

    #[test]
    fn tokens_are_spread_evenly_over_the_shards_by_the_end_of_their_signature() {
        let cache = TokenCache::new(8 << 20);
        for number in 0..3200_u32 {
            // Sequential numbers are far less random than signatures.
            cache.insert(format!("{number:024}").as_bytes(), verified());
        }
        let counts = cache.shards.each_ref().map(|shard| shard.read().expect("no panic").entries.len());
        assert_eq!(counts.iter().sum::<usize>(), 3200, "nothing was evicted");
        assert!(counts.iter().all(|count| (40..=200).contains(count)), "{counts:?}");
    }

    #[test]
    fn debug_shows_no_token() {
        let cache = filled(1 << 20, 7..8);
        assert!(!format!("{cache:?}").contains("0000007"));
    }
}
