//! Each rule is needed: without it, the search finds a legitimate client that is revoked.

use super::{
    model::{Breach, Model},
    rulebook::Removed,
    search::explore_for,
};

fn assert_revoked_without(rule: Removed, name: &'static str) {
    assert_found_without(rule, name, Breach::Revoked);
}

fn assert_found_without(rule: Removed, name: &'static str, breach: Breach) {
    let model = Model::new(name, 3, 3).without(rule);
    let found = explore_for(&model, &[breach]).breach;
    let (_, trace) = found.unwrap_or_else(|| panic!("{name}: not {breach:?}, so of what use is the rule?"));
    println!("{breach:?}:{trace:?}");
}

#[test]
fn a_time_window_instead_of_confirmation_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::Confirmation, "a time window instead of confirmation");
}

#[test]
fn rotating_again_inside_the_grace_period_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::Settling, "rotates again inside the grace period");
}

#[test]
fn sending_cookies_without_a_second_read_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::SecondLook, "no second look before the cookies go out");
}

#[test]
fn resending_the_cookie_of_a_confirmed_generation_revokes_a_legitimate_client() {
    assert_revoked_without(
        Removed::KeepingBack,
        "a second look, but a confirmed generation's cookie goes again",
    );
}

#[test]
fn detecting_reuse_in_a_later_round_revokes_a_legitimate_client() {
    assert_revoked_without(Removed::LaterRound, "a token judged in a later round is revoked");
}

#[test]
fn writing_without_comparing_starts_a_generation_twice() {
    assert_found_without(Removed::CompareAndSet, "writes that do not compare", Breach::Forked);
}
