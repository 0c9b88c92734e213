use std::{fmt, sync::Arc, time::Duration};

use crate::{
    request::{RefusalListener, Report},
    store::SessionId,
};

/// Something that happened to a session.
///
/// Carries no token, secret or XSRF value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent<'a> {
    /// A user signed in.
    #[non_exhaustive]
    SignedIn {
        /// The user.
        subject: &'a str,
        /// The new session.
        session: &'a SessionId,
    },
    /// The session advanced to a new generation.
    #[non_exhaustive]
    Rotated {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The new generation.
        generation: u32,
    },
    /// A refresh token was presented that no legitimate client can still hold, and the session was revoked.
    ///
    /// Either this token or its successor has been stolen (RFC 9700 §4.14.2).
    #[non_exhaustive]
    ReuseDetected {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The generation of the token.
        presented: u32,
        /// The generation of the session.
        current: u32,
    },
    /// A client proved that it holds a later generation than the store's, and the record was moved to it.
    ///
    /// This means that the store has lost writes.
    #[non_exhaustive]
    StoreLostWrites {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The generation of the token.
        presented: u32,
        /// The generation in the store.
        stored: u32,
    },
    /// A refresh token was presented again long after its response: the response was lost, or a proxy in between drops
    /// `Set-Cookie`. The new response began a generation, which the client can confirm.
    #[non_exhaustive]
    AnswerLost {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The new generation.
        generation: u32,
        /// The number of such responses in a row, including this one.
        in_a_row: u32,
    },
    /// The session was signed out or revoked.
    #[non_exhaustive]
    Ended {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
    },
    /// A client exchanged its refresh token for an access token of narrower scope (RFC 6749 §6).
    #[non_exhaustive]
    Narrowed {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The generation of the refresh token.
        presented: u32,
        /// The generation of the session.
        generation: u32,
    },
    /// A refresh token that this crate signed was presented with a secret that is not the session's. It was refused, and
    /// the session is unchanged; whoever made it holds the signing key.
    #[non_exhaustive]
    WrongSecret {
        /// The user of the session that the token names.
        subject: &'a str,
        /// The session that the token names.
        session: &'a SessionId,
        /// The generation of the token.
        presented: u32,
    },
    /// A request presented cookies of several sessions and was refused.
    ///
    /// Another host of the domain may have set one of them (cookie tossing), or they remain from a deployment with
    /// another domain or path; see [`CookiePolicy::with_former`](crate::CookiePolicy::with_former).
    #[non_exhaustive]
    AmbiguousCookies {
        /// The live sessions whose cookies the request presented.
        ///
        /// If it presented more cookies than are verified, these are the sessions of those that were, live or not.
        sessions: &'a [SessionId],
        /// The subjects of the sessions, in the same order. Empty if there were too many cookies.
        subjects: &'a [Box<str>],
    },
    /// A request was refused by a layer, by the refresh service, or at sign-in or sign-out because of its origin.
    ///
    /// What is known of the user is what the layers had verified by then: nothing if the token was refused.
    #[non_exhaustive]
    Refused {
        /// The stable code of the refusal; see [`Refusal::code`](crate::reject::Refusal::code).
        code: &'a str,
        /// The reason, in words. It contains nothing that the client has sent.
        reason: &'a str,
        /// The user, if known.
        subject: Option<&'a str>,
        /// The session, if known.
        session: Option<&'a SessionId>,
        /// The generation of the token, if known.
        generation: Option<u32>,
    },
    /// The session was ended by a sign-in, because its user had as many sessions as
    /// [`with_max_sessions`](super::SessionsBuilder::with_max_sessions) allows.
    #[non_exhaustive]
    LimitReached {
        /// The user.
        subject: &'a str,
        /// The session that has ended: the one that was used least recently.
        session: &'a SessionId,
    },
    /// All sessions of a user, or all except one, were ended.
    ///
    /// If the store fails on the way, some may have ended without this event, whose `count` has those of the call that
    /// succeeded.
    #[non_exhaustive]
    AllEnded {
        /// The user.
        subject: &'a str,
        /// The number of sessions ended.
        count: u64,
    },
    /// The first proof of a device has bound the session to its key.
    #[non_exhaustive]
    DeviceBound {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The SHA-256 thumbprint of the device's public key (RFC 7638).
        thumbprint: [u8; 32],
    },
    /// Cookies of a session that is bound to a device came without a proof. With
    /// [`Enforcement::Always`](super::Enforcement::Always), they were refused; the session is unchanged.
    ///
    /// Either the browser has lost its key or could not sign, or the cookies have been copied.
    #[non_exhaustive]
    ProofMissing {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The generation of the refresh token.
        presented: u32,
        /// The generation of the session.
        current: u32,
    },
    /// A proof of a device was refused. Nothing was asked of the store, so the session may not exist any more.
    #[non_exhaustive]
    ProofRefused {
        /// The session that the browser named.
        session: &'a SessionId,
        /// The reason, in words. It contains nothing that the client has sent.
        reason: &'a str,
    },
    /// A second device has proven itself for a session that is bound to another. It was refused, and the session is
    /// unchanged.
    ///
    /// Two devices have registered a key in the minutes after the sign-in: if the session is the thief's, the user's next
    /// sign-in from this browser ends it.
    #[non_exhaustive]
    BindingConflict {
        /// The user.
        subject: &'a str,
        /// The session.
        session: &'a SessionId,
        /// The SHA-256 thumbprint of the key that was refused (RFC 7638).
        thumbprint: [u8; 32],
    },
    /// This node has not heard from the store's feed of changes for longer than the bound of
    /// [`with_sign_out_within`](super::SessionsBuilder::with_sign_out_within), or not at all yet.
    #[non_exhaustive]
    Behind {
        /// How long ago the last complete answer was asked for, if there was one.
        age: Option<Duration>,
    },
    /// This node is up to date with the store's feed of changes again, or for the first time.
    #[non_exhaustive]
    CaughtUp {
        /// The number of sessions that have lately ended or changed.
        entries: usize,
    },
    /// More sessions have ended or changed than a node keeps in mind: it asks about each access token once.
    Overflow,
    /// The store's changes are found by asking alone, and not pushed any more: a lost connection, or a pooler that does
    /// not pass them on. They are heard of a little later, but within the bound.
    PushLost,
    /// The clocks of this node and of the store are more than ten seconds apart. Access tokens that another node has just
    /// issued may then be asked about, or, if this node has just started, not be asked about although it should: let both
    /// follow a time server.
    #[non_exhaustive]
    ClockOff {
        /// How far they are apart.
        by: Duration,
    },
}

