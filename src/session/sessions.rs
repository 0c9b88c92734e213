use std::{fmt, sync::Arc, time::Duration};

use super::{
    answers::SessionInfo, confirmer::Confirmer, device::Device, error::SessionError, events::SessionEvent,
    places::Places, records::Records, reload::ErasedReload, rotation::Rules, writes::End,
};
use crate::{
    clock::SharedClock,
    cookies::Cookies,
    reject::{Refusal, SharedReject, explain},
    request::{Authenticator, OriginPolicy, RefreshCookieReader, RefreshToken, SessionCheck},
    store::{SessionId, Snapshot},
    token::{Claims, Issuer},
};
use http::{HeaderName, request::Parts};

/// The sessions of an application: signs users in and out, and creates the layers.
///
/// `C` is the type of the application's custom claims. It serializes to a JSON object and deserializes from it, without
/// fields of the reserved names `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`, `auth_time`, `sid`, `gen`, `proof_time`, `scope` and
/// `xsrfToken`, which are methods of [`Claims`]. With the cookie's name it must fit into 4096 bytes as a token. The value
/// is cheap to clone, and the type of the store is erased.
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
/// let sessions = Sessions::<User>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
///
/// // Sign in, and set the cookies on the response.
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
    pub(crate) refresh_reader: RefreshCookieReader,
    pub(crate) issuer: Issuer,
    pub(super) records: Records,
    pub(crate) rejection: SharedReject,
    pub(crate) cookies: Cookies,
    pub(crate) origin: OriginPolicy,
    pub(crate) xsrf_header: HeaderName,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) rules: Rules,
    pub(crate) refresh_ahead: Duration,
    /// The age from which an access token is exchanged on the way, where it could outlive a quarter of the idle
    /// lifetime.
    pub(crate) refresh_after: Option<Duration>,
    /// Whether either of these asks for refreshes while the access token is still valid.
    pub(crate) refreshes_early: bool,
    pub(crate) session_check: SessionCheck,
    pub(super) reload: Option<Box<dyn ErasedReload<C>>>,
    pub(super) max_sessions: usize,
    pub(super) confirmer: Confirmer,
    /// How many questions about access tokens this node asks at a time, within a bound.
    pub(super) questions: Places,
    pub(crate) device: Option<Box<Device>>,
    pub(crate) clock: SharedClock,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Lifetimes {
    pub(crate) access: Duration,
    pub(crate) idle: Duration,
    pub(crate) absolute: Duration,
}

impl<C> Sessions<C> {
    pub(super) fn from_inner(inner: Inner<C>) -> Self {
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn inner(&self) -> &Inner<C> {
        &self.inner
    }

    pub(super) const fn shared(&self) -> &Arc<Inner<C>> {
        &self.inner
    }

    /// Returns the hook that answers refused requests: that of
    /// [`with_rejection`](super::SessionsBuilder::with_rejection), or problem details if none is set.
    ///
    /// It is for layers whose body type the default does not know; see
    /// [`DefaultReject`](crate::reject::DefaultReject).
    pub fn rejection(&self) -> SharedReject {
        self.inner.rejection.clone()
    }

    /// Returns the live sessions of a user, oldest first.
    ///
    /// This and the methods that end sessions by subject do not know who asks. A handler that must not serve access
    /// tokens of sessions that have ended asks [`is_live`](Self::is_live) first, or sets
    /// [`with_session_check`](super::SessionsBuilder::with_session_check).
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Unavailable`] if the store fails.
    pub async fn list(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        let records = self.inner.records.list(subject).await?;
        Ok(records.into_iter().map(SessionInfo::from).collect())
    }

    pub(crate) fn raise(&self, event: SessionEvent<'_>) {
        self.inner.records.events.raise(event);
    }

    /// Raises the event of a request that was refused outside the layers, with the refresh token that it presented.
    pub(crate) fn raise_refused(&self, refusal: &Refusal, token: Option<&RefreshToken>) {
        let session = token.map(|token| SessionId::from(&*token.session_id));
        self.raise(SessionEvent::Refused {
            code: refusal.code(),
            reason: &refusal.to_string(),
            subject: None,
            session: session.as_ref(),
            generation: token.map(|token| token.generation),
        });
    }

    /// Checks the origin of a sign-in or sign-out.
    pub(super) fn check_origin(&self, request: &Parts) -> Result<(), SessionError> {
        self.inner.origin.check(request).map_err(|error| {
            let refusal = error.clone().into();
            explain(&refusal, request);
            self.raise_refused(&refusal, None);
            error.into()
        })
    }

    /// Ends one session of `subject`.
    ///
    /// Returns `false` if there is no live session with this ID, or if it belongs to another user.
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Unavailable`] if the store fails.
    pub async fn revoke(&self, subject: &str, session: &str) -> Result<bool, SessionError> {
        let id = SessionId::from(session);
        let Snapshot { record, now } = self.inner.records.read(&id).await?;
        let Some(record) = record else {
            // A call that has failed halfway may have removed it without telling the other nodes.
            self.inner.records.end_again(id).await?;
            return Ok(false);
        };
        let is_own = *record.subject == *subject && record.is_live(now);
        if is_own {
            self.inner.records.end(record, End::SignedOut).await?;
        }
        Ok(is_own)
    }

