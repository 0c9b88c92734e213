//! Tokens that have been verified before: the signature of a token does not change its mind.
//!
//! What can change is asked on each hit: the time (`exp`, `nbf`) by the verifier, the keys by the ring's
//! epoch. Everything else that a verifier demands is fixed for as long as it lives, and each verifier has
//! a cache of its own, so nothing that one accepts counts for another.
//!
//! Only tokens that were accepted are kept. Garbage costs a look and leaves nothing behind.

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
/// Shards keep threads out of each other's way. Each evicts by second chance (CLOCK): a token that has
/// been asked for since the hand came by stays, so a stream of tokens that come once pushes out its own
/// kind and not the users at work.
pub(super) struct TokenCache<C> {
    shards: [RwLock<Shard<C>>; SHARDS],
    /// Nobody can choose tokens that fall into one place.
    seeds: [u64; 4],
    /// Bytes that one shard may hold.
    shard_bytes: usize,
}

struct Shard<C> {
    /// By the hash of the token: it is as good as random, and must not be hashed once more.
    entries: HashMap<u64, Entry<C>, BuildHasherDefault<Hashed>>,
    /// The hashes of all entries, in the order that the hand goes round.
    ring: Vec<u64>,
    hand: usize,
    bytes: usize,
}

struct Entry<C> {
    token: Box<[u8]>,
    verified: Arc<Verified<C>>,
    /// Asked for since the hand came by.
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

    /// What the very same token was found to say, where that still `stands`.
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
        // Bytes are compared only once 64 seeded bits agree: how long that takes tells nothing about
        // tokens that one does not hold.
        //
        // The claims come first: while they are fetched from memory, so is the token.
        if !stands(&entry.verified) || *entry.token != *token {
            return None;
        }
        // Written at most once a round of the hand, so that readers do not fight for the line.
        if !entry.used.load(Ordering::Relaxed) {
            entry.used.store(true, Ordering::Relaxed);
        }
        Some(entry.verified.clone())
    }

    /// Keeps what `token` was found to say.
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

    /// The end of a token is its signature, which no two tokens that were accepted share: to hash that
    /// alone costs the same for short tokens and long ones. Whoever cannot sign cannot choose it, so seeded
    /// multiplications are mixing enough.
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
        // The map looks at the lowest and the highest bits.
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

    /// Evicts until at most `bytes` are left.
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

/// What an entry takes, about: its token, its claims as they stand in memory, and the tables' share.
fn weight<C>(token: &[u8]) -> usize {
    OVERHEAD + size_of::<Verified<C>>() + token.len() * CLAIMS_FACTOR
}

impl<C> fmt::Debug for TokenCache<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenCache").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

/// The product of both, its upper half folded onto the lower.
fn fold(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    (product >> 64) as u64 ^ product as u64
}

/// Passes on a hash that has been made already.
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

/// 2⁶⁴ divided by the golden ratio: spreads what few bits tell apart.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
const SHARDS: usize = 32;
/// Characters of the signature: 144 bits, of which some that an Ed25519 signature leaves zero.
const HASHED: usize = 24;
const OVERHEAD: usize = 160;
/// The token itself, and its claims as separate texts.
const CLAIMS_FACTOR: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{keys::Epoch, token::registered::Registered};

    fn verified() -> Arc<Verified<u32>> {
        Arc::new(Verified::new(Epoch::default(), Registered::default(), 7))
    }

    /// As long as many a real one, and different from its beginning to its end.
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
                assert_eq!(shard.entries.len(), shard.ring.len(), "each entry has its place");
                let sum: usize = shard.entries.values().map(|entry| weight::<u32>(&entry.token)).sum();
                assert_eq!(shard.bytes, sum, "the count is right");
            }
        }
    }

    #[test]
    fn a_token_that_is_used_outlives_a_stream_of_those_that_are_not() {
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
    fn a_token_too_large_for_a_shard_is_not_kept_and_evicts_nobody() {
        let cache = filled(100_000, 0..10);
        let before = held(&cache);
        cache.insert(&vec![b'x'; 4000], verified());
        assert_eq!(held(&cache), before);
    }

    #[test]
    fn only_the_very_same_token_is_found() {
        let cache = filled(1 << 20, 0..10);
        let mut other = token(3);
        other[0] ^= 1;
        assert!(get(&cache, &token(3)).is_some());
        assert!(get(&cache, &other).is_none(), "the end is the same, the beginning is not");
        assert!(get(&cache, &token(3)[1..]).is_none());
        assert!(get(&cache, b"").is_none());
    }

    #[test]
    fn a_token_that_comes_again_takes_its_former_place() {
        let cache = filled(1 << 20, 0..10);
        let before = held(&cache);
        for number in 0..10 {
            cache.insert(&token(number), verified());
        }
        assert_eq!(held(&cache), before);
    }

    #[test]
    fn tokens_fall_into_all_shards_alike_by_the_end_of_their_signature() {
        let cache = TokenCache::new(8 << 20);
        for number in 0..3200_u32 {
            // Even counters, which no signature is.
            cache.insert(format!("{number:024}").as_bytes(), verified());
        }
        let counts = cache.shards.each_ref().map(|shard| shard.read().expect("no panic").entries.len());
        assert_eq!(counts.iter().sum::<usize>(), 3200, "there is room for all");
        assert!(counts.iter().all(|count| (40..=200).contains(count)), "{counts:?}");
    }

    #[test]
    fn debug_shows_no_token() {
        let cache = filled(1 << 20, 7..8);
        assert!(!format!("{cache:?}").contains("0000007"));
    }
}
