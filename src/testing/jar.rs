//! The cookie jar of a browser, according to RFC 6265bis but without a public suffix list.

use std::{
    cmp::Reverse,
    net::Ipv4Addr,
    time::{Duration, SystemTime},
};

use cookie::{Cookie, SameSite};
use http::Uri;

use crate::clock::{from_epoch, later};

/// Cookies in the order of their creation. Does not implement `Debug`, which would reveal values.
#[derive(Default)]
pub(super) struct Jar {
    cookies: Vec<Stored>,
}

impl Jar {
    /// Processes a `Set-Cookie` line as a browser does (RFC 6265bis §5.7), and returns `true` if it was accepted.
    pub(super) fn store(&mut self, line: &str, exchange: &Exchange, now: SystemTime) -> bool {
        let Some(cookie) = Stored::parse(line, exchange, now) else {
            return false;
        };
        self.cookies.retain(|kept| kept.is_live(now));
        // "Leave Secure Cookies Alone": a response over plain http must not replace or shadow them.
        let from_secure = exchange.origin.is_trustworthy();
        if !from_secure && self.cookies.iter().any(|kept| kept.secure && cookie.shadows(kept)) {
            return false;
        }
        let live = cookie.is_live(now);
        match self.cookies.iter().position(|kept| kept.is_replaced_by(&cookie)) {
            // Keeping the position keeps the creation time.
            Some(at) if live => self.cookies[at] = cookie,
            Some(at) => drop(self.cookies.remove(at)),
            None if live => self.cookies.push(cookie),
            None => {}
        }
        true
    }

    /// Returns the cookies to send with a request, as `name=value`, ordered by longer path and then by earlier
    /// creation.
    pub(super) fn sent(&self, exchange: &Exchange, now: SystemTime) -> Vec<String> {
        let sent = |cookie: &Stored| {
            cookie.is_live(now)
                && cookie.reaches(&exchange.origin)
                && path_matches(&exchange.path, &cookie.path)
                && exchange.context.sends(cookie.same_site)
                && exchange.context.sees(cookie.partition)
        };
        self.ordered(sent).map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect()
    }

    /// Returns the value of a cookie in `document.cookie` on the page `/` of `origin`.
    pub(super) fn readable(&self, origin: &Origin, name: &str, now: SystemTime) -> Option<String> {
        let readable = |cookie: &Stored| !cookie.http_only && path_matches("/", &cookie.path);
        self.find(origin, name, now, readable)
    }

    /// Returns the value of a cookie that the jar holds for `origin`, on any path.
    pub(super) fn held(&self, origin: &Origin, name: &str, now: SystemTime) -> Option<String> {
        self.find(origin, name, now, |_| true)
    }

    /// Returns when a cookie expires that has the name and the attributes of this `Set-Cookie` line; the inner option is
    /// `None` for a session cookie.
    pub(super) fn bound(&self, line: &str, origin: &Origin, now: SystemTime) -> Option<Option<SystemTime>> {
        let declared = Stored::parse(line, &Exchange::home(origin.clone()), now)?;
        let is_declared = |cookie: &&Stored| {
            cookie.is_live(now)
                && cookie.is_replaced_by(&declared)
                && cookie.secure == declared.secure
                && cookie.http_only == declared.http_only
                && cookie.same_site == declared.same_site
        };
        self.cookies.iter().find(is_declared).map(|cookie| cookie.expires)
    }

    fn find(
        &self,
        origin: &Origin,
        name: &str,
        now: SystemTime,
        also: impl Fn(&Stored) -> bool,
    ) -> Option<String> {
        let found = |cookie: &Stored| {
            cookie.name == name
                && cookie.is_live(now)
                && cookie.reaches(origin)
                && Context::SameSite.sees(cookie.partition)
                && also(cookie)
        };
        self.ordered(found).next().map(|cookie| cookie.value.clone())
    }

    fn ordered(&self, keep: impl Fn(&Stored) -> bool) -> impl Iterator<Item = &Stored> {
        let mut kept: Vec<_> = self.cookies.iter().filter(|cookie| keep(cookie)).collect();
        kept.sort_by_key(|cookie| Reverse(cookie.path.len()));
        kept.into_iter()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.cookies.iter().map(|cookie| &*cookie.name)
    }

