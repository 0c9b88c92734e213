//! A legitimate client.

use super::{model::Model, search::explore, state::State};

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
}

#[test]
#[ignore = "takes a minute: see `tests/run long`"]
fn a_legitimate_client_with_more_requests_or_generations_is_never_revoked_and_never_stuck() {
    assert_promise(&Model::new("3 requests in flight, 4 generations", 3, 4));
    assert_promise(&Model::new("4 requests in flight, 2 generations", 4, 2));
}

/// Those of the time after the store has come back to an earlier record, while nothing was in flight.
#[test]
fn a_legitimate_client_outlives_writes_that_the_store_loses() {
    let model = Model::new("the store loses writes, 2 requests in flight, 3 generations", 2, 3);
    assert_promise(&model.with_lost_writes());
}
