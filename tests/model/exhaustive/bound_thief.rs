//! The jar of a browser with a key is copied at any moment. The thief also has every challenge, a key of his own, and
//! each proof that the browser has used.

use super::{
    bound::{assert_found, is_bound_for_long, with_changing_policy, with_key},
    model::{Breach, Model},
    rule::Removed,
    search::{Explored, explore},
    state::State,
};

/// Once the session is bound, no cookie goes to the thief (`Renewed`), and a grace period later no request of his is
/// served (`Served`). Until then all holds that holds without keys. No proof of the browser is taken for reuse
/// (`Revoked`), and nobody is stuck.
fn assert_worthless(model: &Model) -> Explored {
    let explored = explore(model);
    assert!(explored.breach.is_none(), "{}: {:?}", model.name, explored.breach);
    let has_copy = |state: &State| is_bound_for_long(state) && state.thief.refresh.iter().next().is_some();
    assert!(explored.way_to(has_copy).is_some(), "no thief has a copy of a bound browser's jar");
    let stuck = explored.way_to_stuck(|state| state.ended || state.is_signed_in());
    assert!(stuck.is_none(), "{}: the client is stuck: {stuck:?}", model.name);
    explored
}

#[test]
fn a_copied_jar_gets_nothing_once_the_session_is_bound() {
    assert_worthless(&with_key("a key and a thief, 1 request in flight, 2 generations", 1, 2).with_thief(1));
    assert_worthless(&with_key("a key and a thief, 2 requests in flight, 1 generation", 2, 1).with_thief(1));
}

#[test]
fn a_copied_jar_gets_nothing_by_two_requests_at_once() {
    let model = with_key("a key and a thief of 2 requests, 1 request in flight, 1 generation", 1, 1);
    assert_worthless(&model.with_thief(2));
}

/// The browser is neither revoked nor refused.
#[test]
fn a_jar_that_is_copied_after_the_binding_costs_the_browser_nothing() {
    let model = with_key("a key and a late thief, 2 requests in flight, 2 generations", 2, 2);
    assert_worthless(&model.with_late_thief(1));
}

#[test]
fn a_thief_is_noticed_as_without_keys_while_bindings_are_observed() {
    let model = with_changing_policy("a key, changing policy and a thief, 1 request, 2 generations", 1, 2);
    assert_worthless(&model.with_thief(1));
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_copied_jar_gets_nothing_from_more_requests_or_generations() {
    assert_worthless(&with_key("a key and a thief, 1 request in flight, 4 generations", 1, 4).with_thief(1));
    assert_worthless(&with_key("a key and a thief, 2 requests in flight, 2 generations", 2, 2).with_thief(1));
    assert_worthless(
        &with_key("a key and a thief of 2 requests, 1 request, 3 generations", 1, 3).with_thief(2),
    );
    assert_worthless(&with_key("a key and a late thief, 3 requests, 2 generations", 3, 2).with_late_thief(1));
}

fn thief(name: &'static str) -> Model {
    with_key(name, 1, 2).with_thief(1)
}

#[test]
fn letting_cookies_alone_go_on_serves_a_thief() {
    assert_found(&thief("cookies alone go on").without(Removed::Proving), Breach::Served);
}

#[test]
fn a_grace_period_that_does_not_end_serves_a_thief() {
    assert_found(&thief("requests are served for ever").without(Removed::EndOfGrace), Breach::Served);
}

#[test]
fn cookies_that_leave_after_the_binding_without_a_proof_renew_a_thief() {
    assert_found(&thief("no stripping of cookies").without(Removed::Strip), Breach::Renewed);
}

#[test]
fn challenges_that_are_good_for_several_proofs_renew_a_thief() {
    assert_found(&thief("challenges are good for ever").without(Removed::SingleUse), Breach::Renewed);
}

#[test]
fn accepting_another_registered_key_renews_a_thief() {
    assert_found(&thief("any registered key").without(Removed::OneKey), Breach::Renewed);
}

/// A client that a thief has left behind, and that binds the session before it is taken for reuse.
#[test]
fn taking_an_older_token_for_reuse_in_spite_of_a_proof_revokes_a_browser() {
    assert_found(&thief("reuse with a proof").without(Removed::OlderWithProof), Breach::Revoked);
}

#[test]
fn making_up_for_reuse_by_a_proof_while_cookies_alone_renew_hides_a_thief() {
    let model = with_changing_policy("no reuse with a proof while observed", 1, 2).with_thief(1);
    assert_found(&model.without(Removed::ReuseWhileObserved), Breach::Rejoined);
}

/// A known limit: the first proof binds, whoever gives it.
#[test]
fn a_thief_who_proves_first_captures_the_session() {
    assert_found(&thief("a thief proves first"), Breach::Captured);
}

/// A known limit: reuse ends a session that is bound, too, though it could renew nothing.
#[test]
fn a_jar_that_is_copied_while_an_answer_is_lost_may_end_a_bound_session_later() {
    let model = with_key("a late thief of an older cookie", 1, 1).with_late_thief(1);
    println!("ended {:?}", assert_worthless(&model).way_to(|state| state.ended).expect("an end"));
}
