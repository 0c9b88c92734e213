//! The form that a client may send to the refresh service.

use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::Body;

use crate::{
    body::{CollectError, collect},
    token::Scopes,
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormError {
    TooLarge,
    /// The body broke off, or names the scope twice.
    Unreadable,
    InvalidScope,
}

/// The `scope` of the form; none when it is absent or empty, or when there is no form.
pub(super) async fn scope<B: Body>(headers: &HeaderMap, body: B) -> Result<Option<Scopes>, FormError> {
    if !is_form(headers) {
        return Ok(None);
    }
    let bytes = collect(body, MAX_FORM).await.map_err(|error| match error {
        CollectError::TooLarge => FormError::TooLarge,
        CollectError::Broken => FormError::Unreadable,
    })?;
    let mut scopes = form_urlencoded::parse(&bytes).filter(|(name, _)| name == "scope");
    let Some((_, scope)) = scopes.next() else {
        return Ok(None);
    };
    if scopes.next().is_some() {
        return Err(FormError::Unreadable); // RFC 6749 §3.2: no parameter more than once
    }
    let scope = Scopes::new(scope).map_err(|_| FormError::InvalidScope)?;
    Ok((!scope.is_empty()).then_some(scope))
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    })
}

const MAX_FORM: usize = 4096;
