use std::{
    fmt,
    marker::PhantomData,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use http::{HeaderName, Method, Response, header::SET_COOKIE};

use self::device::{Device, Hooks};
pub use super::browser::request::BrowserRequest;
use super::jar::{Exchange, Jar, Origin};
use crate::{
    clock::{Clock, SharedClock},
    cookies::DEFAULT_XSRF_NAME,
    request::XSRF_HEADER,
};

mod device;
mod keyed;
mod request;

/// A simulated browser over a Tower service, for testing applications.
///
/// It handles cookies as browsers do (RFC 6265bis): it rejects the cookies that they reject, sends those that they
/// send, and adds the `Origin` and `Sec-Fetch-*` headers by which a server distinguishes its own pages from others.
/// Redirects are not followed (except as in [`with_device_key`](Self::with_device_key)), there is no public suffix list, and a cookie without `SameSite` is treated as `Lax`
/// immediately (Chromium sends it with cross-site forms during its first two minutes).
///
/// Clones behave like tabs: they share the cookies. [`separate`](Self::separate) creates another browser. `B` is the
/// request body type of the service; see [`with_request_body`](Self::with_request_body).
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response, header::{COOKIE, SET_COOKIE}};
/// use tower::service_fn;
/// use tower_cookie_jwt::testing::Browser;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Infallible> {
/// let browser = Browser::new(service_fn(async |request: Request<String>| {
///     let mut response = Response::new(format!("{:?}", request.headers().get(COOKIE)));
///     if request.uri() == "/api/login" {
///         let cookie = "__Host-jwt=1; Secure; HttpOnly; SameSite=Strict; Path=/";
///         response.headers_mut().insert(SET_COOKIE, cookie.parse().unwrap());
///     }
///     Ok::<_, Infallible>(response)
/// }));
///
/// browser.post("/api/login").body("name=ann").send().await?;
/// assert!(browser.has_cookie("__Host-jwt"));
/// assert_eq!(browser.script_cookie("__Host-jwt"), None, "page script cannot read it");
///
/// let tab = browser.clone();
/// assert_eq!(tab.get("/api/me").send().await?.body(), r#"Some("__Host-jwt=1")"#);
/// assert_eq!(tab.post("/api/orders").cross_site().send().await?.body(), "None");
/// # Ok(())
/// # }
/// ```
pub struct Browser<S, B = String> {
    service: S,
    jar: Arc<Mutex<Jar>>,
    origin: Origin,
    clock: SharedClock,
    xsrf_cookie: String,
    xsrf_header: HeaderName,
    device: Arc<Device>,
    quota: Option<usize>,
    /// Set by `with_device_key`.
    hooks: Option<Hooks<S, B>>,
    body: PhantomData<fn() -> B>,
}

impl<S> Browser<S> {
    /// Creates a browser without cookies that shows a page of `https://shop.example`, served by `service`.
    pub fn new(service: S) -> Self {
        Self {
            service,
            jar: Arc::default(),
            origin: origin(DEFAULT_ORIGIN),
            clock: SharedClock::default(),
            xsrf_cookie: DEFAULT_XSRF_NAME.to_owned(),
            xsrf_header: XSRF_HEADER,
            device: Arc::default(),
            quota: None,
            hooks: None,
            body: PhantomData,
        }
    }
}

impl<S, B> Browser<S, B> {
    /// Sets the type of request bodies, for services that do not accept `Request<String>`.
    ///
    /// Defaults to [`String`], which an axum `Router` and every service that is generic over its body accept.
    #[must_use]
    pub fn with_request_body<T>(self) -> Browser<S, T> {
        Browser {
            service: self.service,
            jar: self.jar,
            origin: self.origin,
            clock: self.clock,
            xsrf_cookie: self.xsrf_cookie,
            xsrf_header: self.xsrf_header,
            device: self.device,
            quota: self.quota,
            hooks: None,
            body: PhantomData,
        }
    }

    /// Sends requests to `service` instead, such as another node or the application with other settings.
    ///
    /// The cookies are kept, and are still shared with the clones that use the previous service.
    #[must_use]
    pub fn with_service<T>(self, service: T) -> Browser<T, B> {
        Browser {
            service,
            jar: self.jar,
            origin: self.origin,
            clock: self.clock,
            xsrf_cookie: self.xsrf_cookie,
            xsrf_header: self.xsrf_header,
            device: self.device,
            quota: self.quota,
            hooks: None,
            body: PhantomData,
        }
    }

    /// Sets the origin of the page that the browser shows, which is also the server that it sends requests to, such
    /// as `https://shop.example:8443`.
    ///
    /// The cookies are kept, each for its own host and scheme. Defaults to `https://shop.example`.
    ///
    /// # Panics
    ///
    /// Panics if `text` does not consist of the scheme `http` or `https`, a host, and optionally a port.
    #[must_use]
    pub fn with_origin(mut self, text: &str) -> Self {
        self.origin = origin(text);
        self
    }

    /// Sets the clock by which cookies expire.
    ///
    /// Defaults to [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// Sets the names of the cookie that [`with_xsrf`](BrowserRequest::with_xsrf) copies and of the header that it
    /// sets.
    ///
    /// Defaults to `XSRF-TOKEN` and `X-XSRF-TOKEN`.
    ///
    /// # Panics
    ///
    /// Panics if `header` is not a valid header name.
    #[must_use]
    pub fn with_xsrf_names(mut self, cookie: &str, header: &str) -> Self {
        self.xsrf_cookie = cookie.to_owned();
        self.xsrf_header = checked(header);
        self
    }

