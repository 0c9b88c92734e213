//! The faults, one a line, and the stores that they happen to.

use std::time::Duration;

use super::{
    Fault,
    Shows::{self, Disturbance, LostWrites, Outage, Slowness, Unheard},
    Strike::{self, Once, Repeatedly},
    survive,
};
use crate::{
    place::{Kind, Place},
    proxy::Mode,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_postgresql_fault_signs_out_a_legitimate_client() {
    let mut faults = server_faults();
    faults.extend(network_faults());
    // The store tries nothing twice: the client does.
    faults.push(fault("connections cut", Repeatedly(cut), pass, Outage));
    faults.push(fault("answers lost", Repeatedly(lose_answers), pass, Unheard));
    survive(Kind::Postgres, faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redis_fault_signs_out_a_legitimate_client() {
    let mut faults = server_faults();
    faults.extend(network_faults());
    // The store tries again, and recognizes what it has done.
    faults.push(fault("connections cut", Repeatedly(cut), pass, Disturbance));
    faults.push(fault("answers lost", Repeatedly(lose_answers), pass, Disturbance));
    survive(Kind::Redis, faults).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_fault_of_a_redis_cluster_master_signs_out_a_legitimate_client() {
    survive(Kind::Cluster, server_faults()).await;
}

/// Returns the faults of the server itself; in a cluster, of one master.
fn server_faults() -> Vec<Fault> {
    vec![
        fault("killed and restarted", Once(Place::kill), Place::restart, Outage),
        fault(
            "stopped and continued",
            Once(|place| place.signal("STOP")),
            |place| place.signal("CONT"),
            Outage,
        ),
        fault("takes no writes", Once(|place| place.set_full(true)), |place| place.set_full(false), Outage),
    ]
}

/// Returns the faults between the nodes and the server.
fn network_faults() -> Vec<Fault> {
    vec![
        fault(
            "killed before its answers are heard",
            Once(Place::kill_before_it_is_heard),
            Place::restart,
            Outage,
        ),
        fault("refuses connections", Once(refuse), pass, Outage),
        fault("half-closed", Once(|place| place.set(Mode::HalfClosed)), pass, Outage),
        fault("held up", Once(|place| place.set(Mode::Hold)), pass, Outage),
        fault("bytes lost", Once(|place| place.set(Mode::BlackHole)), pass, Outage),
        fault("one node cut off", Once(|place| place.proxies[0].set(Mode::BlackHole)), pass, Outage),
        fault("one node held up", Once(|place| place.proxies[0].set(Mode::Hold)), pass, Outage),
        fault("slow", Once(|place| place.set(Mode::Delay(Duration::from_millis(300)))), pass, Slowness),
        rollback(),
    ]
}

/// The store loses all that was written since the users signed in.
fn rollback() -> Fault {
    Fault { prepare: Place::save, ..fault("rolled back", Once(Place::roll_back), |_| {}, LostWrites) }
}

fn fault(name: &'static str, strike: Strike, heal: fn(&mut Place), shows: Shows) -> Fault {
    Fault { name, prepare: |_| {}, strike, heal, shows }
}

fn pass(place: &mut Place) {
    place.set(Mode::Pass);
}

fn cut(place: &mut Place, _: usize) {
    place.cut();
}

fn refuse(place: &mut Place) {
    place.set(Mode::Refuse);
    place.cut();
}

/// Loses one in a few answers, together with its connection.
fn lose_answers(place: &mut Place, round: usize) {
    place.set(Mode::LoseAnswers { every: 3 + round % 4 });
}
