use std::{
    sync::Arc,
    task::{Context, Poll},
};

use http::{Extensions, HeaderMap, HeaderName, Request, Response};
use tower_service::Service;

use super::layer::Settings;
use crate::{
    credentials::{Checked, Outcome},
    head::{Found, Head},
    origin::{Provenance, is_handshake, is_unsafe},
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
        let verdict = self.settings.check(&mut request);
        ResponseFuture::by_verdict(verdict, &mut self.inner, &self.reject, request)
    }
}

impl Settings {
    fn check(&self, request: &mut impl Head) -> Result<(), Refusal> {
        let handshake = is_handshake(request);
        if !is_unsafe(request.method()) && !handshake {
            return Ok(());
        }
        if self.origin_only {
            return Ok(self.origin.check(request)?);
        }
        let checked = enforced(request.extensions())?;
        self.check_user(checked, request, handshake)?;
        // Spares layers further in the users that have been looked at here.
        checked.proven.set();
        if !checked.others.is_empty()
            && let Some(checked) = request.extensions_mut().get_mut::<Checked>()
        {
            checked.others.clear();
        }
        Ok(())
    }

    fn check_user(&self, checked: &Checked, request: &impl Head, handshake: bool) -> Result<(), Refusal> {
        if checked.by_header && checked.others.is_empty() {
            return Ok(()); // nothing ambient authenticates it: no other site can make this request
        }
        let (mut provenance, mut header) = (Provenance::default(), Found::default());
        for (name, value) in request.headers() {
            provenance.note(name, value);
            if *name == self.header {
                header.note(value);
            }
        }
        self.origin.judge(provenance, request)?;
        if handshake {
            return Ok(());
        }
        let own = match &checked.outcome {
            Outcome::Verified(claims, Source::Cookie) => Some(claims),
            _ => None,
        };
        for claims in checked.others.iter().chain(own) {
            let presented = single(header, request.headers(), &self.header)?;
            verify_xsrf(&claims.registered, presented).map_err(XsrfError::new)?;
        }
        Ok(())
    }
}

/// The outcome of a `CookieJwtLayer`; without one nothing is known about the request.
fn enforced(extensions: &Extensions) -> Result<&Checked, XsrfError> {
    extensions.get::<Checked>().filter(|checked| checked.enforced.is_set()).ok_or_else(|| {
        crate::trace::layer_missing("an XsrfLayer", "CookieJwtLayer");
        XsrfError::new(XsrfErrorKind::LayerMissing)
    })
}

/// The header's value; two that differ are none.
fn single<'h>(header: Found<'h>, headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], XsrfError> {
    let first = header.first.ok_or(XsrfError::new(XsrfErrorKind::Missing))?;
    if header.again && header.values(headers, name).any(|other| other != first) {
        return Err(XsrfError::new(XsrfErrorKind::Mismatch));
    }
    Ok(first.as_bytes())
}
