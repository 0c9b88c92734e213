use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::{join, join_all, poll_fn};

use super::TestClock;
use crate::{
    Clock,
    clock::{self, from_epoch},
    keys::crypto::random,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Snapshot, Update},
};

/// Runs the contract of [`RefreshStore`] against `store`: all of it that does not need to drive
/// time.
///
/// The store may be shared and need not be empty: sessions are created under random subjects, never
/// more than a hundred at a time, and removed at the end. It needs no particular async runtime. Run
/// it with as many handles of one store as there are ways to open it, and add
/// [`store_contract_with_clock`] when the store can be given a clock.
///
/// A store may round times to milliseconds, but never `confirmed_at` and `rotated_at` to an earlier
/// time: sessions would settle early.
///
/// # Panics
///
/// When the store breaks a rule or fails. The message names the rule.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{store::MemoryStore, testing::store_contract};
///
/// #[tokio::main]
/// async fn main() {
///     store_contract(&MemoryStore::new()).await;
/// }
/// ```
pub async fn store_contract<S: RefreshStore>(store: &S) {
    created_session_is_read_back(store).await;
    new_ids_are_unique(store);
    missing_session_is_not_found(store).await;
    update_replaces_the_record_and_increments_the_version(store).await;
    update_with_another_version_conflicts(store).await;
    one_of_many_concurrent_updates_wins(store).await;
    removed_session_is_never_written(store).await;
    removal_wins_against_concurrent_updates(store).await;
    one_of_many_concurrent_removals_finds_the_session(store).await;
    list_has_the_subjects_sessions_oldest_first(store).await;
    ended_sessions_are_not_listed(store).await;
    extended_session_outlives_its_first_expiry(store).await;
    remove_all_spares_the_kept_session_and_other_subjects(store).await;
    similar_subjects_are_different(store).await;
    every_text_round_trips(store).await;
    every_secret_hash_round_trips(store).await;
    times_round_trip(store).await;
    large_numbers_round_trip(store).await;
    time_does_not_run_backwards(store).await;
}

/// Runs the part of the contract of [`RefreshStore`] that drives time, against a `store` whose
/// time is `clock`'s.
///
/// The clock is moved on by less than a day in all. What [`store_contract`] says about the store
/// holds here, too.
///
/// # Panics
///
/// When the store breaks a rule or fails. The message names the rule.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{
///     store::MemoryStore,
///     testing::{TestClock, store_contract_with_clock},
/// };
///
/// #[tokio::main]
/// async fn main() {
///     let clock = TestClock::new();
///     store_contract_with_clock(&MemoryStore::new().with_clock(clock.clone()), &clock).await;
/// }
/// ```
pub async fn store_contract_with_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
    snapshots_tell_the_time_of_the_clock(store, clock).await;
    session_ends_with_its_idle_lifetime(store, clock).await;
    session_ends_with_its_absolute_lifetime(store, clock).await;
    update_moves_the_expiry(store, clock).await;
    list_is_in_the_order_of_sign_in(store, clock).await;
    expired_sessions_make_way_and_live_ones_stay(store, clock).await;
}

async fn created_session_is_read_back<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "created_session_is_read_back");
    let mut new = rule.session();
    new.scope = "read write".into();
    new.claims = r#"{"role":"admin"}"#.into();
    new.xsrf_token = "0123456789abcdefghijklmn".into();
    new.label = "Firefox on Linux".into();
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
        "a session begins at the store's present time",
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

fn new_ids_are_unique<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "new_ids_are_unique");
    let mut ids: Vec<_> = (0..1000).map(|_| store.new_id(&rule.subject)).collect();
    rule.check(ids.iter().all(|id| id.as_str().len() >= 22), "an id has room for 128 random bits");
    ids.sort();
    ids.dedup();
    rule.check(ids.len() == 1000, "no id comes twice");
}

async fn missing_session_is_not_found<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "missing_session_is_not_found");
    let id = store.new_id(&rule.subject);
    let now = rule.now().await;
    rule.check(rule.read(&id).await.is_none(), "read finds nothing");
    rule.check(!rule.remove(&id).await, "remove finds nothing");
    let record = rule.session_with(id.clone()).begin(now);
    rule.check(rule.update(&record).await == Update::Gone, "update says that the session is gone");
    rule.check(rule.read(&id).await.is_none(), "update creates nothing");
    rule.check(rule.list().await.is_empty(), "list finds nothing");
    rule.check(rule.remove_all(None).await == 0, "remove_all finds nothing");
    rule.check(rule.remove_all(Some(&id)).await == 0, "remove_all finds nothing to keep");
}

