//! A legitimate client.

use super::{
    model::{Breach, LostWrites, Model},
    search::{explore, explore_for},
    state::State,
};

/// Nothing happens that must not, and from every state some path leads to a client that is signed in.
pub(super) fn assert_promise(model: &Model) {
    let explored = explore(model);
    assert!(explored.breach.is_none(), "{}: {:?}", model.name, explored.breach);
    let stuck = explored.way_to_stuck(State::is_signed_in);
    assert!(stuck.is_none(), "{}: the client is stuck: {stuck:?}", model.name);
}

#[test]
fn a_legitimate_client_is_never_revoked_and_never_stuck() {
    assert_promise(&Model::new("2 requests in flight, 4 generations", 2, 4));
    assert_promise(&Model::new("3 requests in flight, 3 generations", 3, 3));
    assert_promise(&Model::new("4 requests in flight, 2 generations", 4, 2));
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_legitimate_client_with_more_requests_is_never_revoked_and_never_stuck() {
    assert_promise(&Model::new("4 requests in flight, 3 generations", 4, 3));
    assert_promise(&Model::new("5 requests in flight, 2 generations", 5, 2));
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_legitimate_client_with_more_generations_is_never_revoked_and_never_stuck() {
    assert_promise(&Model::new("3 requests in flight, 4 generations", 3, 4));
    assert_promise(&Model::new("3 requests in flight, 5 generations", 3, 5));
    assert_promise(&Model::new("2 requests in flight, 6 generations", 2, 6));
}

#[test]
fn a_legitimate_client_outlives_writes_that_are_lost_while_nothing_is_in_flight() {
    let model = Model::new("lost writes, 2 requests in flight, 3 generations", 2, 3);
    assert_promise(&model.with_lost_writes(LostWrites::WhileNothingIsInFlight));
}

/// The known limit: the store forgets when cookies last went, so that a generation begins too early.
#[test]
fn writes_that_are_lost_with_cookies_on_the_network_may_revoke_a_legitimate_client() {
    let model = Model::new("lost writes with requests in flight", 2, 3);
    let found = explore_for(&model.with_lost_writes(LostWrites::AtAnyTime), &[Breach::Revoked]).breach;
    let (_, trace) = found.expect("a legitimate client that is revoked");
    println!("Revoked {trace:?}");
}
