//! The states of a session and the requests of each, row by row.

use std::{fmt, time::Duration};

use super::*;
use crate::shop::{GRACE, Way, get, holder};

mod service;

/// What becomes of the session of the laptop before the request of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Unbound,
    /// Bound a second ago.
    InGrace,
    Bound,
    Ended,
}

const STATES: [State; 4] = [State::Unbound, State::InGrace, State::Bound, State::Ended];

/// A client with the cookies of a session that was settled before it was bound. It has no access cookie.
struct Scene {
    shop: Shop,
    browser: Shopper,
    laptop: Laptop,
    id: String,
    offer: String,
    /// A proof that has been used up, except in the unbound state.
    used: String,
    /// The refresh cookie of generation 0.
    first: String,
}

impl Scene {
    async fn of(state: State) -> Self {
        Self::with(state, |builder| builder).await
    }

    async fn with(
        state: State,
        configure: impl FnOnce(SessionsBuilder<User>) -> SessionsBuilder<User>,
    ) -> Self {
        let (shop, laptop) = (shop_with(configure), Laptop::one());
        let browser = shop.browser();
        let response = post(&browser, "/login").await;
        let offer = offered(response.headers());
        assert_eq!(get(&browser, "/me").await.status(), 200);
        let response = ask(&browser, None, Some(&laptop.registration(&offer))).await;
        let (_, id) = asked(&response);
        let first = browser.cookie(REFRESH).unwrap();
        shop.clock.advance(GRACE * 2);

        let (challenge, _) = asked(&ask(&browser, Some(&id), None).await);
        let used = laptop.proof(&challenge);
        if state != State::Unbound {
            let response = ask(&browser, Some(&id), Some(&used)).await;
            assert_eq!(cookies(&response), ["access", "refresh", "XSRF-TOKEN"], "it is rotated and bound");
            shop.clock.advance(Duration::from_secs(1));
        }
        if state == State::Bound {
            shop.clock.advance(GRACE);
        }
        if state == State::Ended {
            let copy = holder(&browser, &browser.cookie(REFRESH).unwrap());
            assert_eq!(post(&copy, "/logout").await.status(), 200);
        }
        browser.remove_cookie(ACCESS);
        shop.events();
        shop.store.calls();
        Self { shop, browser, laptop, id, offer, used, first }
    }

    fn said(&self, response: &Answer) -> String {
        said(&self.shop, response)
    }
}

/// Compares what each state says with a column of the row.
async fn row<F, D>(name: D, expected: [&str; 4], answer: F)
where
    F: AsyncFn(&Scene) -> String,
    D: fmt::Display,
{
    for (state, expected) in STATES.into_iter().zip(expected) {
        let scene = Scene::of(state).await;
        assert_eq!(answer(&scene).await, expected, "{name}, {state:?}");
    }
}

const ENDED: &str = "401 session_revoked -access -refresh -XSRF-TOKEN";

#[tokio::test]
async fn a_valid_access_cookie_passes_as_ever() {
    for state in STATES {
        // Ended after it was copied: without a session check, the token outlives the session.
        let scene = Scene::of(if state == State::Ended { State::Bound } else { state }).await;
        assert_eq!(prove(&scene.browser, &scene.laptop, &scene.id).await.status(), 200);
        if state == State::Ended {
            let copy = holder(&scene.browser, &scene.browser.cookie(REFRESH).unwrap());
            assert_eq!(post(&copy, "/logout").await.status(), 200);
        }
        scene.shop.clock.advance(GRACE * 2);
        scene.browser.remove_cookie(REFRESH);
        scene.shop.events();
        assert_eq!(scene.said(&get(&scene.browser, "/me").await), "200", "{state:?}");
    }
}

#[tokio::test]
async fn the_refresh_cookie_alone() {
    // The service has nothing to give to a request that was on its way, which comes again with what the proof has brought.
    for (way, served) in [(Way::Layer, "200"), (Way::Service, "503 unavailable")] {
        let rotated = "200 access refresh XSRF-TOKEN: rotated to 1";
        let missing = "401 device_proof_required: proof missing of 1 at 1";
        row(format!("{way:?}"), [rotated, served, missing, ENDED], async |scene: &Scene| {
            scene.said(&way.ask(&scene.browser).await)
        })
        .await;
    }
}

