use std::{
    fmt,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{
    budget::Budget,
    cache::TokenCache,
    claims::{Claims, Source, Verified},
    error::{TokenError, TokenErrorKind},
    jws::{Encoded, Header, KnownHeaders, MAX_TOKEN_LEN, decode, same_media_type, split, with_decoded},
    payload::{self, RESERVED, Rules, Unreadable},
    registered::Registered,
};
use crate::{
    clock::{Clock, SharedClock, since_epoch},
    error::ConfigError,
    keys::{Algorithm, Epoch, KeyRing},
};

/// Verifies tokens and returns their claims, with the application's custom claims as `C`.
///
/// By default, tokens of the types `at+jwt` and `JWT` and tokens without a type are accepted. Issuer and audience are
/// checked only if they are configured; a token must then have the claims (RFC 8725 §3.8 and §3.9).
///
/// Cheap to clone. A request's token is verified at most once per verifier, however many layers use clones of it.
/// Accepted tokens are kept in a bounded cache; see [`with_cache_bytes`](VerifierBuilder::with_cache_bytes).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, Verifier, token::{Issuer, NewToken, TokenErrorKind}};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let issuer = Issuer::new(keys.clone()).with_audience("shop");
/// let token = issuer.issue(&NewToken::access("ada", Duration::from_secs(900)), &())?;
///
/// let verifier = Verifier::<()>::builder(keys.clone()).with_audience("shop").build()?;
/// assert_eq!(verifier.verify(&token)?.subject(), Some("ada"));
///
/// let admin = Verifier::<()>::builder(keys).with_audience("admin").build()?;
/// assert_eq!(admin.verify(&token).unwrap_err().kind(), TokenErrorKind::WrongAudience);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Verifier<C> {
    policy: Arc<Policy>,
    memory: Arc<Memory<C>>,
}

/// The caches of a verifier, shared by its clones.
struct Memory<C> {
    tokens: TokenCache<C>,
    headers: KnownHeaders,
}

impl<C> Memory<C> {
    fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self { tokens: TokenCache::new(bytes), headers: KnownHeaders::default() })
    }
}

/// The settings of a verifier, which do not depend on the application's type.
struct Policy {
    id: VerifierId,
    keys: KeyRing,
    issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    types: Vec<Box<str>>,
    without_type: bool,
    leeway: Duration,
    xsrf_claim: Box<str>,
    scope_claim: Box<str>,
    /// Whether `sid` and `gen` are those of this crate's sessions.
    of_sessions: bool,
    clock: SharedClock,
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

impl<C> Verifier<C> {
    /// Creates a verifier with the default settings, which accepts tokens signed with the keys of `keys`.
    ///
    /// It does not check issuer and audience; use [`builder`](Self::builder) to configure them.
    pub fn new(keys: KeyRing) -> Self {
        Self::with_policy(Policy::new(keys), DEFAULT_CACHE_BYTES)
    }

    /// Returns a builder for a verifier with custom settings.
    pub fn builder(keys: KeyRing) -> VerifierBuilder<C> {
        VerifierBuilder { policy: Policy::new(keys), cache_bytes: DEFAULT_CACHE_BYTES, claims: PhantomData }
    }

    fn with_policy(policy: Policy, cache_bytes: usize) -> Self {
        Self { policy: Arc::new(policy), memory: Memory::of(cache_bytes) }
    }

    pub(crate) fn id(&self) -> VerifierId {
        self.policy.id
    }
}

/// A builder for a [`Verifier`], created by [`Verifier::builder`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, Verifier};
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let verifier = Verifier::<()>::builder(keys.clone())
///     .with_issuer("https://id.shop.example")
///     .with_audience("shop")
///     .with_leeway(Duration::from_secs(5))
///     .build()?;
///
/// let error = Verifier::<()>::builder(keys).with_audience("").build().unwrap_err();
/// assert!(error.to_string().contains("audience"));
/// # Ok::<(), tower_cookie_jwt::ConfigError>(())
/// ```
#[must_use = "a builder does nothing until it is built"]
pub struct VerifierBuilder<C> {
    policy: Policy,
    cache_bytes: usize,
    claims: PhantomData<fn() -> C>,
}

impl<C> VerifierBuilder<C> {
    /// Requires `iss` to be exactly this issuer (RFC 8725 §3.8).
    ///
    /// Defaults to accepting any issuer.
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuer = Some(issuer.into().into_boxed_str());
        self
    }

