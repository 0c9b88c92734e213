//! The feed of sessions that have ended or changed.
//!
//! On one server, the script that removes a session writes its entry, so both are done or neither. A cursor is an
//! entry. As long as the server has it, what is new is what comes after it; otherwise there is a gap.
//!
//! This also holds where a server has lost its last writes, in a crash or to a promoted replica. It then has what the
//! former master had up to some moment, and what has been written since. If the entry of the cursor is from before
//! that moment, so is all that was before it, and what has been written since has higher numbers. If it is from later,
//! it is not there: its number is the time in microseconds, so no entry that has been written since equals it. What
//! was lost is a session together with its entry: it is live again, and a node that has heard of it asks and learns
//! so.
//!
//! In a cluster, the feed is on one master and the session on another, which lose writes separately: an entry may be
//! lost although its session has ended. A cursor therefore also has the master's replication id, which is new whenever
//! a master starts or is promoted: that is a gap. The session is removed first, then its entry is written, and only
//! then does the index forget it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use redis::RedisResult;

use super::{
    RedisStore,
    connection::has_slots,
    error::{Corrupt, RedisStoreError},
    keys::parts,
    scripts::{ANNOUNCE, CHANGES},
    time,
};
use crate::{
    keys::crypto::random,
    store::{
        feed::{Changes, Cursor, Page},
        record::SessionId,
    },
};

/// What a cursor consists of: `HISTORY NUMBER ID`, where the last two are an entry.
struct Place<'c> {
    history: &'c str,
    entry: &'c str,
    number: u64,
}

impl RedisStore {
    pub(super) async fn poll(&self, cursor: Option<&Cursor>) -> Result<Changes, RedisStoreError> {
        let former = cursor.and_then(|cursor| Place::parse(cursor.as_str()));
        let number = former.as_ref().map(|former| former.number.to_string()).unwrap_or_default();
        let expected = former.as_ref().map(|former| former.entry).unwrap_or_default();
        let most = (PAGE + 1).to_string();
        let beginning = URL_SAFE_NO_PAD.encode(random::<12>());
        let is_cluster = self.connection.is_cluster();
        let history: &[u8] = if is_cluster { b"h" } else { b"" };
        let arguments =
            [number.as_bytes(), expected.as_bytes(), most.as_bytes(), beginning.as_bytes(), history];
        let keys = [self.keys.feed(), self.keys.nowhere().index];
        let keys = if is_cluster { &keys[..1] } else { &keys };
        let answer: Option<(String, Vec<String>, (u64, u32))> =
            match self.connection.run(&CHANGES, keys, &arguments).await {
                Err(error) if has_slots(&error) => None,
                answer => answer?,
            };
        let Some((history, entries, (seconds, micros))) = answer else { return Ok(Changes::Unsupported) };
        // The first one has been heard of, or is where the feed ends now.
        let (Some((first, new)), Some(last)) = (entries.split_first(), entries.last()) else {
            return Err(Corrupt.into());
        };
        let is_continued = former.is_some_and(|former| former.entry == first && former.history == history);
        Ok(Changes::Since(Page {
            sessions: new.iter().filter_map(|entry| session_of(entry)).collect(),
            is_gap: !is_continued,
            has_more: new.len() == PAGE,
            next: Cursor::new(format!("{history} {last}")),
            now: Some(time(seconds, micros)),
        }))
    }

    /// Writes entries to the feed of a cluster.
    pub(super) async fn announce(&self, tag: &str, members: &[&[u8]]) -> RedisResult<()> {
        let arguments = [&[tag.as_bytes()], members].concat();
        self.connection.run::<u64>(&ANNOUNCE, &[self.keys.feed()], &arguments).await.map(drop)
    }
}

impl<'c> Place<'c> {
    /// Returns `None` for a text that is no cursor of this store. The server's numbers are exact below 2^53.
    fn parse(cursor: &'c str) -> Option<Self> {
        let (history, entry) = cursor.split_once(' ')?;
        let (number, _) = entry.split_once(' ')?;
        let number = number.parse().ok().filter(|number| *number < 1 << 53)?;
        Some(Self { history, entry, number })
    }
}

/// Returns the session of an entry. The first entry of a feed has none.
fn session_of(entry: &str) -> Option<SessionId> {
    let (_, id) = entry.split_once(' ')?;
    let id = SessionId::new(id);
    parts(&id).is_some().then_some(id)
}

/// The most entries of one answer.
const PAGE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_is_a_history_and_an_entry_of_a_number_and_an_id() {
        let id = "a".repeat(38);
        let entry = format!("1764000000000000 {id}");
        let cursor = format!("c0ffee {entry}");
        let place = Place::parse(&cursor).expect("it is whole");
        assert_eq!((place.history, place.entry, place.number), ("c0ffee", &*entry, 1_764_000_000_000_000));
        assert_eq!(session_of(&entry), Some(SessionId::new(id)));
        assert_eq!(session_of("1764000000000000 beginning"), None);
        for malformed in
            ["", "-", "- 1", "- a b", "-  1", "- -1 a", "- 9007199254740992 a", "- 1\r\n a", "- inf a"]
        {
            assert!(Place::parse(malformed).is_none(), "{malformed:?}");
        }
    }
}
