//! Issues the tokens and cookies of a session record.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde_json::{Map, Value};

use super::{
    records::Unavailable,
    sessions::{Lifetimes, Sessions},
};
use crate::{
    clock::{later, unix_seconds},
    request::{REFRESH_TYPE, RefreshToken, SessionSecret},
    store::{SessionId, SessionRecord},
    token::{ACCESS_TYPE, Expiry, IssueError, NewToken, Scopes, largest_claim, new_token_id, token_id_of},
    trace,
};

/// The tokens of one generation of a session, and the cookies that carry them to the client.
pub(crate) struct Issued {
    /// The record that the tokens were issued for.
    record: SessionRecord,
    /// The access token.
    pub(crate) token: String,
    pub(crate) expires_at: SystemTime,
    access: HeaderValue,
    /// `None` if the client is known to have it already.
    refresh: Option<HeaderValue>,
    /// When the device proved itself, if it did.
    proof_time: Option<SystemTime>,
    /// Sent with every access cookie, because it must equal the XSRF claim of the access token.
    xsrf: Option<HeaderValue>,
}

impl Issued {
    pub(crate) fn id(&self) -> &SessionId {
        &self.record.id
    }

    pub(crate) const fn record(&self) -> &SessionRecord {
        &self.record
    }

    pub(crate) fn xsrf_token(&self) -> &str {
        &self.record.xsrf_token
    }

    pub(super) const fn generation(&self) -> u32 {
        self.record.generation
    }

    /// Whether the access cookie still says what the record of its generation says.
    pub(super) fn is_current(&self, record: &SessionRecord) -> bool {
        self.record.claims == record.claims && self.record.xsrf_token == record.xsrf_token
    }

    /// Returns `true` if cookies issued for `record` would be the same, except for token IDs and signatures.
    ///
    /// Times are compared in whole seconds, as tokens carry them.
    pub(super) fn says_same_as(&self, record: &SessionRecord) -> bool {
        let said = |record: &SessionRecord| {
            let ends = unix_seconds(record.absolute_expires_at);
            (record.generation, unix_seconds(record.created_at), ends)
        };
        let issued = &self.record;
        issued.id == record.id
            && issued.subject == record.subject
            && issued.scope == record.scope
            && said(issued) == said(record)
            && self.is_current(record)
    }

    pub(super) const fn proof_time(&self) -> Option<SystemTime> {
        self.proof_time
    }

    pub(super) fn with_refresh_of(self, other: Self) -> Self {
        Self { refresh: other.refresh, ..self }
    }

    /// Whether the refresh cookie goes along.
    pub(crate) const fn has_refresh(&self) -> bool {
        self.refresh.is_some()
    }

    /// Leaves the refresh cookie out: the client has shown that it holds one of this generation.
    pub(super) fn without_refresh(self) -> Self {
        Self { refresh: None, ..self }
    }

    pub(crate) fn into_cookies(self) -> Vec<HeaderValue> {
        [Some(self.access), self.refresh, self.xsrf].into_iter().flatten().collect()
    }
}

/// Returns when an access token expires: after its lifetime, or at the session's absolute expiry if that is earlier.
pub(super) fn access_expiry(lifetimes: &Lifetimes, now: SystemTime, absolute: SystemTime) -> SystemTime {
    later(now, lifetimes.access).min(absolute)
}

impl<C> Sessions<C> {
    /// Issues the tokens of the record's generation, with a refresh token only if `secret` is given.
    ///
    /// The refresh token of a generation always has the same content: session, generation and expiry come from the
    /// record, and the secret is that of the session.
    pub(crate) fn issue(
        &self,
        record: &SessionRecord,
        secret: Option<&SessionSecret>,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        self.issue_proven(record, secret, now, None)
    }

    /// The same, with an access token that says when the device proved itself.
    pub(super) fn issue_proven(
        &self,
        record: &SessionRecord,
        secret: Option<&SessionSecret>,
        now: SystemTime,
        proof_time: Option<SystemTime>,
    ) -> Result<Issued, IssueError> {
        let expires_at = access_expiry(&self.inner().lifetimes, now, record.absolute_expires_at);
        self.issue_until(record, secret, now, expires_at, proof_time)
    }

