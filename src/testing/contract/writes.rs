//! Rules about writes, including concurrent ones and those cut short because the process ends between two steps.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all, poll_fn};

use super::rule::*;
use crate::{
    keys::crypto::random,
    store::{Created, RefreshStore, SessionId, Update},
};

pub(super) async fn created_session_is_read_back<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "created_session_is_read_back");
    let mut new = rule.session();
    new.scope = "read write".into();
    new.claims = r#"{"role":"admin"}"#.into();
    new.xsrf_token = "0123456789abcdefghijklmn".into();
    new.label = "Firefox on Linux".into();
    new.extension = b"\x01more".as_slice().into();
    new.idle = HOUR;
    new.absolute = 2 * HOUR;

    let before = rule.now().await;
    let created = rule.create(new.clone()).await;
    let snapshot = rule.snapshot(&created.id).await;
    rule.check(snapshot.record.as_ref() == Some(&created), "read returns what create returned");

    let expected = new.begin(created.created_at);
    rule.check(created.version == 0, "the version of a new session is 0");
    rule.check(created.generation == 0, "the generation of a new session is 0");
    rule.check_same(&created, &expected);
    rule.check(created.confirmed_at.is_none(), "a new session is not confirmed");
    rule.check(
        created.created_at + SKEW >= before && created.created_at <= snapshot.now + SKEW,
        "a session begins at the store's current time",
    );
    rule.check(created.is_live(snapshot.now), "a new session is live");

    let mut short = rule.session();
    short.idle = 2 * HOUR;
    short.absolute = HOUR;
    let short = rule.create(short).await;
    rule.check(
        short.idle_expires_at <= short.absolute_expires_at,
        "the idle expiry is never after the absolute expiry",
    );
    rule.finish().await;
}

pub(super) fn new_ids_are_unique<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "new_ids_are_unique");
    let mut ids: Vec<_> = (0..1000).map(|_| store.new_id(&rule.subject)).collect();
    rule.check(ids.iter().all(|id| id.as_str().len() >= 22), "an id has room for 128 random bits");
    ids.sort();
    ids.dedup();
    rule.check(ids.len() == 1000, "no id occurs twice");
}

pub(super) async fn missing_session_is_not_found<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "missing_session_is_not_found");
    let id = store.new_id(&rule.subject);
    let now = rule.now().await;
    rule.check(rule.read(&id).await.is_none(), "read finds nothing");
    rule.check(!rule.remove(&id).await, "remove finds nothing");
    let record = rule.session_with(id.clone()).begin(now);
    rule.check(rule.update(&record).await == Update::Gone, "update reports that the session is gone");
    rule.check(rule.read(&id).await.is_none(), "update creates nothing");
    rule.check(rule.list().await.is_empty(), "list finds nothing");
    rule.check(rule.remove_all(None).await == 0, "remove_all finds nothing");
    rule.check(rule.remove_all(Some(&id)).await == 0, "remove_all finds nothing to keep");
}

pub(super) async fn an_id_in_use_is_not_overwritten<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "an_id_in_use_is_not_overwritten");
    let first = rule.create(rule.session()).await;
    let mut other = rule.session_with(first.id.clone());
    other.label = "other".into();
    // The store may refuse with an error or with `Created::Full`.
    let refused = store.create(other).await;
    rule.check(!matches!(refused, Ok(Created::Done(_))), "a second session with the same id is refused");
    rule.check(rule.expect(&first.id).await == first, "the first session is unchanged");
    rule.check_same_set(&rule.list().await, &[first]);
    rule.finish().await;
}

pub(super) async fn update_replaces_the_record_and_increments_the_version<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "update_replaces_the_record_and_increments_the_version");
    let created = rule.create(rule.session()).await;
    let bystander = rule.create(rule.session()).await;

    let mut record = created.clone();
    for round in 0_u32..3 {
        let now = rule.now().await;
        record.secret_hash = random();
        record.generation += 1;
        record.confirmed_at = (round != 1).then_some(now);
        record.rotated_at = now;
        record.issued_at = now + MILLI;
        record.claims_at = now - HOUR * round;
        record.parent = round;
        record.seen = (round != 1).then_some(round);
        record.last_seen_at = now;
        record.idle_expires_at = now + HOUR * (round + 1);
        record.absolute_expires_at = now + 2 * HOUR * (round + 1);
        record.scope = format!("scope{round}").into();
        record.claims = format!(r#"{{"round":{round}}}"#).into();
        record.xsrf_token = format!("xsrf{round}").into();
        record.label = format!("label{round}").into();
        record.extension = format!("\0{round}").into_bytes().into();
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");

        let stored = rule.expect(&created.id).await;
        rule.check(stored.version == record.version + 1, "update increments the version by one");
        rule.check_same(&stored, &record);
        rule.check(rule.list().await.contains(&stored), "list returns the updated record");
        record = stored;
    }
    rule.check(rule.expect(&bystander.id).await == bystander, "no other session is written");
    rule.finish().await;
}

