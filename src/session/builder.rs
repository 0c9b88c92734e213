use std::{fmt, marker::PhantomData, time::Duration};

use http::HeaderName;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    confirmer::Confirmer,
    events::{Listener, SessionEvents, TraceEvents},
    records::Records,
    reload::{ErasedReload, ReloadClaims},
    rotation::{LostResponse, Rules},
    sessions::{Inner, Lifetimes, Sessions},
};
use crate::{
    clock::{Clock, SharedClock},
    cookies::CookiePolicy,
    error::ConfigError,
    keys::KeyRing,
    request::{Authenticator, OriginPolicy, REFRESH_TYPE, RefreshCookieReader, Sources, XSRF_HEADER},
    store::{DEFAULT_ABSOLUTE, DEFAULT_IDLE, ErasedStore, RefreshStore},
    token::{ACCESS_TYPE, DEFAULT_LEEWAY, Issuer, Verifier, XSRF_CLAIM},
};

/// Builds [`Sessions`].
///
/// See [`Sessions::builder`].
#[must_use]
pub struct SessionsBuilder<C> {
    keys: KeyRing,
    store: Box<dyn ErasedStore>,
    issuer: Option<String>,
    audience: Option<String>,
    leeway: Duration,
    lifetimes: Lifetimes,
    grace: Duration,
    lost_response: LostResponse,
    refresh_ahead: Duration,
    session_check: bool,
    cookies: CookiePolicy,
    origin: OriginPolicy,
    xsrf_claim: String,
    xsrf_header: HeaderName,
    reload: Option<Box<dyn ErasedReload<C>>>,
    events: Listener,
    cache_bytes: Option<usize>,
    clock: SharedClock,
    claims: PhantomData<fn() -> C>,
}

impl<C> Sessions<C> {
    /// Begins with what is mandatory: keys that can sign, and a store.
    pub fn builder(keys: KeyRing, store: impl RefreshStore) -> SessionsBuilder<C> {
        SessionsBuilder::new(keys, store)
    }
}

impl<C> SessionsBuilder<C> {
    pub(super) fn new(keys: KeyRing, store: impl RefreshStore) -> Self {
        Self {
            keys,
            store: Box::new(store),
            issuer: None,
            audience: None,
            leeway: DEFAULT_LEEWAY,
            lifetimes: Lifetimes { access: DEFAULT_ACCESS, idle: DEFAULT_IDLE, absolute: DEFAULT_ABSOLUTE },
            grace: DEFAULT_GRACE,
            lost_response: LostResponse::UntilConfirmed,
            refresh_ahead: Duration::ZERO,
            session_check: false,
            cookies: CookiePolicy::new(),
            origin: OriginPolicy::default(),
            xsrf_claim: XSRF_CLAIM.to_owned(),
            xsrf_header: XSRF_HEADER,
            reload: None,
            events: Listener::new(TraceEvents),
            cache_bytes: None,
            clock: SharedClock::default(),
            claims: PhantomData,
        }
    }

