//! Signing in and out, and the label by which a user recognizes a device.

use http::{HeaderMap, header::USER_AGENT, request::Parts};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    answers::{SignedIn, SignedOut},
    error::SessionError,
    records::Unavailable,
    sessions::Sessions,
    writes::End,
};
use crate::{
    request::SessionSecret,
    store::{NewRecord, SessionRecord},
    token::{IssueError, IssueErrorKind, Scopes, check_readable, to_object, xsrf},
};

/// A sign-in with its claims, scopes and label, for [`Sessions::sign_in_with`].
///
/// # Examples
///
/// ```
/// use http::Request;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, session::SignIn, token::Scopes};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// # let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// let (request, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
/// let sign_in = SignIn::new("ada", ()).with_scope(Scopes::new("orders:read orders:write")?).with_label("Kiosk 7");
/// let signed_in = sessions.sign_in_with(&request, sign_in).await?;
/// assert_eq!(&*sessions.list("ada").await?[0].label, "Kiosk 7");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SignIn<C> {
    subject: Box<str>,
    custom: C,
    scope: Scopes,
    label: Option<Box<str>>,
    checks_origin: bool,
}

impl<C> SignIn<C> {
    /// Creates a sign-in of `subject` with the application's `custom` claims.
    pub fn new(subject: impl Into<String>, custom: C) -> Self {
        Self {
            subject: subject.into().into_boxed_str(),
            custom,
            scope: Scopes::default(),
            label: None,
            checks_origin: true,
        }
    }

    /// Grants these scopes.
    ///
    /// Defaults to no scopes.
    pub fn with_scope(mut self, scope: Scopes) -> Self {
        self.scope = scope;
        self
    }

