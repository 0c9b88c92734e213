//! Each rule is needed: without it, the search finds that a promise is broken.

use super::{
    legitimate::assert_promise,
    model::{Breach, Model},
    rule::Removed,
    search::explore_for,
};

fn assert_revoked_without(rule: Removed, name: &'static str) {
    assert_found_without(rule, name, Breach::Revoked);
}

fn assert_found_without(rule: Removed, name: &'static str, breach: Breach) {
    let model = Model::new(name, 3, 3).without(rule);
    let explored = explore_for(&model, &[breach]);
    let (_, trace) =
        explored.breach.unwrap_or_else(|| panic!("{name}: not {breach:?}, so of what use is the rule?"));
    println!("{breach:?} {trace:?}");
}

#[test]
fn writing_without_comparing_starts_a_generation_twice() {
    assert_found_without(Removed::CompareAndSet, "writes that do not compare", Breach::Forked);
}

#[test]
fn rotating_again_before_the_generation_has_settled_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::Settling, "rotates again inside the grace period");
}

#[test]
fn a_late_answer_that_begins_a_generation_after_one_grace_period_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::TwoGraces, "a generation begins one grace period after the last cookies");
}

#[test]
fn sending_cookies_of_slow_handlers_without_moving_issued_at_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::MovingIssued, "slow handlers do not move issued-at");
}

#[test]
fn sending_late_cookies_between_one_and_two_grace_periods_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::Withholding, "late cookies go between one and two grace periods");
}

#[test]
fn sending_cookies_without_a_second_look_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::SecondLook, "no second look before the cookies go out");
}

#[test]
fn resending_the_cookie_of_a_confirmed_generation_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::KeepingBack, "a confirmed generation's cookie goes again");
}

#[test]
fn detecting_reuse_at_a_later_look_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::LaterLook, "a later look revokes");
}

#[test]
fn taking_the_time_of_the_read_for_confirmed_at_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::StampAtWrite, "confirmed-at is stamped at the read");
}

/// A token that goes to other servers proves nothing about the client's jar: the one that a refreshed request passes
/// on, and the narrowed one in a body.
#[test]
fn handing_tokens_with_a_generation_to_other_servers_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::NoGeneration, "tokens for other servers carry their generation");
}

/// The seen generation serves to notice thieves whose use of a generation is written after the next has begun.
#[test]
fn counting_only_the_current_generation_as_seen_costs_a_legitimate_client_nothing() {
    let model = Model::new("only the current generation counts as seen", 2, 4);
    assert_promise(&model.without(Removed::SeenGeneration));
}

/// At the second look, a request that is dropped before its handler is done costs no generation: 32 in a row end
/// the session. That is out of these bounds.
#[test]
fn beginning_a_generation_at_the_first_look_costs_a_legitimate_client_nothing_within_these_bounds() {
    let model = Model::new("late answers begin a generation at the first look", 2, 4);
    assert_promise(&model.without(Removed::ReissueAtSecondLook));
}
