//! Follows the key set of an authorization server.

use std::{
    collections::HashSet,
    convert::Infallible,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use http::{Request, Response, Uri};
use http_body::Body;
use tokio::{
    sync::oneshot,
    time::{self, Instant},
};
use tower_service::Service;

use super::{
    discovery::{Discovery, Found, check_url},
    fetch::{Failure, KeySetError, fetch},
    unknown::UnknownKeys,
};
use crate::{
    error::ConfigError,
    keys::{Algorithm, Key, KeyRing, KeySet, LeftOut, SharedKeys, nothing_usable},
    trace,
};

/// Follows the JWK set of an authorization server over any Tower HTTP client.
///
/// The set is fetched immediately, and again as often as its `Cache-Control` says (between one and 60 minutes) or else
/// every five minutes. If a set cannot be fetched or has no usable key, the last valid one remains in use, for at most
/// 24 hours. Before the first set has arrived, and after those 24 hours, tokens cannot be verified, and requests are
/// answered with 503.
///
/// A token that names an unknown key, and whose claims would be acceptable, causes another fetch, at most once a minute:
/// issuers may sign with a new key at any time. Until a fetch has ended that began after the key was first named, such
/// requests are answered with 503 and `Retry-After`, and afterwards with 401 for ten minutes. Of more than 256 unknown keys
/// in that time, the further ones are answered with 401 at once. A set that lists no keys, and still does a
/// minute later, is obeyed: no token is accepted any more.
///
/// Unusable keys are left out, as with [`KeyRing::from_jwks`]. The URL must use https, or http to
/// loopback. A redirect counts as a failure unless the client follows it.
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
/// let (keys, follow) = RemoteJwks::discover("https://id.shop.example")?.follow(client);
/// tokio::spawn(follow); // ends when the last clone of `keys` is dropped
/// let verifier =
///     Verifier::<()>::builder(keys).with_issuer("https://id.shop.example").with_audience("shop").build()?;
/// let layer = CookieJwtLayer::new(verifier);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RemoteJwks {
    place: Place,
    rsa: Algorithm,
    /// `None` until it is set: `Cache-Control` then decides.
    interval: Option<Duration>,
    min_gap: Duration,
    max_age: Duration,
    timeout: Duration,
}

/// Where the set is.
#[derive(Clone, Debug)]
enum Place {
    Url(Uri),
    OfIssuer(Box<Discovery>),
}

impl RemoteJwks {
    /// Creates a configuration for the set at `url`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `url` is not a valid URL, contains a user name or password, or uses http for a
    /// host other than loopback.
    pub fn new(url: &str) -> Result<Self, ConfigError> {
        let url: Uri = url.parse().map_err(|_| ConfigError::new("the URL of the key set is not valid"))?;
        check_url(&url, true)
            .map_err(|reason| ConfigError::new(format!("the key set cannot be trusted: {reason}")))?;
        Ok(Self::at(Place::Url(url)))
    }

    /// Creates a configuration for the set to which the metadata of `issuer` leads.
    ///
    /// The metadata is looked for where OpenID Connect Discovery 1.0 §4 and then RFC 8414 §3 place it, and its `issuer`
    /// must be exactly `issuer`. Configure the verifier with the same issuer. Issuers for several tenants, whose name
    /// depends on the token (such as `common` of Microsoft Entra ID), are not supported: accept each tenant by its own
    /// name.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `issuer` is not an https URL (or http to loopback), or has a query, a fragment, a
    /// placeholder, a user name or a password.
    pub fn discover(issuer: &str) -> Result<Self, ConfigError> {
        Ok(Self::at(Place::OfIssuer(Box::new(Discovery::new(issuer)?))))
    }

    const fn at(place: Place) -> Self {
        Self {
            place,
            rsa: Algorithm::RS256,
            interval: None,
            min_gap: Duration::from_secs(60),
            max_age: Duration::from_secs(24 * 60 * 60),
            timeout: Duration::from_secs(10),
        }
    }

    /// Uses RSA keys of the set that have no `alg` for this algorithm.
    ///
    /// Defaults to `RS256`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `algorithm` is not an RSA algorithm.
    pub fn with_rsa_algorithm(mut self, algorithm: Algorithm) -> Result<Self, ConfigError> {
        KeySet::check_rsa(algorithm)?;
        self.rsa = algorithm;
        Ok(self)
    }

    /// Sets the interval between two fetches, whatever the server says.
    ///
    /// Defaults to the `max-age` of the set's `Cache-Control`, between one and 60 minutes, or else five minutes.
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
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
        let (ring, follower, dropped) = self.follower(client);
        (ring, follower.run_until(dropped))
    }

    /// Fetches the set before it returns the key ring and the future that keeps it up to date, so that a wrong address
    /// or an issuer that cannot be reached is found when the application starts.
    ///
    /// Spawn the future as a separate task. It completes when the last clone of the ring is dropped.
    ///
    /// # Errors
    ///
    /// Returns a [`KeySetError`] if the set cannot be fetched or has no usable key.
    pub async fn start<S, ReqBody, ResBody>(
        self,
        client: S,
    ) -> Result<(KeyRing, impl Future<Output = ()> + Send + use<S, ReqBody, ResBody>), KeySetError>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>> + Send + 'static,
        S::Error: fmt::Display + Send,
        S::Future: Send,
        ReqBody: Default + Send + 'static,
        ResBody: Body + Send + 'static,
        ResBody::Data: Send,
        ResBody::Error: Send,
    {
        let (ring, mut follower, dropped) = self.follower(client);
        follower.update().await?;
        Ok((ring, follower.run_until(dropped)))
    }

    fn follower<S>(self, client: S) -> (KeyRing, Follower<S>, oneshot::Receiver<Infallible>) {
        let unknown = Arc::new(UnknownKeys::default());
        let asked = unknown.clone();
        // Dropped with the ring, which ends the task whatever it is waiting for.
        let (alive, dropped) = oneshot::channel::<Infallible>();
        let ring = KeyRing::awaited(move |id| {
            let _ = &alive;
            asked.ask(id)
        });
        let keys = ring.downgrade();
        let follower = Follower {
            config: self,
            client,
            keys,
            unknown,
            found: None,
            empty_since: None,
            wait: Duration::ZERO,
            logged: HashSet::new(),
        };
        (ring, follower, dropped)
    }
}