async fn update_replaces_the_record_and_increments_the_version<S: RefreshStore>(store: &S) {
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
        record.last_seen_at = now;
        record.idle_expires_at = now + HOUR * (round + 1);
        record.absolute_expires_at = now + 2 * HOUR * (round + 1);
        record.scope = format!("scope{round}").into();
        record.claims = format!(r#"{{"round":{round}}}"#).into();
        record.xsrf_token = format!("xsrf{round}").into();
        record.label = format!("label{round}").into();
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");

        let stored = rule.expect(&created.id).await;
        rule.check(stored.version == record.version + 1, "update increments the version by one");
        rule.check_same(&stored, &record);
        rule.check(rule.list().await.contains(&stored), "list has the record as it was updated");
        record = stored;
    }
    rule.check(rule.expect(&bystander.id).await == bystander, "no other session is written");
    rule.finish().await;
}

async fn update_with_another_version_conflicts<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "update_with_another_version_conflicts");
    let created = rule.create(rule.session()).await;
    let mut record = created.clone();
    record.label = "first".into();
    rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
    let stored = rule.expect(&created.id).await;

    record.label = "second".into();
    for version in [0, 2, 3, (1 << 32) + 1, i64::MAX.unsigned_abs(), u64::MAX] {
        record.version = version;
        rule.check(rule.update(&record).await == Update::Conflict, "update of another version conflicts");
        rule.check(rule.expect(&created.id).await == stored, "a conflict leaves the record as it is");
    }
    rule.finish().await;
}

async fn one_of_many_concurrent_updates_wins<S: RefreshStore>(store: &S) {
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

    let winners: Vec<_> =
        records.iter().zip(&outcomes).filter(|(_, outcome)| **outcome == Update::Done).collect();
    let [(winner, _)] = winners[..] else {
        rule.broken(format_args!("exactly one update of a version is done, but {} were", winners.len()));
    };
    let lost = outcomes.iter().filter(|outcome| **outcome == Update::Conflict).count();
    rule.check(lost == 63, "all others conflict");
    let stored = rule.expect(&created.id).await;
    rule.check(stored.version == 1, "the version is incremented once");
    rule.check_same(&stored, winner);
    rule.finish().await;
}

async fn removed_session_is_never_written<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "removed_session_is_never_written");
    let created = rule.create(rule.session()).await;
    rule.check(rule.remove(&created.id).await, "remove finds the session");
    rule.check(rule.read(&created.id).await.is_none(), "a removed session is not read");
    rule.check(rule.list().await.is_empty(), "a removed session is not listed");
    rule.check(!rule.remove(&created.id).await, "remove finds the session once");

    for version in [0, 1] {
        let mut record = created.clone();
        record.version = version;
        rule.check(rule.update(&record).await == Update::Gone, "update says that the session is gone");
    }
    rule.check(rule.read(&created.id).await.is_none(), "update does not revive a session");
    rule.check(rule.list().await.is_empty(), "update does not list a session again");
    rule.check(rule.remove_all(None).await == 0, "remove_all does not count a removed session");

    let other = rule.create(rule.session()).await;
    rule.check(rule.remove_all(None).await == 1, "remove_all finds the session");
    rule.check(rule.update(&other).await == Update::Gone, "what remove_all has removed is gone");
    rule.check(!rule.remove(&other.id).await, "what remove_all has removed is not there");
}

async fn removal_wins_against_concurrent_updates<S: RefreshStore>(store: &S) {
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
        // Each may be the first to reach the store.
        let (removed, outcomes) = if round % 2 == 0 {
            join(removal, updates).await
        } else {
            let (outcomes, removed) = join(updates, removal).await;
            (removed, outcomes)
        };

        rule.check(removed, "the removal finds the session");
        let done = outcomes.iter().filter(|outcome| **outcome == Update::Done).count();
        rule.check(done <= 1, "at most one update of a version is done");
        rule.check(rule.read(&created.id).await.is_none(), "no update revives the session");
        rule.check(rule.list().await.is_empty(), "no update lists the session again");
    }
}

