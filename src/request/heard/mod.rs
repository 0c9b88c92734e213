//! What this node has heard of sessions that have ended or changed.

mod filter;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap},
    hash::{BuildHasher, RandomState},
    ops::RangeInclusive,
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use self::filter::{Filter, WORDS};
use crate::{
    clock::since_epoch,
    token::{Claims, Known, Moment, has_hash},
};

/// Which sessions to ask about, and up to when this node has heard of all of them.
///
/// An entry counts from when it was merged, and a poll of the feed from when it was sent: a token passes without having
/// been asked about only if a poll that was sent lately would have brought an entry.
pub(crate) struct Heard {
    /// When the last complete poll was sent.
    as_of: Since,
    /// From when on this node has heard of everything: tokens from before are asked about once.
    floor: Since,
    filter: Filter,
    shards: Box<[RwLock<HashMap<u64, u64>>]>,
    count: AtomicUsize,
    /// How long an entry counts: longer than any access token that was issued before it lives.
    keep: Duration,
    hasher: RandomState,
    /// When the entries were last looked through for old ones.
    tidied: Mutex<u64>,
    /// How often the store has been asked about a token.
    asked: AtomicU64,
    /// Whether the feed is followed, or it has been said that it is not.
    is_followed: AtomicBool,
    /// Whether there is a feed that is followed.
    has_feed: AtomicBool,
    /// Whether the store pushes changes.
    is_pushed: AtomicBool,
    /// How far its clock is from this node's, in milliseconds.
    clock_offset: AtomicU64,
    /// Who waits for a session to end or to change, by its fingerprint and a number of their own.
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    wakers: BTreeMap<(u64, u64), Waker>,
    next: u64,
}

/// A moment that one task writes and others read; none at first.
#[derive(Debug, Default)]
struct Since {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl Since {
    /// Moves on to a moment, and never back. One task at a time calls it.
    fn set(&self, moment: Moment) {
        if self.monotonic.load(Ordering::Relaxed) >= moment.monotonic {
            return;
        }
        // In this order, so that a reader between the two pairs the later wall clock with the earlier monotonic one, which
        // then decides.
        self.wall.store(moment.wall, Ordering::Relaxed);
        self.monotonic.store(moment.monotonic, Ordering::Release);
    }

    fn get(&self) -> Option<Moment> {
        let monotonic = self.monotonic.load(Ordering::Acquire);
        (monotonic != 0).then(|| Moment { monotonic, wall: self.wall.load(Ordering::Relaxed) })
    }
}

impl Heard {
    pub(crate) fn new(keep: Duration) -> Self {
        Self::of_size(keep, WORDS, SHARDS)
    }

    fn of_size(keep: Duration, words: usize, shards: usize) -> Self {
        Self {
            as_of: Since::default(),
            floor: Since::default(),
            filter: Filter::new(words),
            shards: (0..shards).map(|_| RwLock::default()).collect(),
            count: AtomicUsize::new(0),
            keep,
            hasher: RandomState::new(),
            tidied: Mutex::new(0),
            asked: AtomicU64::new(0),
            is_followed: AtomicBool::new(false),
            has_feed: AtomicBool::new(false),
            is_pushed: AtomicBool::new(false),
            clock_offset: AtomicU64::new(0),
            waiting: Mutex::default(),
        }
    }

    /// Returns what is known about the session of a token, whose last answer counts for `limit`.
    pub(crate) fn known<C>(&self, claims: &Claims<C>, limit: Duration, now: Moment) -> Known {
        // Before the entries: who sees a poll sees what it has brought.
        let as_of = self.as_of.get();
        let asked = claims.asked();
        if let Some(heard) = self.entry(claims)
            && asked.when() <= heard
        {
            return Known::Nothing;
        }
        let answer = asked.known(limit, now);
        let is_answered = asked.when() > 0;
        match answer {
            Known::Nothing => {}
            known => return known,
        }
        match as_of {
            Some(as_of) if !as_of.is_longer_ago_than(limit, now) => {
                let covers = !is_answered || asked.is_live();
                if covers && self.covers(claims) { Known::Live } else { Known::Nothing }
            }
            _ => Known::Nothing,
        }
    }

