//! Helpers for checking the rules of the contract.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::poll_fn;

use crate::{
    keys::crypto::random,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Stamps, Update},
    testing::clock::TestClock,
};

/// A rule of the contract: its name, for messages, and a subject that no other rule uses.
pub(super) struct Rule<'a, S> {
    pub(super) store: &'a S,
    pub(super) name: &'static str,
    pub(super) subject: String,
}

impl<'a, S: RefreshStore> Rule<'a, S> {
    pub(super) fn new(store: &'a S, name: &'static str) -> Self {
        // The suffix guarantees letters of both cases, whatever the random part contains.
        let subject = format!("store-contract-{}-aB", URL_SAFE_NO_PAD.encode(random::<16>()));
        Self { store, name, subject }
    }

    pub(super) fn session(&self) -> NewRecord {
        self.session_with(self.store.new_id(&self.subject))
    }

    pub(super) fn session_with(&self, id: SessionId) -> NewRecord {
        NewRecord::new(id, self.subject.as_str(), random())
    }

    pub(super) async fn create(&self, new: NewRecord) -> SessionRecord {
        let expected = new.clone();
        match self.done("create", self.store.create(new).await) {
            Created::Done(record) => {
                // The time of creation is up to the store, but it determines the other times.
                self.check_same(&record, &expected.begin(record.created_at));
                record
            }
            Created::Full => self.broken("the store is full: the contract needs room for 100 sessions"),
        }
    }

    pub(super) async fn snapshot(&self, id: &SessionId) -> Snapshot {
        self.done("read", self.store.read(id).await)
    }

    pub(super) async fn now(&self) -> SystemTime {
        self.snapshot(&self.store.new_id(&self.subject)).await.now
    }

    pub(super) async fn read(&self, id: &SessionId) -> Option<SessionRecord> {
        self.snapshot(id).await.record
    }

    pub(super) async fn expect(&self, id: &SessionId) -> SessionRecord {
        match self.read(id).await {
            Some(record) => record,
            None => self.broken("a session is missing although it was not removed and has not expired"),
        }
    }

    /// Writes the record with the times that it has.
    pub(super) async fn update(&self, record: &SessionRecord) -> Update {
        self.write(record, Stamps::default()).await
    }

    pub(super) async fn write(&self, record: &SessionRecord, stamps: Stamps) -> Update {
        self.done("update", self.store.update(record, stamps).await)
    }

    pub(super) async fn remove(&self, id: &SessionId) -> bool {
        self.done("remove", self.store.remove(id).await)
    }

    pub(super) async fn list(&self) -> Vec<SessionRecord> {
        self.done("list", self.store.list(&self.subject).await)
    }

    pub(super) async fn remove_all(&self, keep: Option<&SessionId>) -> u64 {
        self.done("remove_all", self.store.remove_all(&self.subject, keep).await)
    }

    /// Removes the sessions of this rule, because the store may be in use.
    pub(super) async fn finish(&self) {
        self.remove_all(None).await;
    }

    /// Waits until the store's clock reaches `time`, unless the clock is stopped.
    pub(super) async fn wait_until(&self, time: SystemTime) {
        let began = Instant::now();
        let first = self.now().await;
        let mut now = first;
        while now < time {
            let waited = began.elapsed();
            if (now == first && waited > STANDSTILL) || waited > LONGEST_WAIT {
                return;
            }
            yield_now().await;
            now = self.now().await;
        }
    }

    /// Checks that a session has ended: it is not listed, and not live if it can still be read.
    pub(super) async fn check_ended(&self, id: &SessionId) {
        let snapshot = self.snapshot(id).await;
        self.check(
            snapshot.record.is_none_or(|record| !record.is_live(snapshot.now)),
            "a session that has ended is not live",
        );
        self.check(
            self.list().await.iter().all(|record| record.id != *id),
            "a session that has ended is not listed",
        );
    }

    /// Checks that `record` is live until the clock reaches its expiry and no longer, and that it does not affect
    /// sessions created later.
    pub(super) async fn check_end(&self, record: SessionRecord, clock: &TestClock) {
        let end = record.expires_at();
        clock.set(end - 2 * MILLI);
        self.check(self.expect(&record.id).await == record, "a session is readable until it expires");
        self.check(self.list().await.contains(&record), "a session is listed until it expires");
        for past_end in [Duration::ZERO, MILLI, HOUR] {
            clock.set(end + past_end);
            self.check_ended(&record.id).await;
        }
        let next = self.create(self.session()).await;
        self.check_ended(&record.id).await;
        self.check(self.expect(&next.id).await == next, "a session can be created after another has expired");
        self.finish().await;
    }