async fn one_of_many_concurrent_removals_finds_the_session<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "one_of_many_concurrent_removals_finds_the_session");
    let created = rule.create(rule.session()).await;
    let found = join_all((0..16).map(|_| rule.remove(&created.id))).await;
    rule.check(found.iter().filter(|found| **found).count() == 1, "exactly one removal finds the session");
}

async fn list_has_the_subjects_sessions_oldest_first<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "list_has_the_subjects_sessions_oldest_first");
    let other = Rule::new(store, rule.name);
    other.create(other.session()).await;

    let mut created = Vec::new();
    for _ in 0..5 {
        let record = rule.create(rule.session()).await;
        // A store whose clock stands still cannot be asked for the order.
        rule.wait_until(record.created_at + 5 * MILLI).await;
        created.push(record);
    }
    // Using a session does not make it younger.
    let mut used = created[0].clone();
    used.last_seen_at += HOUR;
    rule.check(rule.update(&used).await == Update::Done, "update of the present version is done");
    created[0] = rule.expect(&used.id).await;

    let listed = rule.list().await;
    rule.check(listed.is_sorted_by_key(|record| record.created_at), "the oldest session comes first");
    rule.check_same_set(&listed, &created);
    rule.finish().await;
    rule.check(other.list().await.len() == 1, "another subject's sessions are its own");
    other.finish().await;
}

async fn ended_sessions_are_not_listed<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "ended_sessions_are_not_listed");
    let live = rule.create(rule.session()).await;
    for (idle, absolute) in [(Duration::ZERO, HOUR), (HOUR, Duration::ZERO), (Duration::ZERO, Duration::ZERO)]
    {
        let mut new = rule.session();
        new.idle = idle;
        new.absolute = absolute;
        let ended = rule.create(new).await;
        // Its end may have been rounded up.
        rule.wait_until(ended.expires_at()).await;
        rule.check_ended(&ended.id).await;
    }
    // A session that an update ends is ended, too.
    let mut record = rule.create(rule.session()).await;
    record.idle_expires_at = record.created_at - HOUR;
    rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
    rule.check_ended(&record.id).await;
    let mut record = rule.create(rule.session()).await;
    record.absolute_expires_at = record.created_at - HOUR;
    rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
    rule.check_ended(&record.id).await;

    rule.check_same_set(&rule.list().await, &[live]);
    rule.finish().await;
}

async fn extended_session_outlives_its_first_expiry<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "extended_session_outlives_its_first_expiry");
    let mut new = rule.session();
    new.idle = 300 * MILLI;
    let mut record = rule.create(new).await;
    let first_expiry = record.expires_at();
    record.idle_expires_at = record.absolute_expires_at;
    match rule.update(&record).await {
        Update::Done => {}
        // The store was so slow that the session had ended before.
        Update::Gone if rule.now().await >= first_expiry => return rule.finish().await,
        outcome => rule.broken(format_args!("update of the present version is done, not {outcome:?}")),
    }
    // A store whose clock stands still cannot be asked; `store_contract_with_clock` does it then.
    rule.wait_until(first_expiry + 20 * MILLI).await;
    // Others come, and what has ended goes.
    let other = rule.create(rule.session()).await;
    let stored = rule.expect(&record.id).await;
    rule.check_same(&stored, &record);
    rule.check_same_set(&rule.list().await, &[stored, other]);
    rule.finish().await;
}

async fn remove_all_spares_the_kept_session_and_other_subjects<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "remove_all_spares_the_kept_session_and_other_subjects");
    let other = Rule::new(store, rule.name);
    let others = other.create(other.session()).await;
    let kept = rule.create(rule.session()).await;
    for _ in 0..3 {
        rule.create(rule.session()).await;
    }

    rule.check(rule.remove_all(Some(&kept.id)).await == 3, "remove_all counts what it removes");
    rule.check(rule.expect(&kept.id).await == kept, "the session to keep is kept as it is");
    rule.check_same_set(&rule.list().await, std::slice::from_ref(&kept));
    rule.check(rule.remove_all(Some(&kept.id)).await == 0, "nothing is left to remove");
    rule.check(rule.remove_all(Some(&others.id)).await == 1, "another subject's session is not kept");
    rule.check(rule.read(&kept.id).await.is_none(), "a session that is not kept is removed");
    rule.create(rule.session()).await;
    rule.create(rule.session()).await;
    rule.check(rule.remove_all(None).await == 2, "without a session to keep, all are removed");
    rule.check(rule.list().await.is_empty(), "nothing is left");
    rule.check(other.expect(&others.id).await == others, "another subject's session stays");
    other.finish().await;
}

