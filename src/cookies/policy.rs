use super::set_cookie::{CookieSpec, Prefix, SameSite};
use crate::error::ConfigError;

/// The names and attributes of the three cookies.
///
/// The defaults are the strictest that work for any website on a single host:
///
/// | cookie | name | attributes |
/// |---|---|---|
/// | access token | `__Host-access` | `Path=/; Secure; HttpOnly; SameSite=Strict` |
/// | refresh token | `__Host-refresh` | `Path=/; Secure; HttpOnly; SameSite=Strict` |
/// | XSRF token | `XSRF-TOKEN` | `Path=/; Secure; SameSite=Strict`, readable by script |
///
/// With a domain or another path, the prefix becomes `__Secure-`. Contradictory settings are reported when `Sessions`
/// is built with the policy. Cookies are cleared with the same attributes with which they were set.
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::{CookiePolicy, KeyRing, MemoryStore, Sessions, cookies::SameSite};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let lax = CookiePolicy::new().with_domain("shop.example").with_same_site(SameSite::Lax);
/// let builder = || Sessions::<()>::builder(keys.clone(), MemoryStore::new()).with_audience("shop");
/// builder().with_cookies(lax).build()?;
///
/// let contradiction = CookiePolicy::new().with_access_name("__Host-a").with_domain("shop.example");
/// let error = builder().with_cookies(contradiction).build().unwrap_err();
/// assert!(error.to_string().contains("__Host-"));
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct CookiePolicy {
    access_name: Option<Box<str>>,
    refresh_name: Option<Box<str>>,
    /// `None` if no XSRF cookie is set.
    xsrf_name: Option<Box<str>>,
    path: Box<str>,
    refresh_path: Option<Box<str>>,
    domain: Option<Box<str>>,
    same_site: SameSite,
    secure: bool,
    partitioned: bool,
    former: Vec<Self>,
}

/// The cookie specifications of a valid policy.
#[derive(Clone, Debug)]
pub(crate) struct Cookies {
    pub(crate) access: CookieSpec,
    pub(crate) refresh: CookieSpec,
    pub(crate) xsrf: Option<CookieSpec>,
    pub(crate) former: Vec<CookieSpec>,
}

impl Cookies {
    /// Returns the former cookies that no current cookie replaces.
    ///
    /// Browsers identify a cookie by its name, path and domain, and by whether it is `Partitioned` (CHIPS).
    pub(crate) fn former_only(&self) -> impl Iterator<Item = &CookieSpec> {
        let key =
            |spec: &CookieSpec| (spec.name.clone(), spec.path.clone(), spec.domain.clone(), spec.partitioned);
        let present = [Some(&self.access), Some(&self.refresh), self.xsrf.as_ref()];
        self.former.iter().filter(move |spec| !present.into_iter().flatten().any(|own| key(own) == key(spec)))
    }
}

impl CookiePolicy {
    /// Creates a policy with the default names and attributes.
    pub fn new() -> Self {
        Self {
            access_name: None,
            refresh_name: None,
            xsrf_name: Some(DEFAULT_XSRF_NAME.into()),
            path: "/".into(),
            refresh_path: None,
            domain: None,
            same_site: SameSite::Strict,
            secure: true,
            partitioned: false,
            former: Vec::new(),
        }
    }

    /// Sets the full name of the access cookie, including any prefix.
    ///
    /// Defaults to `access`, preceded by the strictest prefix that the attributes allow.
    pub fn with_access_name(mut self, name: impl Into<String>) -> Self {
        self.access_name = Some(name.into().into_boxed_str());
        self
    }

    /// Sets the full name of the refresh cookie, including any prefix.
    ///
    /// Defaults to `refresh`, preceded by the strictest prefix that the attributes allow.
    pub fn with_refresh_name(mut self, name: impl Into<String>) -> Self {
        self.refresh_name = Some(name.into().into_boxed_str());
        self
    }

    /// Sets the name of the readable cookie that carries the XSRF token to the page's script.
    ///
    /// Defaults to `XSRF-TOKEN`, which axios, Angular and AngularJS read automatically.
    pub fn with_xsrf_name(mut self, name: impl Into<String>) -> Self {
        self.xsrf_name = Some(name.into().into_boxed_str());
        self
    }

    /// Disables the XSRF cookie. The client must take the XSRF token from the body of the sign-in response.
    ///
    /// Defaults to setting the cookie.
    pub fn without_xsrf_cookie(mut self) -> Self {
        self.xsrf_name = None;
        self
    }