    /// Requires `aud` to be or to contain exactly this audience (RFC 8725 §3.9).
    ///
    /// Defaults to accepting any audience.
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.policy.audience = Some(audience.into().into_boxed_str());
        self
    }

    /// Accepts only tokens whose `typ` is one of these, compared as media types (RFC 7515 §4.1.9).
    ///
    /// Tokens without `typ` are then rejected. Defaults to `at+jwt`, `JWT`, and tokens without `typ`.
    pub fn with_types<T: Into<String>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        self.policy.types = types.into_iter().map(|name| name.into().into_boxed_str()).collect();
        self.policy.without_type = false;
        self
    }

    /// Sets the clock skew that is tolerated when checking `exp` and `nbf`.
    ///
    /// Defaults to 30 seconds.
    pub const fn with_leeway(mut self, leeway: Duration) -> Self {
        self.policy.leeway = leeway;
        self
    }

    /// Sets the name of the claim that holds the XSRF token.
    ///
    /// Defaults to `xsrfToken`.
    pub fn with_xsrf_claim(mut self, name: impl Into<String>) -> Self {
        self.policy.xsrf_claim = name.into().into_boxed_str();
        self
    }

    /// Sets the name of the claim that holds the granted scopes: a space-separated list, or an array of strings.
    ///
    /// Some issuers use `scp`. Defaults to `scope` (RFC 8693 §4.2).
    pub fn with_scope_claim(mut self, name: impl Into<String>) -> Self {
        self.policy.scope_claim = name.into().into_boxed_str();
        self
    }

    /// Takes `sid` and `gen` for those of this crate's sessions.
    pub(crate) const fn of_sessions(mut self) -> Self {
        self.policy.of_sessions = true;
        self
    }

    /// Sets the clock against which `exp` and `nbf` are checked.
    ///
    /// Defaults to the operating system's clock.
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.policy.clock = SharedClock::new(clock);
        self
    }

    /// Sets the approximate size in bytes of the cache for accepted tokens and their claims; 0 disables it.
    ///
    /// A cached token costs neither a signature check nor parsing. `exp` and `nbf` are still checked every time, and
    /// cached results are no longer used once the keys change. Memory is allocated as tokens arrive, and tokens that
    /// were not used recently are evicted first. Requests with the same token share one `C`, so it must not hold
    /// state of a request.
    ///
    /// Defaults to 8 MiB, enough for a few thousand tokens of half a KiB.
    pub const fn with_cache_bytes(mut self, bytes: usize) -> Self {
        self.cache_bytes = bytes;
        self
    }

    /// Builds the verifier.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the issuer or the audience is empty, if the list of accepted types is empty, or
    /// if the name of the XSRF claim or of the scope claim is empty or that of another registered claim.
    pub fn build(self) -> Result<Verifier<C>, ConfigError> {
        let Policy { issuer, audience, types, without_type, xsrf_claim, scope_claim, .. } = &self.policy;
        for (name, value) in [("issuer", issuer), ("audience", audience)] {
            if value.as_deref() == Some("") {
                return Err(ConfigError::new(format!(
                    "the {name} is empty, so no token would be accepted; set it, or leave out `with_{name}` to accept \
                     any"
                )));
            }
        }
        if types.is_empty() && !without_type {
            return Err(ConfigError::new(
                "`with_types` lists no type, so no token would be accepted; name at least one, such as `at+jwt`",
            ));
        }
        check_xsrf_claim(xsrf_claim)?;
        check_scope_claim(scope_claim, xsrf_claim)?;
        Ok(Verifier::with_policy(self.policy, self.cache_bytes))
    }
}

impl<C: DeserializeOwned> Verifier<C> {
    /// Verifies a token. The claims have [`Source::Bearer`] as their source.
    ///
    /// # Errors
    ///
    /// Returns a [`TokenError`] if the token is not accepted; its kind says why.
    pub fn verify(&self, token: &str) -> Result<Claims<C>, TokenError> {
        self.verify_within(token.as_bytes(), Source::Bearer, &mut Budget::default()).map_err(TokenError::new)
    }

