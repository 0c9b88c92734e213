use std::{fmt, sync::Arc};

use http::request::Parts;

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

    pub(crate) fn holds(&self, parts: &Parts) -> bool {
        self.0.as_ref().is_some_and(|predicate| predicate(parts))
    }
}

impl fmt::Debug for Exempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Exempt(predicate)" } else { "Exempt(none)" })
    }
}
