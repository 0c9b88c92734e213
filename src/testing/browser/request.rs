use std::{fmt, future::poll_fn};

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version,
    header::{COOKIE, HOST, LOCATION, ORIGIN},
    uri::{self, PathAndQuery},
};
use serde::Serialize;
use tower_service::Service;

use super::{Browser, checked, device::Client, origin};
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
        let (browser, client) = (self.browser.clone(), self.client());
        let Some(mut client) = client else {
            let response = self.send_without_storing().await?;
            browser.store(&response);
            return Ok(response);
        };
        let (path, initiator) = (self.path.clone(), self.other_initiator());
        let mut request = self;
        for _ in 0..MAX_REDIRECTS {
            request.xsrf = request.xsrf_by_now();
            let again = request.again();
            let response = request.send_without_storing().await?;
            browser.store(&response);
            let exchange = response.extensions().get::<Exchange>().cloned();
            client.follow(&exchange.unwrap_or_else(|| browser.home()), initiator.as_ref()).await;
            match again {
                Some(next) if leads_back(&response, &path) => request = next,
                _ => return Ok(response),
            }
        }
        panic!("`{path}` is redirected to itself again and again");
    }

    /// Sends the request without storing the cookies of the response. Pass the response to [`Browser::store`] when
    /// the browser is meant to receive it.
    ///
    /// # Errors
    ///
    /// Returns the error of the service.
    pub async fn send_without_storing<T>(mut self) -> Result<Response<T>, S::Error>
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        if let Some(mut client) = self.client() {
            // Script copies the cookie before the browser holds the request back.
            self.xsrf = self.xsrf_by_now();
            let (exchange, initiator) = (self.exchange(), self.other_initiator());
            client.register().await;
            for reason in client.hold(&exchange, initiator.as_ref()).await {
                self.headers.append(SKIPPED, reason);
            }
        }
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
        let is_browser = !matches!(self.initiator, Initiator::NoBrowser);
        let (origin, path) = (self.browser.origin.clone(), self.path.path().to_owned());
        Exchange { origin, path, context, is_browser }
    }

    /// Returns what binds sessions to a device, if the browser does so and makes the request.
    fn client(&self) -> Option<Client> {
        if matches!(self.initiator, Initiator::NoBrowser) { None } else { self.browser.client() }
    }

    /// Returns the origin of the page that makes the request, if it is another one.
    fn other_initiator(&self) -> Option<Origin> {
        match &self.initiator {
            Initiator::PageOf(neighbour) if *neighbour != self.browser.origin => Some(neighbour.clone()),
            Initiator::ForeignPage => Some(origin(FOREIGN_ORIGIN)),
            Initiator::OwnPage | Initiator::PageOf(_) | Initiator::NoBrowser => None,
        }
    }

    /// Returns the same request once more.
    fn again(&self) -> Option<Self>
    where
        S: Clone,
    {
        let copy = self.browser.hooks.as_ref()?.copy;
        Some(Self {
            browser: self.browser.clone(),
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.clone(),
            body: copy(&self.body),
            initiator: self.initiator.clone(),
            navigation: self.navigation,
            xsrf: self.xsrf.clone(),
            http2: self.http2,
        })
    }

    /// Returns the headers that the browser adds automatically, and the XSRF header.
    fn own_headers(&self, exchange: &Exchange) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if !self.http2 {
            headers.insert(HOST, checked(exchange.origin.authority()));
        }
        let own = &exchange.origin;
        let other = self.other_initiator();
        self.insert_provenance(&mut headers, other.as_ref().unwrap_or(own), own);

        let cookies = self.browser.jar().sent(exchange, self.browser.now());
        if self.http2 {
            for cookie in cookies {
                headers.append(COOKIE, header_value(cookie.as_bytes()));
            }
        } else if !cookies.is_empty() {
            headers.insert(COOKIE, header_value(cookies.join("; ").as_bytes()));
        }

        if let Xsrf::Value(value) = self.xsrf_by_now() {
            headers.insert(self.browser.xsrf_header.clone(), value);
        }
        headers
    }

    /// Returns what script would send now: the value of the cookie, if it can read it.
    fn xsrf_by_now(&self) -> Xsrf {
        let Xsrf::FromCookie = self.xsrf else { return self.xsrf.clone() };
        let (browser, other) = (&self.browser, self.other_initiator());
        let asking = other.as_ref().unwrap_or(&browser.origin);
        let value = browser.jar().readable(asking, &browser.xsrf_cookie, browser.now());
        value.map_or(Xsrf::No, |value| Xsrf::Value(header_value(value.as_bytes())))
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
#[derive(Clone)]
enum Initiator {
    OwnPage,
    PageOf(Origin),
    ForeignPage,
    NoBrowser,
}

#[derive(Clone)]
enum Xsrf {
    No,
    FromCookie,
    Value(HeaderValue),
}

/// Returns `true` for a 307 that leads to the URL of the request, given its path and query.
fn leads_back<T>(response: &Response<T>, path: &PathAndQuery) -> bool {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let directory = &path.path()[..=path.path().rfind('/').unwrap_or(0)];
    let target = match location {
        absolute if absolute.starts_with('/') => absolute.to_owned(),
        relative => format!("{directory}{}", relative.strip_prefix("./").unwrap_or(relative)),
    };
    response.status() == StatusCode::TEMPORARY_REDIRECT && target == path.as_str()
}

#[track_caller]
fn header_value(bytes: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(bytes).unwrap_or_else(|error| panic!("{error}"))
}

/// Why a request goes without a renewed cookie.
const SKIPPED: HeaderName = HeaderName::from_static("secure-session-skipped");
/// As many as browsers follow.
const MAX_REDIRECTS: usize = 20;
const FOREIGN_ORIGIN: &str = "https://evil.example";
