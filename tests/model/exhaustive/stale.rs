//! Nodes that read from a replica; writes are compared and set on the store itself.

use super::{
    legitimate::assert_promise,
    model::{Breach, Model, Reads},
    search::{explore, explore_for},
};

fn replicas(name: &'static str, reads: Reads) -> Model {
    Model::new(name, 3, 3).with_nodes(2, reads)
}

fn assert_found(model: &Model, breach: Breach) {
    let found = explore_for(model, &[breach]).breach;
    let (_, trace) = found.unwrap_or_else(|| panic!("{}: {breach:?} is not found", model.name));
    println!("{breach:?}:{trace:?}");
}

#[test]
fn reads_stale_for_less_than_the_grace_period_keep_the_promise() {
    for (name, flights, rotations) in [
        ("two nodes behind for less than grace, 3 requests in flight, 3 rotations", 3, 3),
        ("two nodes behind for less than grace, 4 requests in flight, 2 rotations", 4, 2),
    ] {
        assert_promise(&Model::new(name, flights, rotations).with_nodes(2, Reads::StaleForLessThanGrace));
    }
}

#[test]
fn reads_stale_for_longer_revoke_a_legitimate_client() {
    assert_found(&replicas("two nodes behind for long", Reads::Stale), Breach::Revoked);
}

/// The only read that must not be behind, for a legitimate client's sake.
#[test]
fn a_fresh_second_read_keeps_the_promise_however_stale_the_others_are() {
    assert_promise(&replicas(
        "two nodes behind for long, except for the second read",
        Reads::FreshSecondLook,
    ));
}

#[test]
fn a_session_that_is_not_visible_yet_is_treated_as_ended() {
    assert_found(
        &replicas("two nodes that may not know the session yet", Reads::StaleOrMissing),
        Breach::Cleared,
    );
}

#[test]
fn stale_reads_never_lead_to_a_second_successor() {
    let model = replicas("two nodes that may not know the session yet", Reads::StaleOrMissing);
    let found = explore_for(&model, &[Breach::Forked, Breach::Uncommitted]).breach;
    assert!(found.is_none(), "a second successor: {found:?}");
}

/// Once every node can know that the thief has used it: before that, the client may be given the thief's
/// generation, as if its answer had been on the way already.
#[test]
fn a_thief_is_detected_by_reads_stale_for_less_than_the_grace_period() {
    let model = Model::new("a thief, two nodes behind for less than grace", 2, 3);
    let found = explore(&model.with_nodes(2, Reads::StaleForLessThanGrace).with_thief()).breach;
    assert!(found.is_none(), "{found:?}");
}

#[test]
fn a_thief_may_stay_undetected_by_reads_stale_for_longer() {
    let model =
        Model::new("a thief, two nodes behind for long", 2, 3).with_nodes(2, Reads::Stale).with_thief();
    assert_found(&model, Breach::Unnoticed);
}