    pub(super) fn remove(&mut self, origin: &Origin, name: &str) {
        self.cookies.retain(|cookie| cookie.name != name || !cookie.reaches(origin));
    }

    pub(super) fn clear(&mut self) {
        self.cookies.clear();
    }

    /// Removes the cookies without an expiry.
    pub(super) fn end_session(&mut self) {
        self.cookies.retain(|cookie| cookie.expires.is_some());
    }
}

struct Stored {
    name: String,
    value: String,
    domain: String,
    host_only: bool,
    path: String,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    partition: Partition,
    expires: Option<SystemTime>,
}

impl Stored {
    /// Parses a `Set-Cookie` line, or returns `None` if a browser would ignore it (RFC 6265bis §5.6 and §5.7).
    fn parse(line: &str, exchange: &Exchange, now: SystemTime) -> Option<Self> {
        if line.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            return None;
        }
        let parsed = Cookie::parse(line).ok()?;
        let (name, value) = parsed.name_value();
        if name.len() + value.len() > MAX_NAME_AND_VALUE {
            return None;
        }

        let host = exchange.origin.host();
        let attribute = parsed.domain().map(|domain| domain.to_ascii_lowercase()).filter(|it| !it.is_empty());
        let (domain, host_only) = match attribute {
            // A substitute for the public suffix list: every name without a dot is a public suffix.
            Some(domain) if !domain.contains('.') => (domain == host).then_some((domain, true))?,
            Some(domain) => domain_matches(host, &domain).then_some((domain, false))?,
            None => (host.to_owned(), true),
        };
        let given = parsed.path().filter(|path| path.starts_with('/') && path.len() <= MAX_ATTRIBUTE);

        let secure = parsed.secure() == Some(true);
        if secure && !exchange.origin.is_trustworthy() {
            return None;
        }
        let same_site = parsed.same_site().unwrap_or(SameSite::Lax);
        let partitioned = parsed.partitioned() == Some(true);
        if !secure && (same_site == SameSite::None || partitioned) {
            return None;
        }
        if !exchange.context.takes(same_site) {
            return None;
        }

        let host_bound = secure && host_only && parsed.domain().is_none() && given == Some("/");
        if has_prefix(name, "__Host-") && !host_bound || has_prefix(name, "__Secure-") && !secure {
            return None;
        }

        Some(Self {
            name: name.to_owned(),
            value: value.to_owned(),
            domain,
            host_only,
            path: given.map_or_else(|| default_path(&exchange.path).to_owned(), str::to_owned),
            secure,
            http_only: parsed.http_only() == Some(true),
            same_site,
            partition: if partitioned { exchange.context.partition() } else { Partition::None },
            expires: expiry(&parsed, now),
        })
    }

    fn is_live(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    fn is_replaced_by(&self, newer: &Self) -> bool {
        self.name == newer.name
            && self.domain == newer.domain
            && self.host_only == newer.host_only
            && self.path == newer.path
            && self.partition == newer.partition
    }

    fn shadows(&self, other: &Self) -> bool {
        self.name == other.name
            && (domain_matches(&self.domain, &other.domain) || domain_matches(&other.domain, &self.domain))
            && path_matches(&self.path, &other.path)
    }

    fn reaches(&self, origin: &Origin) -> bool {
        let host = if self.host_only {
            origin.host() == self.domain
        } else {
            domain_matches(origin.host(), &self.domain)
        };
        host && (!self.secure || origin.is_trustworthy())
    }
}

/// The properties of a request that determine which cookies it sends and which its response may set.
#[derive(Clone)]
pub(super) struct Exchange {
    pub(super) origin: Origin,
    pub(super) path: String,
    pub(super) context: Context,
    /// `false` for the request of another program with the browser's cookies.
    pub(super) is_browser: bool,
}

impl Exchange {
    /// Returns a same-site request for `/` of `origin`.
    pub(super) fn home(origin: Origin) -> Self {
        Self { origin, path: "/".to_owned(), context: Context::SameSite, is_browser: true }
    }
}

