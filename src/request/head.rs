//! The head of a request, and what kind of request it is: unsafe, a handshake, a preflight or a navigation.

use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE, ValueIter},
    request::Parts,
};

/// The default name of the request header that carries the XSRF token.
pub(crate) const XSRF_HEADER: HeaderName = HeaderName::from_static("x-xsrf-token");

/// Access to everything except the body, for both [`Request`] and [`Parts`].
///
/// Splitting a request into parts and reassembling it moves about 500 bytes. Layers that only look at the head avoid
/// that.
pub(crate) trait Head {
    fn method(&self) -> &Method;
    fn uri(&self) -> &Uri;
    fn headers(&self) -> &HeaderMap;
    fn extensions(&self) -> &Extensions;
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl<B> Head for Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn uri(&self) -> &Uri {
        self.uri()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}

impl Head for Parts {
    fn method(&self) -> &Method {
        &self.method
    }

    fn uri(&self) -> &Uri {
        &self.uri
    }

    fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }
}

/// The values of one header that a scan over the headers has found.
///
/// Layers find all the headers they need in one scan: comparing a few names is cheaper than hashing each.
#[derive(Clone, Copy, Default)]
pub(crate) struct Found<'h> {
    pub(crate) first: Option<&'h HeaderValue>,
    /// Whether the header occurs more than once.
    pub(crate) again: bool,
}

impl<'h> Found<'h> {
    /// Scans the headers for one name.
    pub(crate) fn of(headers: &'h HeaderMap, wanted: &HeaderName) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            if name == wanted {
                found.note(value);
            }
        }
        found
    }

    /// Records an occurrence of the header.
    pub(crate) fn note(&mut self, value: &'h HeaderValue) {
        self.again = self.first.is_some();
        self.first.get_or_insert(value);
    }

    /// Returns all values of the header in order. `name` must be the name that was scanned for.
    pub(crate) fn values(self, headers: &'h HeaderMap, name: &HeaderName) -> Values<'h> {
        let others = self.again.then(|| {
            let mut all = headers.get_all(name).iter();
            all.next();
            all
        });
        Values { first: self.first, others }
    }
}

/// The values of one header.
pub(crate) struct Values<'h> {
    first: Option<&'h HeaderValue>,
    /// `None` on the fast path, a single value.
    others: Option<ValueIter<'h, HeaderValue>>,
}

impl<'h> Iterator for Values<'h> {
    type Item = &'h HeaderValue;

    fn next(&mut self) -> Option<&'h HeaderValue> {
        self.first.take().or_else(|| self.others.as_mut()?.next())
    }
}

/// Returns `true` unless the method is one of the safe methods of RFC 9110 §9.2.1.
///
/// The safe methods are an allow-list, so that unknown methods count as unsafe.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Returns `true` if the request opens a connection for the page's script.
///
/// This is a WebSocket over HTTP/1 (`Upgrade`) or HTTP/2 (`CONNECT`, RFC 8441). Browsers cannot send an XSRF header
/// with such a request.
pub(crate) fn is_handshake(request: &impl Head) -> bool {
    match *request.method() {
        Method::CONNECT => true,
        Method::GET => upgrades_to_websocket(request.headers()), // RFC 6455 §4.1
        _ => false,
    }
}

fn upgrades_to_websocket(headers: &HeaderMap) -> bool {
    Found::of(headers, &UPGRADE).values(headers, &UPGRADE).any(|value| {
        value.as_bytes().split(|byte| *byte == b',').any(|protocol| {
            let name = protocol.split(|byte| *byte == b'/').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(b"websocket")
        })
    })
}

/// Returns `true` if the request is a CORS preflight, which never carries credentials (Fetch §4.8).
///
/// Any other OPTIONS request is treated like requests with other methods.
pub(crate) fn is_preflight(request: &impl Head) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Returns `true` if the user is opening a page. Such a request may refresh the session even if it comes from a link
/// on another site.
pub(crate) fn is_top_level_navigation(request: &impl Head) -> bool {
    let says = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    request.method() == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

#[cfg(test)]
mod tests {
    use http::header::{ACCEPT, COOKIE, HOST};

    use super::*;

    #[test]
    fn all_values_of_a_header_are_found_in_order() {
        let mut headers = HeaderMap::new();
        for (name, value) in [(COOKIE, "a"), (HOST, "h"), (COOKIE, "b"), (COOKIE, "c")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        let [cookie, host, accept] = [COOKIE, HOST, ACCEPT].map(|name| Found::of(&headers, &name));
        let values = |found: Found<'_>, name| {
            let values = found.values(&headers, name).map(|value| value.to_str().expect("ASCII").to_owned());
            values.collect::<Vec<_>>()
        };
        assert_eq!(values(cookie, &COOKIE), ["a", "b", "c"]);
        assert_eq!(values(host, &HOST), ["h"]);
        assert_eq!(values(accept, &ACCEPT), Vec::<String>::new());
        assert_eq!((cookie.again, host.again, accept.again), (true, false, false));
    }
}
