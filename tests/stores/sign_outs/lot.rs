//! Users who sign out at the same time, while a fault is in force.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::{join, join_all};
use http::StatusCode;
use tokio::{
    task::{JoinHandle, block_in_place},
    time::sleep,
};

use super::{
    BOUND,
    nodes::{A, B, C, NAMES, Nodes},
    random,
    table::Row,
    user::{Seen, User},
};

/// How a lot ends its sessions.
#[derive(Clone, Copy)]
pub(super) enum Way<'a> {
    /// Each user signs out, at this node.
    At(usize),
    /// All sessions are ended at the store, also those of users who do not sign out.
    All(&'a dyn Fn()),
    /// The sessions of these users are ended at the store.
    Named(&'a dyn Fn(&[String])),
}

/// How many sign out in a lot, and how many do not.
const USERS: usize = 40;
const STAYING: usize = 5;

/// Signs users out while `fault` runs, and counts what the nodes answer; the fault is over when its future ends.
///
/// With `loses_writes`, a sign-out or a session that the store has lost does not count. Requests are sent by tasks of their own, so
/// that a fault may block.
pub(super) async fn lot(
    nodes: &Arc<Nodes>,
    row: &mut Row,
    way: Way<'_>,
    loses_writes: bool,
    fault: impl Future<Output = ()>,
) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let sign_in = async |user| Arc::new(nodes.sign_in(&format!("user-{number}-{user}")).await);
    let users = join_all((0..USERS).map(sign_in)).await;
    let staying = if matches!(way, Way::All(_)) { 0 } else { STAYING };
    let staying = join_all((USERS..USERS + staying).map(sign_in)).await;
    for node in [A, B, C] {
        let all = users.iter().chain(&staying);
        join_all(all.map(async |user| {
            assert_eq!(outcome(nodes, node, user).await, StatusCode::OK, "{} is signed in", user.name);
        }))
        .await;
    }
    sleep(Duration::from_millis(300)).await;

    let is_over = Arc::new(AtomicBool::new(false));
    let remaining: Vec<_> =
        staying.iter().map(|user| tokio::spawn(stay(nodes.clone(), user.clone(), is_over.clone()))).collect();
    let (seen, ()) = join(sign_all_out(nodes, &users, way), fault).await;
    is_over.store(true, Ordering::Relaxed);
    let refused = all(remaining).await;

    let writer = if let Way::At(node) = way { Some(node) } else { None };
    for (user, (signed_out, seen)) in users.iter().zip(seen) {
        if loses_writes && nodes.has_session(user).await {
            row.lost += 1;
        } else {
            count(nodes, row, user, writer, signed_out, seen).await;
        }
    }
    for (user, refused) in staying.iter().zip(refused) {
        if loses_writes && !nodes.has_session(user).await {
            row.lost += 1;
            continue;
        }
        row.signed_out.extend(refused);
        for node in [A, B, C] {
            let end = outcome(nodes, node, user).await;
            if end != StatusCode::OK {
                row.signed_out.push(format!("{} at {} in the end: {end}", user.name, NAMES[node]));
            }
        }
    }
}

async fn sign_all_out(nodes: &Arc<Nodes>, users: &[Arc<User>], way: Way<'_>) -> Vec<(Instant, [Seen; 3])> {
    let (node, together) = match way {
        Way::At(node) => (node, None),
        Way::All(end) => (A, Some(together(end).await)),
        Way::Named(end) => {
            let names: Vec<_> = users.iter().map(|user| user.name.clone()).collect();
            (A, Some(together(|| end(&names)).await))
        }
    };
    let watched = users.iter().cloned().map(|user| {
        let nodes = nodes.clone();
        tokio::spawn(async move {
            let signed_out = match together {
                Some(moment) => moment,
                None => {
                    // After the fault has begun, some just then.
                    sleep(random(10, 1000)).await;
                    sign_out(&nodes, node, &user).await
                }
            };
            let [a, b, c] = [A, B, C].map(|node| watch(&nodes, node, &user, signed_out));
            (signed_out, tokio::join!(a, b, c).into())
        })
    });
    all(watched.collect()).await
}

/// Ends sessions at the store, and returns when that had been done.
async fn together(end: impl Fn()) -> Instant {
    sleep(random(10, 1000)).await;
    block_in_place(end);
    Instant::now()
}

/// Tries until the sign-out has been confirmed, and returns when the answer came.
async fn sign_out(nodes: &Nodes, node: usize, user: &User) -> Instant {
    let began = Instant::now();
    loop {
        if nodes.sign_out(node, user).await == Some(StatusCode::NO_CONTENT) {
            return Instant::now();
        }
        assert!(began.elapsed() < MINUTE, "{} cannot sign out", user.name);
        sleep(Duration::from_millis(100)).await;
    }
}

/// Sends requests until twice the bound after the sign-out, each without waiting for the answers of the former ones.
async fn watch(nodes: &Nodes, node: usize, user: &User, signed_out: Instant) -> Seen {
    let seen = Mutex::new(Seen::default());
    join_all(MOMENTS.into_iter().enumerate().map(async |(number, millis)| {
        let moment = Duration::from_millis(millis);
        sleep(moment.saturating_sub(signed_out.elapsed())).await;
        // Once it has been refused, only some of the rest, to see that it remains so.
        let is_refused = seen.lock().expect("no panic holds it").first_refused.is_some();
        if is_refused && !(moment > BOUND && number % 3 == 0) {
            return;
        }
        let sent = signed_out.elapsed();
        let answer = nodes.ask(node, user).await;
        seen.lock().expect("no panic holds it").add(sent, answer);
    }))
    .await;
    seen.into_inner().expect("no panic holds it")
}

/// A user who does not sign out must be served by each node, or told that it cannot know.
async fn stay(nodes: Arc<Nodes>, user: Arc<User>, is_over: Arc<AtomicBool>) -> Vec<String> {
    let mut refused = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let answers = join_all([A, B, C].map(|node| nodes.ask(node, &user))).await;
        for (node, answer) in answers.into_iter().enumerate() {
            if !matches!(answer, None | Some(StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE)) {
                refused.push(format!("{} at {}: {answer:?}", user.name, NAMES[node]));
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
    refused
}

/// Counts one sign-out, which each node must confirm once the fault is over.
async fn count(
    nodes: &Nodes,
    row: &mut Row,
    user: &User,
    writer: Option<usize>,
    signed_out: Instant,
    mut seen: [Seen; 3],
) {
    row.sign_outs += 1;
    for (node, seen) in seen.iter_mut().enumerate() {
        let sent = signed_out.elapsed();
        seen.add(sent, Some(outcome(nodes, node, user).await));
        row.add(&user.name, node, seen, writer == Some(node));
    }
}

/// Asks until there is an answer that is one.
async fn outcome(nodes: &Nodes, node: usize, user: &User) -> StatusCode {
    let began = Instant::now();
    loop {
        match nodes.ask(node, user).await {
            None | Some(StatusCode::SERVICE_UNAVAILABLE) if began.elapsed() < MINUTE => {
                sleep(Duration::from_millis(100)).await;
            }
            answer => return answer.expect("the node is back"),
        }
    }
}

async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    join_all(tasks).await.into_iter().map(|done| done.expect("no task panics")).collect()
}

const MINUTE: Duration = Duration::from_secs(60);

/// When requests are sent after a sign-out, in milliseconds: more at the beginning, and just after the bound.
const MOMENTS: [u64; 30] = [
    0, 5, 10, 20, 30, 40, 50, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 600, 700, 800, 900, 1001, 1005,
    1020, 1050, 1100, 1200, 1400, 1700, 2000,
];
