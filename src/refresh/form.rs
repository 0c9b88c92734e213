//! The form that a client may send to the refresh service.

use std::{future::poll_fn, pin::pin};

use bytes::Buf;
use http::{HeaderMap, header::CONTENT_TYPE};
use http_body::Body;

use crate::token::Scopes;

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
    let bytes = collect(body).await?;
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

async fn collect<B: Body>(body: B) -> Result<Vec<u8>, FormError> {
    let mut body = pin!(body);
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        let frame = frame.map_err(|_| FormError::Unreadable)?;
        let Ok(mut data) = frame.into_data() else {
            continue;
        };
        if data.remaining() > MAX_FORM - bytes.len() {
            return Err(FormError::TooLarge);
        }
        while data.has_remaining() {
            let chunk = data.chunk();
            bytes.extend_from_slice(chunk);
            let len = chunk.len();
            data.advance(len);
        }
    }
    Ok(bytes)
}

const MAX_FORM: usize = 4096;
