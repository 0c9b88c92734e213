//! The jar is copied at any moment, and any token of it, or of what it has led to, is used at any moment and as often
//! as the thief likes.

use super::{
    model::{Breach, Model},
    rule::Removed,
    search::{Explored, Trace, explore, explore_for},
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
    assert_noticed(&Model::new("a thief, 1 request in flight, 4 generations", 1, 4).with_thief(1));
}

#[test]
fn a_thief_who_sends_two_requests_at_once_is_noticed_all_the_same() {
    assert_noticed(
        &Model::new("a thief of 2 requests, 1 request in flight, 3 generations", 1, 3).with_thief(2),
    );
}

#[test]
#[ignore = "takes minutes: see `tests/run long`"]
fn a_client_with_more_requests_or_generations_that_a_thief_has_left_behind_never_rejoins() {
    assert_noticed(&Model::new("a thief, 2 requests in flight, 3 generations", 2, 3).with_thief(1));
    assert_noticed(&Model::new("a thief, 1 request in flight, 5 generations", 1, 5).with_thief(1));
    assert_noticed(
        &Model::new("a thief of 2 requests, 2 requests in flight, 2 generations", 2, 2).with_thief(2),
    );
}

/// Within these bounds, a thief is noticed without either rule too.
#[test]
fn neither_the_seen_generation_nor_the_place_of_a_late_answer_hides_a_thief() {
    for (rule, name) in [
        (Removed::SeenGeneration, "a thief, only the current generation counts as seen"),
        (Removed::ReissueAtSecondLook, "a thief, late answers begin a generation at the first look"),
    ] {
        assert_noticed(&Model::new(name, 1, 3).with_thief(1).without(rule));
    }
}

#[test]
fn a_thief_is_not_answered_late_for_ever_within_one_generation() {
    let model = Model::new("late answers to a thief, 1 request in flight, 3 generations", 1, 3).with_thief(1);
    let cycle = cycle_of_late_answers(&explore_for(&model, &[]));
    assert!(cycle.is_none(), "{cycle:?}");
}

#[test]
fn late_answers_that_move_issued_at_go_to_a_thief_for_ever() {
    let model = Model::new("late answers move issued-at", 1, 3).with_thief(1).without(Removed::Bound);
    let (way, around) = cycle_of_late_answers(&explore_for(&model, &[])).expect("a cycle");
    println!("the way to a cycle {way:?}\nonce around, and one more step {around:?}");
}

/// A cycle in which a thief gets cookies that have moved issued-at, while the record says the same otherwise. The last
/// generation is left out, where the model ends.
fn cycle_of_late_answers(explored: &Explored) -> Option<(Trace, Trace)> {
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

/// The known limit: who asks before the client's first use of its new generation gets the same as the client, and
/// nothing tells the two apart.
#[test]
fn a_thief_who_asks_before_the_first_use_joins_the_client() {
    let model = Model::new("a thief joins, 1 request in flight, 2 generations", 1, 2).with_thief(1);
    let has_joined = |state: &State| {
        let holds_both = state.thief.refresh.contains(0) && state.thief.refresh.contains(1);
        holds_both && state.jar.refresh == 1 && state.record.is_confirmed() && state.thief.used.is_none()
    };
    let trace = explore(&model).way_to(has_joined).expect("a thief who joins the client");
    println!("joined {trace:?}");
}

#[test]
fn the_search_would_find_an_undetected_thief() {
    // A client whom the thief has left behind gets the thief's refresh cookie, and both go on.
    let model = Model::new("a confirmed generation's cookie goes to a thief's victim", 1, 3).with_thief(1);
    let breaches = [Breach::Rejoined, Breach::Unnoticed];
    let found = explore_for(&model.without(Removed::KeepingBack), &breaches).breach;
    let (breach, trace) = found.expect("a client that rejoins");
    println!("{breach:?} {trace:?}");
}
