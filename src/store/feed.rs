//! What has changed about sessions, for nodes that keep access tokens in use without asking about each.

use std::time::SystemTime;

use super::record::SessionId;

/// A place in a store's feed of changes. What it consists of is up to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor(Box<str>);

impl Cursor {
    /// Creates a cursor from the store's text for it.
    pub fn new(place: impl Into<String>) -> Self {
        Self(place.into().into_boxed_str())
    }

    /// Returns the store's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The outcome of [`RefreshStore::changes`](super::RefreshStore::changes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changes {
    /// The store keeps no feed.
    Unsupported,
    /// What has changed after the cursor.
    Since(Page),
}

/// A page of changes.
///
/// An entry carries no verdict: it says that the session must be asked about. Entries that are doubled or wrong cost a
/// read each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The sessions that have ended, or whose claims, scope or XSRF token have changed.
    pub sessions: Vec<SessionId>,
    /// Whether anything may have changed that `sessions` does not name: the cursor was `None`, is too old or of another
    /// database, or too much has changed at once. Each access token is then asked about once.
    pub is_gap: bool,
    /// Whether more pages follow at once.
    pub has_more: bool,
    /// Where the next page begins.
    pub next: Cursor,
    /// The time by the store's clock, with which followers compare their own; `None` if it has none of its own.
    pub now: Option<SystemTime>,
}
