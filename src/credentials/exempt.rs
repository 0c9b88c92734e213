use std::{fmt, sync::Arc};

use http::{Request, request::Parts};

/// A predicate on requests that need no token.
#[derive(Clone)]
pub(crate) struct Exempt(Option<Arc<Predicate>>);

type Predicate = dyn Fn(&Parts) -> bool + Send + Sync;

impl Exempt {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    pub(crate) fn when(predicate: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(predicate)))
    }

    /// Whether the predicate holds; there is none in most layers, and the request stays in one piece.
    pub(crate) fn look<B>(&self, request: Request<B>) -> (bool, Request<B>) {
        let Some(predicate) = &self.0 else {
            return (false, request);
        };
        let (parts, body) = request.into_parts();
        (predicate(&parts), Request::from_parts(parts, body))
    }
}

impl fmt::Debug for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Exempt(predicate)" } else { "Exempt(none)" })
    }
}
