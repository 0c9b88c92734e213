//! Settings from the environment; the others keep the defaults of the crate.
//!
//! | variable | meaning |
//! |---|---|
//! | `CLIENTS` | the folder with the client applications |
//! | `ACCESS_SECS`, `GRACE_SECS` | lifetimes; there is no leeway |
//! | `SAME_SITE` | `Strict`, `Lax`, `None` |
//! | `PARTITIONED=1` | cookies of their own for each site around a frame |
//! | `XSRF_COOKIE=0` | no readable cookie: the token is only in the sign-in response |
//! | `INSECURE_HTTP=1` | no `Secure`, no prefixes |
//! | `DEVICE=1` | sessions are bound to devices |
//! | `INITIATORS` | the hosts whose pages may make the browser renew the cookie of a bound session |
//! | `PUBLIC_ORIGIN` | the origin at which browsers reach the server |
//! | `TRUSTED_ORIGIN` | an origin whose pages may make unsafe requests |
//! | `OPEN_CORS=1` | answers every preflight with yes, credentials included |
//! | `UNPROTECTED=1` | leaves `XsrfLayer` out, and the origin check of sign-in: to see that the attacks work |

use std::{
    env::{self, VarError},
    error::Error,
    path::PathBuf,
    time::Duration,
};

use tower_cookie_jwt::{
    ConfigError, CookiePolicy, KeyRing, Sessions,
    cookies::SameSite,
    session::{DeviceBinding, SessionEvent},
};

use crate::{api::User, device, record::Record, store::LabStore};

type BoxError = Box<dyn Error + Send + Sync>;

pub(crate) struct Config {
    pub(crate) clients: PathBuf,
    pub(crate) open_cors: bool,
    pub(crate) unprotected: bool,
    access: Option<Duration>,
    grace: Option<Duration>,
    cookies: CookiePolicy,
    is_binding: bool,
    initiators: Option<String>,
    public_origin: Option<String>,
    trusted_origin: Option<String>,
}

impl Config {
    pub(crate) fn from_env() -> Result<Self, BoxError> {
        Ok(Self {
            clients: text("CLIENTS")?.unwrap_or_default().into(),
            open_cors: is("OPEN_CORS", "1")?,
            unprotected: is("UNPROTECTED", "1")?,
            access: seconds("ACCESS_SECS")?,
            grace: seconds("GRACE_SECS")?,
            cookies: cookies()?,
            is_binding: is("DEVICE", "1")?,
            initiators: text("INITIATORS")?,
            public_origin: text("PUBLIC_ORIGIN")?,
            trusted_origin: text("TRUSTED_ORIGIN")?,
        })
    }

    pub(crate) fn sessions(&self, store: LabStore, record: Record) -> Result<Sessions<User>, ConfigError> {
        let keys = KeyRing::hs256("only for tests, and publicly known")?;
        let mut builder = Sessions::builder(keys, store)
            .with_issuer("lab")
            .with_audience("lab")
            .with_leeway(Duration::ZERO)
            .with_cookies(self.cookies.clone())
            .with_events(move |event: &SessionEvent<'_>| record.happened(event));
        if let Some(lifetime) = self.access {
            builder = builder.with_access_lifetime(lifetime);
        }
        if let Some(grace) = self.grace {
            builder = builder.with_grace_period(grace);
        }
        if self.is_binding {
            let binding = DeviceBinding::at(device::PATH).with_refresh_initiators(self.initiators.clone());
            builder = builder.with_device_binding(binding);
        }
        if let Some(origin) = &self.public_origin {
            builder = builder.with_public_origin(origin).expect("an origin");
        }
        if let Some(origin) = &self.trusted_origin {
            builder = builder.with_trusted_origin(origin).expect("an origin");
        }
        builder.build()
    }
}

fn cookies() -> Result<CookiePolicy, BoxError> {
    let mut cookies = CookiePolicy::new();
    cookies = match text("SAME_SITE")?.as_deref() {
        None => cookies,
        Some("Strict") => cookies.with_same_site(SameSite::Strict),
        Some("Lax") => cookies.with_same_site(SameSite::Lax),
        Some("None") => cookies.with_same_site(SameSite::None),
        Some(other) => return Err(format!("SAME_SITE is Strict, Lax or None, not `{other}`").into()),
    };
    if is("PARTITIONED", "1")? {
        cookies = cookies.with_partitioned();
    }
    if is("XSRF_COOKIE", "0")? {
        cookies = cookies.without_xsrf_cookie();
    }
    if is("INSECURE_HTTP", "1")? {
        cookies = cookies.for_local_http_development();
    }
    Ok(cookies)
}

fn text(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(format!("{name} is not text").into()),
    }
}

fn is(name: &str, value: &str) -> Result<bool, BoxError> {
    Ok(text(name)?.is_some_and(|found| found == value))
}

fn seconds(name: &str) -> Result<Option<Duration>, BoxError> {
    let Some(value) = text(name)? else {
        return Ok(None);
    };
    let seconds = value.parse().map_err(|_| format!("{name} is not a number of seconds: `{value}`"))?;
    Ok(Some(Duration::from_secs(seconds)))
}
