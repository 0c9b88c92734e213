use std::{
    any::type_name,
    fmt,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, Serializer, de::DeserializeOwned, ser::SerializeMap};
use serde_json::{Map, Value};

use super::{
    error::{IssueError, IssueErrorKind},
    payload,
    policy::XSRF_CLAIM,
    registered::RESERVED,
    scope::Scopes,
};
use crate::{
    clock::{Clock, END_OF_YEAR_9999, SharedClock, later, unix_seconds},
    error::excerpt,
    keys::{Epoch, KeyRing},
};

/// The `typ` of access tokens (RFC 9068 §2.1).
pub(crate) const ACCESS_TYPE: &str = "at+jwt";

/// Signs tokens with the active key of a [`KeyRing`].
///
/// Applications that use `Sessions` do not need one. It is meant for custom authorization servers and for tests.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_cookie_jwt::{KeyRing, Verifier, token::{Issuer, NewToken}};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct User { name: String }
///
/// let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef")?;
/// let token = Issuer::new(keys.clone())
///     .with_issuer("https://shop.example")
///     .issue(&NewToken::access("ada", Duration::from_secs(900)), &User { name: "Ada".into() })?;
///
/// let claims = Verifier::<User>::new(keys).verify(&token)?;
/// assert_eq!(claims.issuer(), Some("https://shop.example"));
/// assert_eq!(claims.custom().name, "Ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Issuer {
    keys: KeyRing,
    issuer: Option<Box<str>>,
    audience: Option<Box<str>>,
    xsrf_claim: Box<str>,
    clock: SharedClock,
}

/// The contents of a new token except the application's custom claims.
///
/// The `Debug` output contains neither the token id nor the XSRF token.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use tower_cookie_jwt::token::{NewToken, Scopes};
///
/// let token = NewToken::access("ada", Duration::from_secs(900))
///     .with_scope(Scopes::new("orders:read")?)
///     .with_authenticated_at(SystemTime::now())
///     .with_token_id("01JD8Y3V9E");
/// # Ok::<(), tower_cookie_jwt::token::InvalidScope>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct NewToken {
    pub(crate) typ: &'static str,
    pub(crate) subject: Option<Box<str>>,
    pub(crate) expiry: Expiry,
    pub(crate) authenticated_at: Option<SystemTime>,
    pub(crate) token_id: Option<Box<str>>,
    pub(crate) session_id: Option<Box<str>>,
    pub(crate) generation: Option<u32>,
    pub(crate) proof_time: Option<SystemTime>,
    pub(crate) scope: Option<Scopes>,
    pub(crate) xsrf_token: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expiry {
    After(Duration),
    At(SystemTime),
}

impl NewToken {
    /// Creates the contents of an access token about `subject` that expires after `lifetime`.
    ///
    /// The expiry is rounded down to a whole second.
    pub fn access(subject: impl Into<String>, lifetime: Duration) -> Self {
        Self::of_type(ACCESS_TYPE, Expiry::After(lifetime)).with_subject(subject)
    }

    pub(crate) const fn of_type(typ: &'static str, expiry: Expiry) -> Self {
        Self {
            typ,
            subject: None,
            expiry,
            authenticated_at: None,
            token_id: None,
            session_id: None,
            generation: None,
            proof_time: None,
            scope: None,
            xsrf_token: None,
        }
    }

