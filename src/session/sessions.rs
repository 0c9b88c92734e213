use std::{fmt, sync::Arc, time::Duration};

use http::HeaderName;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    answers::{SessionInfo, UpdatedClaims},
    builder::SessionsBuilder,
    confirmer::{Confirmer, Fingerprint, Known},
    error::SessionError,
    events::{Listener, SessionEvent},
    reload::ErasedReload,
    rotation::{Rules, confirmation},
};
use crate::{
    clock::SharedClock,
    cookies::Cookies,
    keys::KeyRing,
    request::{Authenticator, OriginPolicy, RefreshReader},
    store::{BoxError, BoxFuture, ErasedStore, RefreshStore, SessionId, SessionRecord, Snapshot, Update},
    token::{Claims, Issuer, Source, to_object, xsrf},
};

/// The sessions of an application: signs users in and out, and makes the layers.
///
/// `C` is the application's own claims. Cheap to clone; the store's type is erased.
///
/// # Examples
///
/// ```
/// use http::{Request, Response};
/// use serde::{Deserialize, Serialize};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_cookie_jwt::{Claims, KeyRing, MemoryStore, Sessions};
///
/// #[derive(Serialize, Deserialize)]
/// struct User { name: String }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<User>::builder(keys, MemoryStore::new()).build()?;
///
/// // Sign in: the cookies go on the response.
/// let (parts, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
/// let signed_in = sessions.sign_in(&parts, "ada", User { name: "Ada".into() }).await?;
/// let mut response = Response::new(());
/// signed_in.append_to(response.headers_mut());
///
/// // The browser sends them back.
/// let cookies = response.headers().get_all("set-cookie").iter();
/// let cookies: Vec<_> = cookies.map(|c| c.to_str().unwrap().split(';').next().unwrap()).collect();
/// let request = Request::post("https://shop.example/order")
///     .header("cookie", cookies.join("; "))
///     .header("x-xsrf-token", signed_in.xsrf_token())
///     .body(())?;
///
/// let service = sessions.layer().layer(service_fn(|request: Request<()>| async move {
///     let claims = request.extensions().get::<Claims<User>>().expect("the layer demands claims");
///     Ok::<_, std::convert::Infallible>(Response::new(claims.custom().name.clone()))
/// }));
/// assert_eq!(service.oneshot(request).await?.body(), "Ada");
/// # Ok(()) }
/// ```
pub struct Sessions<C> {
    inner: Arc<Inner<C>>,
}

pub(crate) struct Inner<C> {
    pub(crate) authenticator: Arc<Authenticator<C>>,
    pub(crate) refresh_reader: RefreshReader,
    pub(crate) issuer: Issuer,
    pub(crate) store: Box<dyn ErasedStore>,
    pub(crate) cookies: Cookies,
    pub(crate) origin: OriginPolicy,
    pub(crate) xsrf_header: HeaderName,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) rules: Rules,
    pub(crate) refresh_ahead: Duration,
    pub(crate) session_check: bool,
    pub(super) reload: Option<Box<dyn ErasedReload<C>>>,
    pub(super) events: Listener,
    pub(super) confirmer: Confirmer,
    pub(crate) clock: SharedClock,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) access: Duration,
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
}

/// The store or the reloading of claims failed; the cause is in the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unavailable;

impl From<Unavailable> for SessionError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl<C> Sessions<C> {
    /// Begins with what is mandatory: keys that can sign, and a store.
    pub fn builder(keys: KeyRing, store: impl RefreshStore) -> SessionsBuilder<C> {
        SessionsBuilder::new(keys, store)
    }

