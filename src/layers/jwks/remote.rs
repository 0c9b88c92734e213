//! Follows the key set of an authorization server.

use std::{
    convert::Infallible,
    fmt,
    future::poll_fn,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use http::{
    HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, HOST},
};
use http_body::Body;
use tokio::{
    sync::{Notify, oneshot},
    time,
};
use tower_service::Service;

use crate::{
    error::ConfigError,
    keys::{KeyRing, SharedKeys},
    layers::body::{CollectError, collect},
    request::is_loopback,
};

/// Follows the JWK set of an authorization server over any Tower HTTP client.
///
/// By default, the set is fetched immediately, then every five minutes, and additionally when a token names an
/// unknown key, at most once a minute. If a set cannot be fetched or parsed, the last valid one remains in use, for
/// at most 24 hours. Before the first set has arrived, and after those 24 hours, tokens cannot be verified, and
/// requests are answered with 503.
///
/// Shared secrets and keys for other purposes in the set are ignored. The URL must use https, or http to loopback. A
/// redirect counts as a failure unless the client follows it.
///
/// Requires the feature `jwks-remote` and the Tokio runtime.
///
/// # Examples
///
/// ```no_run
/// use http_body_util::Full;
/// use tower_cookie_jwt::{CookieJwtLayer, Verifier, layers::jwks::RemoteJwks};
/// # use std::convert::Infallible;
/// # use http::{Request, Response};
/// # #[tokio::main] async fn main() -> Result<(), tower_cookie_jwt::ConfigError> {
/// # let client = tower::service_fn(|_: Request<Full<bytes::Bytes>>| async {
/// #     Ok::<_, Infallible>(Response::new(Full::new(bytes::Bytes::new())))
/// # });
/// // `client` is a hyper-util client, or any other service for HTTP requests.
/// let (keys, follow) = RemoteJwks::new("https://id.shop.example/.well-known/jwks.json")?.follow(client);
/// tokio::spawn(follow); // ends when the last clone of `keys` is dropped
/// let verifier = Verifier::<()>::builder(keys).with_issuer("https://id.shop.example").build()?;
/// let layer = CookieJwtLayer::new(verifier);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RemoteJwks {
    url: Uri,
    interval: Duration,
    min_gap: Duration,
    max_age: Duration,
    timeout: Duration,
}

impl RemoteJwks {
    /// Creates a configuration for the set at `url`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `url` is not a valid URL, contains a user name or password, or uses http for a
    /// host other than loopback.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let uri: Uri = url.parse().map_err(|_| ConfigError::new("the URL of the key set is not valid"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(ConfigError::new(
                "the URL of the key set contains a user name or password; remove it, as a public set needs none",
            ));
        }
        let secure = match (uri.scheme_str(), uri.authority()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(authority)) => is_loopback(authority.as_str()),
            _ => false,
        };
        if !secure {
            return Err(ConfigError::new(
                "the URL of the key set must use https (http is accepted for loopback only): whoever can modify the \
                 set in transit can sign in as any user",
            ));
        }
        Ok(Self {
            url: uri,
            interval: Duration::from_secs(5 * 60),
            min_gap: Duration::from_secs(60),
            max_age: Duration::from_secs(24 * 60 * 60),
            timeout: Duration::from_secs(10),
        })
    }

    /// Sets the interval between two fetches.
    ///
    /// Defaults to five minutes.
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the minimum time before an unknown key may cause another fetch.
    ///
    /// Defaults to one minute.
    pub const fn with_min_gap(mut self, gap: Duration) -> Self {
        self.min_gap = gap;
        self
    }

    /// Sets how long the last valid set remains in use while no newer one can be fetched.
    ///
    /// Defaults to 24 hours.
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the time after which a fetch is abandoned.
    ///
    /// Defaults to 10 seconds.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Returns the key ring, and the future that keeps it up to date.
    ///
    /// Spawn the future as a separate task. It completes when the last clone of the ring is dropped.
    pub fn follow<S, ReqBody, ResBody>(
        self,
        client: S,
    ) -> (KeyRing, impl Future<Output = ()> + Send + use<S, ReqBody, ResBody>)
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Send + 'static,
        S::Error: fmt::Display + Send,
        S::Future: Send,
        ReqBody: Default + Send + 'static,
        ResBody: Body + Send + 'static,
        ResBody::Data: Send,
        ResBody::Error: Send,
    {
        let unknown = Arc::new(Notify::new());
        let notify = unknown.clone();
        // Dropped with the ring, which ends the task whatever it is waiting for.
        let (alive, dropped) = oneshot::channel::<Infallible>();
        let ring = KeyRing::awaited(move || {
            let _ = &alive;
            notify.notify_one();
        });
        let shared = ring.downgrade();
        let follow = async move {
            tokio::select! {
                _ = dropped => {}
                () = self.run(client, shared, &unknown) => {}
            }
        };
        (ring, follow)
    }

    async fn run<S, ReqBody, ResBody>(&self, mut client: S, shared: Weak<SharedKeys>, unknown: &Notify)
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        loop {
            let fetched = time::timeout(self.timeout, self.fetch(&mut client)).await;
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let waits = match fetched.unwrap_or(Err(Failure::TimedOut)) {
                Ok(ring) => {
                    let now = Instant::now();
                    shared.take(&ring, now.checked_add(self.max_age).unwrap_or(now + FOREVER));
                    // Fetches again before the set expires, even if the interval is longer than the maximum age.
                    self.interval.min(self.max_age / 2)
                }
                Err(failure) => {
                    crate::trace::key_set_failed(&self.url, &failure);
                    self.interval.min(RETRY)
                }
            };
            drop(shared);
            self.wait(waits, unknown).await;
        }
    }

    /// Waits for the next fetch, which an unknown key brings forward, but at least for the minimum gap.
    async fn wait(&self, waits: Duration, unknown: &Notify) {
        let waits = waits.max(MIN_WAIT);
        let gap = self.min_gap.min(waits).max(MIN_WAIT);
        time::sleep(gap).await;
        tokio::select! {
            () = time::sleep(waits - gap) => {}
            () = unknown.notified() => {}
        }
    }

    async fn fetch<S, ReqBody, ResBody>(&self, client: &mut S) -> Result<KeyRing, Failure>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        let mut request = Request::new(ReqBody::default());
        *request.uri_mut() = self.url.clone();
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static("application/jwk-set+json, application/json"));
        let host = self.url.authority().map(|authority| authority.as_str());
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
            request.headers_mut().insert(HOST, host);
        }
        let unreachable = |error: S::Error| Failure::Unreachable(error.to_string());
        poll_fn(|cx| client.poll_ready(cx)).await.map_err(unreachable)?;
        let response = client.call(request).await.map_err(unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(Failure::Status(response.status()));
        }
        let set = collect(response.into_body(), MAX_SET).await.map_err(|error| match error {
            CollectError::TooLarge => Failure::TooLarge,
            CollectError::Broken => Failure::BrokeOff,
        })?;
        KeyRing::from_remote_jwks(&set).map_err(Failure::Unusable)
    }
}

/// Why a set was not adopted; for the log.
enum Failure {
    TimedOut,
    Unreachable(String),
    Status(StatusCode),
    TooLarge,
    BrokeOff,
    Unusable(ConfigError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::Status(status) => write!(f, "responded with {status}"),
            Self::TooLarge => f.write_str("the response is larger than 256 KiB"),
            Self::BrokeOff => f.write_str("the response ended early"),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

/// Keeps a zero interval from becoming a busy loop.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// The longest wait after a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Replaces a maximum age that overflows the clock.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const MAX_SET: usize = 256 * 1024;
