//! Credentials of a request: where its tokens are found, which one counts, and the one extension in
//! which the layers share the outcome.

mod authenticator;
mod checked;
mod refresh_token;
mod seen;
mod source;

pub(crate) use self::{
    authenticator::Authenticator,
    checked::{Checked, Located, Outcome},
    refresh_token::{PresentedRefresh, REFRESH_TYPE, RefreshReader, RefreshToken, SessionSecret},
    source::Sources,
};
