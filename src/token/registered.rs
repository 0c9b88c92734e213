//! The registered claims of a token, in the form in which they are parsed and the form in which they are stored.
//!
//! The stored form uses few allocations: it stays in memory for as long as a token is cached, and is allocated and
//! freed for each token that is not.

use std::{borrow::Cow, fmt, ops::Deref, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::jws::MAX_TOKEN_LEN;
use crate::clock::END_OF_YEAR_9999;

/// The names that the application's claims must not have, in addition to the name of the XSRF claim.
pub(crate) const RESERVED: [&str; 12] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "auth_time", "sid", "gen", "proof_time", "scope"];

/// Returns the method of `Claims` that reads the registered claim of this name.
pub(super) fn accessor(name: &str) -> &'static str {
    match name {
        "exp" => "expires_at",
        "nbf" => "not_before",
        "iat" => "issued_at",
        "sub" => "subject",
        "iss" => "issuer",
        "aud" => "audience",
        "jti" => "token_id",
        "sid" => "session_id",
        "gen" => "generation",
        "auth_time" => "authenticated_at",
        "proof_time" => "proof_time",
        _ => "scope",
    }
}

/// The registered claims of a token, including those that this crate adds.
///
/// What the layers read of each request comes first, to share cache lines.
#[derive(Clone, Default)]
#[repr(C)]
pub(crate) struct Registered {
    pub(crate) expires_at: NumericDate,
    pub(crate) not_before: Option<NumericDate>,
    /// All strings, concatenated.
    texts: Box<str>,
    xsrf_token: Option<Span>,
    session_id: Option<Span>,
    pub(crate) generation: Option<u32>,
    pub(crate) issued_at: Option<NumericDate>,
    token_id: Option<Span>,
    subject: Option<Span>,
    issuer: Option<Span>,
    scope: Option<Span>,
    audience: Spans,
    pub(crate) authenticated_at: Option<NumericDate>,
    pub(crate) proof_time: Option<NumericDate>,
}

/// The byte range of a string in `texts`: small, so that what is read of a cached token is in few cache lines. A token has
/// far fewer bytes than these can count.
#[derive(Clone, Copy)]
struct Span {
    start: u16,
    end: u16,
}

const _: () = assert!(MAX_TOKEN_LEN < u16::MAX as usize, "spans count bytes of a token");

/// The strings of `aud`. Most tokens have at most one audience, which needs no allocation.
#[derive(Clone)]
enum Spans {
    One(Span),
    Several(Vec<Span>),
}

impl Registered {
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.text(self.issuer)
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        self.text(self.subject)
    }

    pub(crate) fn audience(&self) -> impl Iterator<Item = &str> {
        let spans = match &self.audience {
            Spans::One(span) => std::slice::from_ref(span),
            Spans::Several(spans) => spans,
        };
        spans.iter().filter_map(|span| self.text(Some(*span)))
    }

    pub(crate) fn token_id(&self) -> Option<&str> {
        self.text(self.token_id)
    }

    pub(crate) fn session_id(&self) -> Option<&str> {
        self.text(self.session_id)
    }

    pub(crate) fn scope(&self) -> Option<&str> {
        self.text(self.scope)
    }

    /// Returns the XSRF token, or `None` if it is empty, as an empty token proves nothing.
    pub(crate) fn xsrf_token(&self) -> Option<&str> {
        self.text(self.xsrf_token).filter(|value| !value.is_empty())
    }

    fn text(&self, span: Option<Span>) -> Option<&str> {
        span.and_then(|Span { start, end }| self.texts.get(start.into()..end.into()))
    }
}

impl Registered {
    /// Converts parsed claims to their stored form, or returns `None` if `exp`, which is required, is absent.
    pub(super) fn keep(parsed: ParsedClaims<'_>) -> Option<Self> {
        let expires_at = parsed.expires_at?;
        let mut texts = String::with_capacity(parsed.text_len());
        let mut keep = |text: Option<Text<'_>>| text.map(|text| append(&mut texts, &text));
        let (session_id, xsrf_token) = (keep(parsed.session_id), keep(parsed.xsrf_token));
        let (token_id, subject) = (keep(parsed.token_id), keep(parsed.subject));
        let issuer = keep(parsed.issuer);
        let scope = parsed.scope.map(|scope| append_scope(&mut texts, &scope));
        let audience = match parsed.audience {
            Some(Texts::One(name)) => Spans::One(append(&mut texts, &name)),
            Some(Texts::Several(names)) => {
                Spans::Several(names.iter().map(|name| append(&mut texts, name)).collect())
            }
            None => Spans::default(),
        };
        Some(Self {
            expires_at,
            not_before: parsed.not_before,
            issued_at: parsed.issued_at,
            authenticated_at: parsed.authenticated_at,
            proof_time: parsed.proof_time,
            generation: parsed.generation,
            texts: texts.into_boxed_str(),
            issuer,
            subject,
            audience,
            token_id,
            session_id,
            scope,
            xsrf_token,
        })
    }
}

fn append(texts: &mut String, text: &str) -> Span {
    let start = texts.len();
    texts.push_str(text);
    Span::new(start, texts.len())
}