async fn similar_subjects_are_different<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "similar_subjects_are_different");
    let base = &rule.subject;
    let mut subjects = vec![
        base.clone(),
        base.to_uppercase(),
        base.to_lowercase(),
        format!("{base} "),
        format!(" {base}"),
        format!("{base}\n"),
        format!("{base}\0"),
        format!("{base}\0\0"),
        format!("{base}%"),
        format!("{base}_"),
        format!("{base}*"),
        format!("{base}\u{e9}"),
        format!("{base}e\u{301}"),
        format!("{base}\u{c9}"),
        format!("{base}1"),
        format!("{base}01"),
    ];
    subjects.extend(TEXTS.iter().filter(|text| !text.is_empty()).map(|text| format!("{base}/{text}")));
    subjects.push(format!("{base}{}", "long".repeat(1024)));

    let mut created = Vec::new();
    for subject in &subjects {
        let new = NewRecord::new(store.new_id(subject), subject.as_str(), random());
        created.push(rule.create(new).await);
    }
    for record in &created {
        let listed = rule.done("list", store.list(&record.subject).await);
        rule.check(
            listed == std::slice::from_ref(record),
            format_args!("{} is a subject of its own", shown(&record.subject)),
        );
    }
    for (index, record) in created.iter().enumerate() {
        let removed = rule.done("remove_all", store.remove_all(&record.subject, None).await);
        rule.check(removed == 1, format_args!("only the session of {} is removed", shown(&record.subject)));
        if let Some(next) = created.get(index + 1) {
            rule.check(rule.expect(&next.id).await == *next, "the sessions of other subjects stay");
        }
    }
}

async fn every_text_round_trips<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "every_text_round_trips");
    let long = "0123456789abcde\u{e9}".repeat(256);
    for text in TEXTS.iter().copied().chain([long.as_str()]) {
        let mut new = rule.session();
        new.scope = text.into();
        new.xsrf_token = text.into();
        new.label = text.into();
        let created = rule.create(new).await;
        rule.check(
            [&created.scope, &created.xsrf_token, &created.label].iter().all(|stored| ***stored == *text),
            format_args!("create keeps {}", shown(text)),
        );
        rule.check(rule.expect(&created.id).await == created, format_args!("read returns {}", shown(text)));

        let mut record = rule.create(rule.session()).await;
        record.scope = text.into();
        record.xsrf_token = text.into();
        record.label = text.into();
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
        rule.check_same(&rule.expect(&record.id).await, &record);
    }
    let long = format!(r#"{{"long":"{long}"}}"#);
    for claims in CLAIMS.iter().copied().chain([long.as_str()]) {
        let mut new = rule.session();
        new.claims = claims.into();
        let mut record = rule.create(new).await;
        rule.check(*record.claims == *claims, format_args!("create keeps the claims {}", shown(claims)));
        rule.check(
            rule.expect(&record.id).await == record,
            format_args!("read returns the claims {}", shown(claims)),
        );
        record.claims = "{}".into();
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
        let mut record = rule.expect(&record.id).await;
        record.claims = claims.into();
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
        rule.check_same(&rule.expect(&record.id).await, &record);
    }
    rule.finish().await;
}

async fn every_secret_hash_round_trips<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "every_secret_hash_round_trips");
    let ascending = std::array::from_fn(|index| u8::try_from(index).unwrap_or(u8::MAX));
    for secret_hash in [[0; 32], [0xff; 32], [b'\''; 32], ascending, random()] {
        let mut new = rule.session();
        new.secret_hash = secret_hash;
        let mut record = rule.create(new).await;
        rule.check(record.secret_hash == secret_hash, "create keeps the hash");
        rule.check(rule.expect(&record.id).await == record, "read returns the hash");
        record.secret_hash.reverse();
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
        rule.check_same(&rule.expect(&record.id).await, &record);
    }
    rule.finish().await;
}

