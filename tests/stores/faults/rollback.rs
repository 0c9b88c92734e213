//! What a rollback of the store revives, and for how long. (That it signs out no client is in the
//! table.)

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::{Method, StatusCode};
use tokio::time::sleep;

use crate::{
    clients::{LegitimateClient, Nodes},
    place::{Kind, Place},
};

const STORES: [Kind; 2] = [Kind::Postgres, Kind::Redis];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_revives_a_signed_out_session_until_it_is_signed_out_again() {
    for outcome in join_all(STORES.map(|kind| tokio::spawn(revive_and_end(kind)))).await {
        outcome.expect("it holds");
    }
}

async fn revive_and_end(kind: Kind) {
    let Revived { place, copy, .. } = revived(kind, Nodes::new()).await;
    let ended = place.nodes.node(0).sign_out_everywhere("ada").await;
    assert_eq!(ended.expect("the store is well"), 1, "{kind:?}");
    copy.forget_access();
    assert_eq!(answer(&copy).await, StatusCode::UNAUTHORIZED, "{kind:?}: ended again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_revived_by_a_rollback_ends_at_its_original_time() {
    for outcome in join_all(STORES.map(|kind| tokio::spawn(revive_and_wait(kind)))).await {
        outcome.expect("it holds");
    }
}

async fn revive_and_wait(kind: Kind) {
    let nodes = Nodes::new().with_absolute_lifetime(LIFETIME);
    let Revived { place: _place, copy, signed_in_at } = revived(kind, nodes).await;
    sleep((LIFETIME + Duration::from_secs(1)).saturating_sub(signed_in_at.elapsed())).await;
    copy.forget_access();
    assert_eq!(answer(&copy).await, StatusCode::UNAUTHORIZED, "{kind:?}: over");
}

struct Revived {
    place: Place,
    copy: LegitimateClient,
    signed_in_at: Instant,
}

/// Signs in, and out, and takes the store back to the time between: the signed-out session lives again
/// for a client that has kept its cookies.
async fn revived(kind: Kind, nodes: Nodes) -> Revived {
    let mut place = Place::with(kind, 1, nodes).await;
    let ada = LegitimateClient::new(&place.nodes);
    ada.sign_in("ada").await;
    let signed_in_at = Instant::now();
    let (before, after) = (ada.copy(), ada.copy());
    before.forget_access();
    after.forget_access();
    place.save();
    while ada.sign_out().await == StatusCode::SERVICE_UNAVAILABLE {
        sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(answer(&before).await, StatusCode::UNAUTHORIZED, "{kind:?}: signed out");
    place.roll_back();
    assert_eq!(answer(&after).await, StatusCode::OK, "{kind:?}: revived");
    Revived { place, copy: after, signed_in_at }
}

/// The answer once the node has found the store again.
async fn answer(browser: &LegitimateClient) -> StatusCode {
    loop {
        match browser.step(Method::GET).await {
            StatusCode::SERVICE_UNAVAILABLE => sleep(Duration::from_millis(50)).await,
            status => return status,
        }
    }
}

/// Both servers are started, killed and restarted twice within it, on a machine that is busy.
const LIFETIME: Duration = Duration::from_secs(20);
