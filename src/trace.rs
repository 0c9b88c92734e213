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
    pub(crate) fn key_set_failed(error: &dyn Display) {
        tracing::warn!(%error, "failed to fetch the key set; the last good one stays in use");
    }

    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_empty(url: &dyn Display) {
        tracing::warn!(%url, "the key set lists no keys any more: no token is accepted");
    }

    pub(crate) fn any_audience() {
        tracing::warn!(
            "a verifier with the keys of a remote set accepts tokens for any application: name this one with \
             `Verifier::builder(keys).with_audience(…)`"
        );
    }

    pub(crate) fn claims_mismatch(claims_type: &str, mismatch: &dyn Display) {
        tracing::warn!("valid tokens cannot be read as the claims type `{claims_type}`: {mismatch}");
    }

    pub(crate) fn key_left_out(key: &dyn Display) {
        tracing::info!(%key, "a key of the key set is left out");
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
    pub(crate) fn key_set_failed(_: &dyn Display) {}
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_empty(_: &dyn Display) {}
    pub(crate) const fn any_audience() {}
    pub(crate) fn claims_mismatch(_: &str, _: &dyn Display) {}
    pub(crate) fn key_left_out(_: &dyn Display) {}
    pub(crate) fn reload_failed(_: &dyn Display) {}
    pub(crate) fn cannot_issue(_: &dyn Display) {}
}

pub(crate) use enabled::*;
