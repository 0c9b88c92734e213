//! Rules about the feed of changes, for stores that have one.

use futures_util::future::join_all;

use super::rule::*;
use crate::store::{Changes, Cursor, Page, RefreshStore, SessionId, Stamps, Update};

pub(super) async fn feed_has_what_has_ended_or_changed_once_the_call_returns<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "feed_has_what_has_ended_or_changed_once_the_call_returns");
    let Some(mut feed) = Feed::begin(&rule).await else { return };
    let record = rule.create(rule.session()).await;
    rule.check(rule.update(&record).await.is_done(), "update of the present version is done");
    let record = rule.expect(&record.id).await;

    let mut changed = record.clone();
    changed.claims = r#"{"role":"none"}"#.into();
    match rule.done("update_announced", store.update_announced(&changed, Stamps::default()).await) {
        Update::Done(written) => {
            rule.check(rule.expect(&record.id).await == *written, "what is announced is what is read back");
            rule.check(written.claims == changed.claims, "announced claims are written");
        }
        other => {
            rule.broken(format_args!("an announced update of the present version is done, not {other:?}"))
        }
    }
    rule.check(feed.heard().await.contains(&record.id), "an announced update is in the feed");
    let again = rule.done("update_announced", store.update_announced(&changed, Stamps::default()).await);
    rule.check(again == Update::Conflict, "an announced update of a former version conflicts");

    rule.check(rule.remove(&record.id).await, "the session exists");
    rule.check(feed.heard().await.contains(&record.id), "a removed session is in the feed");
    let gone = rule.done("update_announced", store.update_announced(&changed, Stamps::default()).await);
    rule.check(gone == Update::Gone, "an announced update of a removed session finds nothing");

    let mut records = Vec::new();
    for _ in 0..5 {
        records.push(rule.create(rule.session()).await);
    }
    rule.remove_all(Some(&records[4].id)).await;
    let heard = feed.heard().await;
    rule.check(
        records[..4].iter().all(|record| heard.contains(&record.id)),
        "removed sessions are in the feed",
    );
    rule.check(!heard.contains(&records[4].id), "the session that was kept is not in the feed");
    rule.finish().await;
}

/// An entry says "ask": who asks must find what has changed.
pub(super) async fn session_is_gone_before_the_feed_has_it<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "session_is_gone_before_the_feed_has_it");
    let Some(mut feed) = Feed::begin(&rule).await else { return };
    let mut records = Vec::new();
    for _ in 0..20 {
        records.push(rule.create(rule.session()).await);
    }
    let ids: Vec<SessionId> = records.iter().map(|record| record.id.clone()).collect();
    let removing = join_all(ids.iter().map(|id| rule.remove(id)));
    let following = async {
        let mut heard = Vec::new();
        for _ in 0..200 {
            for id in feed.heard().await.into_iter().filter(|id| ids.contains(id)) {
                rule.check(rule.read(&id).await.is_none(), "a session that the feed has is gone");
                heard.push(id);
            }
            if heard.len() == ids.len() {
                break;
            }
            yield_now().await;
        }
        heard
    };
    // Some leave while the feed is read.
    let (removed, mut heard) = futures_util::future::join(removing, following).await;
    rule.check(removed.iter().all(|removed| *removed), "each session exists");
    heard.extend(feed.heard().await);
    rule.check(ids.iter().all(|id| heard.contains(id)), "none is missed, in whatever order they leave");
    rule.finish().await;
}

pub(super) async fn unknown_cursor_is_a_gap<S: RefreshStore>(store: &S) {
    let rule = Rule::new(store, "unknown_cursor_is_a_gap");
    let Some(feed) = Feed::begin(&rule).await else { return };
    for place in ["", "nonsense", "-1", "18446744073709551616", "a b c", "' OR 1=1 --"] {
        let page = page_after(&rule, Some(&Cursor::new(place))).await;
        rule.check(page.is_some_and(|page| page.is_gap), format_args!("the cursor {place:?} is a gap"));
    }
    let next = page_after(&rule, Some(&feed.cursor)).await;
    rule.check(next.is_some_and(|page| !page.is_gap), "a cursor of the store is none");
    rule.finish().await;
}

struct Feed<'r, S> {
    rule: &'r Rule<'r, S>,
    cursor: Cursor,
}

impl<'r, S: RefreshStore> Feed<'r, S> {
    /// Returns `None` if the store has no feed.
    async fn begin(rule: &'r Rule<'r, S>) -> Option<Self> {
        let first = page_after(rule, None).await?;
        rule.check(first.is_gap, "nothing is known of what was before the first cursor");
        Some(Self { rule, cursor: first.next })
    }

    /// Returns what is new.
    async fn heard(&mut self) -> Vec<SessionId> {
        let mut heard = Vec::new();
        loop {
            let Some(page) = page_after(self.rule, Some(&self.cursor)).await else {
                self.rule.broken("a store that has a feed always has it");
            };
            self.rule.check(!page.is_gap, "a feed that is followed has no gap");
            heard.extend(page.sessions);
            self.cursor = page.next;
            if !page.has_more {
                return heard;
            }
        }
    }
}

async fn page_after<S: RefreshStore>(rule: &Rule<'_, S>, cursor: Option<&Cursor>) -> Option<Page> {
    match rule.done("changes", rule.store.changes(cursor).await) {
        Changes::Unsupported => None,
        Changes::Since(page) => Some(page),
    }
}