    pub(super) fn from_inner(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner<C> {
        &self.inner
    }

    pub(crate) async fn load(&self, id: &SessionId) -> Result<Snapshot, Unavailable> {
        self.inner.store.load(id).await.map_err(unavailable("reading a session"))
    }

    /// The same, and how long the store has taken by this node's clock.
    pub(super) async fn load_timed(&self, id: &SessionId) -> Result<(Snapshot, Duration), Unavailable> {
        let asked_at = self.inner.clock.now();
        let snapshot = self.load(id).await?;
        Ok((snapshot, self.inner.clock.now().duration_since(asked_at).unwrap_or_default()))
    }

    pub(super) async fn swap(&self, record: &SessionRecord) -> Result<Update, Unavailable> {
        self.inner.store.swap(record).await.map_err(unavailable("writing a session"))
    }

    pub(super) async fn remove(&self, id: &SessionId) -> Result<bool, Unavailable> {
        self.inner.store.delete(id).await.map_err(unavailable("ending a session"))
    }

    /// Ends a session and says so.
    pub(super) async fn end(&self, record: &SessionRecord) -> Result<(), Unavailable> {
        self.remove(&record.id).await?;
        self.inner.events.raise(SessionEvent::Ended { subject: &record.subject, session: &record.id });
        Ok(())
    }

    /// The live sessions of a user, oldest first.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unavailable`] when the store fails.
    pub async fn list(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        let records = self.inner.store.all(subject).await.map_err(store_failed("listing sessions"))?;
        Ok(records.into_iter().map(SessionInfo::from).collect())
    }

    /// Ends one session of `subject`; false when there is none of this id, or when it is somebody
    /// else's.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unavailable`] when the store fails.
    pub async fn revoke(&self, subject: &str, session: &str) -> Result<bool, SessionError> {
        let Snapshot { record, now } = self.load(&session.into()).await?;
        let own = record.filter(|record| *record.subject == *subject && record.is_live(now));
        if let Some(record) = &own {
            self.end(record).await?;
        }
        Ok(own.is_some())
    }

    /// Ends all sessions of a user, and says how many there were. Access tokens live until they
    /// expire, unless the session is checked.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unavailable`] when the store fails.
    pub async fn sign_out_everywhere(&self, subject: &str) -> Result<u64, SessionError> {
        self.end_all(subject, None).await
    }

    /// Ends all sessions of the user but the present one, and says how many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Token`] when the claims belong to no session of a user, and
    /// [`SessionError::Unavailable`] when the store fails.
    pub async fn sign_out_others(&self, claims: &Claims<C>) -> Result<u64, SessionError> {
        let (id, subject) = session_of(claims).ok_or_else(SessionError::ended)?;
        self.end_all(subject, Some(&id)).await
    }

    async fn end_all(&self, subject: &str, keep: Option<&SessionId>) -> Result<u64, SessionError> {
        let store = &self.inner.store;
        let count = store.delete_all(subject, keep).await.map_err(store_failed("ending sessions"))?;
        self.inner.events.raise(SessionEvent::AllEnded { subject, count });
        Ok(count)
    }

    /// Asks the store whether the session of these claims is still live: for what must not wait
    /// until the access token of a signed-out session expires.
    ///
    /// False for claims that belong to no session.
    ///
    /// # Errors
    ///
    /// [`SessionError::Unavailable`] when the store fails.
    pub async fn confirm(&self, claims: &Claims<C>) -> Result<bool, SessionError> {
        Ok(self.is_live(claims).await?)
    }

    pub(crate) async fn is_live(&self, claims: &Claims<C>) -> Result<bool, Unavailable> {
        let Some((id, subject)) = session_of(claims) else {
            return Ok(false);
        };
        let Snapshot { record, now } = self.load(&id).await?;
        Ok(record.is_some_and(|record| record.is_live(now) && *record.subject == *subject))
    }
}

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
            let Snapshot { record, now: store_now } = self.load(&id).await?;
            let record = record
                .filter(|record| record.is_live(store_now) && *record.subject == *subject)
                .ok_or_else(SessionError::ended)?;
            let mut next = record.with_claims(json.clone());
            if let Some(value) = &fresh {
                next.xsrf_token = value.as_str().into();
            }
            // What cannot be issued must not be stored.
            self.mint(&next, None, inner.clock.now())?;
            match self.swap(&next).await? {
                Update::Conflict => continue,
                Update::Gone => return Err(SessionError::ended()),
                Update::Done => {}
            }
            // Not the new token itself: a handler that takes its time could revive with it a browser that
            // has been signed out meanwhile. Without one, the next request is refreshed.
            let cookies = match claims.source() {
                Source::Cookie => vec![inner.cookies.access.clear()],
                _ => Vec::new(),
            };
            return Ok(UpdatedClaims { cookies, xsrf_token: next.xsrf_token });
        }
        Err(SessionError::Unavailable)
    }

    /// The confirmation of a generation that has been seen from the client, where it is this
    /// process's turn to tell the store.
    pub(crate) fn confirmation(&self, claims: &Claims<C>) -> Option<BoxFuture<'static, ()>> {
        if !claims.is_held_in_cookie() {
            return None; // a bearer token does not show which cookies the client holds
        }
        if claims.is_confirmed() {
            return None; // nearly always
        }
        let (session, generation) = (claims.session_id()?, claims.generation()?);
        let inner = self.inner();
        let fingerprint = match inner.confirmer.recall(session, generation) {
            Known::Nothing(fingerprint) => fingerprint,
            Known::Asked => return None,
            Known::Confirmed => {
                claims.set_confirmed();
                return None;
            }
        };
        let (now, issued_at) = (inner.clock.now(), claims.issued_at()?);
        let fingerprint = inner.confirmer.claim(fingerprint, issued_at, now, inner.rules.grace)?;
        let pending = PendingConfirmation { sessions: self.clone(), fingerprint: Some(fingerprint) };
        let session = SessionId::from(session);
        Some(Box::pin(pending.run(session, generation)))
    }
}

