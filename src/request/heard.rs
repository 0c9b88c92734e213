//! What this node has heard of sessions that have ended or changed.

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

/// Says of most sessions without a lock that nothing has been heard of them.
///
/// Entries cannot be taken out, so there are two halves: a new entry goes into both. From time to time the idle one is
/// emptied, what still counts is added to it again, and then it takes its turn.
struct Filter {
    halves: [Box<[AtomicU64]>; 2],
    turn: AtomicUsize,
}

impl Filter {
    fn new(words: usize) -> Self {
        let half = || (0..words).map(|_| AtomicU64::new(0)).collect();
        Self { halves: [half(), half()], turn: AtomicUsize::new(0) }
    }

    fn may_contain(&self, fingerprint: u64) -> bool {
        let (word, bits) = self.place(fingerprint);
        let half = &self.halves[self.turn.load(Ordering::Acquire) % 2];
        half[word].load(Ordering::Relaxed) & bits == bits
    }

    fn add(&self, fingerprint: u64) {
        let (word, bits) = self.place(fingerprint);
        for half in &self.halves {
            half[word].fetch_or(bits, Ordering::Release);
        }
    }

    fn empty_idle_half(&self) {
        let idle = (self.turn.load(Ordering::Relaxed) + 1) % 2;
        self.halves[idle].iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Uses the half that was idle.
    fn turn_over(&self) {
        self.turn.fetch_add(1, Ordering::Release);
    }

    /// Three bits of one word, so that a question touches one cache line.
    fn place(&self, fingerprint: u64) -> (usize, u64) {
        let bit = |shift: u32| 1_u64 << ((fingerprint >> shift) & 63);
        (fingerprint as usize % self.halves[0].len(), bit(20) | bit(26) | bit(32))
    }
}

const SHARDS: usize = 64;
/// One mebibyte each half.
const WORDS: usize = 1 << 17;
const MOST: usize = 1_000_000;
/// How much the clocks of nodes may differ, with the second to which tokens round.
const SKEW_MILLIS: u64 = 30_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        KeyRing, Verifier,
        token::{Issuer, NewToken, token_id_of},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    fn moment(step: u64) -> Moment {
        Moment { monotonic: step * 1000, wall: 0 }
    }

    fn claims() -> Claims<()> {
        let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef").expect("a long secret");
        let new = NewToken::access("ada", HOUR).with_session_id("session").with_token_id(token_id_of("{}"));
        let token = Issuer::new(keys.clone()).issue(&new, &()).expect("it is issued");
        Verifier::<()>::new(keys).verify(&token).expect("it verifies")
    }

    /// What happens in one history, besides the passing of time.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Step {
        /// The session is removed, its entry becomes visible, and `sign_out` returns.
        Delete,
        Announce,
        Return,
        /// A question about the token is sent, the store reads, and the answer arrives.
        Ask(Stage),
        /// Two polls, one after the other.
        Poll(usize, Stage),
        Request,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Stage {
        Sent,
        AtStore,
        Arrived,
    }

