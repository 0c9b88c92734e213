//! A process that ends between any two steps of an operation leaves nothing inconsistent behind.

use std::{
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::future::poll_fn;

use super::rule::*;
use crate::store::{RefreshStore, SessionId};

/// An operation that takes more steps than this is not cut short later.
const MAX_STEPS: usize = 24;

/// A command that has left may arrive after the process that sent it has ended.
const STILL_ARRIVING: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Operation {
    Create,
    Update,
    Remove,
    RemoveAll,
}

pub(super) async fn an_operation_cut_short_leaves_list_and_records_consistent<S: RefreshStore>(store: &S) {
    let operations = [Operation::Create, Operation::Update, Operation::Remove, Operation::RemoveAll];
    for operation in operations {
        for steps in 0..MAX_STEPS {
            let rule = Rule::new(store, "an_operation_cut_short_leaves_list_and_records_consistent");
            let ended = cut_short(&rule, operation, steps).await;
            if ended {
                break;
            }
        }
    }
}

/// Lets `operation` take some steps, and checks what is left; true when it has come to its end.
async fn cut_short<S: RefreshStore>(rule: &Rule<'_, S>, operation: Operation, steps: usize) -> bool {
    let mut record = rule.create(rule.session()).await;
    let other = rule.create(rule.session()).await;
    let new = rule.session();
    let ids = [record.id.clone(), other.id, new.id.clone()];
    record.idle_expires_at -= HOUR;
    record.generation += 1;
    let call = async {
        match operation {
            Operation::Create => drop(rule.create(new).await),
            Operation::Update => drop(rule.update(&record).await),
            Operation::Remove => drop(rule.remove(&record.id).await),
            Operation::RemoveAll => drop(rule.remove_all(None).await),
        }
    };
    let ended = run(call, steps).await;

    soon(rule, format_args!("{operation:?} after {steps} steps: list has what can be read"), async || {
        lists_what_can_be_read(rule, &ids).await
    })
    .await;
    soon(rule, format_args!("{operation:?} after {steps} steps: remove_all leaves nothing"), async || {
        rule.remove_all(None).await;
        readable(rule, &ids).await.is_empty() && rule.list().await.is_empty()
    })
    .await;
    ended
}

/// Polls `call` so often as it asks to be polled, `steps` times at most, and drops it then.
async fn run(call: impl Future<Output = ()>, steps: usize) -> bool {
    let mut call = pin!(call);
    let mut left = steps;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        match call.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending if left == 0 => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Checks that `holds` becomes true once everything that had been sent has arrived.
async fn soon<S: RefreshStore>(
    rule: &Rule<'_, S>,
    what: impl std::fmt::Display,
    mut holds: impl AsyncFnMut() -> bool,
) {
    let began = Instant::now();
    while !holds().await {
        rule.check(began.elapsed() < STILL_ARRIVING, &what);
        yield_now().await;
    }
}

async fn lists_what_can_be_read<S: RefreshStore>(rule: &Rule<'_, S>, ids: &[SessionId]) -> bool {
    let mut listed: Vec<_> = rule.list().await.into_iter().map(|record| record.id).collect();
    let mut readable = readable(rule, ids).await;
    listed.sort();
    readable.sort();
    listed == readable
}

async fn readable<S: RefreshStore>(rule: &Rule<'_, S>, ids: &[SessionId]) -> Vec<SessionId> {
    let mut readable = Vec::new();
    for id in ids {
        let snapshot = rule.snapshot(id).await;
        if snapshot.record.is_some_and(|record| record.is_live(snapshot.now)) {
            readable.push(id.clone());
        }
    }
    readable
}
