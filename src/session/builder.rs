use std::{fmt, marker::PhantomData, ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use http::HeaderName;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    confirmer::Confirmer,
    device::{self, Device, DeviceBinding, Tickets},
    events::{Listener, SessionEvents, TraceEvents},
    places::Places,
    records::Records,
    reload::{ErasedReload, Limited, ReloadClaims},
    rotation::{LostResponse, Rules},
    sessions::{Inner, Lifetimes, Sessions},
};
use crate::{
    clock::{Clock, SharedClock},
    cookies::{CookiePolicy, Cookies},
    error::ConfigError,
    keys::KeyRing,
    reject::{ProblemJson, Reject, SharedReject},
    request::{
        Authenticator, Bound, ErasedRejection, Heard, OriginPolicy, REFRESH_TYPE, RefreshCookieReader,
        SessionCheck, Sources, WhenBehind, XSRF_HEADER,
    },
    store::{DEFAULT_ABSOLUTE, DEFAULT_IDLE, ErasedStore, RefreshStore},
    token::{ACCESS_TYPE, DEFAULT_LEEWAY, Issuer, Verifier, XSRF_CLAIM},
};

/// Builds [`Sessions`].
///
/// See [`Sessions::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, reject::ProblemJson};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
///     .with_issuer("https://shop.example")
///     .with_audience("shop")
///     .with_public_origin("https://shop.example")?
///     .with_access_lifetime(Duration::from_secs(300))
///     .with_rejection(ProblemJson)
///     .build()?;
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
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
    sign_out_within: Option<Duration>,
    when_behind: WhenBehind,
    max_sessions: usize,
    device: Option<DeviceBinding>,
    cookies: CookiePolicy,
    origin: OriginPolicy,
    xsrf_claim: String,
    xsrf_header: HeaderName,
    reload: Option<Box<dyn ErasedReload<C>>>,
    reload_timeout: Duration,
    events: Listener,
    rejection: Option<SharedReject>,
    cache_bytes: Option<usize>,
    clock: SharedClock,
    claims: PhantomData<fn() -> C>,
}

