//! Settings from environment variables:
//!
//! | variable | default |
//! |---|---|
//! | `PORT` | 3000; 0 selects a free port |
//! | `STORE` | `sqlite:spa-sessions.sqlite`; `store.rs` lists the alternatives |
//! | `SECRET` | random; required if several nodes share the store; at least 32 bytes of text |
//! | `ACCESS_SECS`, `GRACE_SECS`, `LEEWAY_SECS`, `IDLE_SECS`, `ABSOLUTE_SECS` | the defaults of the crate |
//! | `SIGN_OUT_WITHIN_MILLIS` | unset: access tokens outlive sign-out; otherwise the bound of `with_sign_out_within` |
//! | `DEVICE_BINDING` | unset; `1` binds sessions to the browser's device, where the browser supports it and the page is on https |
//! | `INSECURE_HTTP` | unset; `1` removes `Secure` and the cookie prefixes; only Safari needs this on `http://localhost`, not Chromium or Firefox |
//! | `RUST_LOG` | `info` |

use std::{env, error::Error, str::FromStr, time::Duration};

use tower_cookie_jwt::{
    CookiePolicy, KeyRing, Sessions,
    keys::{Algorithm, Key},
    session::DeviceBinding,
};
use tracing_subscriber::EnvFilter;

use crate::{
    api, demo, store,
    users::{User, Users},
};

type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) struct Config {
    pub(crate) port: u16,
    store: String,
    secret: Option<String>,
    access: Option<Duration>,
    grace: Option<Duration>,
    leeway: Option<Duration>,
    idle: Option<Duration>,
    absolute: Option<Duration>,
    sign_out_within: Option<Duration>,
    device_binding: bool,
    insecure_http: bool,
}

impl Config {
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        Ok(Self {
            port: number("PORT")?.unwrap_or(3000),
            store: text("STORE")?.unwrap_or_else(|| "sqlite:spa-sessions.sqlite".to_owned()),
            secret: text("SECRET")?,
            access: seconds("ACCESS_SECS")?,
            grace: seconds("GRACE_SECS")?,
            leeway: seconds("LEEWAY_SECS")?,
            idle: seconds("IDLE_SECS")?,
            absolute: seconds("ABSOLUTE_SECS")?,
            sign_out_within: number("SIGN_OUT_WITHIN_MILLIS")?.map(Duration::from_millis),
            device_binding: is_on("DEVICE_BINDING")?,
            insecure_http: is_on("INSECURE_HTTP")?,
        })
    }

    pub(crate) async fn sessions(&self, users: Users) -> Result<Sessions<User>, BoxError> {
        let keys = self.keys()?;
        let builder = store::open(&self.store, keys, self.secret.as_deref()).await?;
        let mut builder = builder.with_audience("shop");
        if let Some(lifetime) = self.access {
            builder = builder.with_access_lifetime(lifetime);
        }
        if let Some(grace) = self.grace {
            builder = builder.with_grace_period(grace);
        }
        if let Some(leeway) = self.leeway {
            builder = builder.with_leeway(leeway);
        }
        if let Some(lifetime) = self.idle {
            builder = builder.with_idle_lifetime(lifetime);
        }
        if let Some(lifetime) = self.absolute {
            builder = builder.with_absolute_lifetime(lifetime);
        }
        if let Some(bound) = self.sign_out_within {
            builder = builder.with_sign_out_within(bound);
        }
        if self.device_binding {
            builder = builder.with_device_binding(DeviceBinding::at(api::DEVICE));
        }
        let mut cookies = CookiePolicy::new();
        if self.insecure_http {
            cookies = cookies.for_local_http_development();
        }
        // With the reload, changed roles and closed accounts take effect at the next rotation.
        let sessions = builder
            .with_issuer("spa")
            .with_audience("spa")
            .with_cookies(cookies)
            .with_events(demo::Events)
            .with_reload(move |subject: String, _| {
                let user = users.claims(&subject);
                async move { Ok(user) }
            })
            .build()?;
        Ok(sessions)
    }

    /// The grace period, for the page. The default of the crate is 30 seconds.
    pub(crate) fn grace(&self) -> Duration {
        self.grace.unwrap_or(Duration::from_secs(30))
    }

    pub(crate) const fn binds_devices(&self) -> bool {
        self.device_binding
    }

    fn keys(&self) -> Result<KeyRing, BoxError> {
        match &self.secret {
            Some(secret) => Ok(KeyRing::hs256(secret)?),
            None => {
                tracing::warn!(
                    "SECRET is not set: using a random one, so users have to sign in again after a restart"
                );
                Ok(KeyRing::new(Key::generate(Algorithm::HS256)?)?)
            }
        }
    }
}

pub(crate) fn log_filter() -> EnvFilter {
    EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"))
}

fn text(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(env::VarError::NotUnicode(_)) => Err(format!("{name} is not valid UTF-8").into()),
    }
}

fn is_on(name: &str) -> Result<bool, BoxError> {
    Ok(text(name)?.is_some_and(|value| value == "1"))
}

fn number<T: FromStr>(name: &str) -> Result<Option<T>, BoxError> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    value
        .parse()
        .map(Some)
        .map_err(|_| format!("{name} is not a number in the allowed range: `{value}`").into())
}

fn seconds(name: &str) -> Result<Option<Duration>, BoxError> {
    Ok(number(name)?.map(Duration::from_secs))
}
