//! A subject with very many sessions.

use futures_util::{StreamExt, stream};

use super::rule::*;
use crate::store::RefreshStore;

/// So many are created at once.
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
        format_args!("list has all {sessions} sessions once, not {}", listed.len()),
    );

    let kept = &created[sessions / 2];
    let removed = rule.remove_all(Some(&kept.id)).await;
    rule.check(removed == sessions as u64 - 1, format_args!("all but one are removed, not {removed}"));
    rule.check(rule.expect(&kept.id).await == *kept, "the session to keep is kept as it is");
    rule.check(rule.list().await == std::slice::from_ref(kept), "nothing else is left");
    rule.finish().await;
    rule.check(other.expect(&others.id).await == others, "another subject's session stays");
    other.finish().await;
}
