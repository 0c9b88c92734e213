//! Where the key set of an issuer is: OpenID Connect Discovery 1.0 and RFC 8414.

use std::{
    fmt,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, Uri};
use http_body::Body;
use serde::Deserialize;
use tower_service::Service;

use super::fetch::{Document, Failure, KeySetError, fetch};
use crate::{error::ConfigError, request::is_loopback};

/// An issuer whose metadata says where its keys are.
#[derive(Clone, Debug)]
pub(super) struct Discovery {
    issuer: Box<str>,
    /// Where the metadata may be, in this order.
    places: [Uri; 2],
    /// Whether keys may come over http, from loopback: only if the issuer itself is there.
    allows_http: bool,
}

/// What the metadata has said last.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) url: Uri,
    until: Instant,
}

impl Found {
    pub(super) fn is_current(&self) -> bool {
        Instant::now() < self.until
    }
}

/// The members of the metadata that are used (OpenID Connect Discovery 1.0 §3, RFC 8414 §2).
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Discovery {
    pub(super) fn new(issuer: &str) -> Result<Self, ConfigError> {
        let url: Uri = issuer.parse().map_err(|_| ConfigError::new("the issuer is not a valid URL"))?;
        if issuer.contains(['{', '}']) {
            return Err(ConfigError::new(
                "the issuer has a placeholder, as that of an authorization server for several tenants; name the issuer \
                 of one tenant, as its tokens have it in `iss`",
            ));
        }
        if url.query().is_some() || issuer.contains(['?', '#']) {
            return Err(ConfigError::new(
                "the issuer must have neither a query nor a fragment (RFC 8414, section 2)",
            ));
        }
        check_url(&url, true).map_err(ConfigError::new)?;
        let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(ConfigError::new("the issuer is not a valid URL"));
        };
        let path = url.path().trim_end_matches('/');
        let place =
            |text: String| text.parse().map_err(|_| ConfigError::new("the issuer is not a valid URL"));
        Ok(Self {
            issuer: issuer.into(),
            places: [
                place(format!("{scheme}://{authority}{path}/.well-known/openid-configuration"))?,
                place(format!("{scheme}://{authority}/.well-known/oauth-authorization-server{path}"))?,
            ],
            allows_http: scheme == "http",
        })
    }

    /// Returns where the metadata is looked for first.
    pub(super) const fn first_place(&self) -> &Uri {
        &self.places[0]
    }

    /// Asks the issuer where its key set is.
    pub(super) async fn find<S, ReqBody, ResBody>(&self, client: &mut S) -> Result<Found, KeySetError>
    where
        S: Service<Request<ReqBody>, Response = Response<ResBody>>,
        S::Error: fmt::Display,
        ReqBody: Default,
        ResBody: Body,
    {
        let [openid, oauth] = &self.places;
        let (place, document) = match fetch(client, openid, ACCEPT, MAX_METADATA).await {
            // A server that is not an OpenID provider publishes its metadata under the name that RFC 8414 gives.
            Err(Failure::Status(StatusCode::NOT_FOUND)) => {
                (oauth, fetch(client, oauth, ACCEPT, MAX_METADATA).await)
            }
            document => (openid, document),
        };
        let found = document.and_then(|document| self.read(&document));
        found.map_err(|failure| KeySetError::new(place.clone(), failure))
    }

    fn read(&self, document: &Document) -> Result<Found, Failure> {
        let metadata: Metadata = serde_json::from_slice(&document.body)
            .map_err(|_| Failure::Metadata("the metadata has no `issuer` and `jwks_uri`"))?;
        // Otherwise one issuer could vouch for the keys of another (RFC 8414 §3.3).
        if *metadata.issuer != *self.issuer {
            return Err(Failure::Metadata(
                "the metadata is of another issuer; configure the issuer exactly as its metadata and its tokens have it",
            ));
        }
        let url: Uri =
            metadata.jwks_uri.parse().map_err(|_| Failure::Metadata("the `jwks_uri` is not a valid URL"))?;
        check_url(&url, self.allows_http).map_err(Failure::Metadata)?;
        let until = Instant::now() + document.max_age.unwrap_or(METADATA_AGE);
        Ok(Found { url, until })
    }
}

/// Checks that what is fetched from the URL cannot be changed in transit.
pub(super) fn check_url(url: &Uri, allows_http: bool) -> Result<(), &'static str> {
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("the URL contains a user name or password; remove it, as public keys need none");
    }
    match (url.scheme_str(), url.authority()) {
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(authority)) if allows_http && is_loopback(authority.as_str()) => Ok(()),
        _ => Err(
            "the URL must use https (http is accepted for loopback only): whoever can modify the keys in transit can \
             sign in as any user",
        ),
    }
}

const ACCEPT: &str = "application/json";
const MAX_METADATA: usize = 64 * 1024;
/// How long metadata counts without `Cache-Control`.
const METADATA_AGE: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_specifications_say() {
        for (issuer, openid, oauth) in [
            ("https://id.example", "", ""),
            ("https://id.example/", "", ""),
            ("https://id.example/realms/shop", "/realms/shop", "/realms/shop"),
            ("https://id.example/t/v2.0/", "/t/v2.0", "/t/v2.0"),
        ] {
            let Ok(Discovery { places, .. }) = Discovery::new(issuer) else { panic!("{issuer}") };
            assert_eq!(
                places[0].to_string(),
                format!("https://id.example{openid}/.well-known/openid-configuration")
            );
            assert_eq!(
                places[1].to_string(),
                format!("https://id.example/.well-known/oauth-authorization-server{oauth}")
            );
        }
    }

    #[test]
    fn an_issuer_that_cannot_be_trusted_is_a_config_error() {
        for (issuer, message) in [
            ("http://id.example", "https"),
            ("https://ada:secret@id.example", "password"),
            ("https://id.example?tenant=1", "query"),
            ("https://id.example#top", "fragment"),
            ("https://login.example/{tenantid}/v2.0", "placeholder"),
            ("id.example", "https"),
            ("", "URL"),
        ] {
            let error = Discovery::new(issuer).err().unwrap_or_else(|| panic!("{issuer} is accepted"));
            assert!(error.to_string().contains(message), "{issuer}: {error}");
        }
        assert!(Discovery::new("http://localhost:8080").is_ok());
    }

    #[test]
    fn metadata_of_others_and_keys_over_http_are_refused() {
        let read = |issuer: &str, body: String| {
            let document = Document { body: body.into_bytes(), max_age: None };
            Discovery::new(issuer).ok()?.read(&document).ok().map(|found| found.url.to_string())
        };
        let body =
            |issuer: &str, keys: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}","x":[1]}}"#);
        let at = |keys: &str| read("https://id.example", body("https://id.example", keys));
        assert_eq!(at("https://id.example/keys").as_deref(), Some("https://id.example/keys"));
        assert!(at("https://cdn.example/keys?v=2").is_some(), "another host is legal");
        for keys in [
            "http://id.example/keys",
            "http://127.0.0.1/keys",
            "https://a@id.example/k",
            "ftp://id.example/",
            "",
        ] {
            assert_eq!(at(keys), None, "{keys}");
        }
        for issuer in ["https://id.example/", "https://ID.example", "https://evil.example", ""] {
            assert_eq!(read("https://id.example", body(issuer, "https://id.example/keys")), None, "{issuer}");
        }
        let loopback = "http://localhost:9000";
        assert!(read(loopback, body(loopback, "http://localhost:9000/keys")).is_some());
        assert_eq!(read(loopback, body(loopback, "http://id.example/keys")), None);
        assert_eq!(read("https://id.example", "[]".to_owned()), None);
    }
}