    pub(crate) fn with_subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into().into_boxed_str());
        self
    }

    /// Sets `jti`, the id of the token.
    ///
    /// Defaults to none.
    pub fn with_token_id(mut self, id: impl Into<String>) -> Self {
        self.token_id = Some(id.into().into_boxed_str());
        self
    }

    /// Sets `sid`, the id of the session.
    ///
    /// Defaults to none.
    pub fn with_session_id(mut self, id: impl Into<String>) -> Self {
        self.session_id = Some(id.into().into_boxed_str());
        self
    }

    /// Sets `gen`, the generation of the session.
    ///
    /// Defaults to none.
    pub const fn with_generation(mut self, generation: u32) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Sets `proof_time`, the time at which the device last proved that it holds the key of the session.
    pub(crate) const fn with_proof_time(mut self, time: Option<SystemTime>) -> Self {
        self.proof_time = time;
        self
    }

    /// Sets `scope`, the granted scopes.
    ///
    /// Defaults to none.
    pub fn with_scope(mut self, scope: Scopes) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Sets the XSRF claim.
    ///
    /// Defaults to none. For unsafe requests, the token can then be used only as a bearer token, not in a cookie.
    pub fn with_xsrf_token(mut self, value: impl Into<String>) -> Self {
        self.xsrf_token = Some(value.into().into_boxed_str());
        self
    }

    /// Sets `auth_time`, the time at which the user signed in.
    ///
    /// Defaults to none.
    pub const fn with_authenticated_at(mut self, time: SystemTime) -> Self {
        self.authenticated_at = Some(time);
        self
    }
}

impl Issuer {
    /// Creates an issuer that always signs with the current active key of `keys`, even after [`KeyRing::replace`].
    pub fn new(keys: KeyRing) -> Self {
        Self {
            keys,
            issuer: None,
            audience: None,
            xsrf_claim: XSRF_CLAIM.into(),
            clock: SharedClock::default(),
        }
    }

    /// Sets `iss`, the issuer named in the tokens.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn with_issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into().into_boxed_str());
        self
    }

    /// Sets `aud`, the audience of the tokens.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn with_audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into().into_boxed_str());
        self
    }

    /// Sets the name of the claim that holds the XSRF token.
    ///
    /// Defaults to `xsrfToken`.
    #[must_use]
    pub fn with_xsrf_claim(mut self, name: impl Into<String>) -> Self {
        self.xsrf_claim = name.into().into_boxed_str();
        self
    }

    /// Sets the clock that determines `iat` and `exp`.
    ///
    /// Defaults to the operating system's clock.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock) -> Self {
        self.clock = SharedClock::new(clock);
        self
    }

    pub(crate) fn can_sign(&self) -> bool {
        self.keys.can_sign()
    }

    /// Identifies the keys that are in the ring now.
    pub(crate) fn epoch(&self) -> Epoch {
        self.keys.keys().epoch()
    }

    /// Returns `true` if the ring still has the keys of `epoch`.
    pub(crate) fn is_in(&self, epoch: Epoch) -> bool {
        self.keys.is_in(epoch)
    }

    /// Issues a token with the claims of `token` and the application's `custom` claims.
    ///
    /// # Errors
    ///
    /// Returns an [`IssueError`] if the key ring cannot sign, if `custom` does not serialize to a JSON object, if one
    /// of its fields has the name of a registered claim, or if the expiry is out of range.
    pub fn issue<C: Serialize>(&self, token: &NewToken, custom: &C) -> Result<String, IssueError> {
        let custom = to_object(custom)?;
        self.sign(token, custom)
    }

    pub(crate) fn sign(&self, token: &NewToken, custom: Map<String, Value>) -> Result<String, IssueError> {
        self.check_names(&custom)?;
        let claims = self.claims(token, &custom)?;
        let keys = self.keys.keys();
        let key = keys.active().ok_or(IssueError::new(IssueErrorKind::CannotSign))?;
        let header = Header { alg: key.algorithm().as_str(), kid: key.id(), typ: token.typ };
        let (header, claims) = (json_of(&header), json_of(&claims));
        // Base64 adds a third, and the signature takes up most of the remaining space.
        let mut text = String::with_capacity(2 * (header.len() + claims.len()));
        URL_SAFE_NO_PAD.encode_string(header, &mut text);
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut text);
        let signature = key.sign(text.as_bytes()).ok_or(IssueError::new(IssueErrorKind::CannotSign))?;
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut text);
        Ok(text)
    }

    /// Rejects name collisions between the application's claims, the XSRF claim and the registered claims.
    pub(crate) fn check_names(&self, custom: &Map<String, Value>) -> Result<(), IssueError> {
        if RESERVED.contains(&&*self.xsrf_claim) {
            return Err(IssueError::new(IssueErrorKind::Collision(self.xsrf_claim.to_string())));
        }
        match custom.keys().find(|name| RESERVED.contains(&name.as_str()) || ***name == *self.xsrf_claim) {
            None => Ok(()),
            Some(name) => Err(IssueError::new(IssueErrorKind::Collision(name.clone()))),
        }
    }

    fn claims<'a>(
        &'a self,
        token: &'a NewToken,
        custom: &'a Map<String, Value>,
    ) -> Result<ClaimsSet<'a>, IssueError> {
        let now = self.clock.now();
        let expires_at = unix_seconds(match token.expiry {
            Expiry::After(lifetime) => later(now, lifetime),
            Expiry::At(time) => time,
        });
        if expires_at <= unix_seconds(now) || expires_at > END_OF_YEAR_9999 {
            return Err(IssueError::new(IssueErrorKind::InvalidExpiry));
        }
        Ok(ClaimsSet { issuer: self, token, custom, expires_at, issued_at: unix_seconds(now) })
    }
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
    typ: &'a str,
}

