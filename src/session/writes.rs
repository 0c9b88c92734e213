//! Writes that begin, advance or end a session, each together with its event.
//!
//! Once begun, they are carried through even if the request that asked for them is dropped, because the peer has hung up:
//! otherwise a session could end without anyone learning of it. Where there is a runtime (the features of stores over a
//! network, on Tokio) a task of their own takes over then; a store that answers at the first poll needs none.

#[cfg(any(feature = "jwks-remote", feature = "postgres", feature = "redis", feature = "sqlite"))]
use super::carried::carried_through;
use super::{
    events::{Listener, SessionEvent},
    records::{Records, Unavailable},
    rotation::{self, Write},
};
use crate::store::{NewRecord, SessionId, SessionRecord, Update};

/// The event of a write to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteEvent {
    Rotated,
    AnswerLost,
    LostWrites { presented: u32, stored: u32 },
    Narrowed { presented: u32 },
    DeviceBound { thumbprint: [u8; 32] },
}

impl WriteEvent {
    fn raise(self, events: &Listener, record: &SessionRecord) {
        let (subject, session, generation) = (&*record.subject, &record.id, record.generation);
        events.raise(match self {
            Self::Rotated => SessionEvent::Rotated { subject, session, generation },
            Self::AnswerLost => SessionEvent::AnswerLost {
                subject,
                session,
                generation,
                in_a_row: rotation::reissues(record),
            },
            Self::LostWrites { presented, stored } => {
                SessionEvent::StoreLostWrites { subject, session, presented, stored }
            }
            Self::Narrowed { presented } => {
                SessionEvent::Narrowed { subject, session, presented, generation }
            }
            Self::DeviceBound { thumbprint } => SessionEvent::DeviceBound { subject, session, thumbprint },
        });
    }
}

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It was signed out or revoked.
    SignedOut,
    /// A token of generation `presented` was reused.
    Reused { presented: u32 },
    /// The user has as many sessions as may be.
    LimitReached,
}

impl End {
    fn raise(self, events: &Listener, record: &SessionRecord) {
        let (subject, session) = (&*record.subject, &record.id);
        events.raise(match self {
            Self::SignedOut => SessionEvent::Ended { subject, session },
            Self::Reused { presented } => {
                SessionEvent::ReuseDetected { subject, session, presented, current: record.generation }
            }
            Self::LimitReached => SessionEvent::LimitReached { subject, session },
        });
    }
}

impl Records {
    /// Writes a record, and raises the events if it was written.
    pub(super) async fn update_raising(
        &self,
        write: Write,
        events: Vec<WriteEvent>,
    ) -> Result<Update, Unavailable> {
        let records = self.clone();
        carried_through(async move {
            let update = records.update(&write).await?;
            if let Update::Done(written) = &update {
                for event in events {
                    if let WriteEvent::LostWrites { .. } = event {
                        records.begin_round();
                    }
                    event.raise(&records.events, written);
                }
            }
            Ok(update)
        })
        .await
    }

    /// Ends a session, and raises the event if it was there.
    pub(super) async fn end(&self, record: SessionRecord, end: End) -> Result<(), Unavailable> {
        let records = self.clone();
        carried_through(async move { records.end_here(&record, end).await }).await
    }

    /// Removes a session that is gone: a call that failed halfway may have left it without an entry in the store's feed.
    pub(super) async fn end_again(&self, id: SessionId) -> Result<(), Unavailable> {
        let records = self.clone();
        carried_through(async move { records.remove(&id).await.map(drop) }).await
    }

    async fn end_here(&self, record: &SessionRecord, end: End) -> Result<(), Unavailable> {
        if self.remove(&record.id).await? {
            end.raise(&self.events, record);
        }
        Ok(())
    }

    /// Ends all sessions of a subject except `keep`, and raises the event.
    pub(super) async fn end_all(&self, subject: &str, keep: Option<SessionId>) -> Result<u64, Unavailable> {
        let (records, subject) = (self.clone(), subject.to_owned());
        carried_through(async move {
            let count = records.remove_all(&subject, keep.as_ref()).await?;
            records.events.raise(SessionEvent::AllEnded { subject: &subject, count });
            Ok(count)
        })
        .await
    }

    /// Begins a session in place of former ones, and raises the events; `None` when the store is full.
    ///
    /// If the store fails, the former sessions stay. If it is full, they are ended first to make room. Those that
    /// `over_limit` lists end last, with an event of their own.
    pub(super) async fn begin(
        &self,
        session: NewRecord,
        former: Vec<SessionRecord>,
        over_limit: Vec<SessionRecord>,
    ) -> Result<Option<SessionRecord>, Unavailable> {
        let records = self.clone();
        carried_through(async move {
            let mut begun = records.create(session.clone()).await?;
            for record in &former {
                if let Err(error) = records.end_here(record, End::SignedOut).await {
                    if let Some(begun) = &begun {
                        // Its tokens were never sent, so a session that cannot be removed now just expires.
                        let _ = records.remove(&begun.id).await;
                    }
                    return Err(error);
                }
            }
            if begun.is_none() && !former.is_empty() {
                begun = records.create(session).await?;
            }
            if let Some(record) = &begun {
                let (subject, session) = (&*record.subject, &record.id);
                records.events.raise(SessionEvent::SignedIn { subject, session });
                for record in &over_limit {
                    // The user is signed in. One session too many is ended at the next sign-in.
                    let _ = records.end_here(record, End::LimitReached).await;
                }
            }
            Ok(begun)
        })
        .await
    }
}

#[cfg(not(any(feature = "jwks-remote", feature = "postgres", feature = "redis", feature = "sqlite")))]
async fn carried_through<T>(work: impl Future<Output = Result<T, Unavailable>>) -> Result<T, Unavailable> {
    work.await
}
