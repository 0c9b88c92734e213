//! The decision table of the rotation, with every row decided and carried out on the store.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use futures_util::future::{join, join_all};

use super::rule::*;
use crate::{
    clock::{Clock, SystemClock},
    keys::{KeyRing, crypto::random},
    request::{RefreshToken, SessionSecret},
    session::{Grant, RefreshError, SessionEvent, Sessions, SessionsBuilder},
    store::{NewRecord, RefreshStore, SessionRecord},
    token::TokenErrorKind,
};

/// The outcome of a refresh for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An access token and a refresh token of this generation.
    Pair(u32),
    /// Only an access token, of this generation.
    Access(u32),
    Ended,
    WrongSecret,
    Unavailable,
}

/// The effect of a refresh on the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// Only last-seen, and with it the idle expiry, may have moved.
    Touched,
    Confirmed,
    Rotated,
    Revoked,
    MovedTo(u32),
}

/// What has been seen of the current generation, which began by a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Never,
    JustNow,
    Settled,
}

pub(super) const CURRENT: u32 = 7;

/// The rows: name, presented generation, confirmation of the current generation, expected answer and effect.
const ROWS: &[(&str, u32, Seen, Answer, Left)] = &[
    ("the current one, settled, rotates", 7, Seen::Settled, Answer::Pair(8), Left::Rotated),
    ("the current one confirms", 7, Seen::Never, Answer::Access(7), Left::Confirmed),
    ("the current one in grace renews", 7, Seen::JustNow, Answer::Access(7), Left::Touched),
    ("the parent of an unconfirmed one", 6, Seen::Never, Answer::Pair(7), Left::Touched),
    ("the parent in grace", 6, Seen::JustNow, Answer::Pair(7), Left::Touched),
    ("the parent of a settled one is reuse", 6, Seen::Settled, Answer::Ended, Left::Revoked),
    ("one before the parent is reuse, unconfirmed", 5, Seen::Never, Answer::Ended, Left::Revoked),
    ("one before the parent is reuse, in grace", 0, Seen::JustNow, Answer::Ended, Left::Revoked),
    ("one before the parent is reuse, settled", 5, Seen::Settled, Answer::Ended, Left::Revoked),
    ("a later one: writes were lost", 8, Seen::Settled, Answer::Access(8), Left::MovedTo(8)),
    ("a much later one: writes were lost", 90, Seen::Never, Answer::Access(90), Left::MovedTo(90)),
];

pub(super) async fn every_row_of_the_decision_table_holds<S: RefreshStore + Clone>(store: &S) {
    for (name, presented, seen, answer, left) in ROWS {
        let table = Table::new(store, "every_row_of_the_decision_table_holds");
        let before = table.session(*seen).await;
        let bystander = table.rule.create(table.rule.session()).await;

        let got = table.exchange(&before, *presented).await;
        table.rule.check(got == *answer, format_args!("{name}: the answer is {answer:?}, not {got:?}"));
        let after = table.rule.read(&before.id).await;
        table.rule.check(
            matches(*left, &before, after.as_ref()),
            format_args!("{name}: the record is {left:?}, not {after:?} after {before:?}"),
        );
        table.rule.check(
            table.rule.expect(&bystander.id).await == bystander,
            format_args!("{name}: the subject's other session is unchanged"),
        );
        table.rule.finish().await;
    }
}

pub(super) async fn a_wrong_secret_changes_nothing<S: RefreshStore + Clone>(store: &S) {
    let table = Table::new(store, "a_wrong_secret_changes_nothing");
    let before = table.session(Seen::Settled).await;
    for presented in [0, CURRENT - 1, CURRENT, CURRENT + 1] {
        let token = token(&before, presented, SessionSecret::generate());
        let got = answer(table.sessions.exchange(&token).await);
        table
            .rule
            .check(got == Answer::WrongSecret, format_args!("a guessed secret is refused, not {got:?}"));
        table.rule.check(table.rule.expect(&before.id).await == before, "the record is unchanged");
    }
    table.rule.finish().await;
}

pub(super) async fn an_ended_session_is_refused<S: RefreshStore + Clone>(store: &S) {
    let table = Table::new(store, "an_ended_session_is_refused");
    let mut expired = table.session(Seen::Settled).await;
    expired.idle_expires_at = expired.created_at - HOUR;
    table.rule.check(table.rule.update(&expired).await.is_done(), "the present version is written");
    let removed = table.session(Seen::Settled).await;
    table.rule.check(table.rule.remove(&removed.id).await, "remove finds the session");
    for (name, record) in [("expired", expired), ("removed", removed)] {
        for presented in [CURRENT - 1, CURRENT, CURRENT + 1] {
            let got = table.exchange(&record, presented).await;
            table.rule.check(got == Answer::Ended, format_args!("{name}: refused, not {got:?}"));
        }
        table.rule.check_ended(&record.id).await;
    }
    table.rule.finish().await;
}

