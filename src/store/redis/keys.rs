//! Session ids, and the names of the keys that they lead to.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use crate::{
    error::ConfigError,
    keys::crypto::{hmac_sha256, random},
    store::record::SessionId,
};

/// Creates session ids and derives the names of keys.
///
/// An id consists of the subject's tag and a random part, both of fixed length. Key names contain the tag in braces,
/// which makes it the hash tag by which Redis Cluster assigns slots.
#[derive(Clone)]
pub(super) struct Keys {
    prefix: Arc<str>,
    tag_key: Arc<Zeroizing<Vec<u8>>>,
}

pub(super) fn check_prefix(prefix: &str) -> Result<(), ConfigError> {
    if prefix.contains(['{', '}']) {
        return Err(ConfigError::new(
            "the key prefix of a Redis store must contain no braces: they would determine the cluster slot of the \
             sessions",
        ));
    }
    Ok(())
}

/// The keys of one session.
pub(super) struct Place<'a> {
    pub(super) record: String,
    pub(super) index: String,
    /// The member of the index that stands for the session.
    pub(super) member: &'a str,
}

impl Keys {
    pub(super) fn new(tag_key: &[u8]) -> Result<Self, ConfigError> {
        if tag_key.len() < MIN_TAG_KEY_LEN {
            return Err(ConfigError::new(
                "the tag key of a Redis store must have at least 16 bytes: give all nodes the same random key, \
                 for example from `openssl rand -base64 32`",
            ));
        }
        Ok(Self { prefix: DEFAULT_PREFIX.into(), tag_key: Arc::new(tag_key.to_vec().into()) })
    }

    pub(super) fn with_prefix(self, prefix: &str) -> Result<Self, ConfigError> {
        check_prefix(prefix)?;
        Ok(Self { prefix: prefix.into(), ..self })
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(super) fn new_id(&self, subject: &str) -> SessionId {
        let mut id = self.tag(subject);
        URL_SAFE_NO_PAD.encode_string(random::<16>(), &mut id);
        SessionId::new(id)
    }

    /// Returns the tag of a subject: 96 bits of its keyed hash, as 16 characters.
    pub(super) fn tag(&self, subject: &str) -> String {
        let message = [DOMAIN, subject.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(&hmac_sha256(&self.tag_key, &message)[..TAG_BYTES])
    }

    /// Returns the keys of a session, or `None` if the id does not have the format of [`new_id`](Self::new_id).
    pub(super) fn place<'a>(&self, id: &'a SessionId) -> Option<Place<'a>> {
        let (tag, member) = parts(id)?;
        Some(Place { record: self.record(tag, member), index: self.index(tag), member })
    }

    /// Returns keys at which no record is ever stored.
    pub(super) fn nowhere(&self) -> Place<'static> {
        Place { record: self.record(NO_TAG, "-"), index: self.index(NO_TAG), member: "-" }
    }

    pub(super) fn index(&self, tag: &str) -> String {
        [&*self.prefix, "{", tag, "}"].concat()
    }

    /// Returns the key of the feed of changes, which has a slot of its own. Tags are longer.
    pub(super) fn feed(&self) -> String {
        [&*self.prefix, "{changes}"].concat()
    }

    /// Returns the key of the stream that wakes followers, in the slot of the feed.
    pub(super) fn push(&self) -> String {
        self.feed() + PUSH
    }

    pub(super) fn record(&self, tag: &str, member: &str) -> String {
        [&*self.prefix, "{", tag, "}:", member].concat()
    }
}

/// What the scripts add to the key of the feed.
const PUSH: &str = ":push";

/// Splits an id into the tag and the member, or returns `None` if it is not in the format of this store.
///
/// An id from a client therefore cannot put braces, line breaks or other special characters into a key.
pub(super) fn parts(id: &SessionId) -> Option<(&str, &str)> {
    let id = id.as_str();
    let well_formed = id.len() == ID_LEN
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    well_formed.then(|| id.split_at(TAG_LEN))
}

const MIN_TAG_KEY_LEN: usize = 16;
const DEFAULT_PREFIX: &str = "sessions:";
/// Domain separation: if the same secret is used elsewhere, the hashes there differ.
const DOMAIN: &[u8] = b"tower-cookie-jwt redis subject tag\0";
const TAG_BYTES: usize = 12;
const TAG_LEN: usize = 16;
const ID_LEN: usize = TAG_LEN + 22;
/// The tag of no subject: one in 2^96 has it.
const NO_TAG: &str = "----------------";

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test cases 2 and 6.
    #[test]
    fn hmac_matches_the_published_values() {
        let short = hmac_sha256(b"Jefe", b"what do ya want for nothing?");
        assert_eq!(short[..8], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e]);
        let long = hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(long[..8], [0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f]);
    }

    #[test]
    fn only_well_formed_ids_lead_to_keys() {
        let keys = Keys::new(&[7; 16]).expect("16 bytes are enough");
        let id = keys.new_id("ada");
        let place = keys.place(&id).expect("the id is well-formed");
        assert_eq!(place.index, format!("sessions:{{{}}}", keys.tag("ada")));
        assert_eq!(place.record, format!("{}:{}", place.index, place.member));
        for hostile in
            ["", "}", "{a}b", "a\r\nFLUSHALL\r\n", &"}".repeat(38), &"a".repeat(37), &"é".repeat(19)]
        {
            assert!(keys.place(&SessionId::new(hostile)).is_none(), "{hostile:?}");
        }
    }

    #[test]
    fn another_tag_key_gives_another_tag() {
        let tag = |key: &[u8]| Keys::new(key).expect("16 bytes are enough").tag("ada");
        assert_eq!(tag(&[7; 16]), tag(&[7; 16]));
        assert_ne!(tag(&[7; 16]), tag(&[8; 16]));
    }
}