    /// Returns `true` if a newly issued token could be verified, apart from its dates, issuer and audience.
    ///
    /// The token is not cached, as no client may ever present it.
    pub(crate) fn can_read(&self, token: &str) -> bool {
        let checked = self.policy.check_jws(token.as_bytes(), &mut Budget::default(), &self.memory.headers);
        checked.is_ok_and(|(payload, epoch)| {
            decode(payload)
                .is_ok_and(|claims| payload::read::<C>(&claims, self.policy.rules(), epoch).is_ok())
        })
    }

    /// Verifies one of a request's tokens within the signature checks that remain for the request.
    ///
    /// The signature is checked before the claims, so a token reported as `Expired` has a valid signature.
    pub(crate) fn verify_within(
        &self,
        token: &[u8],
        source: Source,
        budget: &mut Budget,
    ) -> Result<Claims<C>, TokenErrorKind> {
        let now = since_epoch(self.policy.clock.now());
        match self.recall(token, now) {
            Some(verified) => Ok(Claims::of(verified, source)),
            None => Ok(Claims::of(self.verify_anew(token, budget, now)?, source)),
        }
    }

    /// Verifies a token that is not in the cache.
    ///
    /// Not inlined, to keep its large stack frame out of the fast path, on which the token is cached.
    #[inline(never)]
    fn verify_anew(
        &self,
        token: &[u8],
        budget: &mut Budget,
        now: Duration,
    ) -> Result<Arc<Verified<C>>, TokenErrorKind> {
        let (payload, epoch) = match self.policy.check_jws(token, budget, &self.memory.headers) {
            Ok(checked) => checked,
            Err(kind) => return Err(self.policy.without_key(token, kind, now)),
        };
        let verified = with_decoded(payload, |payload| self.policy.read_claims(payload, epoch, now))?;
        self.memory.tokens.insert(token, verified.clone());
        Ok(verified)
    }

    /// Returns the claims of a cached token that is still acceptable.
    ///
    /// Any other token is verified from scratch.
    fn recall(&self, token: &[u8], now: Duration) -> Option<Arc<Verified<C>>> {
        self.memory.tokens.get(token, |verified| {
            self.policy.keys.is_in(verified.epoch)
                && self.policy.check_dates(&verified.registered, now).is_ok()
        })
    }
}