/// A call that the store has answered or failed.
///
/// Calls whose request was given up are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCall {
    /// What the store was asked for.
    pub operation: StoreOperation,
    /// How long it took, by the monotonic clock of this process.
    pub elapsed: Duration,
    /// Whether it failed; the log has the cause.
    pub failed: bool,
}

/// An operation of the store, in a [`StoreCall`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// Creates a session.
    Create,
    /// Reads a session.
    Read,
    /// Replaces a session's record unless another writer was first.
    Update,
    /// Ends a session.
    Remove,
    /// Lists the sessions of a user.
    List,
    /// Ends the sessions of a user.
    RemoveAll,
}

impl StoreOperation {
    /// Returns the name of the method of [`RefreshStore`](crate::store::RefreshStore), such as `remove_all`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Remove => "remove",
            Self::List => "list",
            Self::RemoveAll => "remove_all",
        }
    }
}

impl fmt::Display for StoreOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Listens to session events, for example to write an audit log or to notify the user.
///
/// The listener is called while a request is being served, so slow work belongs on another task or thread. Closures
/// that take `&SessionEvent` implement this trait, if the type of their argument is annotated.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, session::SessionEvent};
///
/// let thefts = Arc::new(AtomicU32::new(0));
/// let counter = thefts.clone();
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
///     .with_audience("shop")
///     .with_events(move |event: &SessionEvent<'_>| {
///         if matches!(event, SessionEvent::ReuseDetected { .. }) {
///             counter.fetch_add(1, Ordering::Relaxed);
///         }
///     })
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not listen to session events",
    note = "a closure needs an annotated argument, as in `|event: &SessionEvent<'_>| …`, and must be `Send + Sync + 'static`"
)]
pub trait SessionEvents: Send + Sync + 'static {
    /// Handles an event.
    fn on_event(&self, event: &SessionEvent<'_>);

    /// Handles a call of the store, for metrics of its failures and latency. There is about one for each refresh, sign-in
    /// and sign-out, and one for each first use of an access token.
    ///
    /// Defaults to doing nothing, and closures do nothing.
    fn on_store_call(&self, call: &StoreCall) {
        let _ = call;
    }
}

