//! A legitimate client, and nodes that read what the store has.

use super::{
    model::{Model, Reads},
    search::explore,
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
    assert_promise(&Model::new("one node, 3 requests in flight, 3 rotations", 3, 3));
    assert_promise(&Model::new("one node, 4 requests in flight, 3 rotations", 4, 3));
    assert_promise(&Model::new("one node, 5 requests in flight, 2 rotations", 5, 2));
}

#[test]
#[ignore = "takes a minute: see `tests/run long`"]
fn a_legitimate_client_with_more_rotations_is_never_revoked_and_never_stuck() {
    assert_promise(&Model::new("one node, 5 requests in flight, 4 rotations", 5, 4));
    assert_promise(&Model::new("one node, 4 requests in flight, 6 rotations", 4, 6));
}

#[test]
#[ignore = "takes a minute: see `tests/run long`"]
fn a_legitimate_client_of_two_nodes_with_more_rotations_is_never_revoked_and_never_stuck() {
    let model = Model::new("two nodes, 5 requests in flight, 5 rotations", 5, 5);
    assert_promise(&model.with_nodes(2, Reads::Linearizable));
}

#[test]
fn a_legitimate_client_of_two_nodes_is_never_revoked_and_never_stuck() {
    let model = Model::new("two nodes, 5 requests in flight, 3 rotations", 5, 3);
    assert_promise(&model.with_nodes(2, Reads::Linearizable));
}
