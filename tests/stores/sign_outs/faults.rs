//! The faults that all stores have in common.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    BOUND,
    lot::{Way, lot},
    nodes::{A, B, Nodes},
    random,
    table::Table,
};
use crate::proxy::{Mode, Proxy};

/// So long, a fault is in force: until the last request of a lot has been sent.
pub(super) const IN_FORCE: Duration = Duration::from_millis(3200);

pub(super) async fn none(nodes: &Arc<Nodes>, table: &mut Table) {
    lot(nodes, table.row("none"), Way::At(A), false, async {}).await;
}

pub(super) async fn processes(nodes: &Arc<Nodes>, table: &mut Table) {
    let kill_writer = async {
        for _ in 0..3 {
            sleep(random(200, 600)).await;
            nodes.restart(A);
        }
    };
    lot(nodes, table.row("writer killed"), Way::At(A), false, kill_writer).await;
    let kill_other = async {
        for _ in 0..2 {
            sleep(random(200, 1000)).await;
            nodes.restart(B);
        }
    };
    lot(nodes, table.row("other node killed"), Way::At(A), false, kill_other).await;
    let stop = async {
        sleep(random(0, 600)).await;
        nodes.signal(B, "STOP");
        sleep(2 * BOUND).await;
        nodes.signal(B, "CONT");
    };
    lot(nodes, table.row("other node stopped for a while"), Way::At(A), false, stop).await;
}

/// What disturbs the way of the third node to the store. In odd rounds, that ends within the lot, and connections are
/// not reset.
pub(super) async fn way(nodes: &Arc<Nodes>, table: &mut Table, proxies: &[Proxy], round: usize) {
    for (fault, mode) in MODES {
        let set = |mode| proxies.iter().for_each(|proxy| proxy.set(mode));
        let disturb = async {
            set(mode);
            if mode == Mode::Refuse {
                proxies.iter().for_each(Proxy::cut);
            }
            sleep(if round.is_multiple_of(2) { IN_FORCE } else { random(500, 2500) }).await;
            set(Mode::Pass);
            if round.is_multiple_of(2) {
                proxies.iter().for_each(Proxy::cut);
            }
        };
        lot(nodes, table.row(fault), Way::At(A), false, disturb).await;
    }
}

const MODES: [(&str, Mode); 7] = [
    ("way held up", Mode::Hold),
    ("answers held up", Mode::HoldAnswers),
    ("bytes lost", Mode::BlackHole),
    ("way slow", Mode::Delay(Duration::from_millis(150))),
    ("answers lost", Mode::LoseAnswers { every: 3 }),
    ("half-closed", Mode::HalfClosed),
    ("connections refused", Mode::Refuse),
];