async fn times_round_trip<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "times_round_trip");
    let mut record = rule.create(rule.session()).await;
    for nanos in [0, 1, 499_999, 500_000, 500_001, 999_999, 1_000_000, 999_000_001, 999_999_999] {
        let time = UNIX_EPOCH + Duration::new(4_000_000_000, nanos);
        for confirmed_at in [Some(time), None] {
            record.confirmed_at = confirmed_at;
            record.rotated_at = time;
            record.last_seen_at = time;
            record.idle_expires_at = time + HOUR;
            record.absolute_expires_at = time + 2 * HOUR;
            rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
            let stored = rule.expect(&record.id).await;
            rule.check_same(&stored, &record);
            record.version = stored.version;
        }
    }

    let mut eternal = rule.session();
    eternal.idle = Duration::MAX;
    eternal.absolute = Duration::MAX;
    let mut record = rule.create(eternal).await;
    rule.check(record.is_live(end_of_year_9999() - HOUR), "a session may live until the year 9999");
    rule.check(rule.expect(&record.id).await == record, "read returns the year 9999");
    record.confirmed_at = Some(end_of_year_9999());
    record.rotated_at = end_of_year_9999();
    record.last_seen_at = end_of_year_9999();
    record.idle_expires_at = end_of_year_9999();
    record.absolute_expires_at = end_of_year_9999();
    rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
    rule.check_same(&rule.expect(&record.id).await, &record);
    rule.finish().await;
}

async fn large_numbers_round_trip<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "large_numbers_round_trip");
    let mut record = rule.create(rule.session()).await;
    for generation in [1, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        record.generation = generation;
        rule.check(rule.update(&record).await == Update::Done, "update of the present version is done");
        let stored = rule.expect(&record.id).await;
        rule.check(stored.generation == generation, format_args!("read returns generation {generation}"));
        rule.check(stored.version == record.version + 1, "update increments the version by one");
        record = stored;
    }
    rule.finish().await;
}

async fn time_does_not_run_backwards<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "time_does_not_run_backwards");
    let mut last = rule.now().await;
    for _ in 0..100 {
        let now = rule.now().await;
        rule.check(now + SKEW >= last, "the store's present time does not go back");
        last = now;
    }
}

async fn snapshots_tell_the_time_of_the_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "snapshots_tell_the_time_of_the_clock");
    for _ in 0..3 {
        let now = rule.now().await;
        rule.check(is_near(now, clock.now()), "a snapshot's time is the clock's");
        let created = rule.create(rule.session()).await;
        rule.check(is_near(created.created_at, clock.now()), "a session begins at the clock's time");
        clock.advance(Duration::from_secs(90));
    }
    rule.finish().await;
}

async fn session_ends_with_its_idle_lifetime<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "session_ends_with_its_idle_lifetime");
    let mut new = rule.session();
    new.idle = HOUR;
    new.absolute = 3 * HOUR;
    rule.check_end(rule.create(new).await, clock).await;
}

async fn session_ends_with_its_absolute_lifetime<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "session_ends_with_its_absolute_lifetime");
    let mut new = rule.session();
    new.idle = 3 * HOUR;
    new.absolute = HOUR;
    rule.check_end(rule.create(new).await, clock).await;
}

async fn update_moves_the_expiry<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "update_moves_the_expiry");
    let mut new = rule.session();
    new.idle = HOUR;
    let mut extended = rule.create(new.clone()).await;
    new.id = store.new_id(&rule.subject);
    let mut shortened = rule.create(new).await;
    extended.idle_expires_at += HOUR;
    shortened.idle_expires_at -= HOUR / 2;
    for record in [&extended, &shortened] {
        rule.check(rule.update(record).await == Update::Done, "update of the present version is done");
    }
    let extended = rule.expect(&extended.id).await;

    clock.advance(HOUR * 3 / 4);
    rule.check_ended(&shortened.id).await;
    clock.advance(HOUR / 2);
    // Others come, and what has ended goes.
    let other = rule.create(rule.session()).await;
    rule.check(rule.expect(&extended.id).await == extended, "an extended session outlives its first expiry");
    rule.check_same_set(&rule.list().await, &[extended.clone(), other]);
    rule.check(rule.update(&extended).await == Update::Done, "a live session can be updated");
    rule.check_end(rule.expect(&extended.id).await, clock).await;
}

async fn list_is_in_the_order_of_sign_in<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "list_is_in_the_order_of_sign_in");
    let mut created = Vec::new();
    for _ in 0..8 {
        created.push(rule.create(rule.session()).await);
        clock.advance(2 * MILLI);
    }
    rule.check(rule.list().await == created, "the oldest session comes first");
    rule.finish().await;
}

