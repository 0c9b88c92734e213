use std::fmt;

use http::request::Parts;
use tower_layer::Layer;

use super::service::Refresh;
use crate::{credentials::Exempt, reject::DefaultReject, session::Sessions};

/// Layer that renews the session of a request whose access token is missing or has expired.
///
/// See the [module docs](crate::refresh) for an example.
#[must_use]
pub struct RefreshLayer<C, R = DefaultReject> {
    sessions: Sessions<C>,
    exempt: Exempt,
    reject: R,
}

impl<C> Sessions<C> {
    /// The layer that refreshes, alone.
    pub fn refresh_layer(&self) -> RefreshLayer<C> {
        RefreshLayer { sessions: self.clone(), exempt: Exempt::none(), reject: DefaultReject }
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

    pub(crate) fn with_exemption(mut self, exempt: Exempt) -> Self {
        self.exempt = exempt;
        self
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