impl Policy {
    fn new(keys: KeyRing) -> Self {
        Self {
            id: VerifierId::next(),
            keys,
            issuer: None,
            audience: None,
            types: vec!["at+jwt".into(), "JWT".into()],
            without_type: true,
            leeway: DEFAULT_LEEWAY,
            xsrf_claim: XSRF_CLAIM.into(),
            scope_claim: SCOPE_CLAIM.into(),
            of_sessions: false,
            clock: SharedClock::default(),
        }
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            xsrf_claim: &self.xsrf_claim,
            scope_claim: &self.scope_claim,
            compares_issuer: self.issuer.is_some(),
            compares_audience: self.audience.is_some(),
            of_sessions: self.of_sessions,
        }
    }

    /// Verifies the signature of a compact JWS, and returns its encoded payload and the epoch of the keys.
    fn check_jws<'t>(
        &self,
        token: &'t [u8],
        budget: &mut Budget,
        known: &KnownHeaders,
    ) -> Result<(&'t [u8], Epoch), TokenErrorKind> {
        if token.len() > MAX_TOKEN_LEN {
            return Err(TokenErrorKind::TooLarge);
        }
        let parts = split(token).ok_or(TokenErrorKind::Malformed)?;
        let epoch = match known.get(parts.header) {
            Some((algorithm, kid)) => self.check_signature(algorithm, kid, &parts, budget)?,
            None => {
                let json = decode(parts.header)?;
                let header = Header::parse(&json)?;
                if !self.accepts_type(header.typ.as_deref()) {
                    return Err(TokenErrorKind::WrongType);
                }
                let (algorithm, kid) = (header.algorithm, header.kid.as_deref());
                let epoch = self.check_signature(algorithm, kid, &parts, budget)?;
                known.remember(parts.header, algorithm, kid);
                epoch
            }
        };
        Ok((parts.payload, epoch))
    }

    fn accepts_type(&self, typ: Option<&str>) -> bool {
        match typ {
            None => self.without_type,
            Some(typ) => self.types.iter().any(|accepted| same_media_type(accepted, typ)),
        }
    }

    fn check_signature(
        &self,
        algorithm: Algorithm,
        kid: Option<&str>,
        parts: &Encoded<'_>,
        budget: &mut Budget,
    ) -> Result<Epoch, TokenErrorKind> {
        let signature = decode(parts.signature)?;
        let keys = self.keys.keys();
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
                return Ok(keys.epoch());
            }
        }
        Err(refused)
    }

    /// Returns why a token is refused that no key verifies.
    ///
    /// The keys of a remote set may change at any time. If only the key is missing, it is looked for, and until that is
    /// done the token is neither accepted nor refused. A token that would not be accepted with any key is not worth it.
    #[cold]
    fn without_key(&self, token: &[u8], kind: TokenErrorKind, now: Duration) -> TokenErrorKind {
        if !self.keys.is_remote()
            || !matches!(kind, TokenErrorKind::UnknownKey | TokenErrorKind::BadSignature)
        {
            return kind;
        }
        let Some(parts) = split(token) else { return kind };
        let Ok(header) = decode(parts.header) else { return kind };
        let Ok(Header { kid, .. }) = Header::parse(&header) else { return kind };
        let is_acceptable = decode(parts.payload).is_ok_and(|payload| {
            self.read_claims::<IgnoredAny>(&payload, self.keys.keys().epoch(), now).is_ok()
        });
        if !is_acceptable {
            return kind;
        }
        let unknown = kid.as_deref().filter(|_| kind == TokenErrorKind::UnknownKey);
        if self.keys.miss(unknown) { TokenErrorKind::KeysUnavailable } else { kind }
    }

    fn read_claims<C: DeserializeOwned>(
        &self,
        payload: &[u8],
        epoch: Epoch,
        now: Duration,
    ) -> Result<Arc<Verified<C>>, TokenErrorKind> {
        match payload::read::<C>(payload, self.rules(), epoch) {
            Ok(verified) => {
                self.check(&verified.registered, now)?;
                Ok(verified)
            }
            Err(Unreadable::ClaimsMismatch(registered)) => {
                self.check(&registered, now)?;
                Err(TokenErrorKind::ClaimsMismatch)
            }
            Err(Unreadable::Malformed) => Err(TokenErrorKind::Malformed),
        }
    }

    /// Checks the registered claims against this policy and `now`, the time since the Unix epoch (RFC 7519 §4.1).
    fn check(&self, registered: &Registered, now: Duration) -> Result<(), TokenErrorKind> {
        if let Some(issuer) = &self.issuer
            && registered.issuer() != Some(issuer)
        {
            return Err(TokenErrorKind::WrongIssuer);
        }
        if let Some(audience) = &self.audience
            && !registered.audience().any(|name| *name == **audience)
        {
            return Err(TokenErrorKind::WrongAudience);
        }
        self.check_dates(registered, now)
    }

    /// Checks `exp` and `nbf`, the only claims whose validity changes with time.
    fn check_dates(&self, registered: &Registered, now: Duration) -> Result<(), TokenErrorKind> {
        if now >= registered.expires_at.0.saturating_add(self.leeway) {
            return Err(TokenErrorKind::Expired);
        }
        if registered.not_before.is_some_and(|date| date.0 > now.saturating_add(self.leeway)) {
            return Err(TokenErrorKind::NotYetValid);
        }
        Ok(())
    }
}

impl<C> Clone for Verifier<C> {
    fn clone(&self) -> Self {
        Self { policy: self.policy.clone(), memory: self.memory.clone() }
    }
}

impl<C> fmt::Debug for Verifier<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("keys", &self.policy.keys)
            .field("issuer", &self.policy.issuer)
            .field("audience", &self.policy.audience)
            .field("leeway", &self.policy.leeway)
            .field("cache", &self.memory.tokens)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for VerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("keys", &self.policy.keys)
            .field("issuer", &self.policy.issuer)
            .field("audience", &self.policy.audience)
            .finish_non_exhaustive()
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
const DEFAULT_CACHE_BYTES: usize = 8 << 20;

#[cfg(test)]
impl<C> Verifier<C> {
    /// Returns the payload of a JWS with a valid signature, without checking its claims.
    pub(super) fn check_jws(&self, token: &str) -> Result<Vec<u8>, TokenErrorKind> {
        let known = KnownHeaders::default();
        let (payload, _) = self.policy.check_jws(token.as_bytes(), &mut Budget::default(), &known)?;
        decode(payload)
    }
}
