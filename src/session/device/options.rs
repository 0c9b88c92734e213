use std::time::Duration;

use super::{
    instructions::Instructions,
    key::Enforcement,
    proof::Algorithms,
    tickets::{DEFAULT_CHALLENGE_LIFETIME, Tickets},
};

/// Binds sessions to a key in the browser's device (Device Bound Session Credentials), for
/// [`with_device_binding`](crate::session::SessionsBuilder::with_device_binding).
///
/// From the first proof on, cookies alone no longer renew the session: whoever has copied them is out once the copied access
/// token has expired. Browsers without support ignore the offer, and their sessions stay as they are. The protocol is a
/// draft, so this may change in a minor version.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, session::DeviceBinding};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new())
///     .with_audience("shop")
///     .with_device_binding(DeviceBinding::at("/api/device"))
///     .build()?;
/// let service = sessions.device_service(); // at `/api/device`, outside of the layers
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct DeviceBinding {
    pub(crate) instructions: Instructions,
    pub(crate) enforcement: Enforcement,
    pub(crate) offer_window: Duration,
    pub(crate) challenge_lifetime: Duration,
}

impl DeviceBinding {
    /// Creates the default settings, with the [device service](crate::Sessions::device_service) mounted at `path`.
    pub fn at(path: impl Into<String>) -> Self {
        Self {
            instructions: Instructions::at(path),
            enforcement: Enforcement::Always,
            offer_window: DEFAULT_OFFER_WINDOW,
            challenge_lifetime: DEFAULT_CHALLENGE_LIFETIME,
        }
    }

    /// Sets whether cookies alone still renew a bound session.
    ///
    /// A session is under the rule that it was last proven under, so another setting takes hold at its next proof.
    ///
    /// Defaults to [`Enforcement::Always`].
    pub const fn with_enforcement(mut self, enforcement: Enforcement) -> Self {
        self.enforcement = enforcement;
        self
    }

    /// Also accepts RSA keys (RS256), for devices whose hardware has no other.
    ///
    /// Defaults to ES256 alone.
    pub const fn with_rs256(mut self) -> Self {
        self.instructions.algorithms = Algorithms::Es256AndRs256;
        self
    }

    /// Leaves requests to this path, and what is below it, without a proof, such as `/assets/`: the browser does not hold
    /// them back. Call it for each path.
    ///
    /// Defaults to none but the service itself.
    pub fn with_excluded_path(mut self, path: impl Into<String>) -> Self {
        self.instructions.excluded.push(path.into().into_boxed_str());
        self
    }

    /// Sets how long after the sign-in a binding may be offered again, by
    /// [`offer_device_binding`](crate::Sessions::offer_device_binding).
    ///
    /// Defaults to 10 minutes.
    pub const fn with_offer_window(mut self, window: Duration) -> Self {
        self.offer_window = window;
        self
    }

    /// Sets how long the browser has to answer a challenge.
    ///
    /// Defaults to 2 minutes.
    pub const fn with_challenge_lifetime(mut self, lifetime: Duration) -> Self {
        self.challenge_lifetime = lifetime;
        self
    }

    /// Lets pages of these hosts make the browser renew the access cookie, such as `*.shop.example`, or `*` for all: for
    /// links from elsewhere, with cookies that are `SameSite=Lax`.
    ///
    /// Defaults to pages of the application alone.
    ///
    /// # Security
    ///
    /// Such a renewal carries no cookies, so a proof alone then renews a bound session. A page of another site can learn
    /// from how long a request takes whether a user is signed in.
    pub fn with_refresh_initiators<I>(mut self, hosts: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<String>,
    {
        self.instructions.initiators.extend(hosts.into_iter().map(|host| host.into().into_boxed_str()));
        self
    }
}

/// The settings, with what signs identifiers and challenges.
#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) settings: DeviceBinding,
    pub(crate) tickets: Tickets,
}

const DEFAULT_OFFER_WINDOW: Duration = Duration::from_secs(10 * 60);
