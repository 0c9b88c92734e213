use std::{
    error::Error as StdError,
    fmt,
    time::{Duration, Instant},
};

use super::timer::before;
use crate::store::{BoxError, BoxFuture};

/// Provides a user's current claims when a session is rotated, since roles change and accounts are closed.
///
/// The claims are reloaded before the rotation is committed, and are stored together with the new generation.
/// Closures that take the subject as a `String` and the former claims implement this trait.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
/// # use serde::{Serialize, Deserialize};
/// #[derive(Serialize, Deserialize)]
/// struct User { roles: Vec<String> }
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<User>::builder(keys, MemoryStore::new())
///     .with_audience("shop")
///     .with_reload(|subject: String, _former: Option<User>| async move {
///         // `None` for a closed account: the session is revoked.
///         Ok((subject == "ada").then(|| User { roles: vec!["customer".into()] }))
///     })
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
pub trait ReloadClaims<C>: Send + Sync + 'static {
    /// Returns the current claims of `subject`, or `None` if the user must not stay signed in.
    ///
    /// `former` are the claims that the session has had so far; `None` if they cannot be deserialized as this type,
    /// because the application has changed it. They tell what only this session knows, such as the version of the
    /// password that was used (see [`sign_out_everywhere`](crate::Sessions::sign_out_everywhere)).
    ///
    /// # Errors
    ///
    /// Returns an error if the claims cannot be determined. The request is then answered with 503, and the session
    /// stays as it is. The same happens if the future is not ready within
    /// [`with_reload_timeout`](super::SessionsBuilder::with_reload_timeout); it is then dropped.
    fn reload(
        &self,
        subject: &str,
        former: Option<C>,
    ) -> impl Future<Output = Result<Option<C>, BoxError>> + Send;
}

impl<C, F, Fut> ReloadClaims<C> for F
where
    F: Fn(String, Option<C>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<C>, BoxError>> + Send,
{
    fn reload(
        &self,
        subject: &str,
        former: Option<C>,
    ) -> impl Future<Output = Result<Option<C>, BoxError>> + Send {
        self(subject.to_owned(), former)
    }
}

/// An object-safe version of [`ReloadClaims`].
pub(super) trait ErasedReload<C>: Send + Sync {
    fn reload<'a>(
        &'a self,
        subject: &'a str,
        former: Option<C>,
    ) -> BoxFuture<'a, Result<Option<C>, BoxError>>;
}

impl<C: 'static, T: ReloadClaims<C>> ErasedReload<C> for T {
    fn reload<'a>(
        &'a self,
        subject: &'a str,
        former: Option<C>,
    ) -> BoxFuture<'a, Result<Option<C>, BoxError>> {
        Box::pin(ReloadClaims::reload(self, subject, former))
    }
}

/// A [`ReloadClaims`] that fails instead of taking longer than `limit`.
pub(super) struct Limited<C> {
    reload: Box<dyn ErasedReload<C>>,
    limit: Duration,
}

impl<C> Limited<C> {
    pub(super) fn new(reload: Box<dyn ErasedReload<C>>, limit: Duration) -> Self {
        Self { reload, limit }
    }
}

impl<C: Send + 'static> ReloadClaims<C> for Limited<C> {
    async fn reload(&self, subject: &str, former: Option<C>) -> Result<Option<C>, BoxError> {
        let reload = self.reload.reload(subject, former);
        // A limit that is too large for the clock is none.
        let Some(end) = Instant::now().checked_add(self.limit) else {
            return reload.await;
        };
        before(end, reload).await.unwrap_or_else(|| Err(TimedOut(self.limit).into()))
    }
}

/// The claims were not reloaded in time.
#[derive(Debug)]
struct TimedOut(Duration);

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the claims were not reloaded within {:?}", self.0)
    }
}

impl StdError for TimedOut {}
