use std::fmt;

use http::{HeaderValue, request::Parts};

use super::service::bearer_value;
use crate::{
    cookies,
    credentials::{Checked, Located, Outcome},
};

/// The token of a request's user, to be passed on to another server: put it into the extensions of the
/// outgoing request.
///
/// `Debug` does not show it.
#[derive(Clone)]
pub struct CallerToken(HeaderValue);

impl CallerToken {
    /// The token that a `CookieJwtLayer` has verified, or that a `RefreshLayer` has just granted; `None` for
    /// requests without a user.
    pub fn of(request: &Parts) -> Option<Self> {
        let checked = request.extensions.get::<Checked>()?;
        if !matches!(checked.outcome, Outcome::Verified(..)) {
            return None;
        }
        let token = match &checked.token {
            Located::Nowhere => return None,
            Located::Granted(token) => token.as_bytes(),
            Located::Cookie(index) => {
                cookies::values(&request.headers, &checked.sources.cookie).nth(*index)?
            }
            Located::Header => checked.sources.header_token(&request.headers)?,
        };
        bearer_value(token).map(Self)
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Debug for CallerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallerToken")
    }
}
