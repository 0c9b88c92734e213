//! A handler that counts its calls, and the tokens that it is asked with.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, request};
use tower::Service;
use tower_cookie_jwt::{
    Claims, KeyRing,
    token::{Issuer, NewToken, TokenError},
};

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// An XSRF value of the same shape as those of the crate.
pub(crate) const XSRF: &str = "c2VjcmV0LXhzcmYtdmFsdWUh";

pub(crate) fn keys() -> KeyRing {
    KeyRing::hs256(SECRET).expect("the secret is long enough")
}

pub(crate) fn new_token() -> NewToken {
    NewToken::access("ada", Duration::from_secs(900)).with_xsrf_token(XSRF)
}

pub(crate) fn issue(token: &NewToken) -> String {
    Issuer::new(keys()).issue(token, &()).expect("the ring can sign")
}

/// Ada's access token.
pub(crate) fn token() -> String {
    issue(&new_token())
}

/// A token that is valid except for its key.
pub(crate) fn forged_token() -> String {
    let keys = KeyRing::hs256("another secret of more than 32 bytes").expect("the secret is long enough");
    Issuer::new(keys).issue(&new_token(), &()).expect("the ring can sign")
}

pub(crate) fn access_cookie(token: &str) -> String {
    format!("__Host-access={token}")
}

pub(crate) fn parts(request: request::Builder) -> request::Parts {
    request.body(()).expect("a valid request").into_parts().0
}

/// Counts its calls and answers with who has asked: `ada by Cookie`, or `anonymous: Expired`. Leaves the claims
/// in the extensions of the response.
#[derive(Debug)]
pub(crate) struct CountingHandler<B = String> {
    calls: Arc<AtomicUsize>,
    body: PhantomData<fn() -> B>,
}

impl<B> CountingHandler<B> {
    pub(crate) fn new() -> Self {
        Self { calls: Arc::default(), body: PhantomData }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl<B> Clone for CountingHandler<B> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone(), body: PhantomData }
    }
}

impl<Q, B: From<String>> Service<Request<Q>> for CountingHandler<B> {
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Ready<Result<Response<B>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let extensions = request.extensions();
        let who = match (extensions.get::<Claims<()>>(), TokenError::from_extensions(extensions)) {
            (Some(claims), None) => format!("{} by {:?}", claims.subject().unwrap_or("-"), claims.source()),
            (None, Some(error)) => format!("anonymous: {:?}", error.kind()),
            (None, None) => "anonymous".to_owned(),
            (Some(_), Some(_)) => panic!("claims, and an error as well"),
        };
        let mut response = Response::new(who.into());
        if let Some(claims) = extensions.get::<Claims<()>>() {
            response.extensions_mut().insert(claims.clone());
        }
        ready(Ok(response))
    }
}