    /// Writes and demands `iss`.
    ///
    /// Defaults to none.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Writes and demands `aud`.
    ///
    /// Defaults to none.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Tolerates this much clock skew around `exp` and `nbf`.
    ///
    /// Defaults to 30 seconds.
    pub const fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Lets access tokens live this long, in whole seconds: so long does a signed-out session go on
    /// unless it is checked.
    ///
    /// Defaults to 15 minutes.
    pub const fn with_access_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.access = lifetime;
        self
    }

    /// Ends a session that has not been used for this long.
    ///
    /// A user who pauses for less than three quarters of this is never signed out for it, one who pauses for the whole
    /// of it always is. Access tokens older than a quarter of it are therefore refreshed on the way, as with
    /// [`with_refresh_ahead`](Self::with_refresh_ahead). It must be at least the access lifetime, and at least four
    /// grace periods.
    ///
    /// Defaults to 14 days.
    pub const fn with_idle_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.idle = lifetime;
        self
    }

    /// Ends a session this long after sign-in, however it is used.
    ///
    /// Defaults to 90 days. There is no way to switch it off.
    pub const fn with_absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.absolute = lifetime;
        self
    }

    /// Sets the grace period: longer than any message of an honest client is on the network.
    ///
    /// Defaults to 30 seconds.
    ///
    /// # Security
    ///
    /// Time that a request spends in a queue outside of `RefreshLayer` counts as time on the network. Time in
    /// which the store does not answer does not: a token is judged by what held when it arrived.
    ///
    /// So does time in the browser: over HTTP/1.1, Chromium gives a request its cookies before the request waits
    /// for one of the six connections to a host. Where long polls, event streams or uploads may hold all six for
    /// longer than the grace period, serve HTTP/2, or set a longer one.
    ///
    /// A thief who uses a stolen refresh token within the grace period after the client's own first
    /// use of its successor stays unnoticed, as under every grace period. With too short a one an
    /// honest client on a slow network is taken for a thief.
    pub const fn with_grace_period(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long a lost answer to a refresh can be asked for again.
    ///
    /// Defaults to [`LostResponse::UntilConfirmed`].
    pub const fn with_lost_response(mut self, lost_response: LostResponse) -> Self {
        self.lost_response = lost_response;
        self
    }

    /// Refreshes a request whose access token expires within this time, ahead of need.
    ///
    /// Defaults to zero: off.
    pub const fn with_refresh_ahead(mut self, ahead: Duration) -> Self {
        self.refresh_ahead = ahead;
        self
    }

    /// Asks the store on each request whether the session is still live.
    ///
    /// Defaults to off: after sign-out, access tokens of the session live until they expire. The
    /// check costs one read of the store a request, and needs the store to be up. It is made by
    /// `RefreshLayer`, which `Sessions::layer` includes.
    pub const fn with_session_check(mut self) -> Self {
        self.session_check = true;
        self
    }

    /// Sets names and attributes of the cookies.
    ///
    /// Defaults to [`CookiePolicy::new`].
    pub fn with_cookies(mut self, cookies: CookiePolicy) -> Self {
        self.cookies = cookies;
        self
    }

    /// Sets the origin under which browsers see the application, such as `https://shop.example`: for proxies that
    /// rewrite the host.
    ///
    /// Defaults to the request's own authority or `Host`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] when `origin` is not an origin.
    pub fn with_public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin.set_public(origin)?;
        Ok(self)
    }

    /// Lets pages of this origin make unsafe requests too.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] when `origin` is not an origin, such as `https://app.shop.example`.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin.trust(origin)?;
        Ok(self)
    }

    /// Lets WebSocket handshakes without `Origin` pass, as programs other than browsers send them.
    ///
    /// Defaults to refusing them.
    pub const fn with_handshakes_without_origin(mut self) -> Self {
        self.origin.allow_handshakes_without_origin();
        self
    }

    /// Names the claim that carries the XSRF token.
    ///
    /// Defaults to `xsrfToken`.
    pub fn with_xsrf_claim(mut self, name: impl Into<String>) -> Self {
        self.xsrf_claim = name.into();
        self
    }

    /// Reads the XSRF token from this request header.
    ///
    /// Defaults to `X-XSRF-TOKEN`, which axios, Angular and AngularJS send automatically.
    pub fn with_xsrf_header(mut self, header: HeaderName) -> Self {
        self.xsrf_header = header;
        self
    }

    /// Reloads the claims when a session is rotated.
    ///
    /// Defaults to keeping those of the sign-in.
    pub fn with_reload(mut self, reload: impl ReloadClaims<C>) -> Self
    where
        C: 'static,
    {
        self.reload = Some(Box::new(reload));
        self
    }

    /// Listens to what happens to sessions.
    ///
    /// Defaults to [`TraceEvents`], which a listener of one's own replaces.
    pub fn with_events(mut self, events: impl SessionEvents) -> Self {
        self.events = Listener::new(events);
        self
    }

    /// Remembers verified access tokens in about this much memory; 0 remembers none. See
    /// [`Verifier::with_cache_bytes`].
    ///
    /// Defaults to 8 MiB.
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Takes the time from `clock`; the store has its own.
    ///
    /// Defaults to the operating system's clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }
}

