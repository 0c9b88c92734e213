//! A hash of a session's claims in the id of its access tokens, which tells whether a token still says what the record says.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::keys::crypto::{random, sha256};

/// Returns a new id for an access token that is minted from these claims.
pub(crate) fn token_id_of(claims: &str) -> String {
    let mut id = new_token_id();
    id.push(SEPARATOR);
    id.push_str(&hash(claims));
    id
}

pub(crate) fn new_token_id() -> String {
    URL_SAFE_NO_PAD.encode(random::<16>())
}

/// Whether the token of this id was minted from these claims. One without a hash counts as minted from others.
pub(crate) fn is_minted_from(token_id: &str, claims: &str) -> bool {
    token_id.split_once(SEPARATOR).is_some_and(|(_, minted)| minted == hash(claims))
}

/// Whether a token of this id can be compared with claims at all.
pub(crate) fn has_hash(token_id: &str) -> bool {
    token_id.contains(SEPARATOR)
}

/// Hashes the stored text to 64 bits: whatever the claims' type makes of them when it serializes them again.
fn hash(claims: &str) -> String {
    URL_SAFE_NO_PAD.encode(&sha256(claims.as_bytes())[..8])
}

/// Not a character of base64url.
const SEPARATOR: char = '.';

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_tells_its_claims_from_others() {
        let id = token_id_of(r#"{"role":"admin"}"#);
        assert!(has_hash(&id) && is_minted_from(&id, r#"{"role":"admin"}"#));
        assert!(!is_minted_from(&id, r#"{"role":"none"}"#));
        assert_ne!(id, token_id_of(r#"{"role":"admin"}"#), "ids are unique");
        for former in [new_token_id(), String::new()] {
            assert!(!has_hash(&former) && !is_minted_from(&former, "{}"), "{former}");
        }
        assert!(!is_minted_from(".", "{}") && !is_minted_from("a.b.c", "{}"));
    }
}
