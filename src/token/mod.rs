//! Verification and issuing of JSON Web Tokens with typed claims.
//!
//! A token is a compact JWS whose payload is one JSON object with both the registered claims and the application's
//! custom claims. A [`Verifier`] parses the header, checks the signature and parses the payload once, and returns
//! either [`Claims`] or a [`TokenError`] whose kind says what is wrong with the token.
//!
//! # Examples
//!
//! The default configuration:
//!
//! ```
//! use std::time::Duration;
//! use tower_cookie_jwt::{KeyRing, Verifier, token::{Issuer, NewToken, TokenErrorKind}};
//! # #[derive(serde::Serialize, serde::Deserialize)] struct User { name: String }
//!
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let user = User { name: "Ada".into() };
//! let token = Issuer::new(keys.clone()).issue(&NewToken::access("ada", Duration::from_secs(60)), &user)?;
//!
//! let verifier = Verifier::<User>::new(keys);
//! assert_eq!(verifier.verify(&token)?.custom().name, "Ada");
//! assert_eq!(verifier.verify("no.token.here").unwrap_err().kind(), TokenErrorKind::Malformed);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! A specific issuer and audience, with less tolerance for clock skew:
//!
//! ```
//! use std::time::Duration;
//! use tower_cookie_jwt::{KeyRing, Verifier, token::{Issuer, NewToken, TokenErrorKind}};
//!
//! let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
//! let verifier = Verifier::<()>::builder(keys.clone())
//!     .with_issuer("https://id.example")
//!     .with_audience("shop")
//!     .with_leeway(Duration::from_secs(5))
//!     .build()?;
//!
//! let foreign = Issuer::new(keys).issue(&NewToken::access("ada", Duration::from_secs(60)), &())?;
//! assert_eq!(verifier.verify(&foreign).unwrap_err().kind(), TokenErrorKind::WrongIssuer);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod asked;
mod budget;
mod cache;
mod claims;
mod claims_hash;
mod error;
mod fields;
mod issuer;
mod jws;
mod mismatch;
mod payload;
mod policy;
#[cfg(test)]
mod published_vectors;
mod registered;
mod scope;
mod verifier;
pub(crate) mod xsrf;

pub(crate) use self::{
    asked::{Known, Moment},
    budget::{Budget, Seen},
    claims::ErasedClaims,
    claims_hash::{has_hash, is_minted_from, new_token_id, token_id_of},
    issuer::{ACCESS_TYPE, Expiry, check_readable, largest_claim, to_object},
    jws::{decode, same_media_type, split},
    policy::{DEFAULT_LEEWAY, VerifierId, XSRF_CLAIM},
    registered::Registered,
};
pub use self::{
    claims::{Claims, Source},
    error::{IssueError, IssueErrorKind, StaleSignIn, TokenError, TokenErrorKind},
    issuer::{Issuer, NewToken},
    jws::MAX_TOKEN_LEN,
    scope::{InsufficientScope, InvalidScope, Scopes},
    verifier::{Verifier, VerifierBuilder},
    xsrf::{XsrfError, XsrfErrorKind},
};
