//! Which cookies may go on a response, now that its handler is done.

use std::time::SystemTime;

use crate::store::SessionRecord;

/// What the record, read once more, says about the cookies of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// They may go; the refresh cookie only while nobody has shown that the client holds it.
    Cookies { with_refresh: bool },
    /// The session has moved on meanwhile.
    Superseded,
    /// The session has ended meanwhile.
    Ended,
}

/// Cookies of `generation` go only while the session is live and of the same generation, and the refresh
/// cookie only if that has not been confirmed: a slow handler can neither overwrite a newer cookie nor
/// revive a signed-out browser.
pub(crate) fn admit(generation: u32, record: Option<&SessionRecord>, now: SystemTime) -> Admission {
    match record.filter(|record| record.is_live(now)) {
        None => Admission::Ended,
        Some(record) if record.generation != generation => Admission::Superseded,
        Some(record) => Admission::Cookies { with_refresh: record.confirmed_at.is_none() },
    }
}
