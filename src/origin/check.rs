use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{HOST, ORIGIN},
};

use super::{OriginError, OriginErrorKind, OriginPolicy, is_handshake, policy::without_default_port};
use crate::head::Head;

impl OriginPolicy {
    /// Whether the request was made by a page of the application, or by no browser at all.
    ///
    /// 1. An `Origin` that is exactly a trusted one passes.
    /// 2. Else `Sec-Fetch-Site` decides: `same-origin` and `none` pass.
    /// 3. Without it, `Origin` must be the configured public origin, or else that of the request.
    /// 4. With neither header no browser is asking. A WebSocket handshake always has an `Origin`
    ///    from a browser, and is refused without.
    pub(crate) fn check(&self, request: &impl Head) -> Result<(), OriginError> {
        self.verdict(request).map_err(OriginError::new)
    }

    fn verdict(&self, request: &impl Head) -> Result<(), OriginErrorKind> {
        let origin = single(request.headers(), &ORIGIN).map_err(|Several| OriginErrorKind::Foreign)?;
        if let Some(origin) = origin
            && self.trusted.iter().any(|trusted| trusted.as_bytes() == origin.as_bytes())
        {
            return Ok(());
        }
        let site =
            single(request.headers(), &SEC_FETCH_SITE).map_err(|Several| OriginErrorKind::CrossSite)?;
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
            None => single(request.headers(), &HOST).ok().flatten().and_then(|host| host.to_str().ok()),
        };
        own.is_some_and(|own| {
            !own.is_empty()
                && without_default_port(scheme, own).eq_ignore_ascii_case(without_default_port(scheme, host))
        })
    }
}

/// Several values of a header that must be one.
struct Several;

fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, Several> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        None => Ok(first),
        Some(_) => Err(Several),
    }
}

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
