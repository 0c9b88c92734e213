//! Times that a store takes from its own clock as it writes.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;

use super::rule::*;
use crate::{
    clock::Clock,
    store::{RefreshStore, SessionRecord, Stamps, Update},
    testing::clock::TestClock,
};

const NONE: Stamps =
    Stamps { confirmed_at: false, rotated_at: false, issued_at: false, last_seen_at: false, idle: None };

/// A stamp, its name, and what it does to a record.
type Row = (&'static str, Stamps, fn(&SessionRecord) -> Option<SystemTime>);

/// The stamps that become the time of the write.
const TIMES: &[Row] = &[
    ("confirmed_at", Stamps { confirmed_at: true, ..NONE }, |record| record.confirmed_at),
    ("rotated_at", Stamps { rotated_at: true, ..NONE }, |record| Some(record.rotated_at)),
    ("issued_at", Stamps { issued_at: true, ..NONE }, |record| Some(record.issued_at)),
    ("last_seen_at", Stamps { last_seen_at: true, ..NONE }, |record| Some(record.last_seen_at)),
];

pub(super) async fn a_stamp_is_the_time_of_the_write<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "a_stamp_is_the_time_of_the_write");
    for (name, stamps, time) in TIMES {
        let record = rule.long_ago().await;
        // Each of these may have a connection of its own, of which one may be ahead of the writer's.
        let before = rule.latest_now(&record).await;
        let written = rule.written(&record, *stamps).await;
        let after = rule.now().await;
        let stamped = time(&written).unwrap_or(SystemTime::UNIX_EPOCH);
        rule.check(
            stamped >= before,
            format_args!("{name} is never before a read that preceded the write: {stamped:?} and {before:?}"),
        );
        rule.check(
            stamped <= after + SKEW,
            format_args!("{name} is the store's present time, not {stamped:?} at {after:?}"),
        );
        // Nothing else changes.
        rule.check_same(&written, &record.stamped(*stamps, stamped));
    }

    let idle = 3 * HOUR;
    let record = rule.long_ago().await;
    let before = rule.latest_now(&record).await;
    let written = rule.written(&record, Stamps { idle: Some(idle), ..NONE }).await;
    let after = rule.now().await;
    let ends = written.idle_expires_at;
    rule.check(
        ends + MILLI >= before + idle && ends <= after + idle + SKEW,
        format_args!("the idle expiry follows from the time of the write, {after:?}, and is not {ends:?}"),
    );
    rule.check_same(&written, &SessionRecord { idle_expires_at: ends, ..record });
    rule.finish().await;
}

pub(super) async fn all_stamps_of_a_write_are_of_one_time<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "all_stamps_of_a_write_are_of_one_time");
    for combination in 0..32_u8 {
        let is_in = |bit: u8| combination & (1 << bit) != 0;
        let stamps = Stamps {
            confirmed_at: is_in(0),
            rotated_at: is_in(1),
            issued_at: is_in(2),
            last_seen_at: is_in(3),
            idle: is_in(4).then_some(3 * HOUR),
        };
        let record = rule.long_ago().await;
        let written = rule.written(&record, stamps).await;
        let one = TIMES.iter().enumerate().find(|(bit, _)| combination & (1 << bit) != 0);
        let now = match one.and_then(|(_, (_, _, time))| time(&written)) {
            Some(time) => time,
            None if stamps.idle.is_some() => written.idle_expires_at - 3 * HOUR,
            // No stamp, no time: all is as it was given.
            None => rule.now().await,
        };
        rule.check_same(&written, &record.stamped(stamps, now));
    }
    rule.finish().await;
}

pub(super) async fn last_seen_and_idle_expiry_never_move_back<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "last_seen_and_idle_expiry_never_move_back");
    let mut record = rule.long_ago().await;
    let now = rule.now().await;
    record.last_seen_at = now + HOUR;
    record.idle_expires_at = now + 5 * HOUR;
    let stamps = Stamps { last_seen_at: true, idle: Some(HOUR), ..NONE };
    for _ in 0..2 {
        let written = rule.written(&record, stamps).await;
        // As after a clock that was set back.
        rule.check_same(&written, &record);
        record = written;
    }
    rule.finish().await;
}

pub(super) async fn idle_expiry_never_exceeds_the_absolute_one<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "idle_expiry_never_exceeds_the_absolute_one");
    for (given, idle) in
        [(HOUR, 3 * HOUR), (HOUR, Duration::MAX), (3 * HOUR, HOUR), (3 * HOUR, Duration::ZERO)]
    {
        let mut record = rule.long_ago().await;
        let now = rule.now().await;
        record.idle_expires_at = now + given;
        record.absolute_expires_at = now + 2 * HOUR;
        let written = rule.written(&record, Stamps { idle: Some(idle), ..NONE }).await;
        rule.check(
            is_near(written.idle_expires_at, record.absolute_expires_at),
            format_args!(
                "an idle lifetime of {idle:?} ends with the session, not at {:?}",
                written.idle_expires_at
            ),
        );
        rule.check(
            written.idle_expires_at <= written.absolute_expires_at,
            "the idle expiry is never after the absolute expiry",
        );
    }
    rule.finish().await;
}

pub(super) async fn stamps_follow_the_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
    let rule = Rule::new(store, "stamps_follow_the_clock");
    let created = rule.create(rule.session()).await;
    let idle = 20 * 24 * HOUR;
    let all = Stamps {
        confirmed_at: true,
        rotated_at: true,
        issued_at: true,
        last_seen_at: true,
        idle: Some(idle),
    };
    clock.advance(HOUR);
    let later = clock.now();
    let written = rule.written(&created, all).await;
    rule.check_same(&written, &created.stamped(all, later));

    // The clock is set back: what is counted begins anew, but the client has been seen.
    clock.set(later - HOUR / 2);
    let again = rule.written(&written, all).await;
    rule.check_same(&again, &written.clone().stamped(all, later - HOUR / 2));
    rule.check(again.last_seen_at == written.last_seen_at, "last-seen does not move back");
    rule.check(again.idle_expires_at == written.idle_expires_at, "the idle expiry does not move back");
    clock.set(later);
    rule.finish().await;
}

impl<S: RefreshStore> Rule<'_, S> {
    /// A session whose times are all of another hour than the present one.
    async fn long_ago(&self) -> SessionRecord {
        let mut record = self.create(self.session()).await;
        record.generation = 8;
        record.parent = 6;
        record.seen = Some(7);
        for time in
            [&mut record.rotated_at, &mut record.issued_at, &mut record.claims_at, &mut record.last_seen_at]
        {
            *time -= 2 * HOUR;
        }
        record.confirmed_at = Some(record.rotated_at);
        record.idle_expires_at = record.created_at + HOUR;
        record.extension = [7, 0, 9].into();
        record
    }

    /// The latest present time that some reads at once have told.
    async fn latest_now(&self, record: &SessionRecord) -> SystemTime {
        let snapshots = join_all((0..8).map(|_| self.snapshot(&record.id))).await;
        snapshots.iter().map(|snapshot| snapshot.now).max().unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Writes the record, and checks that what comes back is what is read from then on.
    async fn written(&self, record: &SessionRecord, stamps: Stamps) -> SessionRecord {
        match self.write(record, stamps).await {
            Update::Done(written) => {
                self.check(written.version == record.version + 1, "update increments the version by one");
                self.check(self.expect(&record.id).await == *written, "update returns what is read then");
                *written
            }
            outcome => self.broken(format_args!("update of the present version is done, not {outcome:?}")),
        }
    }
}
