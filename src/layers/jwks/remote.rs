//! The key set of an authorization server elsewhere, followed.

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
/// The set is fetched at once, then every five minutes, and when a token names an unknown key, at most
/// once a minute. A set that cannot be fetched or read changes nothing: the last good one stays in use,
/// but for 24 hours at most. Before the first, and after that time, tokens cannot be judged: requests are
/// answered 503.
///
/// Keys for other purposes and shared secrets in the set are left out. Only https is followed, http to
/// loopback alone; a redirect is a failure, unless the client follows it.
///
/// Comes with the feature `jwks-remote`, and runs on Tokio.
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
    /// The set at this URL.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is no URL, holds user information, or is http but to loopback.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let uri: Uri = url.parse().map_err(|_| ConfigError::new("the key set has no valid URL"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(ConfigError::new(
                "the key set's URL holds a user name or password; a public set needs none",
            ));
        }
        let secure = match (uri.scheme_str(), uri.authority()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(authority)) => is_loopback(authority.as_str()),
            _ => false,
        };
        if !secure {
            return Err(ConfigError::new(
                "a key set must be fetched over https (http is for loopback alone): who can change it on the way \
                 can sign anybody in",
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

    /// Fetches the set this often.
    ///
    /// Defaults to five minutes.
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Fetches the set for an unknown key at most this often.
    ///
    /// Defaults to one minute.
    pub const fn with_min_gap(mut self, gap: Duration) -> Self {
        self.min_gap = gap;
        self
    }

    /// Uses the last good set for so long when no other can be had.
    ///
    /// Defaults to 24 hours.
    pub const fn with_max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Gives up a fetch after this time.
    ///
    /// Defaults to 10 seconds.
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The ring of the keys, and the future that follows them: give it to a task of its own. It ends
    /// when the last clone of the ring is dropped.
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
        // Goes with the ring: then there is nothing left to follow, whatever is being waited for.
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
                    // Before the set is too old, whatever is configured.
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

    /// Waits for the next turn, or for an unknown key, but never less than the gap between two fetches.
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
        KeyRing::from_jwks(set).map_err(Failure::Unusable)
    }
}

/// Why a set was not taken; for the log.
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
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::TooLarge => f.write_str("larger than a key set may be"),
            Self::BrokeOff => f.write_str("the answer broke off"),
            Self::Unusable(error) => error.fmt(f),
        }
    }
}

/// Whatever is configured, the server is not asked without a pause.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(10);
/// For a maximum age beyond what the clock can count.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const MAX_SET: usize = 256 * 1024;
