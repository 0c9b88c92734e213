//! A browser that binds its session to a key.

use super::{
    legitimate::assert_promise,
    model::{Breach, Devices, LostWrites, Model},
    rule::Removed,
    search::{explore, explore_for},
    state::State,
    times::Age,
};

/// A browser with a key, whose first proof binds its session.
pub(super) fn with_key(name: &'static str, flights: usize, generations: u8) -> Model {
    Model::new(name, flights, generations).with_devices(Devices::Enforced)
}

/// The same, while the server changes its mind about whether cookies alone renew.
pub(super) fn with_changing_policy(name: &'static str, flights: usize, generations: u8) -> Model {
    Model::new(name, flights, generations).with_devices(Devices::Changing)
}

/// Whether cookies alone renew nothing, the grace period after the binding included.
pub(super) fn is_bound_for_long(state: &State) -> bool {
    state.record.is_enforced() && state.record.bound_for != Age::New
}

#[test]
fn a_browser_that_binds_its_session_is_never_revoked_refused_or_stuck() {
    assert_promise(&with_key("a key, 2 requests in flight, 3 generations", 2, 3));
    assert_promise(&with_key("a key, 3 requests in flight, 2 generations", 3, 2));
}

#[test]
fn a_browser_is_never_revoked_refused_or_stuck_while_the_policy_changes() {
    assert_promise(&with_changing_policy(
        "a key, changing policy, 2 requests in flight, 2 generations",
        2,
        2,
    ));
}

/// The session may be unbound again, until the next proof.
#[test]
fn a_browser_with_a_key_outlives_writes_that_are_lost_while_nothing_is_in_flight() {
    let model = with_key("a key, lost writes, 2 requests in flight, 1 generation", 2, 1);
    assert_promise(&model.with_lost_writes(LostWrites::WhileNothingIsInFlight));
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_browser_with_more_requests_or_generations_is_never_revoked_refused_or_stuck() {
    assert_promise(&with_key("a key, 2 requests in flight, 5 generations", 2, 5));
    assert_promise(&with_key("a key, 3 requests in flight, 3 generations", 3, 3));
    assert_promise(&with_key("a key, 4 requests in flight, 1 generation", 4, 1));
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_browser_with_more_is_never_revoked_refused_or_stuck_while_the_policy_changes() {
    assert_promise(&with_changing_policy(
        "a key, changing policy, 2 requests in flight, 3 generations",
        2,
        3,
    ));
    assert_promise(&with_changing_policy("a key, changing policy, 3 requests in flight, 1 generation", 3, 1));
}

#[test]
fn the_search_reaches_browsers_that_are_bound_for_long() {
    let explored = explore(&with_key("a key, 1 request in flight, 1 generation", 1, 1));
    let way = explored.way_to(|state| is_bound_for_long(state) && state.is_signed_in());
    println!("bound {:?}", way.expect("a bound browser"));
    // Its cookie may be of the generation before, as long as the answer to it is lost; never for longer.
    let holds_older = |state: &State| is_bound_for_long(state) && state.jar.refresh < state.record.generation;
    println!("an answer is lost {:?}", explored.way_to(holds_older).expect("a lost answer"));
    let forever = explored.way_to(|state| holds_older(state) && state.record.is_confirmed());
    assert!(forever.is_none(), "{forever:?}");
}

pub(super) fn assert_found(model: &Model, breach: Breach) {
    let name = model.name;
    let found = explore_for(model, &[breach]).breach;
    let (_, trace) = found.unwrap_or_else(|| panic!("{name}: not {breach:?}, so of what use is the rule?"));
    println!("{breach:?} {trace:?}");
}

fn assert_refused_without(rule: Removed, name: &'static str) {
    assert_found(&with_key(name, 2, 2).without(rule), Breach::Refused);
}

#[test]
fn binding_at_the_registration_refuses_a_browser() {
    assert_refused_without(Removed::FirstProofBinds, "registering binds");
}

#[test]
fn refusing_requests_that_were_on_the_network_as_the_session_was_bound_refuses_a_browser() {
    assert_refused_without(Removed::GraceOfBinding, "no grace period after the binding");
}

#[test]
fn refusing_at_a_later_look_refuses_a_browser() {
    assert_refused_without(Removed::LaterProof, "a later look refuses for want of a proof");
}

#[test]
fn access_cookies_that_last_as_long_as_their_tokens_refuse_a_browser() {
    assert_refused_without(Removed::AccessMargin, "access tokens expire on the way");
}

/// What is sent with a proof counts when the session is under the table again.
#[test]
fn sending_the_pair_with_a_proof_without_moving_issued_at_overwrites_a_newer_cookie() {
    let model = with_changing_policy("the pair goes with a proof, issued-at stays", 2, 2);
    assert_found(&model.without(Removed::MovingWithProof), Breach::Overwritten);
}

/// A session that is bound needs neither, and a generation that nobody asks for could only be lost.
#[test]
fn generations_that_proofs_begin_cost_a_browser_nothing_within_these_bounds() {
    for (rule, name) in
        [(Removed::NoRotation, "a proof rotates"), (Removed::NeverLate, "the answer to a proof is late")]
    {
        assert_promise(&with_key(name, 2, 2).without(rule));
    }
}
