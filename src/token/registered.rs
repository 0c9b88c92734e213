//! The registered claims of a token, kept in few pieces: they stay in memory for as long as a token is
//! remembered, and are made and dropped with each one that is not.

use super::{
    json::{Audience, NumericDate, Text},
    wire::Presented,
};

/// The registered claims of a token and those that this crate adds.
#[derive(Clone, Default)]
#[repr(C)]
pub(crate) struct Registered {
    pub(crate) expires_at: NumericDate,
    pub(crate) not_before: Option<NumericDate>,
    pub(crate) issued_at: Option<NumericDate>,
    pub(crate) authenticated_at: Option<NumericDate>,
    pub(crate) generation: Option<u32>,
    /// All texts, one behind the other.
    texts: Box<str>,
    issuer: Option<Span>,
    subject: Option<Span>,
    audience: Spans,
    token_id: Option<Span>,
    session_id: Option<Span>,
    scope: Option<Span>,
    xsrf_token: Option<Span>,
}

/// Where a text stands among the others, in bytes.
#[derive(Clone, Copy)]
struct Span {
    start: usize,
    end: usize,
}

/// Nearly every token has one audience at the most.
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

    /// The XSRF token; an empty one proves nothing and is none.
    pub(crate) fn xsrf_token(&self) -> Option<&str> {
        self.text(self.xsrf_token).filter(|value| !value.is_empty())
    }

    fn text(&self, span: Option<Span>) -> Option<&str> {
        span.and_then(|Span { start, end }| self.texts.get(start..end))
    }
}

impl Registered {
    /// The claims as they are kept; `None` without `exp`, which every token must have.
    pub(super) fn keep(presented: Presented<'_>) -> Option<Self> {
        let expires_at = presented.expires_at?;
        let mut texts = String::with_capacity(presented.text_len());
        let mut keep = |text: Option<Text<'_>>| text.map(|text| append(&mut texts, &text));
        let (issuer, subject) = (keep(presented.issuer), keep(presented.subject));
        let (token_id, session_id) = (keep(presented.token_id), keep(presented.session_id));
        let (scope, xsrf_token) = (keep(presented.scope), keep(presented.xsrf_token));
        let audience = match presented.audience {
            Some(Audience::One(name)) => Spans::One(append(&mut texts, &name)),
            Some(Audience::Several(names)) => {
                Spans::Several(names.iter().map(|name| append(&mut texts, name)).collect())
            }
            None => Spans::default(),
        };
        Some(Self {
            expires_at,
            not_before: presented.not_before,
            issued_at: presented.issued_at,
            authenticated_at: presented.authenticated_at,
            generation: presented.generation,
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
    Span { start, end: texts.len() }
}

impl Default for Spans {
    fn default() -> Self {
        Self::Several(Vec::new())
    }
}