/// A confirmation on its way; when it does not arrive, it is tried again later.
struct PendingConfirmation<C> {
    sessions: Sessions<C>,
    fingerprint: Option<Fingerprint>,
}

impl<C> PendingConfirmation<C> {
    async fn run(mut self, session: SessionId, generation: u32) {
        match self.confirm(&session, generation).await {
            Ok(Update::Done | Update::Gone) => {
                if let Some(fingerprint) = self.fingerprint.take() {
                    self.sessions.inner().confirmer.confirmed(fingerprint);
                }
            }
            Ok(Update::Conflict) => {}
            Err(Unavailable) => {
                let inner = self.sessions.inner();
                inner.confirmer.pause(inner.clock.now());
            }
        }
    }

    async fn confirm(&self, session: &SessionId, generation: u32) -> Result<Update, Unavailable> {
        let Snapshot { record, now } = self.sessions.load(session).await?;
        match confirmation(generation, record, now, self.sessions.inner().lifetimes.idle) {
            Some(confirmed) => self.sessions.swap(&confirmed).await,
            None => Ok(Update::Done),
        }
    }
}

impl<C> Drop for PendingConfirmation<C> {
    fn drop(&mut self) {
        if let Some(fingerprint) = self.fingerprint {
            self.sessions.inner().confirmer.release(fingerprint);
        }
    }
}

/// The session and the subject of claims that we have issued.
fn session_of<C>(claims: &Claims<C>) -> Option<(SessionId, &str)> {
    Some((claims.session_id()?.into(), claims.subject()?))
}

/// Logs a store's failure; what went wrong is for the operator, not for the client.
fn unavailable(doing: &'static str) -> impl FnOnce(BoxError) -> Unavailable {
    move |error| {
        crate::trace::store_failed(doing, &error);
        Unavailable
    }
}

pub(super) fn store_failed(doing: &'static str) -> impl FnOnce(BoxError) -> SessionError {
    move |error| unavailable(doing)(error).into()
}

impl<C> Clone for Sessions<C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<C> fmt::Debug for Sessions<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("lifetimes", &self.inner.lifetimes)
            .field("rules", &self.inner.rules)
            .field("cookies", &self.inner.cookies)
            .finish_non_exhaustive()
    }
}

const MAX_ROUNDS: usize = 16;
