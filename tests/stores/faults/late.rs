//! A store that answers late.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::sleep;

use crate::{
    clients::{GRACE, LegitimateClient},
    place::{Kind, Place},
    proxy::Mode,
};

/// The store's clock says that the token is too old, but it was not when the client sent it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_the_store_longer_than_the_grace_period_signs_out_no_client() {
    for outcome in join_all([Kind::Postgres, Kind::Redis].map(|kind| tokio::spawn(wait(kind)))).await {
        outcome.expect("it holds");
    }
}

async fn wait(kind: Kind) {
    let place = Place::of(kind, 2).await;
    place.nodes.ledger().set_faulty(true);
    let browser = LegitimateClient::new(&place.nodes);
    browser.sign_in("ada").await;
    assert_eq!(browser.step_at(1).await, StatusCode::OK, "{kind:?}: confirmed");
    // The first calls of a node may take longer.
    assert_eq!(browser.step_at(0).await, StatusCode::OK, "{kind:?}");
    sleep(GRACE + MARGIN).await;

    // One tab's request hangs on node 0, another's is answered by node 1.
    place.proxies[0].set(Mode::Hold);
    let hanging = tokio::spawn({
        let tab = browser.clone();
        async move { tab.step_at(0).await }
    });
    while place.proxies[0].disturbed() == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(browser.step_at(1).await, StatusCode::OK, "{kind:?}: rotated");
    assert_eq!(browser.step_at(1).await, StatusCode::OK, "{kind:?}: confirmed");
    assert_eq!(browser.generation(), 1, "{kind:?}");
    sleep(GRACE + MARGIN).await;
    place.proxies[0].set(Mode::Pass);

    let late = hanging.await.expect("no panic");
    assert_eq!(late, StatusCode::SERVICE_UNAVAILABLE, "{kind:?}: to be asked again");
    for node in [1, 0] {
        assert_eq!(browser.step_at(node).await, StatusCode::OK, "{kind:?}: still signed in");
    }
    assert_eq!(place.nodes.ledger().complaints(), Vec::<String>::new(), "{kind:?}");
}

/// Grace period and margin together are less than the 5 seconds after which stores give up.
const MARGIN: Duration = Duration::from_millis(400);