/// The origin of a request as far as it matters to `SameSite` and `Partitioned` (RFC 6265bis §5.2).
#[derive(Clone, Copy)]
pub(super) enum Context {
    SameSite,
    /// A navigation from a page of another site.
    CrossSiteNavigation {
        safe: bool,
    },
    /// A request by a page of another site that stays open.
    CrossSite,
}

impl Context {
    fn sends(self, same_site: SameSite) -> bool {
        match self {
            Self::SameSite => true,
            Self::CrossSiteNavigation { safe: true } => same_site != SameSite::Strict,
            Self::CrossSiteNavigation { safe: false } | Self::CrossSite => same_site == SameSite::None,
        }
    }

    fn takes(self, same_site: SameSite) -> bool {
        !matches!(self, Self::CrossSite) || same_site == SameSite::None
    }

    fn partition(self) -> Partition {
        match self {
            Self::SameSite | Self::CrossSiteNavigation { .. } => Partition::Own,
            Self::CrossSite => Partition::Foreign,
        }
    }

    fn sees(self, partition: Partition) -> bool {
        partition == Partition::None || partition == self.partition()
    }
}

/// The top-level site under which a `Partitioned` cookie was set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Partition {
    None,
    Own,
    Foreign,
}

/// Implements the domain match of RFC 6265bis §5.1.3. Both names must be lower case.
fn domain_matches(host: &str, domain: &str) -> bool {
    let below = || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    host == domain || !is_ip(host) && below()
}

/// Implements the path match of RFC 6265bis §5.1.4.
fn path_matches(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}

fn default_path(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(last) => &path[..last],
    }
}

fn has_prefix(name: &str, prefix: &str) -> bool {
    name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// Returns the time of expiry. `Max-Age` takes precedence over `Expires`, and both are limited to 400 days (RFC
/// 6265bis §5.5).
fn expiry(parsed: &Cookie<'_>, now: SystemTime) -> Option<SystemTime> {
    let seconds = |count: i64| Duration::from_secs(u64::try_from(count).unwrap_or(0));
    let limit = later(now, MAX_AGE);
    match (parsed.max_age(), parsed.expires_datetime()) {
        (Some(age), _) => Some(later(now, seconds(age.whole_seconds())).min(limit)),
        (None, Some(date)) => Some(from_epoch(seconds(date.unix_timestamp())).min(limit)),
        (None, None) => None,
    }
}

const MAX_NAME_AND_VALUE: usize = 4096;
const MAX_ATTRIBUTE: usize = 1024;
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 60 * 60);

#[cfg(test)]
mod tests;

/// A scheme, host and port, normalized as in browsers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    host: String,
    authority: String,
}

impl Origin {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let default_port = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        if uri.path_and_query().is_some_and(|path| path != "/") || authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().to_ascii_lowercase();
        let authority = match authority.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{host}:{port}"),
            None => host.clone(),
        };
        Some(Self { scheme: scheme.to_owned(), host, authority })
    }

    pub(super) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// Returns the host and the port; the default port is omitted.
    pub(super) fn authority(&self) -> &str {
        &self.authority
    }

    /// Returns the origin in the format of the `Origin` header.
    pub(super) fn text(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Returns `true` if browsers send `Secure` cookies and `Sec-Fetch-*` to this origin: https and loopback.
    pub(super) fn is_trustworthy(&self) -> bool {
        self.scheme == "https"
            || self.host == "localhost"
            || self.host.ends_with(".localhost")
            || self.host == "[::1]"
            || self.host.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
    }

    /// Returns a host on the same site that is under different control, such as `evil.shop.example` for
    /// `https://www.shop.example`.
    pub(super) fn neighbour(&self) -> Option<Self> {
        if is_ip(&self.host) {
            return None;
        }
        let second_dot = self.host.rmatch_indices('.').nth(1).map_or(0, |(dot, _)| dot + 1);
        let host = format!("evil.{}", &self.host[second_dot..]);
        Some(Self { scheme: self.scheme.clone(), authority: host.clone(), host })
    }
}

pub(super) fn is_ip(host: &str) -> bool {
    host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok()
}