    /// Whether everything has been heard since the token was issued, or since it was asked about.
    fn covers<C>(&self, claims: &Claims<C>) -> bool {
        let Some(floor) = self.floor.get() else { return false };
        // Of what cannot be compared with a record, only a question tells.
        if claims.session_id().is_none() || !claims.token_id().is_some_and(has_hash) {
            return false;
        }
        let is_younger = |issued_at: SystemTime| {
            u64::try_from(since_epoch(issued_at).as_millis())
                .is_ok_and(|at| at > floor.wall.saturating_add(SKEW_MILLIS))
        };
        claims.asked().when() > floor.monotonic || claims.issued_at().is_some_and(is_younger)
    }

    /// Returns when this node has heard of the token's session, if it has.
    fn entry<C>(&self, claims: &Claims<C>) -> Option<u64> {
        let session = claims.session_id()?;
        let fingerprint = claims.asked().fingerprint(|| self.fingerprint(session));
        if !self.filter.may_contain(fingerprint) {
            return None;
        }
        let shard = self.shard(fingerprint).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&fingerprint).copied()
    }

    /// Whether this node has heard of the token's session since it last asked.
    pub(crate) fn has_entry<C>(&self, claims: &Claims<C>) -> bool {
        self.entry(claims).is_some_and(|heard| claims.asked().when() <= heard)
    }

