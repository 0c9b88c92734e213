use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, SET_COOKIE},
};

/// Adds the cookies to a response, which must then not be stored anywhere.
pub(crate) fn append(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    let mut any = false;
    for cookie in cookies {
        headers.append(SET_COOKIE, cookie);
        any = true;
    }
    if any {
        forbid_storing(headers);
    }
}

/// As [`append`], but a cookie that the handler has set or cleared itself wins.
pub(crate) fn append_missing(headers: &mut HeaderMap, cookies: impl IntoIterator<Item = HeaderValue>) {
    let by_handler: Vec<Vec<u8>> =
        headers.get_all(SET_COOKIE).iter().map(|cookie| name(cookie).to_vec()).collect();
    append(headers, cookies.into_iter().filter(|cookie| !by_handler.iter().any(|set| set == name(cookie))));
}

/// A shared cache must not hand one user's cookies to another (RFC 9111 §5.2.2.5, RFC 9213).
fn forbid_storing(headers: &mut HeaderMap) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.remove(CDN_CACHE_CONTROL);
    headers.remove(SURROGATE_CONTROL);
}

fn name(set_cookie: &HeaderValue) -> &[u8] {
    let bytes = set_cookie.as_bytes();
    let end = bytes.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(bytes.len());
    bytes[..end].trim_ascii()
}

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