impl<F: Fn(&SessionEvent<'_>) + Send + Sync + 'static> SessionEvents for F {
    fn on_event(&self, event: &SessionEvent<'_>) {
        self(event);
    }
}

/// The default listener: logs events with the `tracing` feature, and does nothing without it.
///
/// Reuse, lost writes, wrong secrets and ambiguous cookies are logged at `WARN`, and so are responses lost three times
/// in a row, and nodes that are behind; rotations at `DEBUG`, calls of the store at `TRACE`, and other events at `INFO`. Refused requests are logged by the layers themselves.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::session::{SessionEvent, SessionEvents, TraceEvents};
///
/// /// A listener that also logs.
/// fn listen(event: &SessionEvent<'_>) {
///     TraceEvents.on_event(event);
///     // What the application does.
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceEvents;

impl SessionEvents for TraceEvents {
    #[cfg(feature = "tracing")]
    fn on_event(&self, event: &SessionEvent<'_>) {
        match event {
            SessionEvent::SignedIn { subject, session } => {
                tracing::info!(target: EVENTS, subject, %session, "signed in");
            }
            SessionEvent::Rotated { subject, session, generation } => {
                tracing::debug!(
                    target: EVENTS,
                    subject, %session, generation, "session rotated"
                );
            }
            SessionEvent::ReuseDetected { subject, session, presented, current } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, presented, current, "refresh token reused: session revoked"
                );
            }
            SessionEvent::StoreLostWrites { subject, session, presented, stored } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, presented, stored, "the session store has lost writes"
                );
            }
            SessionEvent::AnswerLost { subject, session, generation, in_a_row } if *in_a_row < 3 => {
                tracing::info!(
                    target: EVENTS,
                    subject, %session, generation, in_a_row, "the response to a refresh was lost"
                );
            }
            SessionEvent::AnswerLost { subject, session, generation, in_a_row } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, generation, in_a_row,
                    "responses to refreshes are lost: does a proxy in between drop `Set-Cookie`?"
                );
            }
            SessionEvent::Narrowed { subject, session, presented, generation } => {
                tracing::info!(
                    target: EVENTS,
                    subject, %session, presented, generation, "access token of narrower scope issued"
                );
            }
            SessionEvent::WrongSecret { subject, session, presented } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, presented, "refresh token with a wrong secret: refused"
                );
            }
            SessionEvent::AmbiguousCookies { sessions, subjects } => {
                tracing::warn!(
                    target: EVENTS,
                    ?sessions, ?subjects, "cookies of several sessions: request refused"
                );
            }
            // The layers log it, with more than is known here.
            SessionEvent::Refused { .. } => {}
            SessionEvent::LimitReached { subject, session } => {
                tracing::info!(
                    target: EVENTS,
                    subject, %session, "session ended: the user has too many"
                );
            }
            SessionEvent::Ended { subject, session } => {
                tracing::info!(target: EVENTS, subject, %session, "session ended");
            }
            SessionEvent::AllEnded { subject, count } => {
                tracing::info!(target: EVENTS, subject, count, "sessions ended");
            }
            SessionEvent::DeviceBound { subject, session, .. } => {
                tracing::info!(target: EVENTS, subject, %session, "session bound to a device");
            }
            SessionEvent::ProofMissing { subject, session, presented, current } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, presented, current,
                    "cookies of a session that is bound to a device came without a proof"
                );
            }
            SessionEvent::ProofRefused { session, reason } => {
                tracing::warn!(target: EVENTS, %session, reason, "proof of a device refused");
            }
            SessionEvent::BindingConflict { subject, session, .. } => {
                tracing::warn!(
                    target: EVENTS,
                    subject, %session, "another device than that of the session has proven itself: refused"
                );
            }
            SessionEvent::Behind { age } => {
                tracing::warn!(
                    target: EVENTS,
                    ?age, "this node is behind the store's feed of sessions that have ended or changed"
                );
            }
            SessionEvent::CaughtUp { entries } => {
                tracing::info!(target: EVENTS, entries, "this node is up to date with the store's feed");
            }
            SessionEvent::Overflow => {
                tracing::warn!(
                    target: EVENTS,
                    "too many sessions have ended or changed to be kept in mind: each access token is asked about once"
                );
            }
            SessionEvent::PushLost => {
                tracing::info!(target: EVENTS, "the store's changes are not pushed any more, but asked for");
            }
            SessionEvent::ClockOff { by } => {
                tracing::warn!(target: EVENTS, ?by, "the clocks of this node and of the store are apart");
            }
        }
    }

    #[cfg(not(feature = "tracing"))]
    fn on_event(&self, _: &SessionEvent<'_>) {}

    #[cfg(feature = "tracing")]
    fn on_store_call(&self, call: &StoreCall) {
        let StoreCall { operation, elapsed, failed } = call;
        tracing::trace!(target: EVENTS, %operation, ?elapsed, failed, "the store was called");
    }
}

/// The target of session events in the log.
#[cfg(feature = "tracing")]
const EVENTS: &str = "tower_cookie_jwt::session";

/// A type-erased listener, shared by the writes that raise events.
#[derive(Clone)]
pub(super) struct Listener(Arc<dyn SessionEvents>);

impl Listener {
    pub(super) fn new(events: impl SessionEvents) -> Self {
        Self(Arc::new(events))
    }

    pub(super) fn raise(&self, event: SessionEvent<'_>) {
        self.0.on_event(&event);
    }

    pub(super) fn called(&self, call: StoreCall) {
        self.0.on_store_call(&call);
    }

    /// Returns a listener to what the layers refuse.
    pub(super) fn to_refusals(&self) -> RefusalListener {
        let events = self.clone();
        RefusalListener::new(move |report| {
            let Report { code, reason, subject, session, generation } = *report;
            let session = session.map(SessionId::from);
            events.raise(SessionEvent::Refused {
                code,
                reason,
                subject,
                session: session.as_ref(),
                generation,
            });
        })
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionEvents")
    }
}
