//! A refresh token is copied from the jar at any moment, and used at any moment and as often as one likes.

use super::{
    model::{Breach, Model, is_left_behind},
    search::{explore, explore_from},
    state::State,
};

/// Three things are checked. Once a token of a generation has been used that the client neither holds nor is
/// about to get, nothing gives the client a later refresh cookie again (`Rejoined`), and the first look at the
/// client's next refresh after the grace period judges it as reuse (`Unnoticed`): the session ends, unless
/// that very request is lost. And so it is for the thief, should the client be the one who is ahead. Nobody
/// is stuck until then.
#[test]
fn a_thief_ahead_of_the_client_is_detected_at_the_clients_next_refresh_after_grace() {
    for model in [
        Model::new("a thief, 2 requests in flight, 4 rotations", 2, 4),
        Model::new("a thief, 3 requests in flight, 2 rotations", 3, 2),
    ] {
        let explored = explore(&model.with_thief());
        assert!(explored.breach.is_none(), "{:?}", explored.breach);
        assert!(explored.way_to(is_left_behind).is_some(), "no thief ever leaves the client behind");
        let stuck = explored.way_to_stuck(|state| state.ended || state.is_signed_in());
        assert!(stuck.is_none(), "the client is stuck: {stuck:?}");
        let forever = explored.way_to_stuck(|state| state.ended || !is_left_behind(state));
        assert!(forever.is_none(), "nothing ends it: {forever:?}");
    }
}

/// The known limit of every grace period: the client has rotated and shown so, the thief uses what the
/// client had before, and gets an access cookie. If that was all, the session lives on.
#[test]
fn a_thief_within_grace_after_the_clients_first_use_stays_undetected() {
    let model = Model::new("a thief within grace", 2, 2).with_thief();
    let is_client_ahead = |state: &State| {
        state.stored.confirmed
            && !state.settled
            && state.jar.refresh == Some(state.stored.generation)
            && state.thief.jar.refresh < state.jar.refresh
            && state.thief.jar.refresh.is_some()
            && state.is_quiet()
    };
    let ahead = explore(&model).way_to(is_client_ahead).expect("a client that is ahead of the thief");
    let answered = explore_from(&model, ahead.end(), &[]).way_to(|state| {
        state.thief.jar.access && state.stored == ahead.end().stored && !state.settled && state.is_quiet()
    });
    let answered = answered.expect("an answer to the thief within grace");
    println!("the client is ahead:{ahead:?}\nthe thief is answered:{answered:?}");
    let goes_on = explore_from(&model, answered.end(), &[])
        .way_to(|state| state.stored.generation > ahead.end().stored.generation && state.is_signed_in());
    println!("the theft stays undetected:{:?}", goes_on.expect("a session that lives on"));
}

#[test]
fn the_search_would_find_an_undetected_thief() {
    use super::rulebook::Removed;
    // A client whom the thief has left behind gets the thief's refresh cookie, and both go on.
    let model = Model::new("a confirmed generation's cookie goes to a thief's victim", 2, 2).with_thief();
    let found = explore(&model.without(Removed::KeepingBack)).breach;
    assert!(matches!(found, Some((Breach::Rejoined | Breach::Unnoticed, _))), "{found:?}");
}
