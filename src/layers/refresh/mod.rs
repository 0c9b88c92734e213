//! `RefreshLayer` and the refresh service: sessions that outlive their access tokens.
//!
//! Access tokens live minutes. When one is missing or has expired and the refresh cookie is good,
//! [`RefreshLayer`] exchanges that, lets the request go on as the signed-in user and sets the new
//! cookies on the response, of whatever kind that is. The body is never touched. Clients that would
//! rather refresh by themselves call the [`RefreshService`].
//!
//! What a signed-out session leaves behind: access tokens that live until they expire. Where that is
//! too long, switch on `with_session_check`, or ask [`Sessions::is_live`](crate::Sessions::is_live) in the
//! handlers that matter.
//!
//! # Examples
//!
//! An hour later, the same browser is still signed in:
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

/// Layer that renews the session of a request whose access token is missing or has expired.
///
/// See the [module docs](crate::layers::refresh) for an example.
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
    /// Lets requests for which `predicate` holds pass untouched.
    ///
    /// The predicate sees what the layer sees: inside of a router that axum's `nest` has mounted below a
    /// path, the rest of the path alone.
    ///
    /// Defaults to none.
    pub fn with_exempt(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.exempt = Exempt::when(predicate);
        self
    }

    /// Answers refused requests with `reject`: those with refresh cookies of several sessions, and
    /// those that need a refresh while the store is down.
    ///
    /// Defaults to [`DefaultReject`]: a bare status.
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

/// Service that [`RefreshLayer`] makes.
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
    /// The way of most requests, so the future is built in place.
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

    /// Puts the request aside until the store has answered. The instance that said it was ready is the one to call
    /// then.
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
        let waiting =
            Waiting { ready, parts, body, sessions: self.sessions.clone(), reject: self.reject.clone() };
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