async fn expired_sessions_make_way_and_live_ones_stay<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "expired_sessions_make_way_and_live_ones_stay");
    let live = rule.create(rule.session()).await;
    for round in 0..4 {
        let mut expiring = Vec::new();
        for _ in 0..16 {
            let mut new = rule.session();
            new.idle = Duration::from_secs(60 + round);
            expiring.push(rule.create(new).await);
        }
        clock.advance(Duration::from_secs(120));
        let next = rule.create(rule.session()).await;
        for record in &expiring {
            rule.check_ended(&record.id).await;
        }
        rule.check(rule.expect(&live.id).await == live, "a live session stays");
        rule.check_same_set(&rule.list().await, &[live.clone(), next.clone()]);
        rule.check(rule.remove(&next.id).await, "remove finds the session");
    }
    rule.finish().await;
}

/// A rule of the contract, its name for the messages, and a subject of its own.
struct Rule<'a, S> {
    store: &'a S,
    name: &'static str,
    subject: String,
}

impl<'a, S: RefreshStore> Rule<'a, S> {
    fn new(store: &'a S, name: &'static str) -> Self {
        // The letters at the end have another case each, whatever the random part is.
        let subject = format!("store-contract-{}-aB", URL_SAFE_NO_PAD.encode(random::<16>()));
        Self { store, name, subject }
    }

    fn session(&self) -> NewRecord {
        self.session_with(self.store.new_id(&self.subject))
    }

    fn session_with(&self, id: SessionId) -> NewRecord {
        NewRecord::new(id, self.subject.as_str(), random())
    }

    async fn create(&self, new: NewRecord) -> SessionRecord {
        let expected = new.clone();
        match self.done("create", self.store.create(new).await) {
            Created::Done(record) => {
                // No time of its own can be known here, but how long the session lives can.
                self.check_same(&record, &expected.begin(record.created_at));
                record
            }
            Created::Full => self.broken("the store is full: the contract needs room for 100 sessions"),
        }
    }

    async fn snapshot(&self, id: &SessionId) -> Snapshot {
        self.done("read", self.store.read(id).await)
    }

    async fn now(&self) -> SystemTime {
        self.snapshot(&self.store.new_id(&self.subject)).await.now
    }

    async fn read(&self, id: &SessionId) -> Option<SessionRecord> {
        self.snapshot(id).await.record
    }

    async fn expect(&self, id: &SessionId) -> SessionRecord {
        match self.read(id).await {
            Some(record) => record,
            None => self.broken("a session that was neither removed nor has expired is there"),
        }
    }

    async fn update(&self, record: &SessionRecord) -> Update {
        self.done("update", self.store.update(record).await)
    }

    async fn remove(&self, id: &SessionId) -> bool {
        self.done("remove", self.store.remove(id).await)
    }

    async fn list(&self) -> Vec<SessionRecord> {
        self.done("list", self.store.list(&self.subject).await)
    }

    async fn remove_all(&self, keep: Option<&SessionId>) -> u64 {
        self.done("remove_all", self.store.remove_all(&self.subject, keep).await)
    }

    /// Leaves nothing behind in a store that others use as well.
    async fn finish(&self) {
        self.remove_all(None).await;
    }