impl<C: Serialize + DeserializeOwned + Send + Sync + 'static> SessionsBuilder<C> {
    /// Builds the sessions.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for every contradiction, with the way out: keys that cannot sign, lifetimes
    /// of zero, cookies that browsers would drop, origins or header names that are none.
    pub fn build(self) -> Result<Sessions<C>, ConfigError> {
        self.check()?;
        let cookies = self.cookies.check()?;
        let mut issuer = Issuer::new(self.keys.clone()).with_xsrf_claim(&self.xsrf_claim);
        let mut access = Verifier::<C>::builder(self.keys.clone())
            .with_types([ACCESS_TYPE])
            .with_leeway(self.leeway)
            .with_xsrf_claim(&self.xsrf_claim)
            .with_clock(self.clock.clone());
        let mut refresh = Verifier::<()>::builder(self.keys.clone())
            .with_types([REFRESH_TYPE])
            .with_leeway(self.leeway)
            .with_clock(self.clock.clone());
        if let Some(name) = &self.issuer {
            issuer = issuer.with_issuer(name);
            access = access.with_issuer(name);
            refresh = refresh.with_issuer(name);
        }
        if let Some(name) = &self.audience {
            issuer = issuer.with_audience(name);
            access = access.with_audience(name);
            refresh = refresh.with_audience(name);
        }
        if let Some(bytes) = self.cache_bytes {
            access = access.with_cache_bytes(bytes);
        }
        let has_companion = !cookies.access.is_host_bound();
        if !has_companion {
            // Each refresh token is seen once; only a companion is verified on every request.
            refresh = refresh.with_cache_bytes(0);
        }
        let refresh_reader = RefreshCookieReader::new(refresh.build()?, &cookies.refresh.name);
        let companion = has_companion.then(|| refresh_reader.clone());
        let authenticator = Authenticator::new(access.build()?, Sources::new(cookies.access.name.clone()))
            .with_companion(companion);

        let refresh_after = self.refresh_after();
        Ok(Sessions::from_inner(Inner {
            authenticator: authenticator.into(),
            refresh_reader,
            issuer: issuer.with_clock(self.clock.clone()),
            records: Records::new(self.store, self.clock.clone()),
            cookies,
            origin: self.origin,
            xsrf_header: self.xsrf_header,
            lifetimes: self.lifetimes,
            rules: Rules { grace: self.grace, lost_response: self.lost_response },
            refresh_ahead: self.refresh_ahead,
            refresh_after,
            session_check: self.session_check,
            reload: self.reload,
            events: self.events,
            confirmer: Confirmer::new(),
            clock: self.clock,
        }))
    }

    /// A user who pauses for less than three quarters of the idle lifetime stays signed in: what has been used up to a
    /// quarter of it ago is known to the store.
    fn refresh_after(&self) -> Option<Duration> {
        let quarter = self.lifetimes.idle / 4;
        (quarter < self.lifetimes.access).then_some(quarter)
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.keys.can_sign() {
            return Err(ConfigError::new(
                "`Sessions` sign tokens, but the key ring only verifies; build it with `KeyRing::new`, or use \
                 `CookieJwtLayer::new(Verifier::new(keys))` where another server signs users in",
            ));
        }
        let Lifetimes { access, idle, absolute } = self.lifetimes;
        for (name, lifetime) in [("access", access), ("idle", idle), ("absolute", absolute)] {
            if lifetime < Duration::from_secs(1) {
                return Err(ConfigError::new(format!(
                    "the {name} lifetime is under a second; every session must be usable and must end, so give \
                     it with `with_{name}_lifetime`"
                )));
            }
        }
        if access > idle {
            return Err(ConfigError::new(
                "access tokens live longer than an unused session; give `with_access_lifetime` at most as much as \
                 `with_idle_lifetime`",
            ));
        }
        if idle < self.grace.saturating_mul(4) {
            return Err(ConfigError::new(
                "the idle lifetime is shorter than four grace periods, so sessions would end while answers are still on \
                 their way; give `with_idle_lifetime` more, or `with_grace_period` less",
            ));
        }
        if self.grace.is_zero() {
            return Err(ConfigError::new(
                "a grace period of zero takes a second tab for a thief; `with_grace_period` needs longer than any \
                 message is on the network",
            ));
        }
        if let LostResponse::Within(period) = self.lost_response
            && period < self.grace
        {
            return Err(ConfigError::new(
                "`LostResponse::Within` is shorter than the grace period, so a request on its way would be taken for \
                 reuse; give it at least as long",
            ));
        }
        if self.refresh_ahead >= access && !self.refresh_ahead.is_zero() {
            return Err(ConfigError::new(
                "refreshing ahead by as much as the access lifetime would refresh on every request; \
                 `with_refresh_ahead` needs less than `with_access_lifetime`",
            ));
        }
        Ok(())
    }
}

impl<C> fmt::Debug for SessionsBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsBuilder")
            .field("keys", &self.keys)
            .field("lifetimes", &self.lifetimes)
            .field("cookies", &self.cookies)
            .finish_non_exhaustive()
    }
}

const DEFAULT_GRACE: Duration = Duration::from_secs(30);
const DEFAULT_ACCESS: Duration = Duration::from_secs(15 * 60);
