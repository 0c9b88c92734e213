use std::{error::Error as StdError, fmt, net::IpAddr};

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{HOST, ORIGIN},
};

use super::head::{Found, Head, is_handshake};
use crate::error::ConfigError;

/// The error of a request whose origin was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginError {
    kind: OriginErrorKind,
}

/// The kind of an [`OriginError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OriginErrorKind {
    /// According to the browser's `Sec-Fetch-Site` header, another site or another origin of the same site made the
    /// request; or the header occurs more than once.
    CrossSite,
    /// The `Origin` header is neither a trusted origin nor the application's own; or it occurs more than once.
    Foreign,
    /// A WebSocket handshake has no `Origin` header.
    Missing,
}

impl OriginError {
    /// Returns the kind of this error.
    pub const fn kind(&self) -> OriginErrorKind {
        self.kind
    }

    pub(crate) const fn new(kind: OriginErrorKind) -> Self {
        Self { kind }
    }
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            OriginErrorKind::CrossSite => "the request was made by another site or origin",
            OriginErrorKind::Foreign => "the request's origin is neither the application's nor trusted",
            OriginErrorKind::Missing => "the WebSocket handshake has no `Origin` header",
        })
    }
}

impl StdError for OriginError {}

/// The origins whose pages may make requests, and how requests without an origin are treated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct OriginPolicy {
    pub(super) public: Option<Box<str>>,
    pub(super) trusted: Vec<Box<str>>,
    pub(super) handshakes_without_origin: bool,
    /// Whether tokens in headers prove no more about the origin than cookies do.
    pub(super) ambient_headers: bool,
}

impl OriginPolicy {
    pub(crate) fn set_public(&mut self, origin: &str) -> Result<(), ConfigError> {
        self.public = Some(normalize(origin)?);
        Ok(())
    }

    pub(crate) const fn distrust_header_tokens(&mut self) {
        self.ambient_headers = true;
    }

    /// Returns `true` if a request whose token is in a header is checked like one with a cookie.
    pub(crate) const fn distrusts_header_tokens(&self) -> bool {
        self.ambient_headers
    }

    /// Returns the configured public origin.
    pub(crate) fn public(&self) -> Option<&str> {
        self.public.as_deref()
    }

    /// Returns `true` if the configured public origin uses https.
    pub(crate) fn is_https(&self) -> bool {
        self.public.as_deref().is_some_and(|origin| origin.starts_with("https://"))
    }

    pub(crate) fn trust(&mut self, origin: &str) -> Result<(), ConfigError> {
        self.trusted.push(normalize(origin)?);
        Ok(())
    }

    pub(crate) const fn allow_handshakes_without_origin(&mut self) {
        self.handshakes_without_origin = true;
    }
}

/// Returns an origin as browsers serialize it: in lower case, without the scheme's default port (RFC 6454 §6.2).
pub(crate) fn normalize(origin: &str) -> Result<Box<str>, ConfigError> {
    let invalid = || {
        ConfigError::new(format!(
            "`{}` is not an origin; use only a scheme, host and optional port, such as `https://shop.example`",
            origin.escape_debug()
        ))
    };
    let lower = origin.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(invalid)?;
    let scheme_ok =
        !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !scheme_ok || !is_host_and_port(authority) {
        return Err(invalid());
    }
    Ok(format!("{scheme}://{}", without_default_port(scheme, authority)).into_boxed_str())
}

/// Returns `true` if browsers could send this authority: it has no user info, no wildcard and no invalid port.
fn is_host_and_port(authority: &str) -> bool {
    let Ok(parsed) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = parsed.host();
    let host_ok = host.starts_with('[')
        || (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)));
    let port_ok = match authority.strip_prefix(host) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok_and(|number| number.to_string() == port)),
        None => false, // user info
    };
    host_ok && port_ok
}

/// Returns `true` if the host of `authority` is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let Ok(authority) = authority.parse::<http::uri::Authority>() else {
        return false;
    };
    let host = authority.host();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Returns the authority without its port, if that is the scheme's default, `:443` or `:80`.
pub(crate) fn without_default_port<'a>(scheme: &str, authority: &'a str) -> &'a str {
    let port = match scheme {
        "https" | "wss" => ":443",
        "http" | "ws" => ":80",
        _ => return authority,
    };
    authority.strip_suffix(port).unwrap_or(authority)
}