    /// Notes that sessions have changed, as of the present moment.
    ///
    /// Returns `false` if there were too many entries: all were dropped, and each token is asked about once.
    pub(crate) fn merge<'s>(&self, sessions: impl IntoIterator<Item = &'s str>, now: Moment) -> bool {
        self.tidy(now);
        for session in sessions {
            let fingerprint = self.fingerprint(session);
            let mut shard = self.shard(fingerprint).write().unwrap_or_else(PoisonError::into_inner);
            if shard.insert(fingerprint, now.monotonic).is_none() {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            drop(shard);
            // After the entry: a half of the filter that is being emptied gets back what is in the shards.
            self.filter.add(fingerprint);
            self.wake((fingerprint, 0)..=(fingerprint, u64::MAX));
        }
        if self.count.load(Ordering::Relaxed) <= MOST {
            return true;
        }
        self.miss(now);
        self.retain(|_| false);
        false
    }

    /// Notes that something has been missed until now: each token is asked about once.
    pub(crate) fn miss(&self, now: Moment) {
        let tidied = self.tidied();
        self.floor.set(now);
        drop(tidied);
        self.wake((0, 0)..=(u64::MAX, u64::MAX));
    }

    /// Waits until something has been heard of the token's session, or may have been missed, since it was asked about. May
    /// end for nothing.
    pub(crate) fn changed<'h, C>(&'h self, claims: &'h Claims<C>) -> Changed<'h, C> {
        Changed { heard: self, claims, place: None }
    }

    fn wake(&self, places: RangeInclusive<(u64, u64)>) {
        let mut waiting = self.waiting();
        let woken: Vec<_> =
            waiting.wakers.range(places).map(|(place, waker)| (*place, waker.clone())).collect();
        for (place, _) in &woken {
            waiting.wakers.remove(place);
        }
        drop(waiting);
        // A waker is code of the runtime: it must not run under the lock.
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that all that could be heard when a poll was sent has been merged.
    pub(crate) fn is_complete_as_of(&self, sent: Moment) {
        let _one_at_a_time = self.tidied();
        self.as_of.set(sent);
    }

    pub(crate) fn begin_to_follow(&self) {
        self.is_followed.store(true, Ordering::Relaxed);
        self.has_feed.store(true, Ordering::Relaxed);
    }

    /// Notes that the store has no feed.
    pub(crate) fn has_no_feed(&self) {
        self.is_followed.store(true, Ordering::Relaxed);
        self.has_feed.store(false, Ordering::Relaxed);
    }

    /// Whether a feed is followed, but has not been heard from for longer than this.
    pub(crate) fn is_behind(&self, limit: Duration, now: Moment) -> bool {
        self.has_feed.load(Ordering::Relaxed) && self.age(now).is_none_or(|age| age > limit)
    }

    /// Counts a question about a token; returns `true` for the first one if nothing follows the feed.
    pub(crate) fn asks_unfollowed(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        !self.is_followed.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_pushed(&self, is_pushed: bool) {
        self.is_pushed.store(is_pushed, Ordering::Relaxed);
    }

    pub(crate) fn is_pushed(&self) -> bool {
        self.is_pushed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_clock_offset(&self, offset: Duration) {
        self.clock_offset.store(u64::try_from(offset.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn clock_offset(&self) -> Duration {
        Duration::from_millis(self.clock_offset.load(Ordering::Relaxed))
    }

    /// How long ago the last complete poll was sent, by the clock that has moved further.
    pub(crate) fn age(&self, now: Moment) -> Option<Duration> {
        self.as_of.get().map(|as_of| as_of.age(now))
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Drops what no token can be older than, from time to time.
    fn tidy(&self, now: Moment) {
        let keep = u64::try_from(self.keep.as_nanos()).unwrap_or(u64::MAX);
        let mut tidied = self.tidied();
        if now.monotonic.saturating_sub(*tidied) < keep / 2 {
            return;
        }
        *tidied = now.monotonic;
        drop(tidied);
        self.filter.empty_idle_half();
        self.retain(|heard| now.monotonic.saturating_sub(heard) <= keep);
        self.filter.turn_over();
    }

    fn retain(&self, keeps: impl Fn(u64) -> bool) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            let before = shard.len();
            shard.retain(|_, heard| keeps(*heard));
            self.count.fetch_sub(before - shard.len(), Ordering::Relaxed);
            shard.keys().for_each(|fingerprint| self.filter.add(*fingerprint));
        }
    }

    fn fingerprint(&self, session: &str) -> u64 {
        // Zero stands for none.
        self.hasher.hash_one(session).max(1)
    }

    fn shard(&self, fingerprint: u64) -> &RwLock<HashMap<u64, u64>> {
        &self.shards[(fingerprint >> 40) as usize % self.shards.len()]
    }

    fn tidied(&self) -> MutexGuard<'_, u64> {
        self.tidied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Future of [`Heard::changed`].
pub(crate) struct Changed<'h, C> {
    heard: &'h Heard,
    claims: &'h Claims<C>,
    place: Option<(u64, u64)>,
}

impl<C> Future for Changed<'_, C> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(session) = self.claims.session_id() else { return Poll::Pending };
        let fingerprint = self.claims.asked().fingerprint(|| self.heard.fingerprint(session));
        let mut waiting = self.heard.waiting();
        // Woken up, its place is free again.
        if self.place.is_some_and(|place| !waiting.wakers.contains_key(&place))
            || self.heard.has_entry(self.claims)
        {
            return Poll::Ready(());
        }
        let place = self.place.unwrap_or_else(|| {
            waiting.next += 1;
            (fingerprint, waiting.next)
        });
        waiting.wakers.insert(place, cx.waker().clone());
        drop(waiting);
        self.place = Some(place);
        // What has been heard of before the place was taken would not wake it.
        if self.heard.has_entry(self.claims) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl<C> Drop for Changed<'_, C> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.heard.waiting().wakers.remove(&place);
        }
    }
}

const SHARDS: usize = 64;
const MOST: usize = 1_000_000;
/// How much the clocks of nodes may differ, with the second to which tokens round.
const SKEW_MILLIS: u64 = 30_000;
