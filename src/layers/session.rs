//! [`SessionLayer`], which combines the three layers, and the methods of [`Sessions`] that create layers.

use std::fmt;

use http::request::Parts;
use tower_layer::Layer;

use super::{
    authenticate::{CookieJwt, CookieJwtLayer, Presence},
    device::DeviceService,
    exempt::Exempt,
    refresh::{Refresh, RefreshLayer, RefreshService},
    xsrf::{Xsrf, XsrfLayer},
};
use crate::{reject::DefaultReject, session::Sessions};

/// Layer that combines `RefreshLayer`, `CookieJwtLayer` and `XsrfLayer`, outermost first.
///
/// Created by [`Sessions::layer`].
///
/// # Examples
///
/// ```
/// use std::convert::Infallible;
/// use http::{Request, Response, StatusCode};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_cookie_jwt::{KeyRing, MemoryStore, Sessions, reject::ProblemJson};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let sessions = Sessions::<()>::builder(keys, MemoryStore::new()).with_audience("shop").build()?;
/// let layer = sessions
///     .layer()
///     .with_exempt(|request| request.uri.path() == "/healthz")
///     .with_rejection(ProblemJson);
/// let service = layer.layer(service_fn(|_: Request<()>| async {
///     Ok::<_, Infallible>(Response::new(bytes::Bytes::from_static(b"fine")))
/// }));
///
/// let health = service.clone().oneshot(Request::get("/healthz").body(())?).await?;
/// assert_eq!(health.status(), StatusCode::OK);
/// let secret = service.oneshot(Request::get("/secret").body(())?).await?;
/// assert_eq!(secret.status(), StatusCode::UNAUTHORIZED);
/// # Ok(()) }
/// ```
#[must_use]
pub struct SessionLayer<C, R = DefaultReject> {
    sessions: Sessions<C>,
    presence: Presence,
    exempt: Exempt,
    reject: R,
}

/// Layers, and the refresh service.
impl<C> Sessions<C> {
    /// Returns the three layers combined into one, which requires a signed-in user for every request.
    pub fn layer(&self) -> SessionLayer<C> {
        SessionLayer {
            sessions: self.clone(),
            presence: Presence::Required,
            exempt: Exempt::none(),
            reject: DefaultReject,
        }
    }

    /// Returns the layer that refreshes sessions, on its own.
    pub fn refresh_layer(&self) -> RefreshLayer<C> {
        RefreshLayer::new(self.clone())
    }

    /// Returns the layer that verifies access tokens, on its own.
    ///
    /// With [`with_session_check`](crate::session::SessionsBuilder::with_session_check) or
    /// [`with_sign_out_within`](crate::session::SessionsBuilder::with_sign_out_within), it is
    /// [`refresh_layer`](Self::refresh_layer) that queries the store. That layer must then wrap this one, which
    /// refuses tokens whose session has not been confirmed as live.
    pub fn cookie_jwt_layer(&self) -> CookieJwtLayer<C> {
        let inner = self.inner();
        CookieJwtLayer::with_authenticator(inner.authenticator.clone(), inner.session_check.is_made())
    }

    /// Returns the layer that checks the origin and the XSRF header, on its own.
    pub fn xsrf_layer(&self) -> XsrfLayer {
        XsrfLayer::with_settings(self.inner().origin.clone(), self.inner().xsrf_header.clone())
    }

    /// Returns the service that exchanges refresh cookies, for clients that refresh explicitly.
    pub fn refresh_service(&self) -> RefreshService<C> {
        RefreshService::new(self.clone())
    }

    /// Returns the service with which browsers bind sessions to their device, for the path of
    /// [`DeviceBinding::at`](crate::session::DeviceBinding::at), outside the layers.
    ///
    /// Without [`with_device_binding`](crate::session::SessionsBuilder::with_device_binding), it answers registrations with 400, and
    /// proofs with 503, so that it can be mounted before the setting has reached every node.
    pub fn device_service(&self) -> DeviceService<C> {
        DeviceService::new(self.clone())
    }
}

impl<C, R> SessionLayer<C, R> {
    /// Lets requests without a valid token proceed without claims. An invalid token counts as none.
    ///
    /// Unsafe requests without a user need no XSRF token, because they are not made on behalf of a user. Their origin is
    /// still checked.
    ///
    /// See [`CookieJwtLayer::optional`](crate::layers::authenticate::CookieJwtLayer::optional).
    ///
    /// Defaults to refusing requests without a valid token with 401.
    pub const fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Exempts requests for which `predicate` returns `true`: they pass without a session.
    ///
    /// The origin check still applies to unsafe requests.
    ///
    /// The predicate sees the request as the layer does. In a router that axum's `nest` has mounted under a path,
    /// that is only the remainder of the path.
    ///
    /// Defaults to no exemptions. CORS preflights always pass.
    pub fn with_exempt(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.exempt = Exempt::when(predicate);
        self
    }

    /// Sets the hook that builds the response to requests refused by any of the three layers.
    ///
    /// Defaults to [`DefaultReject`]: the hook of the sessions, or else a bare status.
    pub fn with_rejection<T>(self, reject: T) -> SessionLayer<C, T> {
        SessionLayer { sessions: self.sessions, presence: self.presence, exempt: self.exempt, reject }
    }
}

impl<S, C, R: Clone> Layer<S> for SessionLayer<C, R> {
    type Service = Refresh<CookieJwt<Xsrf<S, R>, C, R>, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        let Self { sessions, presence, exempt, reject } = self;
        let xsrf = sessions.xsrf_layer().with_rejection(reject.clone());
        let mut authenticate = sessions.cookie_jwt_layer().with_rejection(reject.clone());
        authenticate.set_presence(*presence);
        authenticate.set_exempt(exempt.clone());
        let mut refresh = sessions.refresh_layer().with_rejection(reject.clone());
        refresh.set_exempt(exempt.clone());
        refresh.layer(authenticate.layer(xsrf.layer(inner)))
    }
}

impl<C, R: Clone> Clone for SessionLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            sessions: self.sessions.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            reject: self.reject.clone(),
        }
    }
}

impl<C, R> fmt::Debug for SessionLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("sessions", &self.sessions)
            .field("presence", &self.presence)
            .finish_non_exhaustive()
    }
}