    /// Sets the label of the session, which [`Sessions::list`] returns.
    ///
    /// Defaults to the browser and the operating system, as named by the `User-Agent` header.
    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into().into_boxed_str());
        self
    }

    /// Skips the origin check, for requests that another site makes the browser send, such as the callback of an
    /// identity provider.
    ///
    /// Defaults to checking the origin.
    ///
    /// # Security
    ///
    /// Use this only if the request itself proves that this browser started the sign-in, for example with `state` or
    /// `nonce` (RFC 6749 §10.12). Otherwise another site can sign the user in to an account of its choosing.
    pub fn with_insecure_origin_bypass(mut self) -> Self {
        self.checks_origin = false;
        self
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> Sessions<C> {
    /// Signs in a user whose password or other credential the caller has verified.
    ///
    /// The origin is checked first, so that no other site can sign a user in. Each sign-in creates a new session ID,
    /// secret and XSRF token, which rules out session fixation, and ends the session that the request presents, if
    /// any.
    ///
    /// It may come after a [`sign_out_everywhere`](Self::sign_out_everywhere) at the same time, whose documentation has
    /// a way to end its session nevertheless if the password has changed.
    ///
    /// # Errors
    ///
    /// Returns a [`SessionError`] if the request comes from another origin, if the store fails or is full, or if the
    /// claims cannot be issued: they are not a JSON object, use a registered name, or do not fit into a cookie.
    pub async fn sign_in(
        &self,
        request: &Parts,
        subject: impl Into<String>,
        custom: C,
    ) -> Result<SignedIn, SessionError> {
        self.sign_in_with(request, SignIn::new(subject, custom)).await
    }

    /// Signs in a user with scopes, a label or other options.
    ///
    /// [`sign_in`](Self::sign_in) is the equivalent with the default options.
    ///
    /// # Errors
    ///
    /// Returns a [`SessionError`] in the same cases as [`sign_in`](Self::sign_in).
    pub async fn sign_in_with(&self, request: &Parts, sign_in: SignIn<C>) -> Result<SignedIn, SessionError> {
        let inner = self.inner();
        if sign_in.checks_origin {
            self.check_origin(request)?;
        }
        let claims = to_object(&sign_in.custom)?;
        inner.issuer.check_names(&claims)?;
        let label = sign_in.label.unwrap_or_else(|| label_from(&request.headers).into());

        let secret = SessionSecret::generate();
        let mut session =
            NewRecord::new(inner.records.new_id(&sign_in.subject), sign_in.subject, secret.hash());
        session.scope = sign_in.scope.as_str().into();
        session.claims = serde_json::Value::Object(claims).to_string().into();
        session.xsrf_token = xsrf::generate().into();
        session.label = label;
        session.idle = inner.lifetimes.idle;
        session.absolute = inner.lifetimes.absolute;
        // Claims that cannot be issued, or cannot be deserialized again, must neither be stored nor end the
        // session that the request presents.
        let now = inner.clock.now();
        let trial = self.issue(&session.clone().begin(now), Some(&secret), now)?;
        if !inner.authenticator.verifier.can_read(&trial.token) {
            check_readable::<C>(&session.claims)?; // names the field
            return Err(IssueError::new(IssueErrorKind::NotReadable).into());
        }
        let former = self.proven_sessions(&request.headers).await?.live;
        let over_limit = self.over_limit(&session.subject, &former).await?;
        let begun = inner.records.begin(session, former, over_limit).await?;
        let record = begun.ok_or(SessionError::Full)?;
        // The store may use another clock, and the cookies must carry its times.
        let issued = match trial.says_same_as(&record) {
            true => trial,
            false => self.issue(&record, Some(&secret), now)?,
        };
        Ok(SignedIn {
            offer: self.first_offer(&record),
            expires_at: issued.expires_at,
            cookies: inner
                .cookies
                .former_only()
                .map(|spec| spec.clear())
                .chain(issued.into_cookies())
                .collect(),
            xsrf_token: record.xsrf_token,
            session_id: record.id,
        })
    }

    /// Signs out the session that the request presents, and clears the cookies even if it presents none.
    ///
    /// The origin is checked. No XSRF header is required, so that an expired session can be signed out too.
    ///
    /// # Errors
    ///
    /// Returns a [`SessionError`] if the request comes from another origin, or if the store fails. In both cases no
    /// cookie is cleared, so that the user can try again.
    pub async fn sign_out(&self, request: &Parts) -> Result<SignedOut, SessionError> {
        self.check_origin(request)?;
        let proven = self.proven_sessions(&request.headers).await?;
        for record in proven.live {
            self.inner().records.end(record, End::SignedOut).await?;
        }
        for id in proven.gone {
            self.inner().records.end_again(id).await?;
        }
        Ok(SignedOut { cookies: self.clearing_cookies(), clear_site_data: false })
    }

    /// The least recently used sessions that a further one puts over the limit.
    ///
    /// Of very many, from a time without a limit, each sign-in ends only some, so that none takes minutes.
    async fn over_limit(
        &self,
        subject: &str,
        former: &[SessionRecord],
    ) -> Result<Vec<SessionRecord>, Unavailable> {
        let inner = self.inner();
        let mut records = inner.records.list(subject).await?;
        records.retain(|record| former.iter().all(|former| former.id != record.id));
        let excess = (records.len() + 1).saturating_sub(inner.max_sessions);
        records.sort_by_key(|record| record.last_seen_at);
        records.truncate(excess.min(MOST_ENDED));
        Ok(records)
    }
}

/// Returns a label such as "Firefox on Linux", or the beginning of the `User-Agent` header if it is unknown.
pub(super) fn label_from(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let find = |names: &[(&str, &'static str)]| {
        names.iter().find(|(part, _)| agent.contains(part)).map(|(_, name)| *name)
    };
    match (find(BROWSERS), find(SYSTEMS)) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(name), None) => name.to_owned(),
        // `to_str` lets only visible ASCII through, so every byte is a character.
        _ => agent[..agent.len().min(MAX_LEN)].to_owned(),
    }
}

/// Browsers by the token in their `User-Agent`. The order matters, since most also contain the tokens of others.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];
const MAX_LEN: usize = 80;
/// The number of sessions over the limit that one sign-in ends.
const MOST_ENDED: usize = 100;
