//! Rules about the sessions of a subject, including very many of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::{rule::*, values::TEXTS};
use crate::{
    keys::crypto::random,
    store::{NewRecord, RefreshStore, Update},
};

pub(super) async fn list_has_the_subjects_sessions_oldest_first<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "list_has_the_subjects_sessions_oldest_first");
    let other = Rule::new(store, rule.name);
    other.create(other.session()).await;

    let mut created = Vec::new();
    for _ in 0..5 {
        let record = rule.create(rule.session()).await;
        // With a stopped clock, all sessions have the same time and the order is not tested.
        rule.wait_until(record.created_at + 5 * MILLI).await;
        created.push(record);
    }
    // Using a session does not change its place in the order.
    let mut used = created[0].clone();
    used.last_seen_at += HOUR;
    rule.check(rule.update(&used).await.is_done(), "update of the present version is done");
    created[0] = rule.expect(&used.id).await;

    let listed = rule.list().await;
    rule.check(listed.is_sorted_by_key(|record| record.created_at), "the oldest session comes first");
    rule.check_same_set(&listed, &created);
    rule.finish().await;
    rule.check(other.list().await.len() == 1, "another subject's sessions are not affected");
    other.finish().await;
}

pub(super) async fn ended_sessions_are_not_listed<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "ended_sessions_are_not_listed");
    let live = rule.create(rule.session()).await;
    for (idle, absolute) in [(Duration::ZERO, HOUR), (HOUR, Duration::ZERO), (Duration::ZERO, Duration::ZERO)]
    {
        let mut new = rule.session();
        new.idle = idle;
        new.absolute = absolute;
        let ended = rule.create(new).await;
        // The store may have rounded the expiry up.
        rule.wait_until(ended.expires_at()).await;
        rule.check_ended(&ended.id).await;
    }
    // An update whose expiry has passed ends the session.
    let mut record = rule.create(rule.session()).await;
    record.idle_expires_at = record.created_at - HOUR;
    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
    rule.check_ended(&record.id).await;
    let mut record = rule.create(rule.session()).await;
    record.absolute_expires_at = record.created_at - HOUR;
    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
    rule.check_ended(&record.id).await;

    rule.check_same_set(&rule.list().await, &[live]);
    rule.finish().await;
}

pub(super) async fn extended_session_outlives_its_first_expiry<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "extended_session_outlives_its_first_expiry");
    let mut new = rule.session();
    new.idle = 300 * MILLI;
    let mut record = rule.create(new).await;
    let first_expiry = record.expires_at();
    record.idle_expires_at = record.absolute_expires_at;
    match rule.update(&record).await {
        Update::Done(_) => {}
        // The store was so slow that the session had ended before.
        Update::Gone if rule.now().await >= first_expiry => return rule.finish().await,
        outcome => rule.broken(format_args!("an update of the current version succeeds, not {outcome:?}")),
    }
    // With a stopped clock this is not tested here, but by `store_contract_with_clock`.
    rule.wait_until(first_expiry + 20 * MILLI).await;
    // Creating a session may make the store purge expired ones.
    let other = rule.create(rule.session()).await;
    let stored = rule.expect(&record.id).await;
    rule.check_same(&stored, &record);
    rule.check_same_set(&rule.list().await, &[stored, other]);
    rule.finish().await;
}

