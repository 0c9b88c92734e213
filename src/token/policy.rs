//! What a verifier accepts, apart from the application's claims.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::Value;

use super::{
    budget::Budget,
    claims::Verified,
    error::TokenErrorKind,
    fields,
    jws::{Encoded, Header, KnownHeaders, MAX_TOKEN_LEN, decode, is_object, same_media_type, split},
    mismatch::Mismatch,
    payload::{self, Rules, Unreadable},
    registered::{RESERVED, Registered},
};
use crate::{
    clock::SharedClock,
    error::ConfigError,
    keys::{Algorithm, Epoch, Key, KeyRing},
};

/// The settings of a verifier, which do not depend on the application's type.
pub(super) struct Policy {
    pub(super) id: VerifierId,
    /// At least one. With several, `iss` selects the one that counts.
    pub(super) realms: Vec<Realm>,
    pub(super) waives_audience: bool,
    pub(super) types: Vec<Box<str>>,
    pub(super) without_type: bool,
    pub(super) leeway: Duration,
    pub(super) max_lifetime: Option<Duration>,
    pub(super) checks_issued_at: bool,
    pub(super) required: Vec<Box<str>>,
    pub(super) is_rfc9068: bool,
    pub(super) xsrf_claim: Box<str>,
    pub(super) scope_claim: Box<str>,
    /// Whether `sid` and `gen` are those of this crate's sessions.
    pub(super) of_sessions: bool,
    pub(super) clock: SharedClock,
}

/// An issuer, its keys, and the audiences of which its tokens must name one.
pub(super) struct Realm {
    pub(super) issuer: Option<Box<str>>,
    pub(super) audiences: Option<Vec<Box<str>>>,
    pub(super) keys: KeyRing,
}

/// Identifies a verifier. Clones have the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VerifierId(u64);

impl VerifierId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Why claims are refused.
pub(super) enum Refused {
    Kind(TokenErrorKind),
    /// The registered claims are acceptable, but the others are not those of the application.
    Mismatch(Mismatch),
}

impl From<TokenErrorKind> for Refused {
    fn from(kind: TokenErrorKind) -> Self {
        Self::Kind(kind)
    }
}

impl Policy {
    pub(super) fn new(keys: KeyRing) -> Self {
        Self {
            id: VerifierId::next(),
            realms: vec![Realm { issuer: None, audiences: None, keys }],
            waives_audience: false,
            types: vec!["at+jwt".into(), "JWT".into()],
            without_type: true,
            leeway: DEFAULT_LEEWAY,
            max_lifetime: None,
            checks_issued_at: false,
            required: Vec::new(),
            is_rfc9068: false,
            xsrf_claim: XSRF_CLAIM.into(),
            scope_claim: SCOPE_CLAIM.into(),
            of_sessions: false,
            clock: SharedClock::default(),
        }
    }

    /// Rejects settings with which no token would be accepted, or too many.
    pub(super) fn check_settings(&self) -> Result<(), ConfigError> {
        for (index, realm) in self.realms.iter().enumerate() {
            let Realm { issuer, audiences, keys } = realm;
            let empty = |name: &str| {
                ConfigError::new(format!(
                    "the {name} is empty, so no token would be accepted; set it, or leave out `with_{name}` to accept any"
                ))
            };
            if issuer.as_deref() == Some("") {
                return Err(empty("issuer"));
            }
            let has_empty =
                |names: &Vec<Box<str>>| names.is_empty() || names.iter().any(|name| name.is_empty());
            if audiences.as_ref().is_some_and(has_empty) {
                return Err(empty("audience"));
            }
            if self.realms.len() > 1 && (issuer.is_none() || audiences.is_none()) {
                return Err(ConfigError::new(
                    "with several issuers, each needs a name and an audience: set those of the first with `with_issuer` \
                     and `with_audience`",
                ));
            }
            if self.realms[..index].iter().any(|other| other.issuer == *issuer) {
                return Err(ConfigError::new("an issuer is named twice; give all its audiences at once"));
            }
            if audiences.is_none() && keys.is_remote() && !self.waives_audience {
                return Err(ConfigError::new(
                    "the keys are those of a remote set, which also sign tokens for other applications; name this one \
                     with `with_audience`, or accept any with `without_audience`",
                ));
            }
            if self.is_rfc9068 && (issuer.is_none() || audiences.is_none()) {
                return Err(ConfigError::new(
                    "access tokens of RFC 9068 are checked for their issuer and audience; set both with `with_issuer` and \
                     `with_audience`",
                ));
            }
        }
        if self.types.is_empty() && !self.without_type {
            return Err(ConfigError::new(
                "`with_types` lists no type, so no token would be accepted; name at least one, such as `at+jwt`",
            ));
        }
        check_xsrf_claim(&self.xsrf_claim)?;
        check_scope_claim(&self.scope_claim, &self.xsrf_claim)
    }

