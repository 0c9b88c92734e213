//! The cost of a request among those of many users: what differs is how much of what is needed is in the processor's
//! caches.

use axum::middleware::from_fn_with_state;
use jsonwebtoken::Algorithm;
use tower::Layer;

use crate::{
    drive::{Answer, drive, inner},
    fixture::{self, Requests},
    hand,
    interleaved::{Id, Suite},
    ours::{self, Cache},
    table,
};

/// Prints the table: as many tokens as are at work at a time, each of another user.
pub(crate) fn print() {
    table::begin(
        "Signed-in requests of many users in turn, cached tokens",
        "",
        &["tokens", "hand-written", "CookieJwt", "relative", "all three layers, POST", "relative"],
    );
    for users in [1, 2048, 65_536] {
        let mut suite = Suite::warmed_up_by(8 * users as u128);
        let candidates = Candidates::add_to(&mut suite, users);
        let outcome = suite.run();
        let time = |id| table::time(outcome.nanoseconds(id));
        let ratio = |id| format!("{:.2}", outcome.ratio(id, candidates.hand_written));
        table::row(&[
            users.to_string(),
            time(candidates.hand_written),
            time(candidates.cookie_jwt),
            ratio(candidates.cookie_jwt),
            time(candidates.all_layers),
            ratio(candidates.all_layers),
        ]);
    }
}

struct Candidates {
    hand_written: Id,
    cookie_jwt: Id,
    all_layers: Id,
}

impl Candidates {
    fn add_to(suite: &mut Suite, users: usize) -> Self {
        let get = Requests::with_cookies(fixture::tokens(users));
        let post = get.clone().post();
        let base = suite.base(drive(inner(), get.clone(), Answer::Passed));
        let base_post = suite.base(drive(inner(), post.clone(), Answer::Passed));
        let by_hand = from_fn_with_state(hand::keys(Algorithm::HS256), hand::with_cookie).layer(inner());
        let cookie_jwt = ours::cookie_jwt(Algorithm::HS256, Cache::Large).layer(inner());
        let all_layers = ours::sessions_of(Cache::Large, users).layer().layer(inner());
        Self {
            hand_written: suite.add(base, drive(by_hand, get.clone(), Answer::Passed)),
            cookie_jwt: suite.add(base, drive(cookie_jwt, get, Answer::Passed)),
            all_layers: suite.add(base_post, drive(all_layers, post, Answer::Passed)),
        }
    }
}