    /// Waits until the store's clock shows `time`, unless it stands still.
    async fn wait_until(&self, time: SystemTime) {
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

    /// Checks that a session is over: not listed, and not live if it can be read still.
    async fn check_ended(&self, id: &SessionId) {
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

    /// Checks that `record` is live until the clock reaches its end and not after it, and that
    /// others come and go as if it had never been.
    async fn check_end(&self, record: SessionRecord, clock: &TestClock) {
        let end = record.expires_at();
        clock.set(end - 2 * MILLI);
        self.check(self.expect(&record.id).await == record, "a session is there until its end");
        self.check(self.list().await.contains(&record), "a session is listed until its end");
        for past_end in [Duration::ZERO, MILLI, HOUR] {
            clock.set(end + past_end);
            self.check_ended(&record.id).await;
        }
        let next = self.create(self.session()).await;
        self.check_ended(&record.id).await;
        self.check(self.expect(&next.id).await == next, "a new session comes after one that has ended");
        self.finish().await;
    }

    /// Checks that `stored` is `given` but for its version and the rounding of its times.
    fn check_same(&self, stored: &SessionRecord, given: &SessionRecord) {
        self.check(stored.id == given.id, "the id is kept");
        self.check(
            stored.subject == given.subject,
            format_args!("the subject {} is kept", shown(&given.subject)),
        );
        self.check(stored.secret_hash == given.secret_hash, "the secret's hash is kept");
        self.check(stored.generation == given.generation, "the generation is kept");
        self.check(stored.scope == given.scope, format_args!("the scope {} is kept", shown(&given.scope)));
        self.check(
            stored.claims == given.claims,
            format_args!("the claims {} are kept", shown(&given.claims)),
        );
        self.check(stored.xsrf_token == given.xsrf_token, "the XSRF token is kept");
        self.check(stored.label == given.label, format_args!("the label {} is kept", shown(&given.label)));
        for (name, stored, given) in [
            ("rotated_at", stored.rotated_at, given.rotated_at),
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
        self.check(stored.rotated_at >= given.rotated_at, "rotated_at is never earlier than given");
    }

    fn check_same_set(&self, listed: &[SessionRecord], expected: &[SessionRecord]) {
        let missing = expected.iter().filter(|record| !listed.contains(record)).count();
        self.check(
            missing == 0 && listed.len() == expected.len(),
            format_args!(
                "list has the {} live sessions of the subject and nothing else, not {} with {missing} missing",
                expected.len(),
                listed.len()
            ),
        );
    }

    fn check(&self, holds: bool, what: impl std::fmt::Display) {
        if !holds {
            self.broken(what);
        }
    }

    fn done<T>(&self, call: &str, outcome: Result<T, S::Error>) -> T {
        outcome.unwrap_or_else(|error| self.broken(format_args!("{call} failed: {error}: {error:?}")))
    }

    fn broken(&self, what: impl std::fmt::Display) -> ! {
        panic!("the store breaks `{}`: {what}", self.name)
    }
}

/// `text` as a message has it, cut where it is long.
fn shown(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{:?}... ({} bytes)", &text[..end], text.len()),
        None => format!("{text:?}"),
    }
}

/// Whether two times are the same but for rounding to milliseconds, once or twice.
fn is_near(one: SystemTime, other: SystemTime) -> bool {
    one.duration_since(other).unwrap_or_else(|error| error.duration()) <= 2 * MILLI
}

/// Lets the other tasks of a runtime go on, whichever it is.
async fn yield_now() {
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

const MILLI: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(60 * 60);
/// By how much the present times of a store's nodes may differ.
const SKEW: Duration = Duration::from_secs(1);
/// A clock that shows one time for so long is driven by hand.
const STANDSTILL: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

const TEXTS: &[&str] = &[
    "",
    " ",
    "  leading and trailing  ",
    "tab\tand\r\nline\nends\r",
    "nul \0 inside",
    "\0",
    "'single' \"double\" `back` \\ slash",
    "'; DROP TABLE sessions; --",
    "' OR '1'='1",
    "?1 $1 :name @name %s {} ${x}",
    "]] return redis.call('FLUSHALL') --[[",
    "KEYS[1] {hash} ARGV[1]",
    "null",
    "NULL",
    "0",
    "1e3",
    "true",
    "\u{1f980}\u{1f469}\u{200d}\u{1f4bb}\u{1f1eb}\u{1f1f7}",
    "\u{5e9}\u{5dc}\u{5d5}\u{5dd} \u{202e}abc\u{202c} \u{645}\u{631}\u{62d}\u{628}\u{627}",
    "e\u{301} \u{e9} \u{df} \u{1e9e} \u{130} \u{131}",
    "\u{feff}byte order mark",
    "\u{1}\u{7f}\u{80}\u{2028}\u{2029}\u{fffd}\u{ffff}\u{10ffff}",
];

/// JSON that is kept as it is: order, spaces and escapes included.
const CLAIMS: &[&str] = &[
    "{}",
    "null",
    "[]",
    r#"{"z":1,"a":2,  "a2" : [ 1.0, 1e400, -0 ]}"#,
    r#"{"number":12345678901234567890,"fraction":0.1000}"#,
    r#"{"text":"\"\\\/\b\f\n\r\t\u0000\u00e9\ud83e\udd80"}"#,
    "{\"emoji\":\"\u{1f980}\",\"rtl\":\"\u{5e9}\u{5dc}\u{5d5}\u{5dd}\",\"sql\":\"'; DROP TABLE sessions; --\"}",
];

fn end_of_year_9999() -> SystemTime {
    from_epoch(Duration::from_secs(clock::END_OF_YEAR_9999))
}
