//! Keeps sessions going after their access tokens expire: [`RefreshLayer`] and [`RefreshService`].
//!
//! Access tokens live for minutes. If one is missing or expired and the refresh cookie is valid, [`RefreshLayer`]
//! exchanges the refresh cookie, lets the request proceed as the signed-in user, and sets the new cookies on the
//! response, whatever its status. The request body is never read. Clients that prefer to refresh explicitly call
//! [`RefreshService`].
//!
//! Access tokens outlive sign-out: they remain valid until they expire. Where that is too long, enable
//! [`with_session_check`](crate::session::SessionsBuilder::with_session_check), or call
//! [`Sessions::is_live`](crate::Sessions::is_live) in the handlers that need certainty.
//!
//! # Examples
//!
//! Staying signed in after the access token has expired:
//!
//! ```
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions};
//! # #[cfg(not(feature = "testing"))] fn main() {}
//! # #[cfg(feature = "testing")]
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tower_cookie_jwt::testing::TestClock;
//!
//! let clock = TestClock::new();
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let sessions = Sessions::<()>::builder(keys, MemoryStore::new().with_clock(clock.clone()))
//!     .with_audience("shop")
//!     .with_clock(clock.clone())
//!     .build()?;
//!
//! let (parts, ()) = Request::post("https://shop.example/login").body(())?.into_parts();
//! let mut response = Response::new(());
//! sessions.sign_in(&parts, "ada", ()).await?.append_to(response.headers_mut());
//! let cookies = response.headers().get_all("set-cookie").iter();
//! let cookies: Vec<_> = cookies.map(|c| c.to_str().unwrap().split(';').next().unwrap()).collect();
//!
//! clock.advance(Duration::from_secs(3600));
//! let service = sessions.layer().layer(service_fn(|_: Request<()>| async {
//!     Ok::<_, Infallible>(Response::new(()))
//! }));
//! let response = service.oneshot(Request::get("/").header("cookie", cookies.join("; ")).body(())?).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! assert!(response.headers()["set-cookie"].to_str()?.starts_with("__Host-access="));
//! # Ok(()) }
//! ```

mod endpoint;
mod future;
mod plan;

pub use self::{
    endpoint::{RefreshService, RefreshServiceFuture},
    future::RefreshFuture,
};

use std::{
    fmt, mem,
    task::{Context, Poll},
};

use http::{Request, Response, request::Parts};
use serde::{Serialize, de::DeserializeOwned};
use tower_layer::Layer;
use tower_service::Service;

use self::{
    future::{State, Waiting},
    plan::{Answer, OnResponse, Plan},
};
use super::{exempt::Exempt, future::BoxFuture};
use crate::{
    reject::{DefaultReject, Refusal, Reject, refuse},
    session::Sessions,
};

/// Layer that refreshes the session of requests whose access token is missing or expired.
///
/// See the [module docs](crate::layers::refresh) for an example.
///
/// # Examples
///
/// ```
/// use tower::ServiceBuilder;
/// use tower_cookie_jwt::{KeyRing, MemoryStore, RequireLayer, Sessions};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// // `sessions.layer()`, with a layer of the application in between:
/// let layers = ServiceBuilder::new()
///     .layer(sessions.refresh_layer())
///     .layer(sessions.cookie_jwt_layer())
///     .layer(RequireLayer::<()>::scope("orders:read")?)
///     .layer(sessions.xsrf_layer());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub struct RefreshLayer<C, R = DefaultReject> {
    sessions: Sessions<C>,
    exempt: Exempt,
    reject: R,
}

impl<C> RefreshLayer<C> {
    pub(super) const fn new(sessions: Sessions<C>) -> Self {
        Self { sessions, exempt: Exempt::none(), reject: DefaultReject }
    }
}

impl<C, R> RefreshLayer<C, R> {
    /// Exempts requests for which `predicate` returns `true`: they pass unchanged.
    ///
    /// The predicate sees the request as the layer does. In a router that axum's `nest` has mounted under a path,
    /// that is only the remainder of the path.
    ///
    /// Defaults to no exemptions.
    pub fn with_exempt(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.exempt = Exempt::when(predicate);
        self
    }

