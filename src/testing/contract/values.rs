//! Rules about values, which must be read as they were written, and about expiry by the store's clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rule::*;
use crate::{
    clock::{Clock, END_OF_YEAR_9999, from_epoch},
    keys::crypto::random,
    store::RefreshStore,
    testing::clock::TestClock,
};

pub(super) async fn every_text_round_trips<S: RefreshStore>(store: &S) {
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
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
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
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
        let mut record = rule.expect(&record.id).await;
        record.claims = claims.into();
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
        rule.check_same(&rule.expect(&record.id).await, &record);
    }
    rule.finish().await;
}

pub(super) async fn every_secret_hash_round_trips<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "every_secret_hash_round_trips");
    let ascending = std::array::from_fn(|index| u8::try_from(index).unwrap_or(u8::MAX));
    for secret_hash in [[0; 32], [0xff; 32], [b'\''; 32], ascending, random()] {
        let mut new = rule.session();
        new.secret_hash = secret_hash;
        let mut record = rule.create(new).await;
        rule.check(record.secret_hash == secret_hash, "create keeps the hash");
        rule.check(rule.expect(&record.id).await == record, "read returns the hash");
        record.secret_hash.reverse();
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
        rule.check_same(&rule.expect(&record.id).await, &record);
    }
    rule.finish().await;
}

pub(super) async fn times_round_trip<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "times_round_trip");
    let mut record = rule.create(rule.session()).await;
    for nanos in [0, 1, 499_999, 500_000, 500_001, 999_999, 1_000_000, 999_000_001, 999_999_999] {
        let time = UNIX_EPOCH + Duration::new(4_000_000_000, nanos);
        for confirmed_at in [Some(time), None] {
            record.confirmed_at = confirmed_at;
            record.rotated_at = time;
            record.issued_at = time;
            record.claims_at = time;
            record.last_seen_at = time;
            record.idle_expires_at = time + HOUR;
            record.absolute_expires_at = time + 2 * HOUR;
            rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
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
    record.issued_at = end_of_year_9999();
    record.claims_at = end_of_year_9999();
    record.last_seen_at = end_of_year_9999();
    record.idle_expires_at = end_of_year_9999();
    record.absolute_expires_at = end_of_year_9999();
    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
    rule.check_same(&rule.expect(&record.id).await, &record);
    rule.finish().await;
}

pub(super) async fn large_numbers_round_trip<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "large_numbers_round_trip");
    let mut record = rule.create(rule.session()).await;
    for generation in [1, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        record.generation = generation;
        rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
        let stored = rule.expect(&record.id).await;
        rule.check(stored.generation == generation, format_args!("read returns generation {generation}"));
        rule.check(stored.version == record.version + 1, "update increments the version by one");
        record = stored;
    }
    rule.finish().await;
}

pub(super) async fn every_extension_round_trips<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "every_extension_round_trips");
    let every_byte: Vec<u8> = (0..=u8::MAX).cycle().take(1024).collect();
    for extension in [&b""[..], b"\0", b"1\0\0", b"\xff\xfe'\\", b"NULL", &every_byte] {
        let mut new = rule.session();
        new.extension = extension.into();
        let mut record = rule.create(new).await;
        rule.check(*record.extension == *extension, "create keeps the extension");
        rule.check(rule.expect(&record.id).await == record, "read returns the extension");
        for extension in [b"other", extension] {
            record.extension = extension.into();
            rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
            let stored = rule.expect(&record.id).await;
            rule.check_same(&stored, &record);
            rule.check(rule.list().await.contains(&stored), "list has the extension");
            record = stored;
        }
    }
    rule.finish().await;
}

