use std::{fmt, marker::PhantomData, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;

use super::{
    budget::Budget,
    cache::TokenCache,
    claims::{Claims, Source, Verified},
    error::{TokenError, TokenErrorKind},
    jws::{KnownHeaders, decode, with_decoded},
    mismatch::Mismatches,
    payload,
    policy::{Policy, Realm, Refused, VerifierId},
};
use crate::{
    clock::{Clock, SharedClock, since_epoch},
    error::ConfigError,
    keys::KeyRing,
};

/// Verifies tokens and returns their claims, with the application's custom claims as `C`.
///
/// `C` deserializes from the claims other than the registered ones, which are methods of [`Claims`]: it has no fields of the
/// names `iss`, `sub`, `aud`, `exp`, `nbf`, `iat`, `jti`, `auth_time`, `sid`, `gen`, `proof_time`, `scope` and `xsrfToken`.
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
    mismatches: Mismatches,
}

impl<C> Memory<C> {
    fn of(bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            tokens: TokenCache::new(bytes),
            headers: KnownHeaders::default(),
            mismatches: Mismatches::default(),
        })
    }
}

impl<C> Verifier<C> {
    /// Creates a verifier with the default settings, which accepts tokens signed with the keys of `keys`.
    ///
    /// It does not check issuer and audience; use [`builder`](Self::builder) to configure them. With the keys of a remote
    /// set, do so: the log has a warning if not.
    ///
    /// The log also has an error if the type of the custom claims can never be read; [`builder`](Self::builder) returns it.
    pub fn new(keys: KeyRing) -> Self
    where
        C: DeserializeOwned,
    {
        if keys.is_remote() {
            crate::trace::any_audience();
        }
        let policy = Policy::new(keys);
        if let Err(error) = policy.check_claims_type::<C>() {
            crate::trace::unreadable_claims_type(&error);
        }
        Self::with_policy(policy, DEFAULT_CACHE_BYTES)
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
        self.policy.realms[0].issuer = Some(issuer.into().into_boxed_str());
        self
    }

    /// Requires `aud` to be or to contain exactly this audience (RFC 8725 §3.9).
    ///
    /// Defaults to accepting any audience, except with the keys of a remote set: these sign tokens for other
    /// applications as well.
    pub fn with_audience(self, audience: impl Into<String>) -> Self {
        self.with_audiences([audience])
    }

    /// Requires `aud` to be or to contain exactly one of these audiences, for an application with several names.
    ///
    /// The default is that of [`with_audience`](Self::with_audience).
    pub fn with_audiences<T: Into<String>>(mut self, audiences: impl IntoIterator<Item = T>) -> Self {
        self.policy.realms[0].audiences = Some(boxed(audiences));
        self
    }

    /// Accepts tokens for any audience, also with the keys of a remote set.
    ///
    /// # Security
    ///
    /// The issuer's tokens for other applications are then accepted here, and whoever runs one of these can use the
    /// tokens that its users send it (RFC 8725 §3.9). Check instead what the issuer offers in place of `aud`, such as
    /// `client_id`, in the application's claims.
    pub fn without_audience(mut self) -> Self {
        self.policy.realms[0].audiences = None;
        self.policy.waives_audience = true;
        self
    }

    /// Also accepts the tokens of another issuer, with its own keys and audiences.
    ///
    /// The `iss` of a token selects the issuer, and only the keys of that issuer can verify it: the key of one never
    /// vouches for another.
    pub fn and_issuer<T: Into<String>>(
        mut self,
        issuer: impl Into<String>,
        keys: KeyRing,
        audiences: impl IntoIterator<Item = T>,
    ) -> Self {
        let issuer = Some(issuer.into().into_boxed_str());
        self.policy.realms.push(Realm { issuer, audiences: Some(boxed(audiences)), keys });
        self
    }

    /// Refuses tokens that are valid for longer than this: `exp` later than `iat` by more, or no `iat`.
    ///
    /// Defaults to any lifetime.
    pub const fn with_max_lifetime(mut self, lifetime: Duration) -> Self {
        self.policy.max_lifetime = Some(lifetime);
        self
    }

    /// Refuses tokens whose `iat` is in the future.
    ///
    /// Defaults to accepting them: `nbf` says from when on a token is valid (RFC 7519 §4.1.5).
    pub const fn with_issued_at_check(mut self) -> Self {
        self.policy.checks_issued_at = true;
        self
    }

    /// Refuses tokens without these claims, registered or not. A claim that is `null` is absent.
    ///
    /// Defaults to `exp` alone, which is always required.
    pub fn with_required_claims<T: Into<String>>(mut self, names: impl IntoIterator<Item = T>) -> Self {
        self.policy.required.extend(boxed(names));
        self
    }

    /// Accepts only access tokens as RFC 9068 §4 specifies them: of the type `at+jwt`, and with `iss`, `exp`, `aud`,
    /// `sub`, `client_id`, `iat` and `jti`.
    ///
    /// Issuer and audience must be configured. An ID token is then refused, whatever its audience.
    pub fn with_rfc9068(mut self) -> Self {
        self.policy.is_rfc9068 = true;
        self.with_types(["at+jwt"]).with_required_claims(["iss", "aud", "sub", "client_id", "iat", "jti"])
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
    /// Returns a [`ConfigError`] that says how to fix it if no token could be accepted (an empty issuer, audience or list
    /// of types, or a claims type that is not an object or has a field with the name of a registered claim), if tokens for other applications would be accepted unintentionally (a remote key set without an
    /// audience, several issuers of which one has no name or no audience), or if the name of the XSRF claim or of the
    /// scope claim is empty or that of another registered claim.
    pub fn build(self) -> Result<Verifier<C>, ConfigError>
    where
        C: DeserializeOwned,
    {
        self.policy.check_settings()?;
        self.policy.check_claims_type::<C>()?;
        Ok(Verifier::with_policy(self.policy, self.cache_bytes))
    }
}

fn boxed<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Vec<Box<str>> {
    names.into_iter().map(|name| name.into().into_boxed_str()).collect()
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
                .is_ok_and(|claims| payload::read::<C>(&claims, self.policy.own_rules(), epoch).is_ok())
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
        let read = with_decoded(payload, |payload| Ok(self.policy.read_claims(payload, epoch, now)))?;
        let verified = read.map_err(|refused| self.explain(refused))?;
        self.memory.tokens.insert(token, verified.clone());
        Ok(verified)
    }

    /// Tells the developer once why tokens cannot be read as the application's claims.
    #[cold]
    fn explain(&self, refused: Refused) -> TokenErrorKind {
        match refused {
            Refused::Kind(kind) => kind,
            Refused::Mismatch(mismatch) => {
                self.memory.mismatches.tell(&mismatch, std::any::type_name::<C>());
                TokenErrorKind::ClaimsMismatch
            }
        }
    }

    /// Returns the claims of a cached token that is still acceptable.
    ///
    /// Any other token is verified from scratch.
    fn recall(&self, token: &[u8], now: Duration) -> Option<Arc<Verified<C>>> {
        self.memory.tokens.get(token, |verified| {
            self.policy.is_in(verified.epoch) && self.policy.check_dates(&verified.registered, now).is_ok()
        })
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
            .field("issuers", &self.policy.realms)
            .field("leeway", &self.policy.leeway)
            .field("cache", &self.memory.tokens)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Debug for VerifierBuilder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder").field("issuers", &self.policy.realms).finish_non_exhaustive()
    }
}

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
