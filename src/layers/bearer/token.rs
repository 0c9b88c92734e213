use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderValue, request::Parts};
use serde_json::Map;

use crate::{
    clock::{Clock, END_OF_YEAR_9999, SharedClock, later},
    error::ConfigError,
    keys::Epoch,
    request::AuthState,
    token::{Expiry, Issuer, NewToken, Scopes},
};

/// The token of the signed-in user, for forwarding to another server.
///
/// Insert it into the extensions of the outgoing request. Its `Debug` output does not contain the token.
///
/// # Examples
///
/// ```
/// use http::{Request, request::Parts};
/// use tower_cookie_jwt::layers::bearer::CallerToken;
///
/// fn forward(incoming: &Parts, outgoing: &mut Request<()>) {
///     if let Some(token) = CallerToken::from_parts(incoming) {
///         outgoing.extensions_mut().insert(token);
///     }
/// }
/// ```
#[derive(Clone)]
pub struct CallerToken(HeaderValue);

impl CallerToken {
    /// Returns the token that a `CookieJwtLayer` has verified or that a `RefreshLayer` has just issued, or `None` if
    /// the request has no signed-in user.
    pub fn from_parts(request: &Parts) -> Option<Self> {
        let token = request.extensions.get::<AuthState>()?.token(&request.headers)?;
        bearer_value(token).map(Self)
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerToken")
    }
}

/// The `typ` of service tokens, accepted only by verifiers that list it (`with_types`).
pub const SERVICE_TYPE: &str = "service+jwt";

/// Issues tokens that identify this server, and reuses each until it is about to expire.
///
/// Clones share the current token, so concurrent requests cause it to be issued only once.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, layers::bearer::ServiceToken, token::{Issuer, Scopes}};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let token = ServiceToken::new(Issuer::new(keys).with_audience("stock"), "shop")
///     .with_lifetime(Duration::from_secs(60))
///     .with_scope(Scopes::new("items:read")?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct ServiceToken {
    issuer: Issuer,
    subject: Box<str>,
    scope: Scopes,
    lifetime: Duration,
    clock: SharedClock,
    current: Arc<Mutex<Option<Current>>>,
}

struct Current {
    header: HeaderValue,
    renew_at: SystemTime,
    /// The keys that the ring had when the token was signed.
    epoch: Epoch,
}

impl ServiceToken {
    /// Creates tokens whose subject is this service, `subject`, signed by `issuer`, whose audience names the
    /// receiver.
    ///
    /// When the keys of the issuer's ring are replaced, the next request gets a new token.
    pub fn new(issuer: Issuer, subject: impl Into<String>) -> Self {
        Self {
            issuer,
            subject: subject.into().into_boxed_str(),
            scope: Scopes::default(),
            lifetime: DEFAULT_LIFETIME,
            clock: SharedClock::default(),
            current: Arc::default(),
        }
    }

    /// Sets the scopes of the tokens.
    ///
    /// Defaults to no scopes.
    pub fn with_scope(mut self, scope: Scopes) -> Self {
        self.scope = scope;
        self.current = Arc::default();
        self
    }

    /// Sets the lifetime of each token, in whole seconds.
    ///
    /// Defaults to five minutes.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self.current = Arc::default();
        self
    }

    /// Uses `clock` as the source of time.
    ///
    /// Defaults to the operating system's clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self.issuer = self.issuer.with_clock(self.clock.clone());
        self.current = Arc::default();
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if !self.issuer.can_sign() {
            return Err(ConfigError::new(
                "a service token needs a key that signs, but the key ring only verifies; build it with `KeyRing::new`",
            ));
        }
        if self.lifetime < Duration::from_secs(1) {
            return Err(ConfigError::new(
                "the lifetime of service tokens is less than a second; set at least one with `with_lifetime`",
            ));
        }
        let end = SystemTime::UNIX_EPOCH + Duration::from_secs(END_OF_YEAR_9999);
        if self.clock.now().checked_add(self.lifetime).is_none_or(|expires_at| expires_at > end) {
            return Err(ConfigError::new(
                "service tokens would expire after the year 9999; set a lifetime of minutes with `with_lifetime`",
            ));
        }
        Ok(())
    }

    /// Returns the header value, with a new token if the current one is about to expire, or `None` if no token could
    /// be issued, in which case the reason is logged.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && now < current.renew_at
            && self.issuer.is_in(current.epoch)
        {
            return Some(current.header.clone());
        }
        // Read before signing: if the keys are replaced in between, the token is merely renewed once more.
        let epoch = self.issuer.epoch();
        let token = NewToken::of_type(SERVICE_TYPE, Expiry::After(self.lifetime))
            .with_subject(&*self.subject)
            .with_scope(self.scope.clone());
        let token = match self.issuer.sign(&token, Map::new()) {
            Ok(token) => token,
            Err(error) => {
                crate::trace::cannot_issue(&error);
                return None;
            }
        };
        let header = bearer_value(token.as_bytes())?;
        // The last fifth of the lifetime allows for transit and clock skew.
        let renew_at = later(now, self.lifetime / 5 * 4);
        *current = Some(Current { header: header.clone(), renew_at, epoch });
        Some(header)
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceToken")
            .field("subject", &self.subject)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// Returns `Bearer TOKEN`, marked as sensitive so that it stays out of logs.
fn bearer_value(token: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);
