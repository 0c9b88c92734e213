use crate::store::{BoxError, BoxFuture};

/// Provides a user's current claims when a session is rotated, since roles change and accounts are closed.
///
/// The claims are reloaded before the rotation is committed, and are stored together with the new generation.
/// Closures that take the subject as a `String` implement this trait.
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
///     .with_reload(|subject: String| async move {
///         // `None` for a closed account: the session is revoked.
///         Ok((subject == "ada").then(|| User { roles: vec!["customer".into()] }))
///     })
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
pub trait ReloadClaims<C>: Send + Sync + 'static {
    /// Returns the current claims of `subject`, or `None` if the user must not stay signed in.
    ///
    /// # Errors
    ///
    /// Returns an error if the claims cannot be determined. The request is then answered with 503, and the session
    /// stays as it is.
    fn reload(&self, subject: &str) -> impl Future<Output = Result<Option<C>, BoxError>> + Send;
}

impl<C, F, Fut> ReloadClaims<C> for F
where
    F: Fn(String) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<C>, BoxError>> + Send,
{
    fn reload(&self, subject: &str) -> impl Future<Output = Result<Option<C>, BoxError>> + Send {
        self(subject.to_owned())
    }
}

/// An object-safe version of [`ReloadClaims`].
pub(super) trait ErasedReload<C>: Send + Sync {
    fn reload<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<C>, BoxError>>;
}

impl<C: 'static, T: ReloadClaims<C>> ErasedReload<C> for T {
    fn reload<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<C>, BoxError>> {
        Box::pin(ReloadClaims::reload(self, subject))
    }
}