/// The application's claims and the registered claims as one object; their names are known not to collide.
struct ClaimsSet<'a> {
    issuer: &'a Issuer,
    token: &'a NewToken,
    custom: &'a Map<String, Value>,
    expires_at: u64,
    issued_at: u64,
}

impl Serialize for ClaimsSet<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { issuer, token, custom, expires_at, issued_at } = self;
        let scope = token.scope.as_ref().filter(|scope| !scope.is_empty());
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in *custom {
            map.serialize_entry(name, value)?;
        }
        put(&mut map, "iss", issuer.issuer.as_deref())?;
        put(&mut map, "aud", issuer.audience.as_deref())?;
        put(&mut map, "sub", token.subject.as_deref())?;
        put(&mut map, "exp", Some(expires_at))?;
        put(&mut map, "iat", Some(issued_at))?;
        put(&mut map, "auth_time", token.authenticated_at.map(unix_seconds))?;
        put(&mut map, "jti", token.token_id.as_deref())?;
        put(&mut map, "sid", token.session_id.as_deref())?;
        put(&mut map, "gen", token.generation)?;
        put(&mut map, "proof_time", token.proof_time.map(unix_seconds))?;
        put(&mut map, "scope", scope.map(Scopes::as_str))?;
        put(&mut map, &issuer.xsrf_claim, token.xsrf_token.as_deref())?;
        map.end()
    }
}

fn put<M: SerializeMap>(map: &mut M, name: &str, value: Option<impl Serialize>) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, &value))
}

fn json_of(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are strings, and values are strings, numbers or JSON")
}

/// Converts the application's claims to an object. `()` and other values that serialize to `null` become an empty
/// one.
pub(crate) fn to_object<C: Serialize>(custom: &C) -> Result<Map<String, Value>, IssueError> {
    match serde_json::to_value(custom) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(IssueError::not_an_object(None)),
        Err(error) => Err(IssueError::not_an_object(Some(error))),
    }
}

/// Checks that an object of the application's claims can be read back as the application's type.
pub(crate) fn check_readable<C: DeserializeOwned>(json: &str) -> Result<(), IssueError> {
    payload::check_custom::<C>(json).map_err(|mismatch| {
        IssueError::new(IssueErrorKind::NotReadable)
            .with_detail(format_args!("of `{}`, {mismatch}", type_name::<C>()))
    })
}

/// Returns the name of the claim that takes up the most space.
pub(crate) fn largest_claim(json: &str) -> Option<String> {
    let claims: Map<String, Value> = serde_json::from_str(json).ok()?;
    let len = |value: &Value| value.to_string().len();
    claims
        .iter()
        .max_by_key(|(_, value)| len(value))
        .map(|(name, value)| format!("the largest claim is `{}` with {} bytes", excerpt(name), len(value)))
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken")
            .field("typ", &self.typ)
            .field("subject", &self.subject)
            .field("expiry", &self.expiry)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}
