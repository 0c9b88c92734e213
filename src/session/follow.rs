//! Following the store's feed of changes, so that access tokens need no question each.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, Weak},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    events::SessionEvent,
    sessions::{Inner, Sessions},
    timer::{Sleep, before},
};
use crate::{
    clock::since_epoch,
    request::Bound,
    store::{BoxFuture, Changes, Cursor, ErasedStore, Page},
    token::{Claims, Known, Moment},
    trace,
};

/// What a node knows of the store's feed of changes: for health checks and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// How long ago the last complete answer of the feed was asked for; none if there has been none.
    pub age: Option<Duration>,
    /// Whether that is within the bound: access tokens then need no read.
    pub is_fresh: bool,
    /// The number of sessions that have lately ended or changed, as far as this node has heard.
    pub entries: usize,
    /// How often the store has been asked about an access token.
    pub asked: u64,
    /// Whether the last changes were pushed by the store, and not found when it was asked: they are then heard of at once.
    pub is_pushed: bool,
    /// How far the clocks of this node and of the store are apart, as far as the time on the network does not explain it.
    pub clock_offset: Duration,
}

impl<C> Sessions<C> {
    /// Returns what this node knows of the store's feed, or `None` without
    /// [`with_sign_out_within`](super::SessionsBuilder::with_sign_out_within).
    pub fn view(&self) -> Option<View> {
        let bound = self.inner().session_check.bound()?;
        let age = bound.heard.age(bound.now());
        Some(View {
            age,
            is_fresh: age.is_some_and(|age| age <= bound.limit),
            entries: bound.heard.len(),
            asked: bound.heard.asked(),
            is_pushed: bound.heard.is_pushed(),
            clock_offset: bound.heard.clock_offset(),
        })
    }

    /// Waits until this node has heard of all changes, as for a readiness probe. Never returns without
    /// [`follow`](Self::follow), or if the store has no feed.
    pub async fn caught_up(&self) {
        while self.view().is_none_or(|view| !view.is_fresh) {
            Sleep::until(Instant::now() + MIN_GAP).await;
        }
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Waits until the session of these claims has ended, or has other claims than these: for WebSockets and event streams,
    /// which no layer sees once they are open.
    ///
    /// With [`with_sign_out_within`](super::SessionsBuilder::with_sign_out_within), it returns within the bound, and with
    /// [`follow`](Self::follow) nearly at once and without a read for each connection. Without a bound, it asks the store
    /// once a minute, and does not notice changed claims. While the store is down, it goes on waiting.
    ///
    /// # Examples
    ///
    /// See the recipe `websocket`.
    pub async fn until_ended(&self, claims: &Claims<C>) {
        let inner = self.inner();
        let bound = inner.session_check.bound();
        // An answer counts for half the bound, and is looked at as often: together, they make the bound.
        let every = bound.map_or(WITHOUT_BOUND, |bound| bound.limit / 2);
        let mut read_at: Option<Instant> = None;
        loop {
            // A session also ends by itself, of which the feed says nothing.
            let is_recent = read_at.is_some_and(|at| at.elapsed() < inner.lifetimes.access);
            let mut known =
                bound.map_or(Known::Nothing, |bound| bound.heard.known(claims, bound.limit / 2, bound.now()));
            if known == Known::Nothing || (known == Known::Live && !is_recent) {
                known = self.sight_live(claims).await.unwrap_or(Known::Nothing);
                read_at = (known != Known::Nothing).then(Instant::now);
            }
            if matches!(known, Known::Ended | Known::Changed) {
                return;
            }
            let next = Instant::now() + every;
            match bound {
                Some(bound) => drop(before(next, bound.heard.changed(claims)).await),
                None => Sleep::until(next).await,
            }
        }
    }
}

impl<C: Send + Sync + 'static> Sessions<C> {
    /// Returns a future that follows the store's feed of changes until the sessions are dropped: spawn it.
    ///
    /// With [`with_sign_out_within`](super::SessionsBuilder::with_sign_out_within), access tokens then need no read of the
    /// store, as long as this node is up to date with the feed. Without it, the bound holds as well, but each token is
    /// asked about once in it.
    ///
    /// It ends at once if the store has no feed, or if no bound has been set. It needs no particular runtime.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tower_cookie_jwt::ConfigError> {
    /// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
    /// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
    ///     .with_audience("shop")
    ///     .with_sign_out_within(Duration::from_secs(1))
    ///     .build()?;
    /// tokio::spawn(sessions.follow());
    /// sessions.caught_up().await;
    /// assert!(sessions.view().is_some_and(|view| view.is_fresh));
    /// # Ok(()) }
    /// ```
    pub fn follow(&self) -> impl Future<Output = ()> + Send + 'static {
        let sessions = Arc::downgrade(self.shared());
        if let Some(bound) = self.inner().session_check.bound() {
            bound.heard.begin_to_follow();
        }
        follow(sessions)
    }
}

async fn follow<C>(sessions: Weak<Inner<C>>) {
    let mut follower = Follower::default();
    while let Some(present) = sessions.upgrade() {
        let Some(bound) = present.session_check.bound().cloned() else { return };
        let store = present.records.store();
        let mut push = Push { changed: store.changed(), has_arrived: false };
        let began = Instant::now();
        let next = follower.poll(&present, &bound, &*store, &mut push).await;
        drop(present);
        match next {
            Next::Poll => {}
            Next::Wait => follower.wait(&bound, began, push).await,
            Next::Stop => return,
        }
    }
}

/// What the store may push from the beginning of a poll on.
struct Push<'s> {
    changed: BoxFuture<'s, ()>,
    has_arrived: bool,
}

