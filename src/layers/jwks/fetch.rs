//! Fetching a document over any Tower HTTP client.

use std::{error::Error as StdError, fmt, future::poll_fn, time::Duration};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
    header::{ACCEPT, CACHE_CONTROL, HOST},
};
use http_body::Body;
use tower_service::Service;

use crate::{
    error::ConfigError,
    layers::body::{CollectError, collect},
};

/// A document, and how long its server says that it stays as it is.
pub(super) struct Document {
    pub(super) body: Vec<u8>,
    pub(super) max_age: Option<Duration>,
}

/// Fetches a document of at most `limit` bytes.
pub(super) async fn fetch<S, ReqBody, ResBody>(
    client: &mut S,
    url: &Uri,
    accept: &'static str,
    limit: usize,
) -> Result<Document, Failure>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: fmt::Display,
    ReqBody: Default,
    ResBody: Body,
{
    let mut request = Request::new(ReqBody::default());
    *request.uri_mut() = url.clone();
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accept));
    let host = url.authority().map(|authority| authority.as_str());
    if let Some(host) = host.and_then(|host| HeaderValue::from_str(host).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    let unreachable = |error: S::Error| Failure::Unreachable(error.to_string());
    poll_fn(|cx| client.poll_ready(cx)).await.map_err(unreachable)?;
    let response = client.call(request).await.map_err(unreachable)?;
    if response.status() != StatusCode::OK {
        return Err(Failure::Status(response.status()));
    }
    let max_age = max_age(response.headers());
    let body = collect(response.into_body(), limit).await.map_err(|error| match error {
        CollectError::TooLarge => Failure::TooLarge { limit },
        CollectError::Broken => Failure::BrokeOff,
    })?;
    Ok(Document { body, max_age })
}

/// Returns `max-age` of `Cache-Control` (RFC 9111 §5.2.2.1), between one and 60 minutes.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = values.flat_map(|value| value.split(',')).map(str::trim);
    let seconds = directives.find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok()).flatten()
    })?;
    Some(Duration::from_secs(seconds).clamp(SHORTEST_AGE, LONGEST_AGE))
}

const SHORTEST_AGE: Duration = Duration::from_secs(60);
const LONGEST_AGE: Duration = Duration::from_secs(60 * 60);

/// The error returned when a key set, or the metadata that leads to it, cannot be fetched or used.
///
/// Its `Display` says what is wrong, and with what.
#[derive(Debug)]
pub struct KeySetError {
    url: Uri,
    failure: Failure,
}

impl KeySetError {
    pub(super) const fn new(url: Uri, failure: Failure) -> Self {
        Self { url, failure }
    }
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.url, self.failure)
    }
}

impl StdError for KeySetError {}

/// Why a document was not adopted.
#[derive(Debug)]
pub(super) enum Failure {
    TimedOut,
    Unreachable(String),
    Status(StatusCode),
    TooLarge {
        limit: usize,
    },
    BrokeOff,
    Unusable(ConfigError),
    /// The set lists no keys at all, for the first time.
    Empty,
    /// The metadata is not what discovery needs.
    Metadata(&'static str),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreachable(error) => write!(f, "unreachable: {error}"),
            Self::Status(status) => write!(f, "responded with {status}"),
            Self::TooLarge { limit } => write!(f, "the response is larger than {} KiB", limit / 1024),
            Self::BrokeOff => f.write_str("the response ended early"),
            Self::Unusable(error) => error.fmt(f),
            Self::Empty => {
                f.write_str("the set lists no keys; if it still does later, none is accepted any more")
            }
            Self::Metadata(reason) => f.write_str(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_read_from_cache_control_and_kept_within_bounds() {
        for (value, expected) in [
            ("max-age=300", Some(300)),
            ("public, max-age=300, must-revalidate", Some(300)),
            ("Max-Age=\"300\"", Some(300)),
            ("max-age=0", Some(60)),
            ("max-age=86400", Some(3600)),
            ("no-store", None),
            ("max-age=soon", None),
            ("s-maxage=300", None),
        ] {
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static(value))]);
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{value}");
        }
    }
}