pub(super) async fn one_of_64_concurrent_advances_wins<S: RefreshStore + Clone>(store: &S) {
    let table = Table::new(store, "one_of_64_concurrent_advances_wins");
    let before = table.session(Seen::Settled).await;
    let answers = join_all((0..64).map(|_| table.exchange(&before, CURRENT))).await;
    for got in answers {
        table.rule.check(
            matches!(got, Answer::Pair(generation) if generation == CURRENT + 1),
            format_args!("every tab receives the pair of the next generation, not {got:?}"),
        );
    }
    let after = table.rule.expect(&before.id).await;
    // The others' answers may move last-seen.
    table.rule.check(
        (after.generation, after.parent, after.seen) == (CURRENT + 1, CURRENT, Some(CURRENT)),
        format_args!("the session is rotated once, not {after:?} after {before:?}"),
    );
    let rotations = table.rotations.load(Ordering::Relaxed);
    table.rule.check(rotations == 1, format_args!("one advance wins, not {rotations}"));
    table.rule.finish().await;
}

pub(super) async fn sign_out_wins_against_an_advance<S: RefreshStore + Clone>(store: &S) {
    let table = Table::new(store, "sign_out_wins_against_an_advance");
    for round in 0..16 {
        let before = table.session(Seen::Settled).await;
        let sign_out = async {
            if round % 4 < 2 {
                table.rule.remove(&before.id).await
            } else {
                table.rule.remove_all(None).await == 1
            }
        };
        let advances = join_all((0..4).map(|_| table.exchange(&before, CURRENT)));
        // Both orders are tested, since either side may reach the store first.
        let found =
            if round % 2 == 0 { join(sign_out, advances).await.0 } else { join(advances, sign_out).await.1 };
        table.rule.check(found, "the sign-out finds the session");
        table.rule.check(table.rule.read(&before.id).await.is_none(), "no advance revives the session");
        table.rule.check(table.rule.list().await.is_empty(), "no advance adds the session to the list again");
        let got = table.exchange(&before, CURRENT).await;
        table.rule.check(got == Answer::Ended, format_args!("the session has ended, not {got:?}"));
    }
}

pub(super) async fn the_clock_of_the_store_decides<S: RefreshStore + Clone>(store: &S) {
    for (name, node) in [("ahead", Skewed::Ahead), ("behind", Skewed::Behind)] {
        let table = Table::with(store, "the_clock_of_the_store_decides", |builder| builder.with_clock(node));
        // By the node's clock, the generation would be settled, or confirmed in the future.
        let fresh = table.session(Seen::JustNow).await;
        let got = table.exchange(&fresh, CURRENT - 1).await;
        table.rule.check(
            got == Answer::Pair(CURRENT),
            format_args!("no generation settles early if the node's clock is {name}, but got {got:?}"),
        );
        let settled = table.session(Seen::Settled).await;
        let got = table.exchange(&settled, CURRENT).await;
        table.rule.check(
            got == Answer::Pair(CURRENT + 1),
            format_args!("a settled generation stays settled if the node's clock is {name}, but got {got:?}"),
        );
        let unseen = table.session(Seen::Never).await;
        let earliest = table.rule.now().await;
        table.exchange(&unseen, CURRENT).await;
        let latest = table.rule.now().await;
        let confirmed = table.rule.expect(&unseen.id).await.confirmed_at;
        table.rule.check(
            confirmed.is_some_and(|at| at + MILLI >= earliest && at <= latest + 2 * MILLI),
            format_args!("confirmed_at is the time of the store's clock, not {confirmed:?}"),
        );
        table.rule.finish().await;
    }
}

/// The sessions of one subject in the store, with the secret and the counter that the rules need.
pub(super) struct Table<'a, S> {
    pub(super) rule: Rule<'a, S>,
    pub(super) sessions: Sessions<()>,
    pub(super) secret: SessionSecret,
    pub(super) rotations: Arc<AtomicUsize>,
}

impl<'a, S: RefreshStore + Clone> Table<'a, S> {
    fn new(store: &'a S, name: &'static str) -> Self {
        Self::with(store, name, |builder| builder)
    }

