//! Operations on all sessions of a subject, in batches, so that no script blocks the server for long. The timeout is
//! that of a batch: any number of sessions can be listed and removed.

use std::collections::BTreeSet;

use super::{
    RedisStore,
    connection::whole,
    error::RedisStoreError,
    keys::parts,
    record::decode,
    scripts::{FETCH, FIRST, REMOVE, SCAN, UNLINK},
    time,
};
use crate::store::record::{SessionId, SessionRecord};

impl RedisStore {
    pub(super) async fn list_all(&self, subject: &str) -> Result<Vec<SessionRecord>, RedisStoreError> {
        let tag = self.keys.tag(subject);
        let members = Vec::from_iter(self.members(&tag).await?);
        let mut sessions = Vec::with_capacity(members.len());
        for batch in members.chunks(BATCH) {
            let keys = self.keys_of(&tag, batch);
            let (seconds, micros, values): (u64, u32, Vec<Option<Vec<u8>>>) =
                self.within(self.connection.run(&FETCH, &keys, &[])).await?;
            let now = time(seconds, micros);
            for (member, value) in batch.iter().zip(values) {
                let Some(value) = value else {
                    continue;
                };
                let record = decode(&SessionId::new(format!("{tag}{member}")), &value)?;
                if record.is_live(now) && *record.subject == *subject {
                    sessions.push(record);
                }
            }
        }
        sessions.sort_by(SessionRecord::by_sign_in);
        Ok(sessions)
    }

    /// Returns all members that are in an index for the whole duration of the call, and possibly some that are added
    /// or removed in the meantime.
    async fn members(&self, tag: &str) -> Result<BTreeSet<String>, RedisStoreError> {
        let index = [self.keys.index(tag)];
        let count = BATCH.to_string();
        let mut members = BTreeSet::new();
        let mut cursor = "0".to_owned();
        loop {
            // A page contains pairs of a member and its score.
            let arguments = [cursor.as_bytes(), count.as_bytes()];
            let (next, page): (String, Vec<(String, String)>) =
                self.within(self.connection.run(&SCAN, &index, &arguments)).await?;
            members.extend(page.into_iter().map(|(member, _)| member));
            if next == "0" {
                return Ok(members);
            }
            cursor = next;
        }
    }

    pub(super) async fn remove_members(&self, tag: &str, members: &[String]) -> Result<u64, RedisStoreError> {
        if self.connection.is_cluster() {
            let (store, tag, members) = (self.clone(), tag.to_owned(), members.to_vec());
            let removing = async move { store.within(store.remove_in_steps(&tag, &members)).await };
            return whole(removing).await.unwrap_or(Err(RedisStoreError::TIMED_OUT));
        }
        let arguments: Vec<_> = members.iter().map(String::as_bytes).collect();
        self.within(self.connection.run_across(
            &REMOVE,
            self.keys_of(tag, members),
            self.keys.feed(),
            &arguments,
        ))
        .await
    }

    /// Removes sessions of a cluster, whose feed is in another slot.
    ///
    /// They stay in the index until they have been announced: what is interrupted before is announced by the next call
    /// that removes all sessions of the subject, or this one.
    async fn remove_in_steps(&self, tag: &str, members: &[String]) -> Result<u64, RedisStoreError> {
        let keys = self.keys_of(tag, members);
        let arguments: Vec<_> = members.iter().map(String::as_bytes).collect();
        let removed = self.connection.run(&UNLINK, &keys[1..], &[]).await?;
        self.announce(tag, &arguments).await?;
        self.connection.run::<u64>(&REMOVE, &keys, &arguments).await?;
        Ok(removed)
    }

    /// Removes the sessions in batches. Sessions that remain after an interruption are still in the index.
    pub(super) async fn remove_others(
        &self,
        subject: &str,
        keep: Option<&SessionId>,
    ) -> Result<u64, RedisStoreError> {
        let tag = self.keys.tag(subject);
        let index = [self.keys.index(&tag)];
        let kept = keep.and_then(parts).filter(|(tag_of_kept, _)| *tag_of_kept == tag).map(|(_, kept)| kept);
        // The zero-based position of the last member: one more than a batch, since one may be the session to keep.
        let last = BATCH.to_string();
        let mut removed = 0;
        loop {
            let mut members: Vec<String> =
                self.within(self.connection.run(&FIRST, &index, &[last.as_bytes()])).await?;
            members.retain(|member| Some(member.as_str()) != kept);
            if members.is_empty() {
                return Ok(removed);
            }
            removed += self.remove_members(&tag, &members).await?;
        }
    }

    /// Returns the keys of the index and of the records of `members`.
    fn keys_of(&self, tag: &str, members: &[String]) -> Vec<String> {
        let records = members.iter().map(|member| self.keys.record(tag, member));
        std::iter::once(self.keys.index(tag)).chain(records).collect()
    }
}

/// The number of sessions that a script processes in one batch.
const BATCH: usize = 250;
