//! Bounded load, with a restart of the store in the middle.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep, sleep_until};

use super::{NODES, signed_in, story};
use crate::{
    honest::Honest,
    place::{Kind, Place},
};

const BROWSERS: u32 = 200;
/// Of each browser: 20 requests a second in all.
const PAUSE: Duration = Duration::from_secs(10);
const LASTS: Duration = Duration::from_secs(60);
/// How many requests that makes, about.
const ASKED: u64 = BROWSERS as u64 * (LASTS.as_secs() / PAUSE.as_secs());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_browsers_outlive_a_restart_of_their_store() {
    for outcome in join_all([Kind::Postgres, Kind::Redis].map(|kind| tokio::spawn(load(kind)))).await {
        println!("{}", outcome.expect("it holds"));
    }
}

async fn load(kind: Kind) -> String {
    let mut place = Place::of(kind, NODES).await;
    let mut browsers: Vec<Honest> = Vec::new();
    for number in 0..BROWSERS as usize {
        browsers.push(signed_in(&place, number).await);
    }
    let ledger = place.shop.ledger().clone();
    let begun = Instant::now();
    let spread = PAUSE / BROWSERS;
    let tabs: Vec<_> = browsers
        .iter()
        .zip(0..)
        .map(|(browser, number)| browser.walk(spread * number, PAUSE - Duration::from_millis(10)))
        .collect();
    sleep_until(begun + LASTS / 2).await;

    ledger.set_faulty(true);
    place.kill();
    sleep(Duration::from_secs(3)).await;
    place.restart();
    sleep(RECOVERY).await;
    ledger.set_faulty(false);

    sleep_until(begun + LASTS).await;
    tabs.iter().for_each(tokio::task::JoinHandle::abort);
    for browser in &browsers {
        assert_eq!(in_the_end(browser).await, StatusCode::OK, "{kind:?}: still signed in");
        assert!(browser.generation() >= 2, "{kind:?}: rotated {} times", browser.generation());
    }
    assert_eq!(ledger.complaints(), Vec::<String>::new(), "{kind:?}");
    assert!(ledger.unavailable() > 0, "{kind:?}: the restart was not noticed");
    assert!(ledger.answered() > ASKED / 2, "{kind:?}: {}", story(&ledger));
    format!("{kind:?}, {BROWSERS} browsers: {}", story(&ledger))
}

/// What the next request is answered that is not to be sent again later.
async fn in_the_end(browser: &Honest) -> StatusCode {
    let deadline = Instant::now() + PAUSE;
    loop {
        let status = browser.step(Method::GET).await;
        if status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
            return status;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Within which the nodes find the restarted store again by themselves.
const RECOVERY: Duration = Duration::from_secs(5);