    /// The same, with an access token that expires at a given time.
    pub(super) fn issue_until(
        &self,
        record: &SessionRecord,
        secret: Option<&SessionSecret>,
        now: SystemTime,
        expires_at: SystemTime,
        proof_time: Option<SystemTime>,
    ) -> Result<Issued, IssueError> {
        let inner = self.inner();
        let token = self.issue_for_cookie(record, expires_at, proof_time)?;
        // Not the idle expiry: it advances without a new refresh cookie, so only the record keeps it.
        let age = until(record.absolute_expires_at, now);
        // Where a browser proves itself once the cookie is gone, a request must not arrive with a token that has expired on
        // its way: nothing would renew it.
        let margin = if inner.device.is_some() { inner.rules.grace } else { Duration::ZERO };
        let access = inner.cookies.access.set(&token, until(expires_at, now).saturating_sub(margin));
        let access = access.map_err(|error| {
            largest_claim(&record.claims).into_iter().fold(error, IssueError::with_detail)
        })?;
        // Lives as long as the refresh cookie, because clients also need it once the access token has expired.
        let xsrf = match &inner.cookies.xsrf {
            Some(spec) => Some(spec.set(&record.xsrf_token, age)?),
            None => None,
        };
        let refresh = match secret {
            Some(secret) => Some(inner.cookies.refresh.set(&self.issue_refresh(record, secret)?, age)?),
            None => None,
        };
        Ok(Issued { record: record.clone(), token, expires_at, access, refresh, proof_time, xsrf })
    }

    fn issue_refresh(&self, record: &SessionRecord, secret: &SessionSecret) -> Result<String, IssueError> {
        let token = RefreshToken {
            session_id: record.id.as_str().into(),
            generation: record.generation,
            secret: secret.clone(),
        };
        let new = NewToken::of_type(REFRESH_TYPE, Expiry::At(record.absolute_expires_at))
            .with_session_id(record.id.as_str())
            .with_token_id(token.token_id());
        self.inner().issuer.sign(&new, Map::new())
    }

    /// Issues the access token of a cookie: it carries the generation, whose sighting shows what the client holds, and
    /// the XSRF token.
    fn issue_for_cookie(
        &self,
        record: &SessionRecord,
        expires_at: SystemTime,
        proof_time: Option<SystemTime>,
    ) -> Result<String, IssueError> {
        let new = self
            .new_access(record, Scopes::granted(&record.scope), expires_at)
            .with_generation(record.generation)
            .with_proof_time(proof_time)
            .with_xsrf_token(&*record.xsrf_token);
        self.sign_access(new, record)
    }

    /// Issues an access token that is used outside of cookies, with these scopes of the session.
    ///
    /// It carries no generation, because it says nothing about the client's cookie jar, and no XSRF token, so it is of
    /// no use as a cookie.
    pub(crate) fn issue_detached(
        &self,
        record: &SessionRecord,
        scope: Scopes,
        now: SystemTime,
    ) -> Result<String, IssueError> {
        let expires_at = access_expiry(&self.inner().lifetimes, now, record.absolute_expires_at);
        self.issue_detached_until(record, scope, expires_at)
    }

    /// The same, expiring at a given time.
    pub(super) fn issue_detached_until(
        &self,
        record: &SessionRecord,
        scope: Scopes,
        expires_at: SystemTime,
    ) -> Result<String, IssueError> {
        self.sign_access(self.new_access(record, scope, expires_at), record)
    }

    fn new_access(&self, record: &SessionRecord, scope: Scopes, expires_at: SystemTime) -> NewToken {
        NewToken::of_type(ACCESS_TYPE, Expiry::At(expires_at))
            .with_subject(&*record.subject)
            .with_session_id(record.id.as_str())
            .with_token_id(self.token_id(record))
            .with_authenticated_at(record.created_at)
            .with_scope(scope)
    }

    /// Returns a new id for an access token. Where tokens are compared with the record, a hash of the claims follows.
    fn token_id(&self, record: &SessionRecord) -> String {
        match self.inner().session_check.compares_claims() {
            true => token_id_of(&record.claims),
            false => new_token_id(),
        }
    }

    fn sign_access(&self, new: NewToken, record: &SessionRecord) -> Result<String, IssueError> {
        let Ok(Value::Object(custom)) = serde_json::from_str(&record.claims) else {
            return Err(IssueError::not_an_object(None));
        };
        self.inner().issuer.sign(&new, custom)
    }

    /// Returns the `Set-Cookie` values that clear this crate's cookies, including those of former policies.
    pub(crate) fn clearing_cookies(&self) -> Vec<HeaderValue> {
        let cookies = &self.inner().cookies;
        [&cookies.access, &cookies.refresh]
            .into_iter()
            .chain(&cookies.xsrf)
            .chain(&cookies.former)
            .map(|spec| spec.clear())
            .collect()
    }
}

/// Logs an issue error, which is a mistake of the application, and hides it from the client.
pub(super) fn cannot_issue(error: IssueError) -> Unavailable {
    trace::cannot_issue(&error);
    Unavailable(error.into())
}

fn until(end: SystemTime, now: SystemTime) -> Duration {
    Duration::from_secs(unix_seconds(end).saturating_sub(unix_seconds(now)))
}
