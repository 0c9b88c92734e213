use tower_layer::Layer;

use super::{allowed::Allowed, minted::ServiceToken, service::SetBearer};
use crate::error::ConfigError;

/// Layer that writes `Authorization: Bearer` on the requests of a client.
///
/// See the [module docs](crate::bearer) for an example.
#[derive(Clone, Debug)]
#[must_use]
pub struct SetBearerLayer {
    pub(super) token: Token,
    pub(super) allowed: Allowed,
}

/// Whose token is sent.
#[derive(Clone, Debug)]
pub(super) enum Token {
    /// That in the extensions of the outgoing request.
    Caller,
    Service(ServiceToken),
}

impl SetBearerLayer {
    /// Passes the caller's token on: the `CallerToken` in the extensions of the outgoing request.
    ///
    /// Only requests to these origins get one. The receiver sees the user's token with its own audience:
    /// let it accept that.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an empty list, for what is no origin, and for http but to loopback.
    pub fn caller<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, ConfigError> {
        Ok(Self { token: Token::Caller, allowed: Allowed::new(origins)? })
    }

    /// Sends a token in the name of this server.
    ///
    /// Only requests to these origins get it.
    ///
    /// # Errors
    ///
    /// As [`caller`](Self::caller), and for a token whose ring cannot sign or whose lifetime is under a
    /// second.
    pub fn service<T: AsRef<str>>(
        token: ServiceToken,
        origins: impl IntoIterator<Item = T>,
    ) -> Result<Self, ConfigError> {
        token.check()?;
        Ok(Self { token: Token::Service(token), allowed: Allowed::new(origins)? })
    }

    /// Takes requests whose URI is a path alone as going to `origin`: for channels to one server, as
    /// tonic's, which add the rest further in.
    ///
    /// Defaults to sending such requests without a token.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when `origin` is not on the list.
    pub fn with_fixed_origin(mut self, origin: &str) -> Result<Self, ConfigError> {
        self.allowed.fix(origin)?;
        Ok(self)
    }
}

impl<S> Layer<S> for SetBearerLayer {
    type Service = SetBearer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SetBearer { inner, settings: self.clone() }
    }
}