pub(super) async fn remove_all_spares_the_kept_session_and_other_subjects<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "remove_all_spares_the_kept_session_and_other_subjects");
    let other = Rule::new(store, rule.name);
    let others = other.create(other.session()).await;
    let kept = rule.create(rule.session()).await;
    for _ in 0..3 {
        rule.create(rule.session()).await;
    }

    rule.check(rule.remove_all(Some(&kept.id)).await == 3, "remove_all counts what it removes");
    rule.check(rule.expect(&kept.id).await == kept, "the session to keep is unchanged");
    rule.check_same_set(&rule.list().await, std::slice::from_ref(&kept));
    rule.check(rule.remove_all(Some(&kept.id)).await == 0, "nothing is left to remove");
    rule.check(
        rule.remove_all(Some(&others.id)).await == 1,
        "all sessions are removed if the one to keep belongs to another subject",
    );
    rule.check(rule.read(&kept.id).await.is_none(), "a session that is not kept is removed");
    rule.create(rule.session()).await;
    rule.create(rule.session()).await;
    rule.check(rule.remove_all(None).await == 2, "without a session to keep, all are removed");
    rule.check(rule.list().await.is_empty(), "nothing is left");
    rule.check(other.expect(&others.id).await == others, "another subject's session stays");
    other.finish().await;
}

pub(super) async fn similar_subjects_are_different<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "similar_subjects_are_different");
    let base = &rule.subject;
    let mut subjects = vec![
        base.clone(),
        base.to_uppercase(),
        base.to_lowercase(),
        format!("{base} "),
        format!(" {base}"),
        format!("{base}\n"),
        format!("{base}\0"),
        format!("{base}\0\0"),
        format!("{base}%"),
        format!("{base}_"),
        format!("{base}*"),
        format!("{base}\u{e9}"),
        format!("{base}e\u{301}"),
        format!("{base}\u{c9}"),
        format!("{base}1"),
        format!("{base}01"),
    ];
    subjects.extend(TEXTS.iter().filter(|text| !text.is_empty()).map(|text| format!("{base}/{text}")));
    subjects.push(format!("{base}{}", "long".repeat(1024)));

    let mut created = Vec::new();
    for subject in &subjects {
        let new = NewRecord::new(store.new_id(subject), subject.as_str(), random());
        created.push(rule.create(new).await);
    }
    for record in &created {
        let listed = rule.done("list", store.list(&record.subject).await);
        rule.check(
            listed == std::slice::from_ref(record),
            format_args!("{} is a distinct subject", shown(&record.subject)),
        );
    }
    for (index, record) in created.iter().enumerate() {
        let removed = rule.done("remove_all", store.remove_all(&record.subject, None).await);
        rule.check(removed == 1, format_args!("only the session of {} is removed", shown(&record.subject)));
        if let Some(next) = created.get(index + 1) {
            rule.check(rule.expect(&next.id).await == *next, "the sessions of other subjects stay");
        }
    }
}

/// The number of sessions created concurrently.
const AT_ONCE: usize = 64;

pub(super) async fn many_sessions_of_one_subject_are_listed_and_removed<S: RefreshStore>(
    store: &S,
    sessions: usize,
) {
    let rule = Rule::new(store, "many_sessions_of_one_subject_are_listed_and_removed");
    let other = Rule::new(store, rule.name);
    let others = other.create(other.session()).await;
    let creations = stream::iter(0..sessions).map(|_| rule.create(rule.session()));
    let created: Vec<_> = creations.buffer_unordered(AT_ONCE).collect().await;

    let listed = rule.list().await;
    rule.check(listed.is_sorted_by_key(|record| record.created_at), "the oldest session comes first");
    let ids = |records: &[crate::store::SessionRecord]| {
        let mut ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
        ids.sort();
        ids
    };
    rule.check(
        ids(&listed) == ids(&created),
        format_args!("list returns all {sessions} sessions once, not {}", listed.len()),
    );

    let kept = &created[sessions / 2];
    let removed = rule.remove_all(Some(&kept.id)).await;
    rule.check(removed == sessions as u64 - 1, format_args!("all but one are removed, not {removed}"));
    rule.check(rule.expect(&kept.id).await == *kept, "the session to keep is unchanged");
    rule.check(rule.list().await == std::slice::from_ref(kept), "nothing else is left");
    rule.finish().await;
    rule.check(other.expect(&others.id).await == others, "another subject's session stays");
    other.finish().await;
}
