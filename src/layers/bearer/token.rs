use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderValue, request::Parts};
use serde_json::Map;

use crate::{
    clock::{Clock, SharedClock, later},
    error::ConfigError,
    request::AuthState,
    token::{Expiry, Issuer, NewToken, Scopes},
};

/// The token of a request's user, to be passed on to another server: put it into the extensions of the
/// outgoing request.
///
/// `Debug` does not show it.
#[derive(Clone)]
pub struct CallerToken(HeaderValue);

impl CallerToken {
    /// The token that a `CookieJwtLayer` has verified, or that a `RefreshLayer` has just granted; `None` for
    /// requests without a user.
    pub fn from_parts(request: &Parts) -> Option<Self> {
        let token = request.extensions.get::<AuthState>()?.token(&request.headers)?;
        bearer_value(token).map(Self)
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerToken")
    }
}

/// `typ` of service tokens: accepted only by verifiers that name it, `Verifier::with_types`.
pub const SERVICE_TYPE: &str = "service+jwt";

/// Mints tokens in the name of this server, and reuses each until it is about to expire.
///
/// Clones share the token: there is one mint, however many requests need it at once.
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
}

impl ServiceToken {
    /// Tokens about this service, `subject`, signed by `issuer`, whose audience names the receiver.
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

    /// Asks for these scopes.
    ///
    /// Defaults to none.
    pub fn with_scope(mut self, scope: Scopes) -> Self {
        self.scope = scope;
        self.current = Arc::default();
        self
    }

    /// Lets each token live this long, in whole seconds.
    ///
    /// Defaults to five minutes.
    pub fn with_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self.current = Arc::default();
        self
    }

    /// Takes the time from `clock`.
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
                "the lifetime of service tokens is under a second; `with_lifetime` needs whole seconds",
            ));
        }
        Ok(())
    }

    /// The header value, minted anew when the present one is about to expire; `None` when it cannot be
    /// minted, which the log says.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let now = self.clock.now();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(current) = &*current
            && now < current.renew_at
        {
            return Some(current.header.clone());
        }
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
        // A fifth of its life is left for the way, and for clocks that differ.
        let renew_at = later(now, self.lifetime * 4 / 5);
        *current = Some(Current { header: header.clone(), renew_at });
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

/// `Bearer TOKEN`, marked so that no log shows it.
fn bearer_value(token: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);
