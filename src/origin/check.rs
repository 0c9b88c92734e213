use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{HOST, ORIGIN},
};

use super::{
    error::{OriginError, OriginErrorKind},
    policy::{OriginPolicy, without_default_port},
    request::is_handshake,
};
use crate::head::{Found, Head};

impl OriginPolicy {
    /// Whether the request was made by a page of the application, or by no browser at all.
    ///
    /// 1. An `Origin` that is exactly a trusted one passes.
    /// 2. Else `Sec-Fetch-Site` decides: `same-origin` and `none` pass.
    /// 3. Without it, `Origin` must be the configured public origin, or else that of the request.
    /// 4. With neither header no browser is asking. A WebSocket handshake always has an `Origin`
    ///    from a browser, and is refused without.
    pub(crate) fn check(&self, request: &impl Head) -> Result<(), OriginError> {
        let mut provenance = Provenance::default();
        for (name, value) in request.headers() {
            provenance.note(name, value);
        }
        self.judge(provenance, request)
    }

    /// The same, where somebody else has walked over the headers.
    pub(crate) fn judge(&self, provenance: Provenance<'_>, request: &impl Head) -> Result<(), OriginError> {
        self.verdict(provenance, request).map_err(OriginError::new)
    }

    fn verdict(
        &self,
        Provenance { origin, site }: Provenance<'_>,
        request: &impl Head,
    ) -> Result<(), OriginErrorKind> {
        let origin = single(origin).map_err(|Several| OriginErrorKind::Foreign)?;
        if let Some(origin) = origin
            && self.trusted.iter().any(|trusted| trusted.as_bytes() == origin.as_bytes())
        {
            return Ok(());
        }
        let site = single(site).map_err(|Several| OriginErrorKind::CrossSite)?;
        match (site, origin) {
            (Some(site), _) if site == "same-origin" || site == "none" => Ok(()),
            (Some(_), _) => Err(OriginErrorKind::CrossSite),
            (None, Some(origin)) if self.is_own(origin, request) => Ok(()),
            (None, Some(_)) => Err(OriginErrorKind::Foreign),
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
        let Some((scheme, host)) = origin.split_once("://") else {
            return false; // `null` among others
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

/// What a browser says about who makes a request.
#[derive(Clone, Copy, Default)]
pub(crate) struct Provenance<'h> {
    origin: Found<'h>,
    site: Found<'h>,
}

impl<'h> Provenance<'h> {
    /// A walk over the headers has come by this one.
    pub(crate) fn note(&mut self, name: &HeaderName, value: &'h HeaderValue) {
        if *name == ORIGIN {
            self.origin.note(value);
        } else if *name == SEC_FETCH_SITE {
            self.site.note(value);
        }
    }
}

/// Several values of a header that must be one.
struct Several;

fn single(found: Found<'_>) -> Result<Option<&HeaderValue>, Several> {
    if found.again { Err(Several) } else { Ok(found.first) }
}

fn addressed_host(headers: &HeaderMap) -> Option<&str> {
    single(Found::of(headers, &HOST)).ok()??.to_str().ok()
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
