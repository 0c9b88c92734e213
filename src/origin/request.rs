//! What kind of request a browser is making.

use http::{
    HeaderMap, Method,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, UPGRADE},
};

use crate::head::{Found, Head};

/// Whether the method may change something: all but the safe ones of RFC 9110 §9.2.1, by an
/// allow-list, so an unknown method is unsafe.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE)
}

/// Whether the request opens a connection that the browser's script then owns: a WebSocket over
/// HTTP/1 (`Upgrade`) or HTTP/2 (`CONNECT`, RFC 8441). Such a request cannot carry an XSRF header.
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

/// Whether this is a CORS preflight, which never carries credentials; any other OPTIONS is a
/// request like all others (Fetch §4.8).
pub(crate) fn is_preflight(request: &impl Head) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// Whether the user is opening a page: a link from another site may renew the session.
pub(crate) fn is_top_level_navigation(request: &impl Head) -> bool {
    let says = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    request.method() == Method::GET
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}