    /// Returns an error if the application's type can be known not to fit any claims.
    pub(super) fn check_claims_type<C: DeserializeOwned>(&self) -> Result<(), ConfigError> {
        fields::check::<C>(|name| fields::accessor(name, &self.scope_claim, &self.xsrf_claim))
    }

    fn rules(&self, realm: &Realm) -> Rules<'_> {
        Rules {
            xsrf_claim: &self.xsrf_claim,
            scope_claim: &self.scope_claim,
            compares_issuer: realm.issuer.is_some(),
            compares_audience: realm.audiences.is_some(),
            of_sessions: self.of_sessions,
        }
    }

    /// The rules for reading a token of this verifier's own issuer.
    pub(super) fn own_rules(&self) -> Rules<'_> {
        self.rules(&self.realms[0])
    }

    /// Returns `true` if the keys of `epoch` are still in use and have not expired.
    pub(super) fn is_in(&self, epoch: Epoch) -> bool {
        self.realms.get(epoch.realm()).is_some_and(|realm| realm.keys.is_in(epoch))
    }

    /// Verifies the signature of a compact JWS, and returns its encoded payload and the epoch of the keys.
    pub(super) fn check_jws<'t>(
        &self,
        token: &'t [u8],
        budget: &mut Budget,
        known: &KnownHeaders,
    ) -> Result<(&'t [u8], Epoch), TokenErrorKind> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenErrorKind::TooLarge);
        }
        let parts = split(token).ok_or(TokenErrorKind::Malformed)?;
        let realm = self.realm_of(&parts)?;
        let epoch = match known.get(parts.header) {
            Some((algorithm, kid)) => self.check_signature(realm, algorithm, kid, &parts, budget)?,
            None => {
                let json = decode(parts.header)?;
                let header = Header::parse(&json)?;
                if !self.accepts_type(header.typ.as_deref()) {
                    return Err(TokenErrorKind::WrongType);
                }
                let (algorithm, kid) = (header.algorithm, header.kid.as_deref());
                let epoch = self.check_signature(realm, algorithm, kid, &parts, budget)?;
                known.remember(parts.header, algorithm, kid);
                epoch
            }
        };
        Ok((parts.payload, epoch))
    }

    /// Returns the index of the realm whose keys must have signed the token. With several, its unverified `iss` selects
    /// one, against which it is then verified.
    fn realm_of(&self, parts: &Encoded<'_>) -> Result<usize, TokenErrorKind> {
        #[derive(Deserialize)]
        struct Issuer<'a> {
            #[serde(borrow)]
            iss: Cow<'a, str>,
        }
        if self.realms.len() == 1 {
            return Ok(0);
        }
        let payload = decode(parts.payload)?;
        if !is_object(&payload) {
            return Err(TokenErrorKind::Malformed);
        }
        let Issuer { iss } = serde_json::from_slice(&payload).map_err(|_| TokenErrorKind::WrongIssuer)?;
        let of_issuer = |realm: &Realm| realm.issuer.as_deref() == Some(&*iss);
        self.realms.iter().position(of_issuer).ok_or(TokenErrorKind::WrongIssuer)
    }

    fn accepts_type(&self, typ: Option<&str>) -> bool {
        match typ {
            None => self.without_type,
            Some(typ) => self.types.iter().any(|accepted| same_media_type(accepted, typ)),
        }
    }

    fn check_signature(
        &self,
        realm: usize,
        algorithm: Algorithm,
        kid: Option<&str>,
        parts: &Encoded<'_>,
        budget: &mut Budget,
    ) -> Result<Epoch, TokenErrorKind> {
        let signature = decode(parts.signature)?;
        let keys = self.realms[realm].keys.keys();
        if !keys.is_available() {
            return Err(TokenErrorKind::KeysUnavailable);
        }
        let mut refused = TokenErrorKind::UnknownKey;
        for key in keys.candidates(algorithm, kid) {
            refused = TokenErrorKind::BadSignature;
            if !budget.spend() {
                break;
            }
            if key.verifies(parts.message, &signature) {
                return Ok(keys.epoch().of_realm(realm));
            }
        }
        crate::trace::no_key(&algorithm, kid, keys.iter().map(Key::id));
        Err(refused)
    }

    /// Returns why a token is refused that no key verifies.
    ///
    /// The keys of a remote set may change at any time. If only the key is missing, it is looked for, and until that is
    /// done the token is neither accepted nor refused. A token that would not be accepted with any key is not worth it.
    #[cold]
    pub(super) fn without_key(&self, token: &[u8], kind: TokenErrorKind, now: Duration) -> TokenErrorKind {
        if !matches!(kind, TokenErrorKind::UnknownKey | TokenErrorKind::BadSignature) {
            return kind;
        }
        let Some(parts) = split(token) else { return kind };
        let Ok(realm) = self.realm_of(&parts) else { return kind };
        let keys = &self.realms[realm].keys;
        if !keys.is_remote() {
            return kind;
        }
        let Ok(header) = decode(parts.header) else { return kind };
        let Ok(Header { kid, .. }) = Header::parse(&header) else { return kind };
        let epoch = keys.keys().epoch().of_realm(realm);
        let is_acceptable = decode(parts.payload)
            .is_ok_and(|payload| self.read_claims::<IgnoredAny>(&payload, epoch, now).is_ok());
        if !is_acceptable {
            return kind;
        }
        let unknown = kid.as_deref().filter(|_| kind == TokenErrorKind::UnknownKey);
        if keys.miss(unknown) { TokenErrorKind::KeysUnavailable } else { kind }
    }

    /// Reads the claims of a token whose signature the keys of `epoch` have verified.
    pub(super) fn read_claims<C: DeserializeOwned>(
        &self,
        payload: &[u8],
        epoch: Epoch,
        now: Duration,
    ) -> Result<Arc<Verified<C>>, Refused> {
        let realm = &self.realms[epoch.realm()];
        match payload::read::<C>(payload, self.rules(realm), epoch) {
            Ok(verified) => {
                self.check(realm, &verified.registered, payload, now)?;
                Ok(verified)
            }
            Err(Unreadable::ClaimsMismatch { registered, mismatch }) => {
                self.check(realm, &registered, payload, now)?;
                Err(Refused::Mismatch(mismatch))
            }
            Err(Unreadable::Malformed) => Err(TokenErrorKind::Malformed.into()),
        }
    }

    /// Checks the registered claims against this policy and `now`, the time since the Unix epoch (RFC 7519 §4.1).
    fn check(
        &self,
        realm: &Realm,
        registered: &Registered,
        payload: &[u8],
        now: Duration,
    ) -> Result<(), TokenErrorKind> {
        if let Some(issuer) = &realm.issuer
            && registered.issuer() != Some(issuer)
        {
            crate::trace::wrong_claim("iss", issuer, registered.issuer().into_iter());
            return Err(TokenErrorKind::WrongIssuer);
        }
        if let Some(audiences) = &realm.audiences
            && !registered.audience().any(|name| audiences.iter().any(|own| **own == *name))
        {
            crate::trace::wrong_claim("aud", audiences, registered.audience());
            return Err(TokenErrorKind::WrongAudience);
        }
        if !self.required.is_empty() && !self.has_required(registered, payload) {
            return Err(TokenErrorKind::MissingClaim);
        }
        let issued_at = registered.issued_at.map(|date| date.0);
        if let Some(most) = self.max_lifetime {
            // From now, too: a date of issue in the future must not stretch it.
            let latest = now.saturating_add(most).saturating_add(self.leeway);
            let expires_at = registered.expires_at.0;
            if expires_at > latest || issued_at.is_none_or(|date| expires_at.saturating_sub(date) > most) {
                return Err(TokenErrorKind::LifetimeTooLong);
            }
        }
        if self.checks_issued_at
            && issued_at.is_some_and(|issued_at| issued_at > now.saturating_add(self.leeway))
        {
            return Err(TokenErrorKind::NotYetValid);
        }
        self.check_dates(registered, now)
    }

    /// Returns `true` if the token has all required claims. Registered ones of another type count as absent.
    fn has_required(&self, registered: &Registered, payload: &[u8]) -> bool {
        let Ok(members) = serde_json::from_slice::<HashMap<Cow<'_, str>, Value>>(payload) else {
            return false;
        };
        self.required.iter().all(|name| match &**name {
            "iss" => registered.issuer().is_some(),
            "aud" => registered.audience().next().is_some(),
            "iat" => registered.issued_at.is_some(),
            "auth_time" => registered.authenticated_at.is_some(),
            "sid" => registered.session_id().is_some(),
            "gen" => registered.generation.is_some(),
            "proof_time" => registered.proof_time.is_some(),
            // A text (RFC 8693 §4.3).
            "client_id" => members.get("client_id").is_some_and(Value::is_string),
            name if name == &*self.scope_claim => registered.scope().is_some(),
            name => members.get(name).is_some_and(|value| !value.is_null()),
        })
    }

    /// Checks `exp` and `nbf`, the only claims whose validity changes with time.
    pub(super) fn check_dates(&self, registered: &Registered, now: Duration) -> Result<(), TokenErrorKind> {
        if now >= registered.expires_at.0.saturating_add(self.leeway) {
            return Err(TokenErrorKind::Expired);
        }
        if registered.not_before.is_some_and(|date| date.0 > now.saturating_add(self.leeway)) {
            return Err(TokenErrorKind::NotYetValid);
        }
        Ok(())
    }
}

