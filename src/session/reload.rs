use crate::store::{BoxError, BoxFuture};

/// Gives the present claims of a user when a session is rotated: roles change, accounts close.
///
/// Runs before the rotation is committed, which stores claims and generation together. Closures
/// that take the subject as a `String` implement it.
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
///         // `None` for an account that was closed: the session is revoked.
///         Ok((subject == "ada").then(|| User { roles: vec!["customer".into()] }))
///     })
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
pub trait ReloadClaims<C>: Send + Sync + 'static {
    /// The present claims of `subject`; `None` when it may not stay signed in.
    ///
    /// # Errors
    ///
    /// Whatever keeps the claims from being known: the request is answered 503 and nothing changes.
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

/// The object-safe twin.
pub(super) trait ErasedReload<C>: Send + Sync {
    fn reload<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<C>, BoxError>>;
}

impl<C: 'static, T: ReloadClaims<C>> ErasedReload<C> for T {
    fn reload<'a>(&'a self, subject: &'a str) -> BoxFuture<'a, Result<Option<C>, BoxError>> {
        Box::pin(ReloadClaims::reload(self, subject))
    }
}
