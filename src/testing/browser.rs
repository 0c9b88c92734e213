use std::{
    fmt,
    marker::PhantomData,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use http::{HeaderName, Method, Response, header::SET_COOKIE};

pub use super::browser::request::BrowserRequest;
use super::jar::{Exchange, Jar, Origin};
use crate::{
    clock::{Clock, SharedClock},
    cookies::DEFAULT_XSRF_NAME,
    request::XSRF_HEADER,
};

mod request;

/// A browser over a Tower service, for the tests of an application.
///
/// It keeps cookies as browsers do (RFC 6265bis): it drops what they drop, sends what they send, and
/// adds the `Origin` and `Sec-Fetch-*` headers by which a server tells its own pages from others.
/// Redirects are not followed, there is no public suffix list, and a cookie without `SameSite` is
/// `Lax` from the start (Chromium sends it with cross-site forms for two more minutes).
///
/// Clones are tabs: they share the cookies. [`separate`](Self::separate) starts another browser.
/// `B` is the request body that the service takes; see [`with_request_body`](Self::with_request_body).
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
    body: PhantomData<fn() -> B>,
}

impl<S> Browser<S> {
    /// A browser without cookies that shows a page of `https://shop.example`, served by `service`.
    pub fn new(service: S) -> Self {
        Self {
            service,
            jar: Arc::default(),
            origin: origin(DEFAULT_ORIGIN),
            clock: SharedClock::default(),
            xsrf_cookie: DEFAULT_XSRF_NAME.to_owned(),
            xsrf_header: XSRF_HEADER,
            body: PhantomData,
        }
    }
}

impl<S, B> Browser<S, B> {
    /// Sends request bodies of type `T`, for services that take no `Request<String>`.
    ///
    /// Defaults to [`String`], which an axum `Router` and every service generic over its body takes.
    #[must_use]
    pub fn with_request_body<T>(self) -> Browser<S, T> {
        Browser {
            service: self.service,
            jar: self.jar,
            origin: self.origin,
            clock: self.clock,
            xsrf_cookie: self.xsrf_cookie,
            xsrf_header: self.xsrf_header,
            body: PhantomData,
        }
    }

    /// Sends requests to `service` instead: another node, or the application with other settings.
    ///
    /// The cookies stay, and tabs share them also with the former service.
    #[must_use]
    pub fn with_service<T>(self, service: T) -> Browser<T, B> {
        Browser {
            service,
            jar: self.jar,
            origin: self.origin,
            clock: self.clock,
            xsrf_cookie: self.xsrf_cookie,
            xsrf_header: self.xsrf_header,
            body: PhantomData,
        }
    }

    /// Shows a page of `text`, an origin such as `https://shop.example:8443`, and asks it.
    ///
    /// Defaults to `https://shop.example`. The cookies stay, each for its host and scheme.
    ///
    /// # Panics
    ///
    /// If `text` is not `http` or `https`, a host, and perhaps a port.
    #[must_use]
    pub fn with_origin(mut self, text: &str) -> Self {
        self.origin = origin(text);
        self
    }

    /// Lets cookies expire by `clock`.
    ///
    /// Defaults to [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    /// Names the cookie and the header that [`with_xsrf`](BrowserRequest::with_xsrf) copies between.
    ///
    /// Defaults to `XSRF-TOKEN` and `X-XSRF-TOKEN`.
    ///
    /// # Panics
    ///
    /// If `header` is no header name.
    #[must_use]
    pub fn with_xsrf_names(mut self, cookie: &str, header: &str) -> Self {
        self.xsrf_cookie = cookie.to_owned();
        self.xsrf_header = checked(header);
        self
    }

    /// Another browser, or another profile of this one: the same settings, and cookies of its own.
    #[must_use]
    pub fn separate(&self) -> Self
    where
        S: Clone,
    {
        Self { jar: Arc::default(), ..self.clone() }
    }

    /// Stores the cookies of `response`, as [`send`](BrowserRequest::send) does by itself.
    ///
    /// It goes with [`send_without_storing`](BrowserRequest::send_without_storing), whose responses
    /// remember what was asked. Any other is taken as an answer to `/`.
    pub fn store<T>(&self, response: &Response<T>) {
        let exchange = response.extensions().get().cloned().unwrap_or_else(|| self.home());
        for line in response.headers().get_all(SET_COOKIE) {
            if let Ok(line) = std::str::from_utf8(line.as_bytes()) {
                self.jar().store(line, &exchange, self.now());
            }
        }
    }

    /// The value of the cookie that the browser holds for this origin, on whatever path.
    ///
    /// Of several it is the one that goes out first.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.jar().held(&self.origin, name, self.now())
    }

    /// Whether the browser holds this cookie for this origin, on whatever path.
    pub fn has_cookie(&self, name: &str) -> bool {
        self.cookie(name).is_some()
    }

    /// The value of the cookie in `document.cookie` of the page `/`: not if it is `HttpOnly`.
    pub fn script_cookie(&self, name: &str) -> Option<String> {
        self.jar().readable(&self.origin, name, self.now())
    }

    /// Takes a `Set-Cookie` line as if an answer to `/` had brought it; returns whether it was accepted.
    pub fn set_cookie(&self, line: &str) -> bool {
        self.jar().store(line, &self.home(), self.now())
    }

    /// Takes a `Set-Cookie` line from a neighbour under other control, `evil.shop.example` for
    /// `shop.example` and its subdomains; returns whether it was accepted.
    ///
    /// With `Domain=shop.example` the cookie is then sent to this origin as well. That is how cookies
    /// are planted ("tossed"), and what the `__Host-` prefix prevents. IP addresses have no neighbours.
    pub fn toss(&self, line: &str) -> bool {
        self.origin.neighbour().is_some_and(|evil| self.jar().store(line, &Exchange::home(evil), self.now()))
    }

    /// Removes all cookies of this name that reach this origin.
    pub fn remove_cookie(&self, name: &str) {
        self.jar().remove(&self.origin, name);
    }

    /// Removes all cookies.
    pub fn clear(&self) {
        self.jar().clear();
    }

    /// Removes the cookies without `Max-Age` and `Expires`, as closing the browser does.
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

    /// Begins a request for `path`, a path with an optional query, as `fetch` in a page of this origin.
    ///
    /// # Panics
    ///
    /// If `path` does not begin with `/` or is no path.
    pub fn request(&self, method: Method, path: &str) -> BrowserRequest<S, B> {
        assert!(path.starts_with('/'), "`{path}` is no path: it must begin with `/`");
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
            body: PhantomData,
        }
    }
}

/// Shows the names of the cookies, never their values.
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
        panic!("`{text}` is no origin: give scheme and host, such as `https://shop.example`")
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
