//! The jar is copied at any moment, and any token of it, or of what it has led to, is used at any moment and as often
//! as the thief likes.

use super::{
    model::{Breach, Model},
    rulebook::Removed,
    search::{Explored, explore, explore_for},
    state::{Flight, Owner, Stage, State},
    times::Age,
};

/// Whether the thief has left the client behind: a use of the current generation was written, and the client neither
/// held that nor had its answer on the way.
fn is_left_behind(state: &State) -> bool {
    state.thief.used.is_some()
}

/// Once the client has been left behind, nothing gives it a later refresh cookie again (`Rejoined`), and the first look
/// at its next refresh after the grace period takes it for reuse (`Unnoticed`): the session ends, unless that very
/// request is lost. Nobody is stuck until then.
fn assert_noticed(model: &Model) {
    let explored = explore(model);
    assert!(explored.breach.is_none(), "{}: {:?}", model.name, explored.breach);
    assert!(explored.way_to(is_left_behind).is_some(), "no thief ever leaves the client behind");
    let stuck = explored.way_to_stuck(|state| state.ended || state.is_signed_in());
    assert!(stuck.is_none(), "{}: the client is stuck: {stuck:?}", model.name);
    let forever = explored.way_to_stuck(|state| state.ended || !is_left_behind(state));
    assert!(forever.is_none(), "nothing ends it: {forever:?}");
}

#[test]
fn a_client_that_a_thief_has_left_behind_never_rejoins_and_its_next_refresh_after_grace_revokes() {
    assert_noticed(&Model::new("a thief, 1 request in flight, 4 generations", 1, 4).with_thief());
}

#[test]
#[ignore = "takes a minute: see `tests/run long`"]
fn a_client_with_more_requests_that_a_thief_has_left_behind_never_rejoins() {
    assert_noticed(&Model::new("a thief, 2 requests in flight, 3 generations", 2, 3).with_thief());
}

#[test]
fn a_thief_is_not_answered_late_for_ever_within_one_generation() {
    let model = Model::new("late answers to a thief, 1 request in flight, 3 generations", 1, 3).with_thief();
    let cycle = cycle_of_late_answers(&explore_for(&model, &[]));
    assert!(cycle.is_none(), "{cycle:?}");
}

#[test]
fn late_answers_that_move_issued_at_go_to_a_thief_for_ever() {
    let model = Model::new("late answers move issued-at", 1, 3).with_thief().without(Removed::Bound);
    let (way, around) = cycle_of_late_answers(&explore_for(&model, &[])).expect("a cycle");
    println!("a cycle of {} steps after {}:{way:?}\n around:{around:?}", around.steps() + 1, way.steps());
}

/// A cycle in which a thief gets cookies that have moved issued-at, while the record says the same otherwise. The last
/// generation is left out, where the model ends.
fn cycle_of_late_answers(explored: &Explored) -> Option<(super::search::Trace, super::search::Trace)> {
    let is_thiefs_move = |flight: &Flight| {
        matches!(flight, Flight { owner: Owner::Thief, stage: Stage::BeforeCookies { .. } })
    };
    let is_late_answer = |from: &State, to: &State| {
        from.flights.iter().any(is_thiefs_move)
            && to.in_flight(Owner::Thief) == 0
            && from.record.issued_for > Age::New
            && to.record.issued_for == Age::New
            && to.record.generation < 3
    };
    let essence = |state: &State| (state.record.generation, state.record.parent, state.record.seen);
    explored.cycle(is_late_answer, |one, other| essence(one) == essence(other))
}

#[test]
fn the_search_would_find_an_undetected_thief() {
    // A client whom the thief has left behind gets the thief's refresh cookie, and both go on.
    let model = Model::new("a confirmed generation's cookie goes to a thief's victim", 1, 3).with_thief();
    let breaches = [Breach::Rejoined, Breach::Unnoticed];
    let found = explore_for(&model.without(Removed::KeepingBack), &breaches).breach;
    let (breach, trace) = found.expect("a client that rejoins");
    println!("{breach:?} in {} steps:{trace:?}", trace.steps());
}
