//! Faults of a store, and what legitimate clients notice of them: at most a 503 for rotations.

mod late;
mod load;
mod rollback;
mod table;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures_util::{FutureExt, future::join_all};
use tokio::time::{Instant, sleep};

use crate::{
    clients::{Ledger, LegitimateClient},
    place::{Kind, Place, eventually},
};

const BROWSERS: usize = 4;
const TABS: u32 = 2;
const NODES: usize = 3;
/// Between two requests of a tab.
const PAUSE: Duration = Duration::from_millis(200);
/// A fault lasts longer, until what it shows has been seen: a tab first waits for its confirmation, then
/// for its rotation, and stores give up after 5 seconds.
const LASTS_AT_LEAST: Duration = Duration::from_secs(4);
const LASTS_AT_MOST: Duration = Duration::from_secs(60);

/// One thing that happens to a store.
struct Fault {
    name: &'static str,
    /// Runs before the browsers start.
    prepare: fn(&mut Place),
    strike: Strike,
    /// Ends the fault if it has not ended already.
    heal: fn(&mut Place),
    shows: Shows,
}

enum Strike {
    /// Strikes once.
    Once(fn(&mut Place)),
    /// Strikes repeatedly, with the number of the round.
    Repeatedly(fn(&mut Place, usize)),
}

/// The evidence that a fault took effect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shows {
    /// Rotations were answered 503.
    Outage,
    /// Rotations were written without any node learning of it.
    Unheard,
    /// Clients were ahead of the store.
    LostWrites,
    /// It is slow, and every request succeeds.
    Slowness,
    /// Many connections were lost, and every request may succeed: the store retries automatically.
    Disturbance,
}

impl Shows {
    fn is_seen(self, place: &Place) -> bool {
        let ledger = place.nodes.ledger();
        match self {
            Self::Outage => ledger.unavailable() > 0,
            Self::Unheard => ledger.unheard() > 0,
            Self::LostWrites => ledger.lost_writes() > 0,
            Self::Slowness => ledger.slowest() > Duration::from_millis(300),
            Self::Disturbance => place.proxies.iter().all(|proxy| proxy.disturbed() > 20),
        }
    }
}

/// Runs each fault on a separate server, all of them concurrently.
async fn survive(kind: Kind, faults: Vec<Fault>) {
    let rows = faults.into_iter().map(|fault| {
        let name = fault.name;
        tokio::spawn(async move {
            let outcome = AssertUnwindSafe(survive_one(kind, fault)).catch_unwind().await;
            (name, outcome.map_err(|panic| panic.downcast_ref::<String>().cloned().unwrap_or_default()))
        })
    });
    let mut failed = Vec::new();
    for row in join_all(rows).await {
        match row.expect("panics are caught") {
            (name, Ok(story)) => println!("{kind:?}, {name}: {story}"),
            (name, Err(complaint)) => failed.push(format!("{kind:?}, {name}: {complaint}")),
        }
    }
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// LegitimateClient browsers walk before, through and after the fault; says what they have seen.
async fn survive_one(kind: Kind, fault: Fault) -> String {
    let mut place = Place::of(kind, NODES).await;
    let ledger = place.nodes.ledger().clone();
    let browsers = join_all((0..BROWSERS).map(|number| signed_in(&place, number))).await;
    (fault.prepare)(&mut place);
    ledger.set_faulty(true); // the nodes may have to notice what has happened just now
    let tabs: Vec<_> = browsers
        .iter()
        .flat_map(|browser| (0..TABS).map(|tab| browser.walk(Duration::ZERO, PAUSE + tab * PAUSE / 4)))
        .collect();
    reached("the first rotation", &ledger, &browsers, &[1; BROWSERS]).await;
    ledger.set_faulty(false);

    ledger.set_faulty(true);
    fault.strike(&mut place).await;
    (fault.heal)(&mut place);
    let healed = Instant::now();
    let further: Vec<_> = browsers.iter().map(|browser| browser.generation() + 1).collect();
    reached("recovery", &ledger, &browsers, &further).await;
    let recovery = healed.elapsed();
    let further: Vec<_> = browsers.iter().map(|browser| browser.generation() + 1).collect();
    reached("going on", &ledger, &browsers, &further).await;

    tabs.iter().for_each(tokio::task::JoinHandle::abort);
    for tab in tabs {
        assert!(tab.await.is_err_and(|error| error.is_cancelled()), "a tab has panicked");
    }
    assert_eq!(ledger.complaints(), Vec::<String>::new());
    assert!(fault.shows.is_seen(&place), "the fault was none: {}", story(&ledger));
    format!("{}, recovered after {recovery:.1?}", story(&ledger))
}

impl Fault {
    async fn strike(&self, place: &mut Place) {
        let begun = Instant::now();
        for round in 0.. {
            match self.strike {
                Strike::Once(strike) if round == 0 => strike(place),
                Strike::Once(_) => {}
                Strike::Repeatedly(strike) => strike(place, round),
            }
            sleep(Duration::from_millis(150)).await;
            let lasted = begun.elapsed();
            if lasted > LASTS_AT_LEAST && self.shows.is_seen(place) || lasted > LASTS_AT_MOST {
                return;
            }
        }
    }
}

async fn signed_in(place: &Place, number: usize) -> LegitimateClient {
    let browser = LegitimateClient::new(&place.nodes);
    browser.sign_in(&format!("ada-{number}")).await;
    browser
}

/// Waits until each browser has reached its generation, or until there is a complaint.
async fn reached(what: &str, ledger: &Ledger, browsers: &[LegitimateClient], generations: &[u32]) {
    let all =
        || browsers.iter().zip(generations).all(|(browser, generation)| browser.generation() >= *generation);
    let in_time = eventually(|| all() || !ledger.complaints().is_empty()).await;
    assert_eq!(ledger.complaints(), Vec::<String>::new(), "{what}");
    let reached: Vec<_> = browsers.iter().map(LegitimateClient::generation).collect();
    assert!(in_time, "{what} takes too long: {reached:?} of {generations:?}; {}", story(ledger));
}

fn story(ledger: &Ledger) -> String {
    format!(
        "{} answered, {} unavailable, {} rotations, {} unheard, {} caught up, slowest {:.1?}",
        ledger.answered(),
        ledger.unavailable(),
        ledger.rotations(),
        ledger.unheard(),
        ledger.lost_writes(),
        ledger.slowest()
    )
}
