//! Random schedules against the real layers.
//!
//! A client with one cookie jar and several tabs plays against the real layers on two nodes that share a
//! store. Every step is one of: send a request, let the server run up to its next wait for the store, let
//! a handler finish, deliver or lose a message, let time pass. The one assumption is kept: no message is on
//! its way for as long as the grace period, the second look at the store included; exchanges and handlers take as
//! long as they like.

mod numbers;
mod schedule;
mod server;

use std::{ops::Range, time::Duration};

use tower_cookie_jwt::session::LostResponse;

use self::schedule::{Outcome, Schedule};

/// Schedules in a run; each has its own seed, which a failure names.
const SCHEDULES: u64 = 12_000;

#[test]
fn a_legitimate_client_is_never_revoked_and_never_stuck() {
    play(0..SCHEDULES);
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_legitimate_client_is_never_revoked_and_never_stuck_in_many_more_schedules() {
    play(SCHEDULES..20 * SCHEDULES);
}

fn play(seeds: Range<u64>) {
    let (mut rotations, mut lost_answers, mut retries) = (0, 0, 0);
    for seed in seeds.clone() {
        let mut schedule = Schedule::new(seed, LostResponse::UntilConfirmed);
        assert_eq!(schedule.play(), Outcome::SignedIn, "schedule {seed}");
        rotations += schedule.rotations();
        lost_answers += schedule.lost_answers();
        retries += schedule.retries();
    }
    let count = seeds.end - seeds.start;
    println!(
        "{count} schedules: {rotations} rotations, {lost_answers} late answers, {retries} requests to ask again"
    );
    assert!(rotations > count, "the schedules hardly rotate: {rotations}");
    assert!(lost_answers > count / 10, "the schedules hardly lose an answer for long: {lost_answers}");
}

#[test]
fn the_schedules_find_a_revocation_under_a_weaker_rule() {
    // A mere time window instead of confirmation: a lost response that is asked for again later
    // than that looks like reuse.
    let window = LostResponse::Within(Duration::from_secs(30));
    let found = (0..SCHEDULES).any(|seed| Schedule::new(seed, window).play() == Outcome::Revoked);
    assert!(found, "no schedule finds the weakness, so none would find a broken rule either");
}