impl Span {
    /// What lies too far back, as it cannot, would be read as absent.
    fn new(start: usize, end: usize) -> Self {
        let [start, end] = [start, end].map(|place| u16::try_from(place).unwrap_or(u16::MAX));
        Self { start, end }
    }
}

/// Appends scopes as a list that spaces separate. Of an array, each element is one scope, so one that contains a space
/// would become several: it is left out, as no scope contains a space (RFC 6749 §3.3).
fn append_scope(texts: &mut String, scope: &Texts<'_>) -> Span {
    match scope {
        Texts::One(list) => append(texts, list),
        Texts::Several(names) => {
            let start = texts.len();
            for name in names.iter().filter(|name| is_one_scope(name)) {
                if texts.len() > start {
                    texts.push(' ');
                }
                texts.push_str(name);
            }
            Span::new(start, texts.len())
        }
    }
}

fn is_one_scope(name: &str) -> bool {
    !name.is_empty() && !name.contains(' ')
}

impl Default for Spans {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}

/// The registered claims as parsed from the payload, including those that this crate adds.
#[derive(Default)]
pub(super) struct ParsedClaims<'de> {
    /// The claims that have occurred, whatever their values, as a set of bits.
    pub(super) seen: u16,
    pub(super) issuer: Option<Text<'de>>,
    pub(super) subject: Option<Text<'de>>,
    pub(super) audience: Option<Texts<'de>>,
    pub(super) expires_at: Option<NumericDate>,
    pub(super) not_before: Option<NumericDate>,
    pub(super) issued_at: Option<NumericDate>,
    pub(super) authenticated_at: Option<NumericDate>,
    pub(super) proof_time: Option<NumericDate>,
    pub(super) token_id: Option<Text<'de>>,
    pub(super) session_id: Option<Text<'de>>,
    pub(super) generation: Option<u32>,
    /// One text, or several that each name a scope.
    pub(super) scope: Option<Texts<'de>>,
    pub(super) xsrf_token: Option<Text<'de>>,
}

impl ParsedClaims<'_> {
    /// Returns the exact total length in bytes of all strings as they are kept, so that the buffer never has to shrink.
    pub(super) fn text_len(&self) -> usize {
        let Self { issuer, subject, token_id, session_id, scope, xsrf_token, audience, .. } = self;
        let texts = [issuer, subject, token_id, session_id, xsrf_token].into_iter().flatten();
        let names = audience.as_ref().map_or(&[][..], Texts::each);
        let scope = match scope {
            Some(Texts::Several(names)) => {
                let kept = names.iter().filter(|name| is_one_scope(name));
                kept.fold(0, |len, name| len + name.len() + usize::from(len > 0))
            }
            Some(Texts::One(list)) => list.len(),
            None => 0,
        };
        texts.chain(names).map(|text| text.len()).sum::<usize>() + scope
    }
}

/// A NumericDate (RFC 7519 §2) from the epoch to the year 9999, with or without a fraction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumericDate(pub(crate) Duration);

impl<'de> Deserialize<'de> for NumericDate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DateVisitor;
        impl Visitor<'_> for DateVisitor {
            type Value = NumericDate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a NumericDate")
            }

            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<NumericDate, E> {
                if seconds > END_OF_YEAR_9999 {
                    return Err(E::custom("date after the year 9999"));
                }
                Ok(NumericDate(Duration::from_secs(seconds)))
            }

            fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<NumericDate, E> {
                u64::try_from(seconds)
                    .map_err(|_| E::custom("date before the epoch"))
                    .and_then(|seconds| self.visit_u64(seconds))
            }

            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<NumericDate, E> {
                // Negated, so that NaN is rejected too.
                if !(seconds >= 0.0 && seconds < (END_OF_YEAR_9999 + 1) as f64) {
                    return Err(E::custom("date out of range"));
                }
                Duration::try_from_secs_f64(seconds).map(NumericDate).map_err(E::custom)
            }
        }
        // Not `deserialize_any`: with the `arbitrary_precision` feature of serde_json, which another crate may
        // enable, it presents numbers as maps.
        deserializer.deserialize_f64(DateVisitor)
    }
}

/// A string value or member name, borrowed unless it contains escapes.
pub(super) struct Text<'de>(pub(super) Cow<'de, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

/// The value of `aud` (RFC 7519 §4.1.3) or of a list of scopes: one string or an array of strings.
pub(super) enum Texts<'de> {
    One(Text<'de>),
    Several(Vec<Text<'de>>),
}

impl<'de> Texts<'de> {
    pub(super) fn each(&self) -> &[Text<'de>] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextsVisitor;
        impl<'de> Visitor<'de> for TextsVisitor {
            type Value = Texts<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Texts<'de>, E> {
                TextVisitor.visit_borrowed_str(name).map(Texts::One)
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Texts<'de>, E> {
                TextVisitor.visit_str(name).map(Texts::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, names: A) -> Result<Texts<'de>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(names)).map(Texts::Several)
            }
        }
        deserializer.deserialize_any(TextsVisitor)
    }
}
