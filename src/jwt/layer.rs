use std::{fmt, sync::Arc};

use http::request::Parts;
use tower_layer::Layer;

use super::service::CookieJwt;
use crate::{
    cookies::{DEFAULT_ACCESS_NAME, Prefix},
    credentials::{Authenticator, Exempt, Sources},
    reject::DefaultReject,
    session::Sessions,
    token::{Source, Verifier},
};

/// Whether a request needs claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

/// Layer that verifies a request's token and puts its [`Claims`](crate::Claims) into the extensions.
///
/// See the [module docs](crate::jwt) for an example.
#[must_use]
pub struct CookieJwtLayer<C, R = DefaultReject> {
    /// Shared, so that a service is cloned for each request at little cost.
    authenticator: Arc<Authenticator<C>>,
    presence: Presence,
    exempt: Exempt,
    /// Refuses what the store has not confirmed to be live.
    session_check: bool,
    reject: R,
}

impl<C> CookieJwtLayer<C> {
    /// A layer that demands a token which `verifier` accepts.
    pub fn new(verifier: Verifier<C>) -> Self {
        let cookie = [Prefix::HOST, DEFAULT_ACCESS_NAME].concat();
        Self::with_authenticator(Authenticator::new(verifier, Sources::new(cookie)).into(), false)
    }

    pub(crate) const fn with_authenticator(
        authenticator: Arc<Authenticator<C>>,
        session_check: bool,
    ) -> Self {
        Self {
            authenticator,
            presence: Presence::Required,
            exempt: Exempt::none(),
            session_check,
            reject: DefaultReject,
        }
    }
}

impl<C, R> CookieJwtLayer<C, R> {
    /// Looks for the token in the cookie of this name.
    ///
    /// Defaults to `__Host-access`, or for layers made by `Sessions` to the name of their policy.
    pub fn with_cookie_name(mut self, name: impl Into<String>) -> Self {
        let name = name.into().into_boxed_str();
        Arc::make_mut(&mut self.authenticator).change_sources(|sources| sources.cookie = name);
        self
    }

    /// Looks for the token in these places, in this order; the first that holds one decides, and does
    /// not fall through when its token is invalid.
    ///
    /// Defaults to `Authorization: Bearer`, `X-Access-Token`, cookie.
    pub fn with_sources(mut self, order: impl IntoIterator<Item = Source>) -> Self {
        Arc::make_mut(&mut self.authenticator)
            .change_sources(|sources| sources.order = order.into_iter().collect());
        self
    }

    /// Lets requests without a valid token go on without claims. The reason is at hand by
    /// `TokenError::of`. Ambiguous cookies are refused all the same.
    ///
    /// Defaults to refusing them with 401.
    pub const fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// Lets requests for which `predicate` holds pass without looking at their token; they have no
    /// claims.
    ///
    /// The predicate sees what the layer sees: inside of a router that axum's `nest` has mounted below a
    /// path, the rest of the path alone.
    ///
    /// Defaults to none. CORS preflights always pass.
    pub fn with_exempt(mut self, predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.exempt = Exempt::when(predicate);
        self
    }

    /// Answers refused requests with `reject`.
    ///
    /// Defaults to [`DefaultReject`]: a bare status.
    pub fn with_rejection<T>(self, reject: T) -> CookieJwtLayer<C, T> {
        let Self { authenticator, presence, exempt, session_check, .. } = self;
        CookieJwtLayer { authenticator, presence, exempt, session_check, reject }
    }

    pub(crate) fn with_presence(mut self, presence: Presence) -> Self {
        self.presence = presence;
        self
    }

    pub(crate) fn with_exemption(mut self, exempt: Exempt) -> Self {
        self.exempt = exempt;
        self
    }
}

impl<S, C, R: Clone> Layer<S> for CookieJwtLayer<C, R> {
    type Service = CookieJwt<S, C, R>;

    fn layer(&self, inner: S) -> Self::Service {
        CookieJwt {
            inner,
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<C> Sessions<C> {
    /// The layer that verifies access tokens, alone.
    ///
    /// With `with_session_check` the store is asked by [`refresh_layer`](Self::refresh_layer), which
    /// must then be outside of this one: tokens that it has not confirmed are refused.
    pub fn cookie_jwt_layer(&self) -> CookieJwtLayer<C> {
        let inner = self.inner();
        CookieJwtLayer::with_authenticator(inner.authenticator.clone(), inner.session_check)
    }
}

impl<C, R: Clone> Clone for CookieJwtLayer<C, R> {
    fn clone(&self) -> Self {
        Self {
            authenticator: self.authenticator.clone(),
            presence: self.presence,
            exempt: self.exempt.clone(),
            session_check: self.session_check,
            reject: self.reject.clone(),
        }
    }
}

impl<C, R> fmt::Debug for CookieJwtLayer<C, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieJwtLayer")
            .field("authenticator", &self.authenticator)
            .field("presence", &self.presence)
            .field("exempt", &self.exempt)
            .finish_non_exhaustive()
    }
}