impl<C> Sessions<C> {
    /// Returns a builder with the mandatory parts: a key ring that can sign, and a store.
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
            sign_out_within: None,
            when_behind: WhenBehind::Ask,
            max_sessions: DEFAULT_MAX_SESSIONS,
            device: None,
            cookies: CookiePolicy::new(),
            origin: OriginPolicy::default(),
            xsrf_claim: XSRF_CLAIM.to_owned(),
            xsrf_header: XSRF_HEADER,
            reload: None,
            reload_timeout: DEFAULT_RELOAD_TIMEOUT,
            events: Listener::new(TraceEvents),
            rejection: None,
            cache_bytes: None,
            clock: SharedClock::default(),
            claims: PhantomData,
        }
    }

    /// Sets the issuer: tokens are issued with this `iss` claim and refused without it.
    ///
    /// Defaults to none.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Sets the audience: tokens are issued with this `aud` claim and refused without it.
    ///
    /// Required. It keeps applications that share a key ring from accepting each other's tokens, so give each its own.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Tolerates this much clock skew when checking `exp` and `nbf`.
    ///
    /// Defaults to 30 seconds.
    pub const fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Sets how long access tokens are valid, in whole seconds.
    ///
    /// This is also how long an access token can outlive sign-out, unless
    /// [`with_session_check`](Self::with_session_check) is set.
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

    /// Ends a session this long after sign-in, however much it is used.
    ///
    /// Defaults to 90 days. It cannot be disabled.
    pub const fn with_absolute_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.absolute = lifetime;
        self
    }

    /// Sets the grace period, which must be longer than any message of a legitimate client spends on the network.
    ///
    /// Defaults to 30 seconds.
    ///
    /// # Security
    ///
    /// Time that a request spends in a queue in front of `RefreshLayer` counts as time on the network. So does time
    /// in the browser: over HTTP/1.1, Chromium attaches cookies to a request before the request waits for one of the
    /// six connections to a host. If long polls, event streams or uploads can occupy all six for longer than the
    /// grace period, serve HTTP/2 or set a longer grace period.
    ///
    /// Time spent waiting for the store does not count: a token is evaluated by what held when it arrived.
    ///
    /// A thief who uses a stolen refresh token within the grace period after the client's own first use of its
    /// successor goes undetected; every scheme with a grace period has this limit. If the grace period is too short,
    /// legitimate clients on slow networks are mistaken for thieves and signed out.
    pub const fn with_grace_period(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets how long the previous refresh token is accepted in case the response to a refresh was lost.
    ///
    /// Defaults to [`LostResponse::UntilConfirmed`].
    pub const fn with_lost_response(mut self, lost_response: LostResponse) -> Self {
        self.lost_response = lost_response;
        self
    }

    /// Refreshes the session on requests whose access token expires within this time, before it has expired.
    ///
    /// Defaults to zero, which refreshes only once the access token has expired.
    pub const fn with_refresh_ahead(mut self, ahead: Duration) -> Self {
        self.refresh_ahead = ahead;
        self
    }

    /// Asks the store on each request whether the session is still live.
    ///
    /// Defaults to off: after sign-out, access tokens of the session are valid until they expire. The check costs one
    /// store read per request and requires the store to be available. It is made by `RefreshLayer`, which
    /// `Sessions::layer` includes. [`with_sign_out_within`](Self::with_sign_out_within) costs less.
    pub const fn with_session_check(mut self) -> Self {
        self.session_check = true;
        self
    }

    /// Bounds how long an access token is served after its session has ended, on any node.
    ///
    /// A request that a node begins to check more than `bound` after `sign_out`, `revoke`, `sign_out_everywhere` or
    /// `sign_out_others` has returned, or after a stolen token has ended its session, is not served by a token of that
    /// session. It says nothing of requests that are already running.
    ///
    /// The same holds for changed claims: after `update_claims` or `update_privileges`, a former access token counts as
    /// expired. A page gets a new one within the request, and a client that holds the token itself gets 401 and exchanges
    /// its refresh token.
    ///
    /// Spawn [`Sessions::follow`]: the node then hears of what has ended or changed from the store's feed, which all stores of
    /// this crate have, and needs no reads. Otherwise it asks the store about a token at most once in `bound`, and remembers
    /// the answer with the verified token. Like the session check, this is done by `RefreshLayer`, which `Sessions::layer`
    /// includes, and requires the store: without an answer, requests are refused with 503.
    ///
    /// Defaults to off: after sign-out, access tokens of the session are valid until they expire. From 100 milliseconds to
    /// a minute; one second is a good value.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
    ///
    /// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
    /// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
    ///     .with_audience("shop")
    ///     .with_sign_out_within(Duration::from_secs(1))
    ///     .build()?;
    /// # Ok::<(), tower_cookie_jwt::ConfigError>(())
    /// ```
    pub const fn with_sign_out_within(mut self, bound: Duration) -> Self {
        self.sign_out_within = Some(bound);
        self
    }

    /// Sets what a node does while it is behind the store's feed of changes, with
    /// [`with_sign_out_within`](Self::with_sign_out_within).
    ///
    /// Defaults to [`WhenBehind::Ask`].
    pub const fn with_when_behind(mut self, when_behind: WhenBehind) -> Self {
        self.when_behind = when_behind;
        self
    }

    /// Ends the least recently used session of a user who signs in with this many.
    ///
    /// Sign-ins at the same time may overshoot by their number. An account that many devices share, such as that of
    /// kiosks, needs more.
    ///
    /// Defaults to 100.
    pub const fn with_max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// Binds sessions to a key in the browser's device, where the browser supports it: copied cookies then renew nothing.
    ///
    /// Mount [`Sessions::device_service`] on every node first. Access tokens may live for at most a quarter of the idle
    /// lifetime, as bound sessions are not refreshed early, and at least 5 minutes and a grace period, as browsers sign only
    /// six times in nine minutes. All access cookies then expire a grace period before their tokens. A bound session is renewed by `RefreshLayer` no more, so clients that send the refresh cookie without a
    /// browser must sign in themselves.
    ///
    /// Defaults to off.
    pub fn with_device_binding(mut self, binding: DeviceBinding) -> Self {
        self.device = Some(binding);
        self
    }

    /// Sets the names and attributes of the cookies.
    ///
    /// Defaults to [`CookiePolicy::new`].
    pub fn with_cookies(mut self, cookies: CookiePolicy) -> Self {
        self.cookies = cookies;
        self
    }

    /// Sets the origin at which browsers reach the application, such as `https://shop.example`.
    ///
    /// Needed behind proxies that rewrite the host.
    ///
    /// Defaults to the authority of the request's URI or, if it has none, the `Host` header.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origin` is not an origin.
    pub fn with_public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin.set_public(origin)?;
        Ok(self)
    }

    /// Allows pages of another origin, such as `https://app.shop.example`, to make unsafe requests.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `origin` is not an origin.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin.trust(origin)?;
        Ok(self)
    }

    /// Accepts WebSocket handshakes without an `Origin` header, which clients other than browsers send.
    ///
    /// Defaults to refusing them.
    pub const fn with_handshakes_without_origin(mut self) -> Self {
        self.origin.allow_handshakes_without_origin();
        self
    }

    /// Also checks the origin and the XSRF token of requests whose token is in a header.
    ///
    /// Needed behind a proxy that adds `Authorization` or `X-Access-Token` to requests from a session of its own:
    /// another site can then make a browser send an authenticated request, as with cookies. A token without an XSRF
    /// claim is then refused on unsafe methods.
    ///
    /// Defaults to trusting these requests: without such a proxy, no other site can make a browser send the header.
    pub const fn with_xsrf_for_header_tokens(mut self) -> Self {
        self.origin.distrust_header_tokens();
        self
    }

    /// Sets the name of the claim that carries the XSRF token.
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

    /// Reloads the claims with `reload` when a session is rotated.
    ///
    /// A session that has just begun, or has just been rotated, is rotated by the first refresh after the grace period.
    /// A refresh before that, also by the refresh service, keeps the claims unless they are older than the access
    /// lifetime. What [`Sessions::update_claims`] has set counts until then, so write to the source of `reload` first.
    ///
    /// Defaults to keeping the claims set at sign-in or by [`Sessions::update_claims`].
    pub fn with_reload(mut self, reload: impl ReloadClaims<C>) -> Self
    where
        C: 'static,
    {
        self.reload = Some(Box::new(reload));
        self
    }

    /// Sets how long reloading the claims may take. A request whose reload takes longer is answered with 503, and its session
    /// stays as it is.
    ///
    /// Defaults to 5 seconds.
    pub const fn with_reload_timeout(mut self, timeout: Duration) -> Self {
        self.reload_timeout = timeout;
        self
    }

    /// Sets the listener for session events.
    ///
    /// A closure needs the type of its argument: `|event: &SessionEvent<'_>| …`.
    ///
    /// Defaults to [`TraceEvents`], which a custom listener replaces.
    pub fn with_events(mut self, events: impl SessionEvents) -> Self {
        self.events = Listener::new(events);
        self
    }

    /// Sets the hook that builds the response to refused requests, wherever they are refused: by the layers of these
    /// sessions and a [`RequireLayer`](crate::RequireLayer) inside them, by the refresh service, and by the extractors
    /// of the feature `axum`. A layer's own `with_rejection` takes precedence. A closure is wrapped in
    /// [`reject_fn`](crate::reject::reject_fn), or has the types of its arguments.
    ///
    /// A [`SessionError`](super::SessionError) that a handler returns is not a refused request, and is answered with
    /// problem details. An application with an error type of its own converts it by
    /// [`SessionError::refusal`](super::SessionError::refusal).
    ///
    /// Defaults to a bare status from the layers ([`DefaultReject`](crate::reject::DefaultReject), which says which body
    /// types this works with), and to problem details ([`ProblemJson`](crate::reject::ProblemJson)) from the refresh
    /// service and the extractors.
    ///
    /// # Examples
    ///
    /// ```
    /// use bytes::Bytes;
    /// use http::Response;
    /// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, reject::reject_fn};
    ///
    /// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
    /// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
    ///     .with_audience("shop")
    ///     .with_rejection(reject_fn(|refusal, request| {
    ///         let body = format!("{}: {}\n", request.uri.path(), refusal.code());
    ///         let mut response = Response::new(Bytes::from(body));
    ///         *response.status_mut() = refusal.status();
    ///         refusal.write_headers(response.headers_mut());
    ///         response
    ///     }))
    ///     .build()?;
    /// # Ok::<(), tower_cookie_jwt::ConfigError>(())
    /// ```
    pub fn with_rejection(mut self, reject: impl Reject<Bytes> + Send + Sync + 'static) -> Self {
        self.rejection = Some(SharedReject::new(reject));
        self
    }

    /// Sets the approximate size of the cache of verified access tokens, in bytes; 0 disables it.
    ///
    /// Defaults to 8 MiB. See
    /// [`VerifierBuilder::with_cache_bytes`](crate::token::VerifierBuilder::with_cache_bytes).
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Takes the time from `clock`. The store has a clock of its own.
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
    /// Returns a [`ConfigError`] that says how to fix it if the settings contradict each other or cannot work: for
    /// example, if there is no audience, the keys cannot sign, the claims type has a field of a reserved name, a lifetime is under a second, the grace period is zero,
    /// [`LostResponse::Within`] is shorter than the grace period, browsers would drop a cookie, or cookies for local
    /// development over http belong to a public origin with https.
    pub fn build(self) -> Result<Sessions<C>, ConfigError> {
        self.check()?;
        let cookies = self.cookies.check()?;
        if !cookies.access.secure && self.origin.is_https() {
            return Err(ConfigError::new(
                "the public origin uses https, but the cookies are for local development over http; leave out \
                 `for_local_http_development` where browsers use https, or correct `with_public_origin`",
            ));
        }
        let mut issuer = Issuer::new(self.keys.clone()).with_xsrf_claim(&self.xsrf_claim);
        let mut access = Verifier::<C>::builder(self.keys.clone())
            .with_types([ACCESS_TYPE])
            .of_sessions()
            .with_leeway(self.leeway)
            .with_xsrf_claim(&self.xsrf_claim)
            .with_clock(self.clock.clone());
        let mut refresh = Verifier::<()>::builder(self.keys.clone())
            .with_types([REFRESH_TYPE])
            .of_sessions()
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
            // Each refresh token is seen once, so there is nothing to cache, unless it accompanies the access cookie
            // and is verified on every request.
            refresh = refresh.with_cache_bytes(0);
        }
        let refresh_reader = RefreshCookieReader::new(refresh.build()?, &cookies.refresh.name);
        let companion = has_companion.then(|| refresh_reader.clone());
        let mut sources = Sources::new(cookies.access.name.clone());
        sources.listener = Some(self.events.to_refusals());
        sources.rejection = self.rejection.clone().map(ErasedRejection::new);
        sources.clear_access = self.device.is_some().then(|| cookies.access.clear());
        let session_check = match (self.session_check, self.sign_out_within) {
            (_, Some(limit)) => SessionCheck::Within(Bound {
                limit,
                clock: self.clock.clone(),
                heard: Heard::new(self.lifetimes.access + self.leeway + SKEW).into(),
                when_behind: self.when_behind,
            }),
            (true, None) => SessionCheck::Always,
            (false, None) => SessionCheck::Never,
        };
        let authenticator = Authenticator::new(access.build()?, sources)
            .with_companion(companion, cookies.refresh.path != cookies.access.path)
            .with_session_check(session_check.clone());

        let device = match self.device.clone() {
            Some(settings) => Some(Box::new(self.device(settings, &cookies)?)),
            None => None,
        };
        let refresh_after = self.refresh_after();
        let reload: Option<Box<dyn ErasedReload<C>>> = self.reload;
        Ok(Sessions::from_inner(Inner {
            authenticator: authenticator.into(),
            refresh_reader,
            issuer: issuer.with_clock(self.clock.clone()),
            records: Records::new(
                self.store,
                self.events,
                self.clock.clone(),
                session_check.bound().cloned(),
            ),
            rejection: self.rejection.unwrap_or_else(|| SharedReject::new(ProblemJson)),
            cookies,
            origin: self.origin,
            xsrf_header: self.xsrf_header,
            lifetimes: self.lifetimes,
            rules: Rules { grace: self.grace, lost_response: self.lost_response },
            refresh_ahead: self.refresh_ahead,
            refresh_after,
            refreshes_early: !self.refresh_ahead.is_zero() || refresh_after.is_some(),
            session_check,
            reload: reload.map(|reload| Box::new(Limited::new(reload, self.reload_timeout)) as _),
            max_sessions: self.max_sessions,
            confirmer: Confirmer::new(),
            questions: Places::new(QUESTIONS),
            device,
            clock: self.clock,
        }))
    }

    /// A user who pauses for less than three quarters of the idle lifetime stays signed in: what has been used up to a
    /// quarter of it ago is known to the store.
    fn refresh_after(&self) -> Option<Duration> {
        let quarter = self.lifetimes.idle / 4;
        (quarter < self.lifetimes.access).then_some(quarter)
    }

    fn device(&self, settings: DeviceBinding, cookies: &Cookies) -> Result<Device, ConfigError> {
        settings.instructions.check(&cookies.access)?;
        settings.instructions.check_reached_by(&cookies.refresh)?;
        let Lifetimes { access, idle, .. } = self.lifetimes;
        // The cookie ends a grace period before the token.
        if access < SHORTEST_BOUND.saturating_add(self.grace) || access > idle / 4 {
            return Err(ConfigError::new(
                "with `with_device_binding`, access tokens live for at least 5 minutes and a grace period, as browsers sign \
                 six times in nine minutes, and for at most a quarter of the idle lifetime, as bound sessions are not \
                 refreshed early; change `with_access_lifetime`, `with_idle_lifetime` or `with_grace_period`",
            ));
        }
        let rules = device::Rules {
            issuer: self.issuer.as_deref(),
            audience: self.audience.as_deref(),
            leeway: self.leeway,
            clock: self.clock.clone(),
        };
        Ok(Device { tickets: Tickets::new(&self.keys, rules)?, settings })
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !self.keys.can_sign() {
            return Err(ConfigError::new(
                "`Sessions` signs tokens, but the key ring can only verify; create it with `KeyRing::new`, or use \
                 `CookieJwtLayer::new(Verifier::new(keys))` if another server signs users in",
            ));
        }
        if self.audience.as_deref().is_none_or(str::is_empty) {
            return Err(ConfigError::new(
                "the sessions have no audience, so other applications with the same keys would accept their tokens, and \
                 vice versa; name the application, as in `with_audience(\"shop\")`",
            ));
        }
        let Lifetimes { access, idle, absolute } = self.lifetimes;
        for (name, lifetime) in [("access", access), ("idle", idle), ("absolute", absolute)] {
            if lifetime < Duration::from_secs(1) {
                return Err(ConfigError::new(format!(
                    "the {name} lifetime is less than one second; set it to at least that with \
                     `with_{name}_lifetime`"
                )));
            }
        }
        if let Some(bound) = self.sign_out_within {
            if self.session_check {
                return Err(ConfigError::new(
                    "`with_session_check` asks on each request, and `with_sign_out_within` does not; leave one of them out",
                ));
            }
            if !SIGN_OUT_WITHIN.contains(&bound) {
                return Err(ConfigError::new(
                    "`with_sign_out_within` takes 100 milliseconds to one minute; one second is a good value",
                ));
            }
        }
        if self.max_sessions == 0 {
            return Err(ConfigError::new("`with_max_sessions` allows no session at all; give at least one"));
        }
        if self.reload_timeout.is_zero() {
            return Err(ConfigError::new(
                "claims cannot be reloaded in no time; set `with_reload_timeout` to a few seconds",
            ));
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
                "the grace period is zero, so a second tab would be mistaken for a thief; set `with_grace_period` to \
                 longer than any message spends on the network",
            ));
        }
        if let LostResponse::Within(period) = self.lost_response
            && period < self.grace
        {
            return Err(ConfigError::new(
                "`LostResponse::Within` is shorter than the grace period, so a request in flight would be mistaken \
                 for reuse; make it at least as long as the grace period",
            ));
        }
        if self.refresh_ahead >= access && !self.refresh_ahead.is_zero() {
            return Err(ConfigError::new(
                "refreshing ahead by the access lifetime or more would refresh on every request; set \
                 `with_refresh_ahead` to less than `with_access_lifetime`",
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

/// How many questions about access tokens a node asks at a time.
const QUESTIONS: usize = 64;
/// How long access cookies live at least in bound sessions.
const SHORTEST_BOUND: Duration = Duration::from_secs(5 * 60);
/// How much clocks of nodes may differ.
const SKEW: Duration = Duration::from_secs(30);
const SIGN_OUT_WITHIN: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const DEFAULT_MAX_SESSIONS: usize = 100;
const DEFAULT_GRACE: Duration = Duration::from_secs(30);
const DEFAULT_RELOAD_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_ACCESS: Duration = Duration::from_secs(15 * 60);