#[tokio::test]
async fn the_refresh_cookie_of_a_browser_that_could_not_renew() {
    for (path, served) in [("/me", "200"), ("/refresh", "503 unavailable")] {
        let rotated = "200 access refresh XSRF-TOKEN: rotated to 1";
        let missing = "503 unavailable: proof missing of 1 at 1";
        row(path, [rotated, served, missing, ENDED], async |scene: &Scene| {
            let request = match path {
                "/me" => scene.browser.get(path),
                path => scene.browser.post(path),
            };
            let Ok(response) = request.header("secure-session-skipped", "quota_exceeded").send().await;
            let wait = response.headers().contains_key("retry-after");
            assert_eq!(wait, response.status() == 503);
            scene.said(&response)
        })
        .await;
    }
}

#[tokio::test]
async fn reuse_revokes_in_every_state() {
    for way in Way::BOTH {
        for state in STATES {
            let scene = Scene::of(state).await;
            if state == State::Unbound {
                way.ask(&scene.browser).await;
                get(&scene.browser, "/me").await;
                scene.shop.clock.advance(GRACE);
            } else if state == State::InGrace {
                // The generation that the proof has begun is shown, so the one before it is settled.
                let Ok(_) = scene.browser.get("/me").send().await;
            }
            scene.shop.events();
            let said = scene.said(&way.ask(&holder(&scene.browser, &scene.first)).await);
            let expected = match state {
                State::Ended => ENDED.to_owned(),
                // Within grace of the rotation, which is that of the binding, the table does not call it reuse.
                State::InGrace if way == Way::Layer => "200".to_owned(),
                State::InGrace => "503 unavailable".to_owned(),
                // The answer to the proof has not been confirmed, so the table answers again: a proof is missing.
                State::Bound => "401 device_proof_required: proof missing of 0 at 1".to_owned(),
                State::Unbound => format!("{ENDED}: reuse of 0 at 1"),
            };
            assert_eq!(said, expected, "{way:?}, {state:?}");
        }
    }
}

#[tokio::test]
async fn reuse_of_a_bound_session_revokes() {
    for way in Way::BOTH {
        let scene = Scene::of(State::Bound).await;
        prove(&scene.browser, &scene.laptop, &scene.id).await;
        assert_eq!(get(&scene.browser, "/me").await.status(), 200, "it confirms generation 1");
        scene.shop.clock.advance(ACCESS_GONE);
        scene.shop.events();
        let said = scene.said(&way.ask(&holder(&scene.browser, &scene.first)).await);
        assert_eq!(said, format!("{ENDED}: reuse of 0 at 1"), "{way:?}");
    }
}

#[tokio::test]
async fn a_sign_in_ends_the_session_and_offers_anew() {
    let ends = "200 access refresh XSRF-TOKEN: ended ada, signed in ada";
    let new = "200 access refresh XSRF-TOKEN: signed in ada";
    row("sign-in", [ends, ends, ends, new], async |scene: &Scene| {
        let response = post(&scene.browser, "/login").await;
        assert_ne!(offered(response.headers()), scene.offer);
        let mut said = scene.said(&response);
        if let Some((answer, events)) = said.clone().split_once(": ") {
            let mut events: Vec<_> = events.split(", ").collect();
            events.sort_unstable();
            said = format!("{answer}: {}", events.join(", "));
        }
        said
    })
    .await;
}

#[tokio::test]
async fn a_sign_out() {
    let cleared = "200 -access -refresh -XSRF-TOKEN";
    let ends = "200 -access -refresh -XSRF-TOKEN: ended ada";
    row("sign-out", [ends, ends, ends, cleared], async |scene: &Scene| {
        scene.said(&post(&scene.browser, "/logout").await)
    })
    .await;
}
