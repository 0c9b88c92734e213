//! Changes to a session's custom claims: replaced by the application, or reloaded.

use std::time::SystemTime;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    answers::UpdatedClaims,
    error::SessionError,
    issue::cannot_issue,
    records::{MAX_ROUNDS, Unavailable},
    rotation::Write,
    sessions::{Sessions, speaks_for},
    writes::End,
};
use crate::{
    store::{SessionRecord, Snapshot, Stamps, Update},
    token::{Claims, Source, check_readable, to_object, xsrf},
    trace,
};

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Replaces the custom claims of the current session, for example when the user changes their name. For a role, use
    /// [`update_privileges`](Self::update_privileges).
    ///
    /// Other sessions of the user keep their claims, or with [`with_reload`](super::SessionsBuilder::with_reload)
    /// reload them when they are next rotated. The returned value clears the access cookie, so that the session is
    /// refreshed on the next request, which then carries the new claims.
    ///
    /// # Errors
    ///
    /// Returns a [`SessionError`] if the session has ended, the store fails, or the claims cannot be issued.
    pub async fn update_claims(&self, claims: &Claims<C>, custom: &C) -> Result<UpdatedClaims, SessionError> {
        self.change_claims(claims, custom, false).await
    }

    /// Replaces the custom claims of the current session and generates a new XSRF token, for changes of privilege.
    ///
    /// Requests that send the previous XSRF token, for example from another tab, are then refused. Apart from the
    /// XSRF token, the effect is that of [`update_claims`](Self::update_claims).
    ///
    /// # Errors
    ///
    /// Returns a [`SessionError`] in the same cases as [`update_claims`](Self::update_claims).
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
        let (id, subject) = speaks_for(claims).ok_or_else(SessionError::ended)?;
        let object = to_object(custom)?;
        inner.issuer.check_names(&object)?;
        let json = Value::Object(object).to_string();
        // What cannot be read back would end the session at its next refresh.
        check_readable::<C>(&json)?;
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
            let written = match inner.records.update_announced(&write).await? {
                Update::Conflict => continue,
                Update::Gone => return Err(SessionError::ended()),
                Update::Done(written) => written,
            };
            // Not the new token itself: a handler that takes its time could revive with it a browser that
            // has been signed out meanwhile. Without one, the next request is refreshed.
            let cookies = match (claims.source(), claims.proof_time()) {
                // Another proof would use up one of the few that a browser makes, so the token is replaced by one that is
                // good for no longer.
                (Source::Cookie, Some(proof_time)) => {
                    let (now, expires_at) = (inner.clock.now(), claims.expires_at());
                    self.issue_until(&written, None, now, expires_at, Some(proof_time))?.into_cookies()
                }
                (Source::Cookie, None) => vec![inner.cookies.access.clear()],
                _ => Vec::new(),
            };
            return Ok(UpdatedClaims { cookies, xsrf_token: written.xsrf_token });
        }
        Err(Unavailable::contended().into())
    }

    /// Returns `true` if the claims must be reloaded without a rotation.
    ///
    /// Claims are normally reloaded by a rotation. A client that never lets its generation settle, and so is never
    /// rotated, must not keep its claims for longer than the lifetime of an access token.
    pub(super) fn is_reload_due(&self, record: &SessionRecord, now: SystemTime) -> bool {
        let age = now.duration_since(record.claims_at).unwrap_or_default();
        self.inner().reload.is_some() && age >= self.inner().lifetimes.access
    }

    /// Returns the current claims as JSON.
    ///
    /// If the user must not stay signed in, ends the session and returns `None`.
    pub(super) async fn reload_or_end(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let claims = self.reload(record).await?;
        if claims.is_none() {
            self.inner().records.end(record.clone(), End::SignedOut).await?;
        }
        Ok(claims)
    }

    /// Returns the current claims as JSON: the reloaded ones, or those of the record if no `ReloadClaims` is
    /// configured.
    ///
    /// Returns `None` if the user must not stay signed in.
    async fn reload(&self, record: &SessionRecord) -> Result<Option<String>, Unavailable> {
        let Some(reload) = &self.inner().reload else {
            return Ok(Some(record.claims.to_string()));
        };
        let former = serde_json::from_str(&record.claims).ok();
        let claims = reload.reload(&record.subject, former).await.map_err(|error| {
            trace::reload_failed(&*error);
            Unavailable(error)
        })?;
        let Some(claims) = claims else {
            return Ok(None);
        };
        let json = Value::Object(to_object(&claims).map_err(cannot_issue)?).to_string();
        // If others were stored, every request would have to reload them.
        check_readable::<C>(&json).map_err(cannot_issue)?;
        Ok(Some(json))
    }
}
