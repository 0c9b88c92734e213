use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, HeaderName, Request, Response};
use tower_service::Service;

use super::layer::Settings;
use crate::{
    credentials::{Checked, Outcome},
    head::Head,
    origin::{is_handshake, is_unsafe},
    reject::{DefaultReject, Refusal, Reject, ResponseFuture},
    token::{Source, XsrfError, XsrfErrorKind, verify_xsrf},
};

/// Service that [`XsrfLayer`](super::XsrfLayer) makes.
///
/// See the [module docs](crate::xsrf) for an example.
#[derive(Clone, Debug)]
pub struct Xsrf<S, R = DefaultReject> {
    pub(super) inner: S,
    pub(super) settings: Arc<Settings>,
    pub(super) reject: R,
}

impl<S, R, ReqBody, ResBody> Service<Request<ReqBody>> for Xsrf<S, R>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    R: Reject<ResBody>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let verdict = self.settings.check(&request);
        if verdict.is_ok() {
            self.settings.note(request.extensions_mut());
        }
        ResponseFuture::by_verdict(verdict, &mut self.inner, &self.reject, request)
    }
}

impl Settings {
    /// Spares layers further in the users that have been looked at here.
    fn note(&self, extensions: &mut Extensions) {
        if !self.origin_only
            && let Some(checked) = extensions.get_mut::<Checked>()
        {
            checked.proven = true;
            checked.others.clear();
        }
    }

    fn check(&self, request: &impl Head) -> Result<(), Refusal> {
        let handshake = is_handshake(request);
        if !is_unsafe(request.method()) && !handshake {
            return Ok(());
        }
        if self.origin_only {
            return Ok(self.origin.check(request)?);
        }
        let checked = enforced(request.extensions())?;
        if checked.by_header && checked.others.is_empty() {
            return Ok(()); // nothing ambient authenticates it: no other site can make this request
        }
        self.origin.check(request)?;
        if handshake {
            return Ok(());
        }
        let own = match &checked.outcome {
            Outcome::Verified(claims, Source::Cookie) => Some(claims),
            _ => None,
        };
        for claims in checked.others.iter().chain(own) {
            let presented = presented(request.headers(), &self.header)?;
            verify_xsrf(&claims.registered, presented).map_err(XsrfError::new)?;
        }
        Ok(())
    }
}

/// The outcome of a `CookieJwtLayer`; without one nothing is known about the request.
fn enforced(extensions: &Extensions) -> Result<&Checked, XsrfError> {
    extensions.get::<Checked>().filter(|checked| checked.enforced).ok_or_else(|| {
        crate::trace::layer_missing("an XsrfLayer", "CookieJwtLayer");
        XsrfError::new(XsrfErrorKind::LayerMissing)
    })
}

/// The header's value; two that differ are none.
fn presented<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], XsrfError> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().ok_or(XsrfError::new(XsrfErrorKind::Missing))?;
    if values.any(|other| other != first) {
        return Err(XsrfError::new(XsrfErrorKind::Mismatch));
    }
    Ok(first.as_bytes())
}
