//! The crate's log messages, which are no-ops without the `tracing` feature.
//!
//! No message contains a token, a key or a cookie value.

#[cfg(feature = "tracing")]
mod enabled {
    use std::fmt::Display;

    pub(crate) fn warn_insecure_cookies() {
        tracing::warn!(
            "cookies are set without `Secure`: for development on localhost only, never deploy this configuration"
        );
    }

    pub(crate) fn layer_missing(who: &str, layer: &str) {
        tracing::error!(
            "{who} requires an outer `{layer}`, but none ran: add one to the application's layers"
        );
    }

    pub(crate) fn store_failed(doing: &str, error: &dyn Display) {
        tracing::error!(%error, "the session store failed while {doing}");
    }

    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_failed(url: &dyn Display, reason: &dyn Display) {
        tracing::warn!(%url, %reason, "failed to fetch the key set; the last good one stays in use");
    }

    pub(crate) fn reload_failed(error: &dyn Display) {
        tracing::error!(%error, "failed to reload claims");
    }

    pub(crate) fn cannot_issue(error: &dyn Display) {
        tracing::error!(%error, "failed to issue a token");
    }
}

#[cfg(not(feature = "tracing"))]
mod enabled {
    use std::fmt::Display;

    pub(crate) const fn warn_insecure_cookies() {}
    pub(crate) const fn layer_missing(_: &str, _: &str) {}
    pub(crate) fn store_failed(_: &str, _: &dyn Display) {}
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_failed(_: &dyn Display, _: &dyn Display) {}
    pub(crate) fn reload_failed(_: &dyn Display) {}
    pub(crate) fn cannot_issue(_: &dyn Display) {}
}

pub(crate) use enabled::*;