    /// Creates a separate browser with the same settings and an empty cookie jar.
    #[must_use]
    pub fn separate(&self) -> Self
    where
        S: Clone,
    {
        Self { jar: Arc::default(), device: Arc::default(), ..self.clone() }
    }

    /// Stores the cookies of `response`, which [`send`](BrowserRequest::send) does automatically.
    ///
    /// This is meant for responses of [`send_without_storing`](BrowserRequest::send_without_storing), which contain
    /// the context of their request. Any other response is treated as the response to a request for `/`.
    pub fn store<T>(&self, response: &Response<T>) {
        let exchange = response.extensions().get().cloned().unwrap_or_else(|| self.home());
        for line in response.headers().get_all(SET_COOKIE) {
            if let Ok(line) = std::str::from_utf8(line.as_bytes()) {
                self.jar().store(line, &exchange, self.now());
            }
        }
        if self.hooks.is_some() {
            self.device.see(response.headers(), &exchange);
        }
    }

    /// Returns the value of a cookie that the browser holds for its origin, on any path.
    ///
    /// If there are several, returns the one that would be sent first.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().held(&self.origin, name, self.now())
    }

    /// Returns `true` if the browser holds a cookie with this name for its origin, on any path.
    pub fn has_cookie(&self, name: &str) -> bool {
        self.cookie(name).is_some()
    }

    /// Returns the value of a cookie in `document.cookie` on the page `/`, which does not contain `HttpOnly` cookies.
    pub fn script_cookie(&self, name: &str) -> Option<String> {
        self.jar().readable(&self.origin, name, self.now())
    }

    /// Processes a `Set-Cookie` line as if received in the response to `/`, and returns `true` if it was accepted.
    pub fn set_cookie(&self, line: &str) -> bool {
        self.jar().store(line, &self.home(), self.now())
    }

    /// Processes a `Set-Cookie` line from a malicious sibling host, and returns `true` if it was accepted.
    ///
    /// The host is `evil.shop.example` for `shop.example` and its subdomains; IP addresses have none. With
    /// `Domain=shop.example`, the cookie is then also sent to the browser's own origin. This attack, cookie tossing,
    /// is what the `__Host-` prefix prevents.
    pub fn toss(&self, line: &str) -> bool {
        self.origin.neighbour().is_some_and(|evil| self.jar().store(line, &Exchange::home(evil), self.now()))
    }

    /// Removes all cookies with this name that would be sent to the browser's origin.
    pub fn remove_cookie(&self, name: &str) {
        self.jar().remove(&self.origin, name);
    }

    /// Removes all cookies, and with them the sessions that the browser [has a key for](Self::with_device_key).
    pub fn clear(&self) {
        self.jar().clear();
        self.device.clear();
    }

    /// Removes the cookies that have neither `Max-Age` nor `Expires`, as closing a browser does.
    pub fn expire_session_cookies(&self) {
        self.jar().end_session();
    }

    fn home(&self) -> Exchange {
        Exchange::home(self.origin.clone())
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn jar(&self) -> MutexGuard<'_, Jar> {
        self.jar.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Clone, B: Default> Browser<S, B> {
    /// Begins a `GET` request; see [`request`](Self::request).
    pub fn get(&self, path: &str) -> BrowserRequest<S, B> {
        self.request(Method::GET, path)
    }

    /// Begins a `POST` request; see [`request`](Self::request).
    pub fn post(&self, path: &str) -> BrowserRequest<S, B> {
        self.request(Method::POST, path)
    }

    /// Begins a `PUT` request; see [`request`](Self::request).
    pub fn put(&self, path: &str) -> BrowserRequest<S, B> {
        self.request(Method::PUT, path)
    }

    /// Begins a `DELETE` request; see [`request`](Self::request).
    pub fn delete(&self, path: &str) -> BrowserRequest<S, B> {
        self.request(Method::DELETE, path)
    }

    /// Begins a request for `path`, a path with an optional query, as `fetch` on a page of the browser's origin does.
    ///
    /// # Panics
    ///
    /// Panics if `path` does not begin with `/` or is not a valid path.
    pub fn request(&self, method: Method, path: &str) -> BrowserRequest<S, B> {
        assert!(path.starts_with('/'), "`{path}` is not a valid path: it must begin with `/`");
        BrowserRequest::new(self.clone(), method, checked(path))
    }
}

impl<S: Clone, B> Clone for Browser<S, B> {
    fn clone(&self) -> Self {
        Self {
            service: self.service.clone(),
            jar: Arc::clone(&self.jar),
            origin: self.origin.clone(),
            clock: self.clock.clone(),
            xsrf_cookie: self.xsrf_cookie.clone(),
            xsrf_header: self.xsrf_header.clone(),
            device: Arc::clone(&self.device),
            quota: self.quota,
            hooks: self.hooks.clone(),
            body: PhantomData,
        }
    }
}

/// Formats the names of the cookies, never their values.
impl<S, B> fmt::Debug for Browser<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jar = self.jar();
        f.debug_struct("Browser")
            .field("origin", &self.origin.text())
            .field("cookies", &jar.names().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[track_caller]
fn origin(text: &str) -> Origin {
    Origin::parse(text).unwrap_or_else(|| {
        panic!("`{text}` is not a valid origin: use a scheme and a host, such as `https://shop.example`")
    })
}

#[track_caller]
fn checked<T>(text: &str) -> T
where
    T: FromStr<Err: fmt::Display>,
{
    text.parse().unwrap_or_else(|error| panic!("`{text}`: {error}"))
}

const DEFAULT_ORIGIN: &str = "https://shop.example";

#[cfg(test)]
mod tests;
