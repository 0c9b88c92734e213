//! The crate's log messages, which are no-ops without the `tracing` feature.
//!
//! No message contains a token, a key or a cookie value.

#[cfg(feature = "tracing")]
mod enabled {
    use std::{
        error::Error,
        fmt::{self, Debug, Display},
    };

    pub(crate) fn warn_insecure_cookies() {
        tracing::warn!(
            target: CRATE,
            "cookies are set without `Secure`: for development on localhost only, never deploy this configuration"
        );
    }

    pub(crate) fn layer_missing(who: &str, layer: &str) {
        tracing::error!(
            target: CRATE,
            "{who} requires an outer `{layer}`, but none ran: add `sessions.layer()`, or that layer, to the route; in \
             axum, a layer that is added later is further out"
        );
    }

    #[cfg(any(feature = "axum", feature = "tonic"))]
    pub(crate) fn layer_for_another_type(who: &str) {
        tracing::error!(
            target: CRATE,
            "{who} has an outer `CookieJwtLayer`, but that inserts claims of another type: take those, or add a layer of \
             this type"
        );
    }

    pub(crate) fn store_failed(doing: &str, error: &(dyn Error + 'static)) {
        tracing::error!(
            target: CRATE,
            error = %Chain(error), "the session store failed while {doing}"
        );
    }

    pub(crate) fn body_not_from_bytes(body: &str) {
        tracing::error!(
            target: CRATE,
            "the rejection hook of the sessions has a body, but the layer's is `{body}`, so that the answer is a bare \
             status: pass `sessions.rejection()` to the layer's `with_rejection` if the type is `From<Bytes>`"
        );
    }

    pub(crate) fn no_feed() {
        tracing::info!(
            target: CRATE,
            "the session store has no feed of changes: it is asked about each access token once in the bound of \
             `with_sign_out_within`"
        );
    }

    pub(crate) fn not_followed() {
        tracing::warn!(
            target: CRATE,
            "the store is asked about each access token once in the bound of `with_sign_out_within`: spawn \
             `sessions.follow()`, so that most need no question"
        );
    }

    pub(crate) fn feed_failed(error: &(dyn Error + 'static)) {
        tracing::error!(
            target: CRATE,
            error = %Chain(error), "the session store's feed of changes failed"
        );
    }

    pub(crate) fn binding_lost() {
        tracing::error!(
            target: CRATE,
            "the store has not kept the extension of a session that was bound to a device: the session has ended"
        );
    }

    pub(crate) fn answered_too_late() {
        tracing::warn!(
            target: CRATE,
            "a refresh was answered with 503: the session may have moved on while the store was being asked"
        );
    }

    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_failed(error: &dyn Display) {
        tracing::warn!(
            target: CRATE,
            %error, "failed to fetch the key set; the last good one stays in use"
        );
    }

    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_empty(url: &dyn Display) {
        tracing::warn!(
            target: CRATE,
            %url, "the key set lists no keys any more: no token is accepted"
        );
    }

    pub(crate) fn any_audience() {
        tracing::warn!(
            target: CRATE,
            "a verifier with the keys of a remote set accepts tokens for any application: name this one with \
             `Verifier::builder(keys).with_audience(…)`"
        );
    }

    pub(crate) fn unreadable_claims_type(error: &dyn Display) {
        tracing::error!(target: CRATE, "{error}");
    }

    pub(crate) fn claims_mismatch(claims_type: &str, mismatch: &dyn Display) {
        tracing::warn!(
            target: CRATE,
            "valid tokens cannot be read as the claims type `{claims_type}`: {mismatch}"
        );
    }

    pub(crate) fn key_left_out(key: &dyn Display) {
        tracing::info!(target: CRATE, %key, "a key of the key set is left out");
    }

    pub(crate) fn reload_failed(error: &(dyn Error + 'static)) {
        tracing::error!(target: CRATE, error = %Chain(error), "failed to reload claims");
    }

    pub(crate) fn cannot_issue(error: &(dyn Error + 'static)) {
        tracing::error!(target: CRATE, error = %Chain(error), "failed to issue a token");
    }

    /// A claim of a token with a valid signature is not the configured one.
    pub(crate) fn wrong_claim<'a>(claim: &str, configured: &dyn Debug, found: impl Iterator<Item = &'a str>) {
        if tracing::enabled!(target: TOKEN, tracing::Level::DEBUG) {
            let found: Vec<String> =
                found.take(4).map(|name| name.chars().take(MAX_SHOWN).collect()).collect();
            tracing::debug!(target: TOKEN, claim, ?configured, ?found, "a claim is not the configured one");
        }
    }

    /// No key of the ring has verified a token.
    pub(crate) fn no_key<'a>(
        algorithm: &dyn Display,
        kid: Option<&str>,
        ids: impl Iterator<Item = Option<&'a str>>,
    ) {
        if tracing::enabled!(target: TOKEN, tracing::Level::DEBUG) {
            let kid: Option<String> = kid.map(|kid| kid.chars().take(MAX_SHOWN).collect());
            let configured: Vec<Option<&str>> = ids.take(8).collect();
            tracing::debug!(target: TOKEN, %algorithm, ?kid, ?configured, "no key verifies the token");
        }
    }

    /// The target of settings that cannot work and of outages.
    const CRATE: &str = "tower_cookie_jwt";
    /// The target of events about tokens.
    const TOKEN: &str = "tower_cookie_jwt::token";
    /// The most characters that are shown of a text that someone else has chosen.
    const MAX_SHOWN: usize = 100;

    /// An error and all its causes.
    struct Chain<'a>(&'a (dyn Error + 'static));

    impl Display for Chain<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", self.0)?;
            let mut cause = self.0.source();
            while let Some(error) = cause {
                write!(f, ": {error}")?;
                cause = error.source();
            }
            Ok(())
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod enabled {
    use std::{
        error::Error,
        fmt::{Debug, Display},
    };

    pub(crate) const fn warn_insecure_cookies() {}
    pub(crate) const fn layer_missing(_: &str, _: &str) {}
    #[cfg(any(feature = "axum", feature = "tonic"))]
    pub(crate) const fn layer_for_another_type(_: &str) {}
    pub(crate) fn store_failed(_: &str, _: &(dyn Error + 'static)) {}
    pub(crate) const fn body_not_from_bytes(_: &str) {}
    pub(crate) const fn no_feed() {}

    pub(crate) const fn not_followed() {}

    pub(crate) const fn feed_failed(_: &(dyn Error + 'static)) {}

    pub(crate) const fn answered_too_late() {}
    pub(crate) const fn binding_lost() {}
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_failed(_: &dyn Display) {}
    #[cfg(feature = "jwks-remote")]
    pub(crate) fn key_set_empty(_: &dyn Display) {}
    pub(crate) const fn any_audience() {}
    pub(crate) fn unreadable_claims_type(_: &dyn Display) {}
    pub(crate) fn claims_mismatch(_: &str, _: &dyn Display) {}
    pub(crate) fn key_left_out(_: &dyn Display) {}
    pub(crate) fn reload_failed(_: &(dyn Error + 'static)) {}
    pub(crate) fn cannot_issue(_: &(dyn Error + 'static)) {}
    pub(crate) fn wrong_claim<'a>(_: &str, _: &dyn Debug, _: impl Iterator<Item = &'a str>) {}
    pub(crate) fn no_key<'a>(_: &dyn Display, _: Option<&str>, _: impl Iterator<Item = Option<&'a str>>) {}
}

pub(crate) use enabled::*;