    /// Sets the hook that builds the response to refused requests.
    ///
    /// The layer refuses requests that carry refresh cookies of several sessions, and requests that need a refresh
    /// while the store is unavailable.
    ///
    /// Defaults to [`DefaultReject`]: the hook of the sessions, or else a bare status.
    pub fn with_rejection<T>(self, reject: T) -> RefreshLayer<C, T> {
        RefreshLayer { sessions: self.sessions, exempt: self.exempt, reject }
    }

    pub(super) fn set_exempt(&mut self, exempt: Exempt) {
        self.exempt = exempt;
    }
}

impl<S, C, R: Clone> Layer<S> for RefreshLayer<C, R> {
    type Service = Refresh<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Refresh {
            inner,
            sessions: self.sessions.clone(),
            exempt: self.exempt.clone(),
            reject: self.reject.clone(),
        }
    }
}

impl<C, R: Clone> Clone for RefreshLayer<C, R> {
    fn clone(&self) -> Self {
        Self { sessions: self.sessions.clone(), exempt: self.exempt.clone(), reject: self.reject.clone() }
    }
}

impl<C, R> fmt::Debug for RefreshLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshLayer").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}

/// Service created by [`RefreshLayer`].
///
/// See the [module docs](crate::layers::refresh) for an example.
pub struct Refresh<S, C, R = DefaultReject> {
    inner: S,
    sessions: Sessions<C>,
    exempt: Exempt,
    reject: R,
}

impl<S, C, R, ReqBody, ResBody> Service<Request<ReqBody>> for Refresh<S, C, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>> + Clone,
    C: Serialize + DeserializeOwned + Send + Sync + 'static,
    R: Reject<ResBody> + Clone,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = RefreshFuture<S, C, R, ReqBody, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        if self.exempt.holds(&mut request) {
            self.sessions.inner().authenticator.exempt(&mut request, false);
            return self.forward(request, None);
        }
        match plan::plan(&self.sessions, &mut request) {
            Plan::Forward(on_response) => self.forward(request, on_response),
            Plan::Confirm(confirmation) => RefreshFuture {
                state: State::Confirm {
                    future: self.inner.call(request),
                    confirmation: Some(confirmation),
                    response: None,
                },
            },
            Plan::Ask(answer) => self.ask(request, answer),
            Plan::Refuse(refusal) => self.refuse(request, refusal),
        }
    }
}

impl<S: Clone, C, R: Clone> Refresh<S, C, R> {
    /// Inlined because most requests take this path: the future is then built in place.
    #[inline(always)]
    fn forward<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        on_response: Option<Box<OnResponse<C>>>,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        RefreshFuture { state: State::Handle { future: self.inner.call(request), on_response } }
    }

    #[cold]
    fn refuse<ReqBody, ResBody>(
        &self,
        request: Request<ReqBody>,
        refusal: Refusal,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        R: Reject<ResBody>,
    {
        let (parts, _) = request.into_parts();
        RefreshFuture { state: State::Refused { response: Some(refuse(&self.reject, refusal, &parts)) } }
    }

    /// Holds the request until the store has answered, together with the inner instance that `poll_ready` has found
    /// ready: that instance is the one to call.
    #[cold]
    fn ask<ReqBody, ResBody>(
        &mut self,
        request: Request<ReqBody>,
        answer: BoxFuture<'static, Answer<C>>,
    ) -> RefreshFuture<S, C, R, ReqBody, ResBody>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    {
        let (parts, body) = request.into_parts();
        let spare = self.inner.clone();
        let ready = mem::replace(&mut self.inner, spare);
        let waiting = Waiting {
            ready,
            parts,
            body,
            sessions: self.sessions.clone(),
            reject: self.reject.clone(),
            is_first: true,
        };
        RefreshFuture { state: State::Ask { answer, waiting: Some(Box::new(waiting)) } }
    }
}

impl<S: Clone, C, R: Clone> Clone for Refresh<S, C, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            sessions: self.sessions.clone(),
            exempt: self.exempt.clone(),
            reject: self.reject.clone(),
        }
    }
}

impl<S: fmt::Debug, C, R> fmt::Debug for Refresh<S, C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refresh")
            .field("inner", &self.inner)
            .field("sessions", &self.sessions)
            .finish_non_exhaustive()
    }
}