pub(super) async fn update_with_another_version_conflicts<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "update_with_another_version_conflicts");
    let created = rule.create(rule.session()).await;
    let mut record = created.clone();
    record.label = "first".into();
    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
    let stored = rule.expect(&created.id).await;

    record.label = "second".into();
    for version in [0, 2, 3, (1 << 32) + 1, i64::MAX.unsigned_abs(), u64::MAX] {
        record.version = version;
        rule.check(rule.update(&record).await == Update::Conflict, "an update of another version conflicts");
        rule.check(rule.expect(&created.id).await == stored, "a conflict leaves the record unchanged");
    }
    rule.finish().await;
}

pub(super) async fn one_of_many_concurrent_updates_wins<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "one_of_many_concurrent_updates_wins");
    let created = rule.create(rule.session()).await;
    let records: Vec<_> = (0..64)
        .map(|racer| {
            let mut record = created.clone();
            record.generation = racer;
            record.label = format!("racer {racer}").into();
            record
        })
        .collect();
    let outcomes = join_all(records.iter().map(|record| rule.update(record))).await;

    let winners: Vec<_> = records.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_done()).collect();
    let [(winner, _)] = winners[..] else {
        rule.broken(format_args!(
            "{} concurrent updates of one version succeeded instead of one",
            winners.len()
        ));
    };
    let lost = outcomes.iter().filter(|outcome| **outcome == Update::Conflict).count();
    rule.check(lost == 63, "all others conflict");
    let stored = rule.expect(&created.id).await;
    rule.check(stored.version == 1, "the version is incremented once");
    rule.check_same(&stored, winner);
    let told = outcomes.iter().any(|outcome| *outcome == Update::Done(Box::new(stored.clone())));
    rule.check(told, "the winner gets the record as it is read then");
    rule.finish().await;
}

pub(super) async fn removed_session_is_never_written<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "removed_session_is_never_written");
    let created = rule.create(rule.session()).await;
    rule.check(rule.remove(&created.id).await, "remove finds the session");
    rule.check(rule.read(&created.id).await.is_none(), "a removed session is not read");
    rule.check(rule.list().await.is_empty(), "a removed session is not listed");
    rule.check(!rule.remove(&created.id).await, "remove finds the session once");

    for version in [0, 1] {
        let mut record = created.clone();
        record.version = version;
        rule.check(rule.update(&record).await == Update::Gone, "update reports that the session is gone");
    }
    rule.check(rule.read(&created.id).await.is_none(), "update does not revive a session");
    rule.check(rule.list().await.is_empty(), "update does not add a session to the list again");
    rule.check(rule.remove_all(None).await == 0, "remove_all does not count a removed session");

    let other = rule.create(rule.session()).await;
    rule.check(rule.remove_all(None).await == 1, "remove_all finds the session");
    rule.check(
        rule.update(&other).await == Update::Gone,
        "update reports a session removed by remove_all as gone",
    );
    rule.check(!rule.remove(&other.id).await, "remove does not find a session removed by remove_all");
}

pub(super) async fn removal_wins_against_concurrent_updates<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "removal_wins_against_concurrent_updates");
    for round in 0..16 {
        let created = rule.create(rule.session()).await;
        let records: Vec<_> = (0..8)
            .map(|racer| {
                let mut record = created.clone();
                record.generation = racer;
                record
            })
            .collect();
        let removal = async {
            if round % 4 < 2 { rule.remove(&created.id).await } else { rule.remove_all(None).await == 1 }
        };
        let updates = join_all(records.iter().map(|record| rule.update(record)));
        // Both orders are tested, since either side may reach the store first.
        let (removed, outcomes) = if round % 2 == 0 {
            join(removal, updates).await
        } else {
            let (outcomes, removed) = join(updates, removal).await;
            (removed, outcomes)
        };

        rule.check(removed, "the removal finds the session");
        let done = outcomes.iter().filter(|outcome| outcome.is_done()).count();
        rule.check(done <= 1, "at most one update of a version is done");
        rule.check(rule.read(&created.id).await.is_none(), "no update revives the session");
        rule.check(rule.list().await.is_empty(), "no update adds the session to the list again");
    }
}

