use std::sync::Arc;

use http::{Request, Response};
use http_body::Body;
use tower_service::Service;

use super::{
    Browser,
    device::{Client, Hooks},
};

impl<S, B> Browser<S, B> {
    /// Makes the browser bind sessions to a key of its own, as Chromium does (Device Bound Session Credentials).
    ///
    /// The browser then
    ///
    /// * follows the `Secure-Session-Registration` header of any response, once [`send`](super::BrowserRequest::send) has
    ///   stored its cookies: it makes an ES256 key, registers it, and keeps to the instructions that it is given;
    /// * holds requests in the session's scope back while the bound cookie is missing, or has other attributes than the
    ///   instructions say, and renews it by a proof first. With two minutes left or less, it renews it after the request;
    /// * sends requests that it could not renew the cookie for with `Secure-Session-Skipped`, and gives a session up after
    ///   four refused proofs in a row, after 403 without a challenge, and after any other 4xx;
    /// * follows a 307 that leads to the same URL, with the method and the body, if the request is sent by `send`.
    ///
    /// Tabs share the sessions. [`separate`](Self::separate) creates a browser with keys of its own, to which copied cookies
    /// are of no more use than to any other thief. After [`with_service`](Self::with_service) or
    /// [`with_request_body`](Self::with_request_body), call it again: the browser keeps its sessions and their keys.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use axum::{Router, extract::Request, response::IntoResponse, routing::{get, post}};
    /// use http::StatusCode;
    /// use tower_cookie_jwt::{
    ///     Claims, KeyRing, MemoryStore, Sessions,
    ///     session::{DeviceBinding, SignedIn},
    ///     testing::{Browser, TestClock},
    /// };
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let clock = TestClock::new();
    /// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
    /// let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_clock(clock.clone()))
    ///     .with_audience("shop")
    ///     .with_clock(clock.clone())
    ///     .with_device_binding(DeviceBinding::at("/api/device"))
    ///     .build()?;
    /// let sign_in = sessions.clone();
    /// let login = async move |request: Request| {
    ///     let (parts, _) = request.into_parts();
    ///     let mut response = StatusCode::NO_CONTENT.into_response();
    ///     let signed_in: SignedIn = sign_in.sign_in(&parts, "ada", ()).await.unwrap();
    ///     signed_in.append_to(response.headers_mut());
    ///     response
    /// };
    /// let app = Router::new()
    ///     .route("/api/me", get(async |request: Request| {
    ///         let claims = request.extensions().get::<Claims<()>>().unwrap();
    ///         format!("bound: {}", claims.proof_time().is_some())
    ///     }))
    ///     .layer(sessions.layer())
    ///     .route("/api/login", post(login))
    ///     .route_service("/api/device", sessions.device_service());
    ///
    /// let browser = Browser::new(app).with_clock(clock.clone()).with_device_key();
    /// browser.post("/api/login").send().await?;
    /// let me = browser.get("/api/me").send().await?;
    /// let body = axum::body::to_bytes(me.into_body(), 100).await?;
    /// assert_eq!(body, "bound: true");
    ///
    /// // A copy of the cookies is of no use once the access token has expired.
    /// let thief = browser.separate();
    /// for name in ["__Host-access", "__Host-refresh"] {
    ///     let value = browser.cookie(name).unwrap();
    ///     assert!(thief.set_cookie(&format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict")));
    /// }
    /// assert_eq!(thief.get("/api/me").send().await?.status(), StatusCode::OK);
    /// clock.advance(Duration::from_secs(20 * 60));
    /// assert_eq!(thief.get("/api/me").send().await?.status(), StatusCode::UNAUTHORIZED);
    /// assert_eq!(browser.get("/api/me").send().await?.status(), StatusCode::OK);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_device_key<T>(mut self) -> Self
    where
        S: Service<Request<B>, Response = Response<T>> + Clone + Send + 'static,
        S::Future: Send,
        S::Error: Send,
        B: Clone + Default + Send + 'static,
        T: Body<Data: Send, Error: Send> + Send,
    {
        self.hooks = Some(Hooks::new());
        self
    }

    /// Limits the signatures of a browser [with a device key](Self::with_device_key) to `count` in nine minutes. Chromium
    /// makes six.
    ///
    /// Registering a key takes one signature, and so does each proof. Requests that would need another one are sent with
    /// `Secure-Session-Skipped: quota_exceeded`.
    ///
    /// Defaults to no limit.
    #[must_use]
    pub const fn with_signing_quota(mut self, count: usize) -> Self {
        self.quota = Some(count);
        self
    }

    /// Returns the identifiers of the sessions that the browser [has a key for](Self::with_device_key), the oldest first.
    pub fn device_sessions(&self) -> Vec<String> {
        self.device.sessions()
    }

    /// Removes the keys of all sessions but not the cookies, as if the device had lost them.
    pub fn forget_device_keys(&self) {
        self.device.clear();
    }

    pub(super) fn client(&self) -> Option<Client> {
        let asker = self.hooks.as_ref()?.asker(&self.service);
        let (device, jar) = (Arc::clone(&self.device), Arc::clone(&self.jar));
        Some(Client::new(device, jar, self.clock.clone(), self.quota, asker))
    }
}