impl fmt::Debug for Realm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("name", &self.issuer)
            .field("audiences", &self.audiences)
            .field("keys", &self.keys)
            .finish()
    }
}

/// Rejects an empty name and the names of registered claims.
fn check_xsrf_claim(name: &str) -> Result<(), ConfigError> {
    if RESERVED.contains(&name) || name.is_empty() {
        return Err(ConfigError::new(
            "the XSRF claim needs a name that no registered claim has; keep `xsrfToken`, or choose another with \
             `with_xsrf_claim`",
        ));
    }
    Ok(())
}

/// Rejects an empty name, and the names of other claims that have a meaning of their own.
fn check_scope_claim(name: &str, xsrf_claim: &str) -> Result<(), ConfigError> {
    let is_taken = RESERVED.contains(&name) && name != SCOPE_CLAIM || name == xsrf_claim;
    if is_taken || name.is_empty() {
        return Err(ConfigError::new(
            "the scope claim needs a name that no other registered claim has; keep `scope`, or choose another with \
             `with_scope_claim`, such as `scp`",
        ));
    }
    Ok(())
}

/// The default name of the XSRF claim.
pub(crate) const XSRF_CLAIM: &str = "xsrfToken";
const SCOPE_CLAIM: &str = "scope";
pub(crate) const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