impl OriginPolicy {
    /// Checks that the request was made by a page of the application or of a trusted origin, or not by a browser.
    ///
    /// 1. An `Origin` header that equals a trusted origin passes.
    /// 2. Otherwise `Sec-Fetch-Site` decides: `same-origin` passes, and so does `none` unless there is an `Origin`
    ///    header that is not the application's own.
    /// 3. Without `Sec-Fetch-Site`, the `Origin` header must be the application's own: it must equal the configured
    ///    public origin or, if none is configured, name the host that the request is addressed to, with the scheme
    ///    `http` or `https`.
    /// 4. A request with neither header does not come from a browser and passes. The exception is a WebSocket
    ///    handshake, which is refused by default, because browsers always send `Origin` with it.
    pub(crate) fn check(&self, request: &impl Head) -> Result<(), OriginError> {
        let mut metadata = FetchMetadata::default();
        for (name, value) in request.headers() {
            metadata.note(name, value);
        }
        self.check_metadata(metadata, request)
    }

    /// Checks the request as [`check`](Self::check) does, given the metadata from an earlier scan of the headers.
    pub(crate) fn check_metadata(
        &self,
        metadata: FetchMetadata<'_>,
        request: &impl Head,
    ) -> Result<(), OriginError> {
        self.rule(metadata, request).map_err(OriginError::new)
    }

    fn rule(
        &self,
        FetchMetadata { origin, site }: FetchMetadata<'_>,
        request: &impl Head,
    ) -> Result<(), OriginErrorKind> {
        let origin = only_origin(origin).map_err(|Several| OriginErrorKind::Foreign)?;
        if let Some(origin) = origin
            && self.trusted.iter().any(|trusted| trusted.as_bytes() == origin.as_bytes())
        {
            return Ok(());
        }
        let site = only_origin(site).map_err(|Several| OriginErrorKind::CrossSite)?;
        match (site, origin) {
            (Some(site), _) if site == "same-origin" => Ok(()),
            // The user made the request, not a page. If it names an origin nevertheless, that must be the application's.
            (Some(site), None) if site == "none" => Ok(()),
            (Some(site), Some(_)) if site != "none" => Err(OriginErrorKind::CrossSite),
            (Some(_), None) => Err(OriginErrorKind::CrossSite),
            (_, Some(origin)) if self.is_own(origin, request) => Ok(()),
            (_, Some(_)) => Err(OriginErrorKind::Foreign),
            (None, None) if is_handshake(request) && !self.handshakes_without_origin => {
                Err(OriginErrorKind::Missing)
            }
            (None, None) => Ok(()),
        }
    }

    fn is_own(&self, origin: &HeaderValue, request: &impl Head) -> bool {
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        if let Some(public) = &self.public {
            return **public == *origin;
        }
        let Some((scheme @ ("http" | "https"), host)) = origin.split_once("://") else {
            return false; // for example `null`, or a browser extension
        };
        let own = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => addressed_host(request.headers()),
        };
        own.is_some_and(|own| {
            !own.is_empty()
                && without_default_port(scheme, own).eq_ignore_ascii_case(without_default_port(scheme, host))
        })
    }
}

/// The headers in which a browser says which page makes a request.
#[derive(Clone, Copy, Default)]
pub(crate) struct FetchMetadata<'h> {
    origin: Found<'h>,
    site: Found<'h>,
}

impl<'h> FetchMetadata<'h> {
    /// Records the header if it is one of these.
    pub(crate) fn note(&mut self, name: &HeaderName, value: &'h HeaderValue) {
        if *name == ORIGIN {
            self.origin.note(value);
        } else if *name == SEC_FETCH_SITE {
            self.site.note(value);
        }
    }
}

/// A header that must have a single value has several.
struct Several;

fn only_origin(found: Found<'_>) -> Result<Option<&HeaderValue>, Several> {
    if found.again { Err(Several) } else { Ok(found.first) }
}

fn addressed_host(headers: &HeaderMap) -> Option<&str> {
    only_origin(Found::of(headers, &HOST)).ok()??.to_str().ok()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
