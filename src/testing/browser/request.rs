use std::{fmt, future::poll_fn};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, Version,
    header::{COOKIE, HOST, ORIGIN},
    uri::{self, PathAndQuery},
};
use serde::Serialize;
use tower_service::Service;

use super::{Browser, checked, origin};
use crate::testing::jar::{Context, Exchange, Origin};

/// A request of a [`Browser`] that has not been sent yet.
///
/// By default, it is a `fetch` by a page of the browser's own origin.
#[must_use = "a request does nothing until it is sent"]
pub struct BrowserRequest<S, B = String> {
    browser: Browser<S, B>,
    method: Method,
    path: PathAndQuery,
    headers: HeaderMap,
    body: B,
    initiator: Initiator,
    navigation: bool,
    xsrf: Xsrf,
    http2: bool,
}

impl<S, B> BrowserRequest<S, B> {
    pub(super) fn new(browser: Browser<S, B>, method: Method, path: PathAndQuery) -> Self
    where
        B: Default,
    {
        Self {
            browser,
            method,
            path,
            headers: HeaderMap::new(),
            body: B::default(),
            initiator: Initiator::OwnPage,
            navigation: false,
            xsrf: Xsrf::No,
            http2: false,
        }
    }

    /// Adds a header, replacing what the browser itself would send under that name.
    ///
    /// # Panics
    ///
    /// Panics if `name` is not a valid header name or `value` is not a valid header value.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(checked::<HeaderName>(name.as_ref()), header_value(value.as_ref()));
        self
    }

    /// Sets the body. Defaults to `B::default()`, an empty body.
    pub fn body(mut self, body: impl Into<B>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to `value` in JSON, and adds `Content-Type: application/json`.
    ///
    /// # Panics
    ///
    /// Panics if `value` cannot be serialized to JSON.
    pub fn json(self, value: &impl Serialize) -> Self
    where
        B: From<String>,
    {
        let body = serde_json::to_string(value).unwrap_or_else(|error| panic!("not JSON: {error}"));
        self.header("content-type", "application/json").body(body)
    }

    /// Copies the XSRF cookie to the XSRF header when the request is sent, as axios and Angular do.
    ///
    /// No header is added if the page that makes the request cannot read the cookie. A page of another site never
    /// can.
    pub fn with_xsrf(mut self) -> Self {
        self.xsrf = Xsrf::FromCookie;
        self
    }

    /// Sets the XSRF header to `value`, as a page does that keeps the token in memory or web storage.
    ///
    /// # Panics
    ///
    /// Panics if `value` is not a valid header value.
    pub fn with_xsrf_value(mut self, value: impl AsRef<[u8]>) -> Self {
        self.xsrf = Xsrf::Value(header_value(value.as_ref()));
        self
    }

    /// Makes the request come from a page of another site.
    ///
    /// It is sent with `Origin: https://evil.example` and `Sec-Fetch-Site: cross-site`. Only `SameSite=None` cookies
    /// are sent, and only those are accepted from the response. With [`navigation`](Self::navigation), `Lax` cookies
    /// are also sent if the method is safe, and all are accepted.
    pub fn cross_site(mut self) -> Self {
        self.initiator = Initiator::ForeignPage;
        self
    }

    /// Makes the request come from a page of `neighbour`, another origin of the same site.
    ///
    /// It is sent with `Sec-Fetch-Site: same-site`, and `SameSite` withholds no cookies. Whether both origins belong
    /// to the same site is not checked.
    ///
    /// # Panics
    ///
    /// Panics if `neighbour` is not an origin such as `https://blog.shop.example`.
    pub fn same_site(mut self, neighbour: &str) -> Self {
        self.initiator = Initiator::PageOf(origin(neighbour));
        self
    }

    /// Makes the request a navigation: `Sec-Fetch-Mode: navigate`, and `Origin` only if it is a form that posts.
    ///
    /// Unless [`cross_site`](Self::cross_site) or [`same_site`](Self::same_site) is set, a `GET` is an address typed
    /// by the user (`Sec-Fetch-Site: none`), and any other method is a form on the site's own page.
    pub fn navigation(mut self) -> Self {
        self.navigation = true;
        self
    }

    /// Makes the request come from a program that keeps cookies but is not a browser: without `Origin` and
    /// `Sec-Fetch-*`, and ignoring `SameSite`.
    pub fn from_no_browser(mut self) -> Self {
        self.initiator = Initiator::NoBrowser;
        self
    }

    /// Sends the request as HTTP/2: with an absolute URI instead of `Host`, and each cookie in a separate `Cookie`
    /// header.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Sends the request and stores the cookies of the response.
    ///
    /// # Errors
    ///
    /// Returns the error of the service; the cookies are then unchanged.
    pub async fn send<T>(self) -> Result<Response<T>, S::Error>
    where
        S: Service<Request<B>, Response = Response<T>> + Clone,
    {
        let browser = self.browser.clone();
        let response = self.send_without_storing().await?;
        browser.store(&response);
        Ok(response)
    }

    /// Sends the request without storing the cookies of the response. Pass the response to [`Browser::store`] when
    /// the browser is meant to receive it.
    ///
    /// # Errors
    ///
    /// Returns the error of the service.
    pub async fn send_without_storing<T>(self) -> Result<Response<T>, S::Error>
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        let (mut service, request, exchange) = self.into_parts();
        poll_fn(|cx| service.poll_ready(cx)).await?;
        let mut response = service.call(request).await?;
        response.extensions_mut().insert(exchange);
        Ok(response)
    }

    /// Sends the request and discards the response, as if it had been lost on the network.
    pub async fn send_and_lose<T>(self)
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        drop(self.send_without_storing().await);
    }

    fn into_parts(self) -> (S, Request<B>, Exchange) {
        let exchange = self.exchange();
        let mut headers = self.own_headers(&exchange);
        // Replaces headers of the same names: extending a `HeaderMap` by another inserts the first value of each
        // name and appends the others.
        headers.extend(self.headers);

        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.headers_mut() = headers;
        let mut parts = uri::Parts::default();
        parts.path_and_query = Some(self.path);
        if self.http2 {
            *request.version_mut() = Version::HTTP_2;
            parts.scheme = Some(checked(self.browser.origin.scheme()));
            parts.authority = Some(checked(self.browser.origin.authority()));
        }
        *request.uri_mut() =
            Uri::from_parts(parts).expect("a path, with both scheme and authority or neither");
        (self.browser.service, request, exchange)
    }

    fn exchange(&self) -> Exchange {
        let context = match self.initiator {
            Initiator::ForeignPage if self.navigation => {
                Context::CrossSiteNavigation { safe: self.method.is_safe() }
            }
            Initiator::ForeignPage => Context::CrossSite,
            Initiator::OwnPage | Initiator::PageOf(_) | Initiator::NoBrowser => Context::SameSite,
        };
        Exchange { origin: self.browser.origin.clone(), path: self.path.path().to_owned(), context }
    }

    /// Returns the headers that the browser adds automatically, and the XSRF header.
    fn own_headers(&self, exchange: &Exchange) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.http2 {
            headers.insert(HOST, checked(exchange.origin.authority()));
        }
        let own = &exchange.origin;
        let foreign = origin(FOREIGN_ORIGIN);
        let asking = match &self.initiator {
            Initiator::OwnPage | Initiator::NoBrowser => own,
            Initiator::PageOf(neighbour) => neighbour,
            Initiator::ForeignPage => &foreign,
        };
        self.insert_provenance(&mut headers, asking, own);

        let cookies = self.browser.jar().sent(exchange, self.browser.now());
        if self.http2 {
            for cookie in cookies {
                headers.append(COOKIE, header_value(cookie.as_bytes()));
            }
        } else if !cookies.is_empty() {
            headers.insert(COOKIE, header_value(cookies.join("; ").as_bytes()));
        }

        let xsrf = match &self.xsrf {
            Xsrf::No => None,
            Xsrf::Value(value) => Some(value.clone()),
            Xsrf::FromCookie => self
                .browser
                .jar()
                .readable(asking, &self.browser.xsrf_cookie, self.browser.now())
                .map(|value| header_value(value.as_bytes())),
        };
        if let Some(value) = xsrf {
            headers.insert(self.browser.xsrf_header.clone(), value);
        }
        headers
    }

    /// Inserts `Origin` and the Fetch Metadata headers. Browsers send the latter only to trustworthy servers.
    fn insert_provenance(&self, headers: &mut HeaderMap, asking: &Origin, own: &Origin) {
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        let site = match self.initiator {
            Initiator::NoBrowser => return,
            Initiator::ForeignPage => "cross-site",
            Initiator::OwnPage if self.navigation && reads => "none",
            _ if asking == own => "same-origin",
            _ => "same-site",
        };
        // A `fetch` to another origin sends `Origin` even with a safe method; following a link never does.
        if !reads || !self.navigation && asking != own {
            headers.insert(ORIGIN, checked(&asking.text()));
        }
        if own.is_trustworthy() {
            let (mode, dest) = if self.navigation { ("navigate", "document") } else { ("cors", "empty") };
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            headers.insert("sec-fetch-mode", HeaderValue::from_static(mode));
            headers.insert("sec-fetch-dest", HeaderValue::from_static(dest));
        }
    }
}

/// Formats the method and the path only, since headers and body may contain secrets.
impl<S, B> fmt::Debug for BrowserRequest<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserRequest")
            .field("method", &self.method)
            .field("path", &self.path.path())
            .finish_non_exhaustive()
    }
}

/// The origin of the request, from the browser's point of view.
enum Initiator {
    OwnPage,
    PageOf(Origin),
    ForeignPage,
    NoBrowser,
}

enum Xsrf {
    No,
    FromCookie,
    Value(HeaderValue),
}

#[track_caller]
fn header_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or_else(|error| panic!("{error}"))
}

const FOREIGN_ORIGIN: &str = "https://evil.example";
