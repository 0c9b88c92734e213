use std::{fmt, mem, sync::Arc};

use http::{Request, request::Parts};

/// A predicate that selects the requests which need no token.
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

    pub(crate) fn holds<B>(&self, request: &mut Request<B>) -> bool {
        self.0.as_ref().is_some_and(|predicate| as_parts(request, |parts| predicate(parts)))
    }
}

/// Calls `look` with the head of the request, which is swapped out and back in, because a `Request` cannot lend
/// `&Parts`.
fn as_parts<B, T>(request: &mut Request<B>, look: impl FnOnce(&Parts) -> T) -> T {
    let (mut parts, ()) = Request::new(()).into_parts();
    swap(request, &mut parts);
    let seen = look(&parts);
    swap(request, &mut parts);
    seen
}

fn swap<B>(request: &mut Request<B>, parts: &mut Parts) {
    mem::swap(request.method_mut(), &mut parts.method);
    mem::swap(request.uri_mut(), &mut parts.uri);
    mem::swap(request.version_mut(), &mut parts.version);
    mem::swap(request.headers_mut(), &mut parts.headers);
    mem::swap(request.extensions_mut(), &mut parts.extensions);
}

impl fmt::Debug for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Exempt(predicate)" } else { "Exempt(none)" })
    }
}