impl Push<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) {
        self.has_arrived = self.has_arrived || self.changed.as_mut().poll(cx).is_ready();
    }

    /// Waits for `work`. What is pushed meanwhile is not lost.
    async fn beside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.poll(cx);
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Waits until something has been pushed, or for the deadline.
    async fn until(&mut self, deadline: Instant) {
        let arrived = poll_fn(|cx| {
            self.poll(cx);
            if self.has_arrived { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = before(deadline, arrived).await;
    }
}

#[derive(Default)]
struct Follower {
    cursor: Option<Cursor>,
    /// Whether it has been said that this node is behind.
    is_behind: bool,
    /// Whether it has been said that the clocks are apart.
    is_off: bool,
    pushes: Pushes,
}

/// Whether the store pushes.
#[derive(Default)]
struct Pushes {
    /// The present poll follows a push.
    is_woken: bool,
    /// Changes have been found by asking alone, and since when nothing has been pushed.
    unannounced_since: Option<Instant>,
    works: bool,
}

impl Pushes {
    /// Notes whether a poll has found changes; returns `true` if pushes do not arrive any more.
    fn has_lost(&mut self, found: bool, now: Instant) -> bool {
        if self.is_woken {
            // A push without a change proves nothing.
            self.works |= found || self.unannounced_since.is_some();
            self.unannounced_since = None;
        } else if found {
            self.unannounced_since.get_or_insert(now);
        }
        let is_lost = self.unannounced_since.is_some_and(|since| now.duration_since(since) > LATEST_PUSH);
        if is_lost {
            self.unannounced_since = None;
        }
        is_lost && std::mem::take(&mut self.works)
    }
}

enum Next {
    Poll,
    Wait,
    Stop,
}

impl Follower {
    async fn poll<C>(
        &mut self,
        sessions: &Inner<C>,
        bound: &Bound,
        store: &dyn ErasedStore,
        push: &mut Push<'_>,
    ) -> Next {
        let sent = bound.now();
        let asking = before(Instant::now() + bound.limit / 3, store.changes(self.cursor.as_ref()));
        let answer = push.beside(asking).await;
        let next = match answer {
            Some(Ok(Changes::Unsupported)) => {
                trace::no_feed();
                bound.heard.has_no_feed();
                return Next::Stop;
            }
            Some(Ok(Changes::Since(page))) => {
                let has_more = page.has_more;
                self.compare_clocks(sessions, bound, sent, &page);
                if self.pushes.has_lost(!page.sessions.is_empty(), Instant::now()) {
                    sessions.records.events.raise(SessionEvent::PushLost);
                }
                bound.heard.set_pushed(self.pushes.works);
                self.merge(sessions, bound, page);
                if has_more {
                    return Next::Poll;
                }
                bound.heard.is_complete_as_of(sent);
                Next::Wait
            }
            Some(Err(error)) => {
                if !self.is_behind {
                    trace::feed_failed(&*error);
                }
                Next::Wait
            }
            None => Next::Wait,
        };
        self.tell(sessions, bound);
        next
    }

    fn merge<C>(&mut self, sessions: &Inner<C>, bound: &Bound, page: Page) {
        let now = bound.now();
        if page.is_gap {
            bound.heard.miss(now);
        }
        if !bound.heard.merge(page.sessions.iter().map(|id| id.as_str()), now) {
            sessions.records.events.raise(SessionEvent::Overflow);
        }
        self.cursor = Some(page.next);
    }

    /// Tells the listener when the clocks of this node and of the store are far apart.
    fn compare_clocks<C>(&mut self, sessions: &Inner<C>, bound: &Bound, sent: Moment, page: &Page) {
        let Some(now) = page.now.and_then(|now| u64::try_from(since_epoch(now).as_millis()).ok()) else {
            return;
        };
        let by =
            Duration::from_millis(sent.wall.saturating_sub(now).max(now.saturating_sub(bound.now().wall)));
        bound.heard.set_clock_offset(by);
        let is_off = by > MAX_CLOCK_OFFSET;
        if is_off && !self.is_off {
            sessions.records.events.raise(SessionEvent::ClockOff { by });
        }
        self.is_off = is_off;
    }

    /// Waits until the feed is to be asked again: when something has been pushed, or after a while.
    async fn wait(&mut self, bound: &Bound, began: Instant, mut push: Push<'_>) {
        // Three polls may fail or be lost within the bound. Where nothing is pushed, changes are to be found sooner.
        let most = if self.pushes.works { bound.limit / 3 } else { (bound.limit / 3).min(MAX_INTERVAL) };
        push.until(began + most).await;
        self.pushes.is_woken = push.has_arrived;
        // What arrives at once is heard at once, but a storm is heard in lots.
        Sleep::until(began + (bound.limit / 20).max(MIN_GAP)).await;
    }

    /// Tells the listener when this node falls behind, and when it has caught up.
    fn tell<C>(&mut self, sessions: &Inner<C>, bound: &Bound) {
        let age = bound.heard.age(bound.now());
        let is_behind = age.is_none_or(|age| age > bound.limit);
        if is_behind != self.is_behind {
            self.is_behind = is_behind;
            sessions.records.events.raise(match is_behind {
                true => SessionEvent::Behind { age },
                false => SessionEvent::CaughtUp { entries: bound.heard.len() },
            });
        }
    }
}

const MAX_INTERVAL: Duration = Duration::from_millis(100);
/// How often a long-lived connection without a bound asks.
const WITHOUT_BOUND: Duration = Duration::from_secs(60);
const MIN_GAP: Duration = Duration::from_millis(10);
/// How much later than a change a push may come.
const LATEST_PUSH: Duration = Duration::from_secs(1);
/// How far clocks may be apart: tokens of nodes that have just started are trusted if they are not much further apart.
const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(10);