    pub(super) fn with(
        store: &'a S,
        name: &'static str,
        configure: impl FnOnce(SessionsBuilder<()>) -> SessionsBuilder<()>,
    ) -> Self {
        let keys = KeyRing::hs256(random::<32>()).expect("32 bytes are enough");
        let rotations = Arc::new(AtomicUsize::new(0));
        let count = rotations.clone();
        let builder = Sessions::builder(keys, store.clone()).with_audience("shop").with_grace_period(GRACE);
        let sessions = configure(builder)
            .with_events(move |event: &SessionEvent<'_>| {
                if let SessionEvent::Rotated { .. } = event {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
            .build()
            .expect("a valid configuration");
        Self { rule: Rule::new(store, name), sessions, secret: SessionSecret::generate(), rotations }
    }

    /// Creates a session of generation [`CURRENT`].
    pub(super) async fn session(&self, seen: Seen) -> SessionRecord {
        let id = self.rule.store.new_id(&self.rule.subject);
        let new = NewRecord::new(id, self.rule.subject.as_str(), self.secret.hash());
        let mut record = self.rule.create(new).await;
        let long_ago = record.created_at - 2 * GRACE;
        record.generation = CURRENT;
        record.parent = CURRENT - 1;
        record.rotated_at = record.created_at - GRACE;
        record.issued_at = record.rotated_at;
        (record.seen, record.confirmed_at) = match seen {
            Seen::Never => (Some(CURRENT - 1), Some(long_ago)),
            // Within the grace period, but before any read begins, however slow it is and whatever is rounded.
            Seen::JustNow => (Some(CURRENT), Some(record.created_at - GRACE / 4)),
            Seen::Settled => (Some(CURRENT), Some(long_ago)),
        };
        self.rule.check(self.rule.update(&record).await.is_done(), "the present version is written");
        self.rule.expect(&record.id).await
    }

    pub(super) async fn exchange(&self, record: &SessionRecord, presented: u32) -> Answer {
        let token = token(record, presented, self.secret.clone());
        answer(self.sessions.exchange(&token).await)
    }
}

pub(super) fn token(record: &SessionRecord, generation: u32, secret: SessionSecret) -> RefreshToken {
    RefreshToken { session_id: record.id.as_str().into(), generation, secret }
}

fn answer(exchanged: Result<Box<Grant<()>>, RefreshError>) -> Answer {
    match exchanged {
        Ok(grant) => {
            let generation = grant.claims.generation().unwrap_or(u32::MAX);
            if grant.answer.is_some_and(|answer| answer.issued.has_refresh()) {
                Answer::Pair(generation)
            } else {
                Answer::Access(generation)
            }
        }
        Err(RefreshError::Refused { kind: TokenErrorKind::BadSignature, .. }) => Answer::WrongSecret,
        Err(RefreshError::Refused { .. }) => Answer::Ended,
        Err(RefreshError::Unavailable) => Answer::Unavailable,
    }
}

fn matches(left: Left, before: &SessionRecord, after: Option<&SessionRecord>) -> bool {
    let Some(after) = after else {
        return left == Left::Revoked;
    };
    let same_session = (&after.secret_hash, &after.xsrf_token, &after.claims, after.absolute_expires_at)
        == (&before.secret_hash, &before.xsrf_token, &before.claims, before.absolute_expires_at);
    let written_once = after.version == before.version + 1 && same_session;
    let is_generation = |generation, seen| (after.generation, after.seen) == (generation, seen);
    match left {
        Left::Touched => written_once && is_generation(before.generation, before.seen),
        Left::Confirmed => written_once && is_generation(before.generation, Some(before.generation)),
        Left::Rotated => {
            written_once
                && is_generation(before.generation + 1, before.seen)
                && after.parent == before.generation
        }
        Left::MovedTo(generation) => written_once && is_generation(generation, Some(generation)),
        Left::Revoked => false,
    }
}

/// The clock of a node that is off by more than the grace period and less than any lifetime.
#[derive(Clone, Copy)]
enum Skewed {
    Ahead,
    Behind,
}

impl Clock for Skewed {
    fn now(&self) -> SystemTime {
        match self {
            Self::Ahead => SystemClock.now() + 3 * HOUR,
            Self::Behind => SystemClock.now() - 3 * HOUR,
        }
    }
}

/// Long enough that no generation settles while a rule is checked, however slow the store is.
pub(super) const GRACE: Duration = HOUR;