/// Keeps a ring up to date.
struct Follower<S> {
    config: RemoteJwks,
    client: S,
    keys: Weak<SharedKeys>,
    unknown: Arc<UnknownKeys>,
    /// Where the issuer's metadata says that the set is.
    found: Option<Found>,
    /// When the set was first found to list no keys.
    empty_since: Option<Instant>,
    /// How long to wait for the next fetch.
    wait: Duration,
    /// What the log has been told already.
    logged: HashSet<LeftOut>,
}

impl<S> Follower<S> {
    async fn run_until<ReqBody, ResBody>(mut self, dropped: oneshot::Receiver<Infallible>)
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        let run = async {
            loop {
                // Not before the first fetch, unless that has been made already.
                if !self.wait.is_zero() {
                    self.wait().await;
                }
                if let Err(error) = self.update().await {
                    trace::key_set_failed(&error);
                }
            }
        };
        tokio::select! {
            _ = dropped => {}
            () = run => {}
        }
    }

    /// Waits for the next fetch, which an unknown key brings forward, but at least for the minimum gap.
    async fn wait(&mut self) {
        let gap = self.config.min_gap.min(self.wait).max(MIN_WAIT);
        time::sleep(gap).await;
        tokio::select! {
            () = time::sleep(self.wait - gap) => {}
            () = self.unknown.wants_fetch() => {}
        }
    }

    /// Fetches the set and replaces the ring's keys.
    async fn update<ReqBody, ResBody>(&mut self) -> Result<(), KeySetError>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        let number = self.unknown.fetch_begins();
        let fetched = match time::timeout(self.config.timeout, self.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => Err(KeySetError::new(self.url(), Failure::TimedOut)),
        };
        let (wait, result) = match fetched {
            Ok((keys, interval)) => {
                let now = std::time::Instant::now();
                if let Some(shared) = self.keys.upgrade() {
                    shared.take(keys, now.checked_add(self.config.max_age).unwrap_or(now + FOREVER));
                }
                // Fetches again before the set expires, even if the interval is longer than the maximum age.
                (interval.min(self.config.max_age / 2), Ok(()))
            }
            Err(error) => {
                // The set may have moved.
                self.found = None;
                (self.config.interval.unwrap_or(INTERVAL).min(RETRY), Err(error))
            }
        };
        self.unknown.fetch_ends(number);
        self.wait = wait.max(MIN_WAIT);
        result
    }

    /// Returns the keys of the set, and the interval after which to fetch it again.
    async fn fetch<ReqBody, ResBody>(&mut self) -> Result<(Vec<Key>, Duration), KeySetError>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        if let Place::OfIssuer(discovery) = &self.config.place
            && !self.found.as_ref().is_some_and(Found::is_current)
        {
            self.found = Some(discovery.find(&mut self.client).await?);
        }
        let url = self.url();
        let document = fetch(&mut self.client, &url, ACCEPT, MAX_SET).await;
        let adopted = document.and_then(|document| {
            let interval = self.config.interval.or(document.max_age).unwrap_or(INTERVAL);
            Ok((self.adopt(&document.body, &url)?, interval))
        });
        adopted.map_err(|failure| KeySetError::new(url, failure))
    }

    fn adopt(&mut self, set: &[u8], url: &Uri) -> Result<Vec<Key>, Failure> {
        let set = KeySet::parse(set, self.config.rsa).map_err(Failure::Unusable)?;
        let KeySet { keys, left_out } = set.without_unreachable();
        for key in &left_out {
            if self.logged.len() < MAX_LOGGED && self.logged.insert(key.clone()) {
                trace::key_left_out(key);
            }
        }
        if !keys.is_empty() {
            self.empty_since = None;
            return Ok(keys);
        }
        if !left_out.is_empty() {
            return Err(Failure::Unusable(nothing_usable(&left_out)));
        }
        // The issuer's word that all keys are gone, once it has had the time to be a mistake.
        let since = *self.empty_since.get_or_insert_with(Instant::now);
        if since.elapsed() < self.config.min_gap.max(MIN_WAIT) {
            return Err(Failure::Empty);
        }
        trace::key_set_empty(url);
        Ok(keys)
    }

    /// Returns the URL of the set, or the issuer's as long as the former is not known.
    fn url(&self) -> Uri {
        match (&self.config.place, &self.found) {
            (_, Some(found)) => found.url.clone(),
            (Place::Url(url), None) => url.clone(),
            (Place::OfIssuer(discovery), None) => discovery.first_place().clone(),
        }
    }
}

const ACCEPT: &str = "application/jwk-set+json, application/json";
const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// Keeps a zero interval from becoming a busy loop.
const MIN_WAIT: Duration = Duration::from_millis(10);
/// The longest wait after a failure.
const RETRY: Duration = Duration::from_secs(10);
/// Replaces a maximum age that overflows the clock.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const MAX_SET: usize = 256 * 1024;
/// The most keys that are logged as left out.
const MAX_LOGGED: usize = 256;
