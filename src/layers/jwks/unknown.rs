//! The keys that tokens name and that the set does not have, or not yet.

use std::{
    collections::{HashMap, hash_map::RandomState},
    hash::BuildHasher,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

/// Decides whether a token with an unknown key has to wait for a fetch.
///
/// A token may name a key that the issuer has begun to use since the last fetch. Such a request is neither refused nor
/// held: it is answered with 503 and `Retry-After` until a fetch that began after it has completed.
#[derive(Debug, Default)]
pub(super) struct UnknownKeys {
    state: Mutex<State>,
    fetch: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Keyed by a seeded hash of the id: entries have a fixed size, and an attacker cannot choose ids that collide.
    seen: HashMap<u64, Seen>,
    hasher: RandomState,
    /// How many fetches have begun.
    begun: u64,
    /// The number of the last fetch that has ended.
    ended: u64,
}

/// What is known of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// A fetch may still bring it.
    MayCome,
    /// It has been looked for in vain.
    Looked,
    /// Too many ids are unknown to keep track of this one. A fetch may still bring it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How many fetches had begun when the id was first seen.
    begun: u64,
    at: Instant,
}

impl UnknownKeys {
    /// Notes that a token names a key with this id, and returns whether a fetch may still bring it.
    ///
    /// A known key under which the token does not verify may have new material. That is worth a fetch, but the token is
    /// refused.
    pub(super) fn ask(&self, id: Option<&str>) -> bool {
        let answer = id.map_or(Answer::Refused, |id| self.state().ask(id, Instant::now()));
        // Without effect as long as the last fetch is too recent.
        if answer != Answer::Looked {
            self.fetch.notify_one();
        }
        answer == Answer::MayCome
    }

    /// Notes that a fetch begins, and returns its number.
    pub(super) fn fetch_begins(&self) -> u64 {
        let mut state = self.state();
        state.begun += 1;
        state.begun
    }

    /// Notes that the fetch with this number has ended. Its keys, if it brought any, must be in use by now.
    pub(super) fn fetch_ends(&self, number: u64) {
        self.state().ended = number;
    }

    /// Waits until a token asks for a fetch.
    pub(super) async fn wants_fetch(&self) {
        self.fetch.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while the lock is held cannot leave an entry partially written.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ask(&mut self, id: &str, now: Instant) -> Answer {
        let hash = self.hasher.hash_one(id);
        let is_old = |seen: &Seen| now.duration_since(seen.at) >= FORGOTTEN_AFTER;
        if let Some(seen) = self.seen.get(&hash).filter(|seen| !is_old(seen)) {
            return if self.ended <= seen.begun { Answer::MayCome } else { Answer::Looked };
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.retain(|_, seen| !is_old(seen));
        }
        if self.seen.len() >= MAX_SEEN {
            return Answer::Refused;
        }
        self.seen.insert(hash, Seen { begun: self.begun, at: now });
        Answer::MayCome
    }
}

/// The most ids that are remembered. Further ones are refused at once.
const MAX_SEEN: usize = 256;
/// When an id that was looked for in vain is looked for again: the issuer may have published it since.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_come_until_a_fetch_that_began_after_it_was_first_seen_has_ended() {
        let keys = UnknownKeys::default();
        assert!(keys.ask(Some("new")), "before any fetch");
        let under_way = keys.fetch_begins();
        assert!(keys.ask(Some("new")) && keys.ask(Some("newer")));
        keys.fetch_ends(under_way);
        assert!(!keys.ask(Some("new")), "the fetch began after it was seen, and has not brought it");
        assert!(keys.ask(Some("newer")), "the fetch was under way when it was first seen");
        let next = keys.fetch_begins();
        assert!(keys.ask(Some("newer")));
        keys.fetch_ends(next);
        assert!(!keys.ask(Some("newer")));
        assert!(!keys.ask(None), "no id to wait for");
    }

    #[test]
    fn a_bounded_number_of_ids_is_remembered_for_a_while() {
        let mut state = State::default();
        let start = Instant::now();
        assert!((0..MAX_SEEN).all(|id| state.ask(&id.to_string(), start) == Answer::MayCome));
        assert_eq!(state.ask("one more", start), Answer::Refused);
        assert_eq!(state.ask("0", start), Answer::MayCome, "those before are not affected");
        let before = start + FORGOTTEN_AFTER - Duration::from_secs(1);
        assert_eq!(state.ask("one more", before), Answer::Refused);
        assert_eq!(state.ask("one more", start + FORGOTTEN_AFTER), Answer::MayCome);
        assert_eq!(state.seen.len(), 1);
    }
}
