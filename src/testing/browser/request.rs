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

/// A request that a [`Browser`] is about to send.
///
/// Unless told otherwise it is a `fetch` by a page of the browser's own origin.
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

    /// Adds a header. Whatever the browser itself would send under that name stays behind.
    ///
    /// # Panics
    ///
    /// If `name` is no header name or `value` no header value.
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.append(checked::<HeaderName>(name.as_ref()), header_value(value.as_ref()));
        self
    }

    /// Sends this body. Without it the body is `B::default()`, an empty one.
    pub fn body(mut self, body: impl Into<B>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends `value` as a JSON body, with `Content-Type: application/json`.
    ///
    /// # Panics
    ///
    /// If `value` does not serialize to JSON.
    pub fn json(self, value: &impl Serialize) -> Self
    where
        B: From<String>,
    {
        let body = serde_json::to_string(value).unwrap_or_else(|error| panic!("not JSON: {error}"));
        self.header("content-type", "application/json").body(body)
    }

    /// Copies the XSRF cookie into the XSRF header when the request is sent, as axios and Angular do.
    ///
    /// Adds nothing when the page that asks cannot read such a cookie, as another site's page never can.
    pub fn with_xsrf(mut self) -> Self {
        self.xsrf = Xsrf::FromCookie;
        self
    }

    /// Sends this value in the XSRF header, as a page does that keeps it in memory or web storage.
    ///
    /// # Panics
    ///
    /// If `value` is no header value.
    pub fn with_xsrf_value(mut self, value: impl AsRef<[u8]>) -> Self {
        self.xsrf = Xsrf::Value(header_value(value.as_ref()));
        self
    }

    /// A page of another site asks: `Origin: https://evil.example` and `Sec-Fetch-Site: cross-site`.
    ///
    /// Only `SameSite=None` cookies go along, and only such are accepted from the response. With
    /// [`navigation`](Self::navigation) `Lax` ones go along when the method is safe, and all are accepted.
    pub fn cross_site(mut self) -> Self {
        self.initiator = Initiator::ForeignPage;
        self
    }

    /// A page of `neighbour`, another origin of the same site, asks: `Sec-Fetch-Site: same-site`.
    ///
    /// `SameSite` keeps no cookie behind. That both are one site is taken on trust.
    ///
    /// # Panics
    ///
    /// If `neighbour` is no origin such as `https://blog.shop.example`.
    pub fn same_site(mut self, neighbour: &str) -> Self {
        self.initiator = Initiator::PageOf(origin(neighbour));
        self
    }

    /// The browser leaves the page: `Sec-Fetch-Mode: navigate`, and `Origin` only if it is a form that
    /// posts.
    ///
    /// Unless marked [`cross_site`](Self::cross_site) or [`same_site`](Self::same_site), a `GET` is an
    /// address typed in (`Sec-Fetch-Site: none`), and another method a form of the own page.
    pub fn navigation(mut self) -> Self {
        self.navigation = true;
        self
    }

    /// A program asks that keeps cookies but is no browser: no `Origin`, no `Sec-Fetch-*`, no `SameSite`.
    pub fn from_no_browser(mut self) -> Self {
        self.initiator = Initiator::NoBrowser;
        self
    }

    /// Speaks HTTP/2: an absolute URI instead of `Host`, and each cookie in a `Cookie` header of its own.
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Sends the request, and stores the cookies of the response.
    ///
    /// # Errors
    ///
    /// What the service reports; the cookies are then as before.
    pub async fn send<T>(self) -> Result<Response<T>, S::Error>
    where
        S: Service<Request<B>, Response = Response<T>> + Clone,
    {
        let browser = self.browser.clone();
        let response = self.send_without_storing().await?;
        browser.store(&response);
        Ok(response)
    }

    /// Sends the request, and holds the response back: pass it to [`Browser::store`] when it arrives.
    ///
    /// # Errors
    ///
    /// What the service reports.
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

    /// Sends the request; the server answers, but the answer is lost on the way.
    pub async fn send_and_lose<T>(self)
    where
        S: Service<Request<B>, Response = Response<T>>,
    {
        drop(self.send_without_storing().await);
    }

    fn into_parts(self) -> (S, Request<B>, Exchange) {
        let exchange = self.exchange();
        let mut headers = self.own_headers(&exchange);
        // Replaces whole names: a header map is extended by another as by `insert`, then `append`.
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

    /// What the browser sends by itself, and the XSRF header.
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

    /// `Origin` and Fetch Metadata, which browsers send to trustworthy servers only.
    fn insert_provenance(&self, headers: &mut HeaderMap, asking: &Origin, own: &Origin) {
        let reads = matches!(self.method, Method::GET | Method::HEAD);
        let site = match self.initiator {
            Initiator::NoBrowser => return,
            Initiator::ForeignPage => "cross-site",
            Initiator::OwnPage if self.navigation && reads => "none",
            _ if asking == own => "same-origin",
            _ => "same-site",
        };
        // A `fetch` of another origin names its own even when it only reads; a link never does.
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

/// Shows method and path; headers and body may hold secrets.
impl<S, B> fmt::Debug for BrowserRequest<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BrowserRequest")
            .field("method", &self.method)
            .field("path", &self.path.path())
            .finish_non_exhaustive()
    }
}

/// Who makes the browser ask.
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
