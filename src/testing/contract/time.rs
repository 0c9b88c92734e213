//! Expiry, with a clock that is driven by hand.

use std::time::Duration;

use super::rule::*;
use crate::{
    clock::Clock,
    store::{RefreshStore, Update},
    testing::clock::TestClock,
};

pub(super) async fn snapshots_tell_the_time_of_the_clock<S: RefreshStore>(store: &S, clock: &TestClock) {
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
        rule.check(rule.expect(&live.id).await == live, "a live session stays");
        rule.check_same_set(&rule.list().await, &[live.clone(), next.clone()]);
        rule.check(rule.remove(&next.id).await, "remove finds the session");
    }
    rule.finish().await;
}