    /// Checks that `stored` equals `given` except for the version and the rounding of times.
    pub(super) fn check_same(&self, stored: &SessionRecord, given: &SessionRecord) {
        self.check(stored.id == given.id, "the id is kept");
        self.check(
            stored.subject == given.subject,
            format_args!("the subject {} is kept", shown(&given.subject)),
        );
        self.check(stored.secret_hash == given.secret_hash, "the secret's hash is kept");
        self.check(stored.generation == given.generation, "the generation is kept");
        self.check(stored.parent == given.parent, "the parent is kept");
        self.check(
            stored.seen == given.seen,
            format_args!("what has been seen is kept: {:?}, not {:?}", given.seen, stored.seen),
        );
        self.check(
            stored.extension == given.extension,
            format_args!("the extension of {} bytes is kept byte for byte", given.extension.len()),
        );
        self.check(stored.scope == given.scope, format_args!("the scope {} is kept", shown(&given.scope)));
        self.check(
            stored.claims == given.claims,
            format_args!("the claims {} are kept", shown(&given.claims)),
        );
        self.check(stored.xsrf_token == given.xsrf_token, "the XSRF token is kept");
        self.check(stored.label == given.label, format_args!("the label {} is kept", shown(&given.label)));
        for (name, stored, given) in [
            ("rotated_at", stored.rotated_at, given.rotated_at),
            ("issued_at", stored.issued_at, given.issued_at),
            ("claims_at", stored.claims_at, given.claims_at),
            ("created_at", stored.created_at, given.created_at),
            ("last_seen_at", stored.last_seen_at, given.last_seen_at),
            ("idle_expires_at", stored.idle_expires_at, given.idle_expires_at),
            ("absolute_expires_at", stored.absolute_expires_at, given.absolute_expires_at),
        ] {
            self.check(is_near(stored, given), format_args!("{name} {given:?} is kept, not {stored:?}"));
        }
        self.check(
            match (stored.confirmed_at, given.confirmed_at) {
                (Some(stored), Some(given)) => is_near(stored, given) && stored >= given,
                (None, None) => true,
                _ => false,
            },
            format_args!(
                "confirmed_at {:?} is kept and never earlier, not {:?}",
                given.confirmed_at, stored.confirmed_at
            ),
        );
        for (name, stored, given) in [
            ("rotated_at", stored.rotated_at, given.rotated_at),
            ("issued_at", stored.issued_at, given.issued_at),
            ("claims_at", stored.claims_at, given.claims_at),
        ] {
            self.check(stored >= given, format_args!("{name} is never earlier than given"));
        }
    }

    pub(super) fn check_same_set(&self, listed: &[SessionRecord], expected: &[SessionRecord]) {
        let missing = expected.iter().filter(|record| !listed.contains(record)).count();
        self.check(
            missing == 0 && listed.len() == expected.len(),
            format_args!(
                "list returns exactly the {} live sessions of the subject, not {} with {missing} missing",
                expected.len(),
                listed.len()
            ),
        );
    }

    pub(super) fn check(&self, holds: bool, what: impl std::fmt::Display) {
        if !holds {
            self.broken(format_args!("expected that {what}"));
        }
    }

    pub(super) fn done<T>(&self, call: &str, outcome: Result<T, S::Error>) -> T {
        outcome.unwrap_or_else(|error| self.broken(format_args!("{call} failed: {error}: {error:?}")))
    }

    pub(super) fn broken(&self, what: impl std::fmt::Display) -> ! {
        panic!("the store violates `{}`: {what}", self.name)
    }
}

/// Formats `text` for a message, truncated if it is long.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

/// Returns `true` if two times are equal after rounding to milliseconds once or twice.
pub(super) fn is_near(one: SystemTime, other: SystemTime) -> bool {
    one.duration_since(other).unwrap_or_else(|error| error.duration()) <= 2 * MILLI
}

/// Yields to the other tasks, on any runtime.
pub(super) async fn yield_now() {
    let mut yielded = false;
    let once = poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    });
    pin!(once).await;
}

pub(super) const MILLI: Duration = Duration::from_millis(1);
pub(super) const HOUR: Duration = Duration::from_secs(60 * 60);
/// How much the clocks of a store's nodes may differ.
pub(super) const SKEW: Duration = Duration::from_secs(1);
/// A clock that does not advance for this long is considered stopped.
pub(super) const STANDSTILL: Duration = Duration::from_millis(50);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(5);
