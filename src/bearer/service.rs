use std::task::{Context, Poll};

use http::{HeaderValue, Request, header::AUTHORIZATION};
use tower_service::Service;

use super::{
    caller::CallerToken,
    layer::{SetBearerLayer, Token},
};

/// Client service that [`SetBearerLayer`] makes.
///
/// See the [module docs](crate::bearer) for an example.
#[derive(Clone, Debug)]
pub struct SetBearer<S> {
    pub(super) inner: S,
    pub(super) settings: SetBearerLayer,
}

impl<S, B> Service<Request<B>> for SetBearer<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        if !request.headers().contains_key(AUTHORIZATION)
            && self.settings.allowed.holds(request.uri())
            && let Some(header) = self.settings.header(&request)
        {
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        self.inner.call(request)
    }
}

impl SetBearerLayer {
    fn header<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        match &self.token {
            Token::Caller => request.extensions().get::<CallerToken>().map(CallerToken::header),
            Token::Service(token) => token.header(),
        }
    }
}

/// `Bearer TOKEN`, marked so that no log shows it.
pub(super) fn bearer_value(token: &[u8]) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).ok()?;
    value.set_sensitive(true);
    Some(value)
}