pub(super) async fn what_has_been_seen_round_trips<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "what_has_been_seen_round_trips");
    let mut record = rule.create(rule.session()).await;
    rule.check((record.parent, record.seen) == (0, None), "nothing of a new session has been seen");
    for generation in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        record.generation = generation;
        for parent in [0, generation.saturating_sub(1), generation] {
            for seen in [None, Some(0), Some(parent), Some(generation)] {
                record.parent = parent;
                record.seen = seen;
                // One does not follow from the other.
                for confirmed_at in [None, Some(record.created_at)] {
                    record.confirmed_at = confirmed_at;
                    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
                    let stored = rule.expect(&record.id).await;
                    rule.check_same(&stored, &record);
                    record = stored;
                }
            }
        }
    }
    rule.finish().await;
}

pub(super) async fn time_does_not_run_backwards<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "time_does_not_run_backwards");
    let mut last = rule.now().await;
    for _ in 0..100 {
        let now = rule.now().await;
        rule.check(now + SKEW >= last, "the store's current time does not go backwards");
        last = now;
    }
}

pub(super) const TEXTS: &[&str] = &[
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

/// JSON that must be kept unchanged, including order, whitespace and escapes.
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
    from_epoch(Duration::from_secs(END_OF_YEAR_9999))
}

pub(super) async fn snapshots_tell_the_time_of_the_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "snapshots_tell_the_time_of_the_clock");
    for _ in 0..3 {
        let now = rule.now().await;
        rule.check(is_near(now, clock.now()), "a snapshot contains the clock's time");
        let created = rule.create(rule.session()).await;
        rule.check(is_near(created.created_at, clock.now()), "a session begins at the clock's time");
        clock.advance(Duration::from_secs(90));
    }
    rule.finish().await;
}

pub(super) async fn session_ends_with_its_idle_lifetime<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "session_ends_with_its_idle_lifetime");
    let mut new = rule.session();
    new.idle = HOUR;
    new.absolute = 3 * HOUR;
    rule.check_end(rule.create(new).await, clock).await;
}

pub(super) async fn session_ends_with_its_absolute_lifetime<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "session_ends_with_its_absolute_lifetime");
    let mut new = rule.session();
    new.idle = 3 * HOUR;
    new.absolute = HOUR;
    rule.check_end(rule.create(new).await, clock).await;
}

pub(super) async fn update_moves_the_expiry<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "update_moves_the_expiry");
    let mut new = rule.session();
    new.idle = HOUR;
    let mut extended = rule.create(new.clone()).await;
    new.id = store.new_id(&rule.subject);
    let mut shortened = rule.create(new).await;
    extended.idle_expires_at += HOUR;
    shortened.idle_expires_at -= HOUR / 2;
    for record in [&extended, &shortened] {
        rule.check(rule.update(record).await.is_done(), "update of the present version is done");
    }
    let extended = rule.expect(&extended.id).await;

    clock.advance(HOUR * 3 / 4);
    rule.check_ended(&shortened.id).await;
    clock.advance(HOUR / 2);
    // Creating a session may make the store purge expired ones.
    let other = rule.create(rule.session()).await;
    rule.check(rule.expect(&extended.id).await == extended, "an extended session outlives its first expiry");
    rule.check_same_set(&rule.list().await, &[extended.clone(), other]);
    rule.check(rule.update(&extended).await.is_done(), "a live session can be updated");
    rule.check_end(rule.expect(&extended.id).await, clock).await;
}

pub(super) async fn list_is_in_the_order_of_sign_in<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "list_is_in_the_order_of_sign_in");
    let mut created = Vec::new();
    for _ in 0..8 {
        created.push(rule.create(rule.session()).await);
        clock.advance(2 * MILLI);
    }
    rule.check(rule.list().await == created, "the oldest session comes first");
    rule.finish().await;
}

pub(super) async fn expired_sessions_make_way_and_live_ones_stay<S: RefreshStore>(
    store: &S,
    clock: &TestClock,
) {
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
        rule.check(rule.expect(&live.id).await == live, "a live session is unchanged");
        rule.check_same_set(&rule.list().await, &[live.clone(), next.clone()]);
        rule.check(rule.remove(&next.id).await, "remove finds the session");
    }
    rule.finish().await;
}
