use std::sync::Arc;

use http::HeaderName;
use tower_layer::Layer;

use super::service::Xsrf;
use crate::{error::ConfigError, origin::OriginPolicy, reject::DefaultReject, session::Sessions};

/// Layer that refuses requests which another site made in the user's name.
///
/// See the [module docs](crate::xsrf) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct XsrfLayer<R = DefaultReject> {
    /// Shared, so that a service is cloned for each request at little cost.
    settings: Arc<Settings>,
    reject: R,
}

#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) origin: OriginPolicy,
    pub(super) header: HeaderName,
    /// Without the comparison of header and claim.
    pub(super) origin_only: bool,
}

impl XsrfLayer {
    /// A layer that checks origin and XSRF header, inside of a `CookieJwtLayer`. Without one, it
    /// refuses unsafe requests.
    pub fn new() -> Self {
        Self::with_settings(OriginPolicy::default(), XSRF_HEADER)
    }

    /// A layer that checks the origin alone: for routes without a session, such as a contact form.
    pub fn origin_only() -> Self {
        let mut layer = Self::new();
        layer.settings_mut().origin_only = true;
        layer
    }

    pub(crate) fn with_settings(origin: OriginPolicy, header: HeaderName) -> Self {
        let settings = Settings { origin, header, origin_only: false };
        Self { settings: settings.into(), reject: DefaultReject }
    }
}

impl Default for XsrfLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> XsrfLayer<R> {
    fn settings_mut(&mut self) -> &mut Settings {
        Arc::make_mut(&mut self.settings)
    }

    fn origin_mut(&mut self) -> &mut OriginPolicy {
        &mut self.settings_mut().origin
    }

    /// Names the origin under which browsers see the application: for proxies that rewrite the host.
    ///
    /// Defaults to the request's own authority or `Host`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `origin` is none, such as `https://shop.example`.
    pub fn with_public_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin_mut().set_public(origin)?;
        Ok(self)
    }

    /// Lets pages of this origin make unsafe requests too.
    ///
    /// Defaults to none.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `origin` is none.
    pub fn with_trusted_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.origin_mut().trust(origin)?;
        Ok(self)
    }

    /// Lets WebSocket handshakes without `Origin` pass, as programs other than browsers make them.
    ///
    /// Defaults to refusing them.
    pub fn with_handshakes_without_origin(mut self) -> Self {
        self.origin_mut().allow_handshakes_without_origin();
        self
    }

    /// Reads the XSRF token from this header.
    ///
    /// Defaults to `X-XSRF-TOKEN`.
    pub fn with_header(mut self, header: HeaderName) -> Self {
        self.settings_mut().header = header;
        self
    }

    /// Answers refused requests with `reject`.
    ///
    /// Defaults to [`DefaultReject`]: a bare status.
    pub fn with_rejection<T>(self, reject: T) -> XsrfLayer<T> {
        XsrfLayer { settings: self.settings, reject }
    }
}

impl<S, R: Clone> Layer<S> for XsrfLayer<R> {
    type Service = Xsrf<S, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Xsrf { inner, settings: self.settings.clone(), reject: self.reject.clone() }
    }
}

impl<C> Sessions<C> {
    /// The layer that checks origin and XSRF header, alone.
    pub fn xsrf_layer(&self) -> XsrfLayer {
        XsrfLayer::with_settings(self.inner().origin.clone(), self.inner().xsrf_header.clone())
    }
}

const XSRF_HEADER: HeaderName = HeaderName::from_static("x-xsrf-token");