pub(super) async fn one_of_many_concurrent_removals_finds_the_session<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "one_of_many_concurrent_removals_finds_the_session");
    let created = rule.create(rule.session()).await;
    let found = join_all((0..16).map(|_| rule.remove(&created.id))).await;
    rule.check(found.iter().filter(|found| **found).count() == 1, "exactly one removal finds the session");
}

/// The number of steps after which an operation is no longer cut short.
const MAX_STEPS: usize = 24;

/// How long a command may take to arrive at the store after the process that sent it has ended.
const STILL_ARRIVING: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Operation {
    Create,
    Update,
    Remove,
    RemoveAll,
}

pub(super) async fn an_operation_cut_short_leaves_list_and_records_consistent<S: RefreshStore>(store: &S) {
    let operations = [Operation::Create, Operation::Update, Operation::Remove, Operation::RemoveAll];
    for operation in operations {
        for steps in 0..MAX_STEPS {
            let rule = Rule::new(store, "an_operation_cut_short_leaves_list_and_records_consistent");
            let ended = cut_short(&rule, operation, steps).await;
            if ended {
                break;
            }
        }
    }
}

/// Runs `operation` for a number of steps and checks the state that it leaves behind. Returns `true` if it completed.
async fn cut_short<S: RefreshStore>(rule: &Rule<'_, S>, operation: Operation, steps: usize) -> bool {
    let mut record = rule.create(rule.session()).await;
    let other = rule.create(rule.session()).await;
    let new = rule.session();
    let ids = [record.id.clone(), other.id, new.id.clone()];
    record.idle_expires_at -= HOUR;
    record.generation += 1;
    let call = async {
        match operation {
            Operation::Create => drop(rule.create(new).await),
            Operation::Update => drop(rule.update(&record).await),
            Operation::Remove => drop(rule.remove(&record.id).await),
            Operation::RemoveAll => drop(rule.remove_all(None).await),
        }
    };
    let ended = run(call, steps).await;

    soon(
        rule,
        format_args!("{operation:?} after {steps} steps: list returns the readable sessions"),
        async || lists_what_can_be_read(rule, &ids).await,
    )
    .await;
    soon(rule, format_args!("{operation:?} after {steps} steps: remove_all leaves nothing"), async || {
        rule.remove_all(None).await;
        readable(rule, &ids).await.is_empty() && rule.list().await.is_empty()
    })
    .await;
    ended
}

/// Polls `call` until it completes, at most `steps` times, and then drops it. Returns `true` if it completed.
async fn run(call: impl Future<Output = ()>, steps: usize) -> bool {
    let mut call = pin!(call);
    let mut left = steps;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Checks that `holds` becomes true once every command that was sent has arrived.
async fn soon<S: RefreshStore>(
    rule: &Rule<'_, S>,
    what: impl std::fmt::Display,
    mut holds: impl AsyncFnMut() -> bool,
) {
    let began = Instant::now();
    while !holds().await {
        rule.check(began.elapsed() < STILL_ARRIVING, &what);
        yield_now().await;
    }
}

async fn lists_what_can_be_read<S: RefreshStore>(rule: &Rule<'_, S>, ids: &[SessionId]) -> bool {
    let mut listed: Vec<_> = rule.list().await.into_iter().map(|record| record.id).collect();
    let mut readable = readable(rule, ids).await;
    listed.sort();
    readable.sort();
    listed == readable
}

async fn readable<S: RefreshStore>(rule: &Rule<'_, S>, ids: &[SessionId]) -> Vec<SessionId> {
    let mut readable = Vec::new();
    for id in ids {
        let snapshot = rule.snapshot(id).await;
        if snapshot.record.is_some_and(|record| record.is_live(snapshot.now)) {
            readable.push(id.clone());
        }
    }
    readable
}
