//! The application's claims of a session: replaced by the application, or reloaded.

use std::time::SystemTime;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    answers::UpdatedClaims,
    error::SessionError,
    issue::cannot_issue,
    records::{MAX_ROUNDS, Unavailable},
    rotation::Write,
    sessions::{Sessions, session_of},
};
use crate::{
    store::{SessionRecord, Snapshot, Stamps, Update},
    token::{Claims, IssueError, IssueErrorKind, Source, to_object, xsrf},
    trace,
};

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Replaces the application's claims of the present session, as when the user changes their name
    /// or gains a role. Other sessions of the user keep theirs until they are rotated.
    ///
    /// The answer clears the access cookie, so that the next request is refreshed and carries the new
    /// claims.
    ///
    /// # Errors
    ///
    /// [`SessionError`] when the session has ended, the store fails, or the claims cannot be issued.
    pub async fn update_claims(&self, claims: &Claims<C>, custom: &C) -> Result<UpdatedClaims, SessionError> {
        self.change_claims(claims, custom, false).await
    }

    /// As [`update_claims`](Self::update_claims), with a fresh XSRF token: for a change of privilege.
    /// A value that a tab kept from before then fails.
    ///
    /// # Errors
    ///
    /// As [`update_claims`](Self::update_claims).
    pub async fn update_privileges(
        &self,
        claims: &Claims<C>,
        custom: &C,
    ) -> Result<UpdatedClaims, SessionError> {
        self.change_claims(claims, custom, true).await
    }

    async fn change_claims(
        &self,
        claims: &Claims<C>,
        custom: &C,
        fresh_xsrf: bool,
    ) -> Result<UpdatedClaims, SessionError> {
        let inner = self.inner();
        let (id, subject) = session_of(claims).ok_or_else(SessionError::ended)?;
        let object = to_object(custom)?;
        inner.issuer.check_names(&object)?;
        let json = Value::Object(object).to_string();
        let fresh = fresh_xsrf.then(xsrf::generate);
        for _ in 0..MAX_ROUNDS {
            let Snapshot { record, now: store_now } = inner.records.read(&id).await?;
            let record = record
                .filter(|record| record.is_live(store_now) && *record.subject == *subject)
                .ok_or_else(SessionError::ended)?;
            let mut next = record.with_claims(json.clone());
            if let Some(value) = &fresh {
                next.xsrf_token = value.as_str().into();
            }
            // What cannot be issued must not be stored.
            self.issue(&next, None, inner.clock.now())?;
            next.claims_at = store_now;
            let write = Write { record: next, stamps: Stamps::default() };
            let written = match inner.records.update(&write).await? {
                Update::Conflict => continue,
                Update::Gone => return Err(SessionError::ended()),
                Update::Done(written) => written,
            };
            // Not the new token itself: a handler that takes its time could revive with it a browser that
            // has been signed out meanwhile. Without one, the next request is refreshed.
            let cookies = match claims.source() {
                Source::Cookie => vec![inner.cookies.access.clear()],
                _ => Vec::new(),
            };
            return Ok(UpdatedClaims { cookies, xsrf_token: written.xsrf_token });
        }
        Err(SessionError::Unavailable)
    }

    /// Claims are as old as the last rotation. A client that never lets its generation settle must not
    /// keep them for longer than an access token lives.
    pub(super) fn is_reload_due(&self, record: &SessionRecord, now: SystemTime) -> bool {
        let age = now.duration_since(record.claims_at).unwrap_or_default();
        self.inner().reload.is_some() && age >= self.inner().lifetimes.access
    }

    /// The present claims as JSON; `None` once the session of a user who may not stay has been ended.
    pub(super) async fn reload_or_end(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let claims = self.reload(record).await?;
        if claims.is_none() {
            self.end(record).await?;
        }
        Ok(claims)
    }

    /// The present claims as JSON, those of the record where nobody reloads them; `None` when the user may
    /// not stay.
    async fn reload(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let Some(reload) = &self.inner().reload else {
            return Ok(Some(record.claims.to_string()));
        };
        let claims = reload.reload(&record.subject).await.map_err(|error| {
            trace::reload_failed(&error);
            Unavailable
        })?;
        let Some(claims) = claims else {
            return Ok(None);
        };
        let json = Value::Object(to_object(&claims).map_err(cannot_issue)?).to_string();
        if serde_json::from_str::<C>(&json).is_err() {
            // Stored, they would have to be reloaded for every request.
            return Err(cannot_issue(IssueError::new(IssueErrorKind::NotReadable)));
        }
        Ok(Some(json))
    }
}
