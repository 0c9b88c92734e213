//! The model's small records as the crate's, and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{
    state::{Binding, Plan, Record},
    times::{Age, Times},
};
use crate::{
    binding::Bound,
    rotation::{LostResponse, Rules, Write},
    store::{NewRecord, SessionRecord},
};

/// All records, in the order of their indices: also those that never come to be.
pub(super) fn records(last: u8, bindings: &[(Binding, Age)]) -> impl Iterator<Item = Record> + use<'_> {
    let generations = move || 0..=last;
    let without_ages = generations().flat_map(move |generation| {
        generations().flat_map(move |parent| {
            let seen = std::iter::once(None).chain(generations().map(Some));
            seen.map(move |seen| Record {
                generation,
                parent,
                seen,
                seen_for: Age::New,
                issued_for: Age::New,
                began_for: Age::New,
                binding: Binding::None,
                bound_for: Age::New,
            })
        })
    });
    let unbound = without_ages.flat_map(|record| {
        Age::ALL.into_iter().flat_map(move |seen_for| {
            Age::ALL.into_iter().flat_map(move |issued_for| {
                Age::ALL.map(|began_for| Record { seen_for, issued_for, began_for, ..record })
            })
        })
    });
    unbound.flat_map(|record| {
        bindings.iter().map(move |(binding, bound_for)| Record {
            binding: *binding,
            bound_for: *bound_for,
            ..record
        })
    })
}

pub(super) fn record_index(last: u8, bindings: &[(Binding, Age)], record: &Record) -> usize {
    let generations = usize::from(last) + 1;
    let seen = record.seen.map_or(0, |seen| usize::from(seen) + 1);
    let mut index = usize::from(record.generation);
    for (digit, base) in [(usize::from(record.parent), generations), (seen, generations + 1)] {
        index = index * base + digit;
    }
    for age in [record.seen_for, record.issued_for, record.began_for] {
        index = index * 3 + age as usize;
    }
    let of_record = (record.binding, record.bound_for);
    let binding = bindings.iter().position(|binding| *binding == of_record);
    index * bindings.len() + binding.expect("a known binding")
}

pub(super) const UNBOUND: &[(Binding, Age)] = &[(Binding::None, Age::New)];
pub(super) const BOUND_OR_NOT: &[(Binding, Age)] = &[
    (Binding::None, Age::New),
    (Binding::Observed, Age::New),
    (Binding::Observed, Age::Grace),
    (Binding::Enforced, Age::New),
    (Binding::Enforced, Age::Grace),
];

/// What the extension of such a record says. No rule asks for the number of proofs.
pub(super) fn bound(record: &Record) -> Option<Bound> {
    let bound_at = now() - GRACE * record.bound_for as u32;
    let is_enforced = record.is_enforced();
    (record.binding != Binding::None).then_some(Bound { bound_at, is_enforced, proofs: 1 })
}

/// A record that looks like this at `now`.
pub(super) fn stored(record: &Record) -> SessionRecord {
    let ago = |age: Age| now() - GRACE * age as u32;
    let mut stored = NewRecord::new("s".into(), "ada", [0; 32]).begin(UNIX_EPOCH);
    stored.generation = record.generation.into();
    stored.parent = record.parent.into();
    stored.seen = record.seen.map(u32::from);
    stored.confirmed_at = record.seen.map(|_| ago(record.seen_for));
    stored.issued_at = ago(record.issued_for);
    stored.rotated_at = ago(record.began_for);
    stored
}

pub(super) fn plan(before: &SessionRecord, Write { record, stamps }: &Write) -> Plan {
    let times = |record: &SessionRecord| (record.confirmed_at, record.rotated_at, record.issued_at);
    assert_eq!(times(before), times(record), "a time that is not taken at the write");
    let small = |generation: u32| u8::try_from(generation).expect("few generations");
    let mut plan = Plan {
        generation: small(record.generation),
        parent: small(record.parent),
        seen: record.seen.map(small),
        stamps: Times::NONE,
        binding: None,
    };
    for (is_stamped, time) in [
        (stamps.confirmed_at, Times::SEEN),
        (stamps.rotated_at, Times::BEGAN),
        (stamps.issued_at, Times::ISSUED),
    ] {
        if is_stamped {
            plan.stamps = plan.stamps.and(time);
        }
    }
    plan
}

/// The store's present time, for every question.
pub(super) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(600)
}

pub(super) const GRACE: Duration = Duration::from_secs(30);
pub(super) const IDLE: Duration = Duration::from_secs(3600);
pub(super) const RULES: Rules = Rules { grace: GRACE, lost_response: LostResponse::UntilConfirmed };