    /// Restricts the cookies to this path and the paths below it.
    ///
    /// Defaults to `/`. Any other path rules out the `__Host-` prefix.
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into().into_boxed_str();
        self
    }

    /// Restricts the refresh cookie to this path and the paths below it.
    ///
    /// The path must cover both sign-out and the refresh service. Sessions are then refreshed only by requests to
    /// that path.
    ///
    /// Defaults to the path of the other cookies. Any path except `/` rules out the `__Host-` prefix.
    ///
    /// # Security
    ///
    /// A host of the same domain can then plant a refresh cookie of its own, which reaches pages outside the path alone.
    /// A page whose access token has expired would be refreshed as another user. If you cannot trust all hosts of the
    /// domain, keep the default.
    pub fn with_refresh_path(mut self, path: impl Into<String>) -> Self {
        self.refresh_path = Some(path.into().into_boxed_str());
        self
    }

    /// Shares the cookies with all hosts of this domain.
    ///
    /// Defaults to none: only the host that set the cookies receives them. Any domain rules out the `__Host-` prefix,
    /// and every host of the domain can then read and set the cookies.
    pub fn with_domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into().into_boxed_str());
        self
    }

    /// Sets the `SameSite` attribute of all cookies.
    ///
    /// Defaults to [`SameSite::Strict`].
    pub const fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Sets the `Partitioned` attribute (CHIPS), which separates the cookies by top-level site.
    ///
    /// For applications that other sites embed.
    ///
    /// Defaults to off.
    pub const fn with_partitioned(mut self) -> Self {
        self.partitioned = true;
        self
    }

    /// Removes `Secure` and the name prefixes, for browsers that reject them on `http://localhost` (Safari).
    ///
    /// Chromium and Firefox accept secure cookies on `http://localhost` and do not need this. Building `Sessions`
    /// with such a policy logs a warning, and is an error if their public origin uses https.
    ///
    /// # Security
    ///
    /// Without `Secure`, anyone on the network path can read the session's cookies. Never deploy this.
    pub fn for_local_http_development(mut self) -> Self {
        self.secure = false;
        for name in [&mut self.access_name, &mut self.refresh_name, &mut self.xsrf_name].into_iter().flatten()
        {
            *name = Prefix::strip(name).into();
        }
        self
    }

    /// Also clears the cookies of a former policy, so that a change of name, path or domain leaves no stale cookies
    /// in browsers.
    ///
    /// Can be called several times. Defaults to none.
    pub fn with_former(mut self, former: Self) -> Self {
        self.former.push(former);
        self
    }

    /// Validates the policy, and logs a warning if its cookies are not `Secure`.
    pub(crate) fn check(&self) -> Result<Cookies, ConfigError> {
        let cookies = self.specify()?;
        if !self.secure {
            crate::trace::warn_insecure_cookies();
        }
        Ok(cookies)
    }

    fn specify(&self) -> Result<Cookies, ConfigError> {
        let refresh_path = self.refresh_path.as_ref().unwrap_or(&self.path);
        let access = self.spec(self.access_name.as_deref(), DEFAULT_ACCESS_NAME, &self.path, true)?;
        let refresh = self.spec(self.refresh_name.as_deref(), DEFAULT_REFRESH_NAME, refresh_path, true)?;
        let xsrf = match &self.xsrf_name {
            Some(name) => Some(self.spec(Some(name), DEFAULT_XSRF_NAME, &self.path, false)?),
            None => None,
        };
        let names = [Some(&access), Some(&refresh), xsrf.as_ref()];
        let mut names: Vec<_> = names.into_iter().flatten().map(|spec| &spec.name).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::new("two cookies have the same name; give each its own"));
        }
        let mut former = Vec::new();
        for policy in &self.former {
            let mut cookies = policy.specify()?;
            former.extend([cookies.access, cookies.refresh]);
            former.extend(cookies.xsrf);
            former.append(&mut cookies.former);
        }
        Ok(Cookies { access, refresh, xsrf, former })
    }

    fn spec(
        &self,
        name: Option<&str>,
        default_name: &str,
        path: &str,
        http_only: bool,
    ) -> Result<CookieSpec, ConfigError> {
        let name = match name {
            Some(name) => name.into(),
            None => {
                let prefix = match self.secure {
                    false => "",
                    true if self.domain.is_none() && path == "/" => Prefix::HOST,
                    true => Prefix::SECURE,
                };
                [prefix, default_name].concat().into_boxed_str()
            }
        };
        let spec = CookieSpec {
            name,
            path: path.into(),
            domain: self.domain.clone(),
            secure: self.secure,
            http_only,
            same_site: self.same_site,
            partitioned: self.partitioned,
        };
        spec.check()?;
        Ok(spec)
    }
}

impl Default for CookiePolicy {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) const DEFAULT_ACCESS_NAME: &str = "access";
const DEFAULT_REFRESH_NAME: &str = "refresh";
pub(crate) const DEFAULT_XSRF_NAME: &str = "XSRF-TOKEN";
