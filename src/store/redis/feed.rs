//! The feed of sessions that have ended or changed.
//!
//! The script that removes a session writes its entry, so both are done or neither. A cursor is an entry. As long as the
//! server has it, what is new is what comes after it; otherwise there is a gap.
//!
//! This also holds where a server has lost its last writes, in a crash or to a promoted replica. It then has what the
//! former master had up to some moment, and what has been written since. If the entry of the cursor is from before that
//! moment, so is all that was before it, and what has been written since has higher numbers. If it is from later, it is not
//! there: its number is the time in microseconds, so no entry that has been written since equals it. What was lost is a
//! session together with its entry: it is live again, and a node that has heard of it asks and learns so.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::{
    RedisStore,
    connection::{CHANGES, has_slots},
    error::{Corrupt, RedisStoreError},
    keys::parts,
};
use crate::{
    keys::crypto::random,
    store::{
        feed::{Changes, Cursor, Page},
        record::SessionId,
    },
};

impl RedisStore {
    pub(super) async fn poll(&self, cursor: Option<&Cursor>) -> Result<Changes, RedisStoreError> {
        if self.connection.is_cluster() {
            return Ok(Changes::Unsupported);
        }
        let former = cursor.map(Cursor::as_str).filter(|entry| number_of(entry).is_some());
        let number = former.and_then(number_of).map(|number| number.to_string()).unwrap_or_default();
        let most = (PAGE + 1).to_string();
        let beginning = URL_SAFE_NO_PAD.encode(random::<12>());
        let arguments =
            [number.as_bytes(), former.unwrap_or_default().as_bytes(), most.as_bytes(), beginning.as_bytes()];
        let keys = [self.keys.feed(), self.keys.nowhere().index];
        let entries: Vec<String> = match self.connection.run(&CHANGES, &keys, &arguments).await {
            Err(error) if has_slots(&error) => return Ok(Changes::Unsupported),
            answer => answer?,
        };
        // The first one has been heard of, or is where the feed ends now.
        let (Some((first, new)), Some(last)) = (entries.split_first(), entries.last()) else {
            return Err(Corrupt.into());
        };
        Ok(Changes::Since(Page {
            sessions: new.iter().filter_map(|entry| session_of(entry)).collect(),
            is_gap: former != Some(first),
            has_more: new.len() == PAGE,
            next: Cursor::new(last),
        }))
    }
}

/// Returns the number of an entry, `NUMBER ID`. The server's numbers are exact below 2^53.
fn number_of(entry: &str) -> Option<u64> {
    let (number, _) = entry.split_once(' ')?;
    number.parse().ok().filter(|number| *number < 1 << 53)
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
    fn entry_is_a_number_and_an_id() {
        let id = "a".repeat(38);
        let entry = format!("1764000000000000 {id}");
        assert_eq!(number_of(&entry), Some(1_764_000_000_000_000));
        assert_eq!(session_of(&entry), Some(SessionId::new(id)));
        assert_eq!(session_of("1764000000000000 beginning"), None);
        for malformed in ["", "1", "a b", " 1", "-1 a", "9007199254740992 a", "1\r\n a", "inf a"] {
            assert_eq!(number_of(malformed), None, "{malformed:?}");
        }
    }
}