    /// Ends all sessions of a user and returns their number.
    ///
    /// Access tokens of these sessions are valid until they expire, unless
    /// [`with_session_check`](super::SessionsBuilder::with_session_check) is set or the handler calls
    /// [`is_live`](Self::is_live).
    ///
    /// A sign-in at the same time may come after it: its session then lives on. If the password has changed, that
    /// sign-in may have verified the former one, so keep the version of the password in the claims, and let
    /// [`with_reload`](super::SessionsBuilder::with_reload) end the sessions of former versions.
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Unavailable`] if the store fails. Some of the sessions may have ended by then; the
    /// others end when it is called again.
    ///
    /// # Examples
    ///
    /// After a change of the password:
    ///
    /// ```
    /// # use std::sync::{Arc, atomic::{AtomicU32, Ordering}};
    /// use serde::{Deserialize, Serialize};
    /// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
    ///
    /// #[derive(Serialize, Deserialize)]
    /// struct User {
    ///     /// How often the password had been changed when it was verified: read together with the password.
    ///     password_version: u32,
    /// }
    ///
    /// # struct Users(AtomicU32);
    /// # impl Users {
    /// #     async fn password_version(&self, _: &str) -> Result<u32, std::io::Error> { Ok(self.0.load(Ordering::SeqCst)) }
    /// #     async fn change_password(&self, _: &str, _: &str) { self.0.fetch_add(1, Ordering::SeqCst); }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let users = Arc::new(Users(AtomicU32::new(0)));
    /// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
    /// # let reloading = users.clone();
    /// let sessions = Sessions::<User>::builder(keys, MemoryStore::new())
    ///     .with_audience("shop")
    ///     .with_reload(move |subject: String, former: Option<User>| {
    ///         let users = reloading.clone();
    ///         async move {
    ///             let password_version = users.password_version(&subject).await?;
    ///             // `None` ends the session.
    ///             Ok(former
    ///                 .filter(|user| user.password_version == password_version)
    ///                 .map(|_| User { password_version }))
    ///         }
    ///     })
    ///     .build()?;
    ///
    /// users.change_password("ada", "correct horse battery staple").await;
    /// sessions.sign_out_everywhere("ada").await?;
    /// # Ok(()) }
    /// ```
    pub async fn sign_out_everywhere(&self, subject: &str) -> Result<u64, SessionError> {
        Ok(self.inner.records.end_all(subject, None).await?)
    }

    /// Ends all sessions of the user except the current one, and returns the number of sessions ended.
    ///
    /// The current one must be live: whoever holds an access token of a session that has been signed out cannot end the
    /// others with it.
    ///
    /// # Errors
    ///
    /// Returns [`SessionError::Token`] if the session of the claims has ended, or if they do not identify a user and a
    /// session, and [`SessionError::Unavailable`] if the store fails.
    pub async fn sign_out_others(&self, claims: &Claims<C>) -> Result<u64, SessionError> {
        let (id, subject) = speaks_for(claims).ok_or_else(SessionError::ended)?;
        if !self.is_live(claims).await? {
            return Err(SessionError::ended());
        }
        Ok(self.inner.records.end_all(subject, Some(id)).await?)
    }
}

/// Returns the session and the subject of claims, if they have both, as claims issued by `Sessions` do.
pub(super) fn session_of<C>(claims: &Claims<C>) -> Option<(SessionId, &str)> {
    Some((claims.session_id()?.into(), claims.subject()?))
}

/// Returns the session and the subject of claims that speak for the whole session: not those of a narrowed token, or of
/// one that was passed on.
pub(super) fn speaks_for<C>(claims: &Claims<C>) -> Option<(SessionId, &str)> {
    claims.generation()?;
    session_of(claims)
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
