//! Bounded load, with a restart of the store in the middle.

use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::time::{Instant, sleep, sleep_until};

use super::{NODES, signed_in, story};
use crate::{
    clients::LegitimateClient,
    place::{Kind, Place},
};

/// The amount of load.
#[derive(Clone, Copy)]
struct Load {
    browsers: u32,
    /// Between two requests of a browser: longer than the outage, so that at most one of them fails.
    pause: Duration,
    /// The number of requests of each browser.
    requests: u32,
}

/// 33 requests per second.
const BOUNDED: Load = Load { browsers: 200, pause: Duration::from_secs(6), requests: 6 };
/// 50 requests per second.
const LONG: Load = Load { browsers: 500, pause: Duration::from_secs(10), requests: 18 };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_browsers_survive_a_store_restart() {
    survive_restart(BOUNDED).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn five_hundred_browsers_survive_a_store_restart() {
    survive_restart(LONG).await;
}

async fn survive_restart(load: Load) {
    let stores = [Kind::Postgres, Kind::Redis];
    for outcome in join_all(stores.map(|kind| tokio::spawn(restart_under_load(kind, load)))).await {
        println!("{}", outcome.expect("it holds"));
    }
}

async fn restart_under_load(kind: Kind, load: Load) -> String {
    let Load { browsers: count, pause, requests } = load;
    let lasts = pause * requests;
    let mut place = Place::of(kind, NODES).await;
    let mut browsers: Vec<LegitimateClient> = Vec::new();
    for number in 0..count as usize {
        browsers.push(signed_in(&place, number).await);
    }
    let ledger = place.nodes.ledger().clone();
    let begun = Instant::now();
    let spread = pause / count;
    let tabs: Vec<_> = browsers
        .iter()
        .zip(0..)
        .map(|(browser, number)| browser.walk(spread * number, pause - Duration::from_millis(10)))
        .collect();
    sleep_until(begun + lasts / 2).await;

    ledger.set_faulty(true);
    place.kill();
    sleep(Duration::from_secs(3)).await;
    place.restart();
    sleep(RECOVERY).await;
    ledger.set_faulty(false);

    sleep_until(begun + lasts).await;
    tabs.iter().for_each(tokio::task::JoinHandle::abort);
    for browser in &browsers {
        assert_eq!(in_the_end(browser, pause).await, StatusCode::OK, "{kind:?}: still signed in");
        assert!(browser.generation() >= 2, "{kind:?}: rotated {} times", browser.generation());
    }
    assert_eq!(ledger.complaints(), Vec::<String>::new(), "{kind:?}");
    assert!(ledger.unavailable() > 0, "{kind:?}: the restart was not noticed");
    assert!(ledger.answered() > u64::from(count * requests) / 2, "{kind:?}: {}", story(&ledger));
    format!("{kind:?}, {count} browsers: {}", story(&ledger))
}

/// Returns the answer to the next request, which is sent again while the store recovers.
async fn in_the_end(browser: &LegitimateClient, patience: Duration) -> StatusCode {
    let deadline = Instant::now() + patience;
    loop {
        let status = browser.step(Method::GET).await;
        if status != StatusCode::SERVICE_UNAVAILABLE || Instant::now() > deadline {
            return status;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Upper bound for the nodes to reconnect to the restarted store.
const RECOVERY: Duration = Duration::from_secs(5);