    /// What must not be done.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Mistake {
        None,
        AnnouncesBeforeDeleting,
        DatesEntriesByTheStartOfThePoll,
    }

    /// Plays every interleaving, and counts those in which a request that began more than the bound after `sign_out` had
    /// returned is served unread, for some bound.
    fn late(mistake: Mistake) -> (u64, u64) {
        use Stage::{Arrived, AtStore, Sent};
        let writer = match mistake {
            Mistake::AnnouncesBeforeDeleting => vec![Step::Announce, Step::Delete, Step::Return],
            _ => vec![Step::Delete, Step::Announce, Step::Return],
        };
        let stages = [Sent, AtStore, Arrived];
        let chains = [
            writer,
            stages.map(Step::Ask).to_vec(),
            stages
                .map(|stage| Step::Poll(0, stage))
                .into_iter()
                .chain(stages.map(|stage| Step::Poll(1, stage)))
                .collect(),
            vec![Step::Request],
        ];
        let claims = claims();
        let (mut late, mut histories) = (0, 0);
        let mut history = Vec::new();
        interleave(&chains, &mut [0; 4], &mut history, &mut |history| {
            histories += 1;
            late += u64::from(is_late(history, &claims, mistake));
        });
        (late, histories)
    }

    fn interleave(
        chains: &[Vec<Step>; 4],
        places: &mut [usize; 4],
        history: &mut Vec<Step>,
        play: &mut impl FnMut(&[Step]),
    ) {
        let mut is_over = true;
        for chain in 0..chains.len() {
            if let Some(step) = chains[chain].get(places[chain]) {
                is_over = false;
                places[chain] += 1;
                history.push(*step);
                interleave(chains, places, history, play);
                history.pop();
                places[chain] -= 1;
            }
        }
        if is_over {
            play(history);
        }
    }

    fn is_late(history: &[Step], claims: &Claims<()>, mistake: Mistake) -> bool {
        let heard = Heard::of_size(HOUR, 1, 1);
        claims.asked().forget();
        // Everything was heard before, and the token was found live.
        heard.floor.set(moment(1));
        claims.asked().answered(moment(2), Known::Live);
        let (mut is_live, mut is_announced, mut was_told) = (true, false, false);
        let (mut returned, mut asked, mut read) = (None, moment(0), Known::Nothing);
        let (mut sent, mut brings) = (moment(0), false);
        for (place, step) in history.iter().enumerate() {
            let now = moment(10 + place as u64);
            match step {
                Step::Delete => is_live = false,
                Step::Announce => is_announced = true,
                Step::Return => returned = Some(now),
                Step::Ask(Stage::Sent) => asked = now,
                Step::Ask(Stage::AtStore) => read = if is_live { Known::Live } else { Known::Ended },
                Step::Ask(Stage::Arrived) => claims.asked().answered(asked, read),
                Step::Poll(_, Stage::Sent) => sent = now,
                Step::Poll(_, Stage::AtStore) => {
                    brings = is_announced && !std::mem::replace(&mut was_told, is_announced)
                }
                Step::Poll(_, Stage::Arrived) => {
                    let merged = if mistake == Mistake::DatesEntriesByTheStartOfThePoll { sent } else { now };
                    if brings {
                        heard.merge(["session"], merged);
                    }
                    heard.is_complete_as_of(sent);
                }
                Step::Request => {
                    let Some(returned) = returned else { return false };
                    // The longest bound of which this is too late.
                    let Some(bound) = (now.monotonic - returned.monotonic).checked_sub(1) else {
                        return false;
                    };
                    return heard.known(claims, Duration::from_nanos(bound), now) == Known::Live;
                }
            }
        }
        false
    }

    #[test]
    fn no_interleaving_serves_an_ended_session_after_the_bound_and_each_mistake_does() {
        assert_eq!(late(Mistake::None), (0, 240_240));
        for mistake in [Mistake::AnnouncesBeforeDeleting, Mistake::DatesEntriesByTheStartOfThePoll] {
            assert!(late(mistake).0 > 0, "{mistake:?}");
        }
    }

    #[test]
    fn entries_are_kept_as_long_as_tokens_live_and_then_dropped() {
        let heard = Heard::new(HOUR);
        let at = |minutes: u64| Moment { monotonic: minutes * 60 * 1_000_000_000 + 1, wall: 0 };
        let claims = claims();
        heard.merge(["session"], at(1));
        for minutes in 2..=60 {
            heard.merge(["other"], at(minutes));
            assert!(heard.has_entry(&claims), "after {minutes} minutes");
        }
        for minutes in 61..200 {
            heard.merge(["other"], at(minutes));
        }
        assert!(!heard.has_entry(&claims));
        assert_eq!(heard.len(), 1);
    }

    #[test]
    fn what_was_missed_is_asked_about_once_and_too_many_entries_are_a_gap() {
        let heard = Heard::new(HOUR);
        let claims = claims();
        let limit = Duration::from_secs(1);
        let at = |seconds: u64| Moment { monotonic: seconds * 1_000_000_000, wall: seconds * 1000 };
        heard.miss(at(10));
        heard.is_complete_as_of(at(10));
        // Its time of issue is far later than this clock; only a question after the gap counts for a token from before.
        assert_eq!(
            heard.known(&claims, limit, at(10)),
            Known::Live,
            "issued later than everything that was missed"
        );
        claims.asked().answered(at(9), Known::Live);
        heard.miss(Moment { wall: u64::MAX, ..at(11) });
        heard.is_complete_as_of(at(20));
        assert_eq!(heard.known(&claims, limit, at(20)), Known::Nothing, "asked before");
        claims.asked().answered(at(20), Known::Live);
        heard.is_complete_as_of(at(50));
        assert_eq!(heard.known(&claims, limit, at(50)), Known::Live, "asked since");
        assert_eq!(heard.known(&claims, limit, at(52)), Known::Nothing, "this node is behind");

        let sessions: Vec<_> = (0..=MOST).map(|number| number.to_string()).collect();
        let late = Moment { wall: u64::MAX, ..at(53) };
        assert!(!heard.merge(sessions.iter().map(String::as_str), late), "one too many");
        assert_eq!(heard.len(), 0);
        heard.is_complete_as_of(at(54));
        assert_eq!(heard.known(&claims, limit, at(54)), Known::Nothing, "each is asked about once");
    }
}
