use std::{fmt, mem, str::FromStr};

use serde::{Serialize, Serializer};

/// A set of scopes, as the `scope` claim lists them: separated by spaces (RFC 6749 §3.3, RFC 8693 §4.2).
///
/// # Examples
///
/// ```
/// use tower_cookie_jwt::token::Scopes;
///
/// let granted = Scopes::new("orders:read orders:write")?;
/// assert!(granted.contains("orders:read"));
/// assert!(Scopes::new("orders:read")?.is_subset(&granted));
/// assert!(!granted.contains("orders"));
///
/// let names = ["orders:write", "orders:read"];
/// assert_eq!(names.iter().map(|name| name.parse()).collect::<Result<Scopes, _>>()?, granted);
/// # Ok::<(), tower_cookie_jwt::token::InvalidScope>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    text: Box<str>,
}

impl Scopes {
    /// The scopes in a space-separated list; the order does not matter, repeated ones count once.
    ///
    /// # Errors
    ///
    /// [`InvalidScope`] when a character is not allowed in a scope (RFC 6749 §3.3).
    pub fn new(list: impl AsRef<str>) -> Result<Self, InvalidScope> {
        let list = list.as_ref();
        let allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
        if !list.chars().all(allowed) {
            return Err(InvalidScope(()));
        }
        Ok(Self::granted(list))
    }

    /// The scopes that something demands: at least one, for none would let everybody pass.
    pub(crate) fn demanded(list: &str) -> Result<Self, InvalidScope> {
        Self::new(list).and_then(|scopes| if scopes.is_empty() { Err(InvalidScope(())) } else { Ok(scopes) })
    }

    /// The scopes of a signed list: what an issuer granted, it granted.
    pub(crate) fn granted(list: &str) -> Self {
        let mut scopes: Vec<&str> = list.split(' ').filter(|scope| !scope.is_empty()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self { text: scopes.join(" ").into_boxed_str() }
    }

    /// Whether the set holds exactly this scope.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|granted| granted == scope)
    }

    /// Whether every scope of this set is one of `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|scope| other.contains(scope))
    }

    /// Whether there is no scope at all.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').filter(|scope| !scope.is_empty())
    }

    /// The space-separated list, in alphabetical order.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Scopes {
    type Err = InvalidScope;

    fn from_str(list: &str) -> Result<Self, InvalidScope> {
        Self::new(list)
    }
}

impl Extend<Self> for Scopes {
    fn extend<I: IntoIterator<Item = Self>>(&mut self, others: I) {
        let mut list = String::from(mem::take(&mut self.text));
        for other in others {
            list.push(' ');
            list.push_str(&other.text);
        }
        *self = Self::granted(&list);
    }
}

/// The union of sets; `Result<Scopes, InvalidScope>` collects single names that are parsed on the way.
impl FromIterator<Self> for Scopes {
    fn from_iter<I: IntoIterator<Item = Self>>(sets: I) -> Self {
        let mut union = Self::default();
        union.extend(sets);
        union
    }
}

impl AsRef<str> for Scopes {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// As the space-separated list, in alphabetical order.
impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A scope with a character that scopes may not have (RFC 6749 §3.3), or none where one is demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScope(());

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope is empty, or holds a character that is not allowed")
    }
}

impl std::error::Error for InvalidScope {}

/// The request's token was not granted enough: a scope, a role, or what else was demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientScope {
    scope: Option<Box<str>>,
}

impl InsufficientScope {
    /// For a demand that is no scope, such as a role.
    pub(crate) const fn new() -> Self {
        Self { scope: None }
    }

    pub(crate) fn of(scope: &str) -> Self {
        Self { scope: Some(scope.into()) }
    }

    /// The scope that was demanded, where it was one.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }
}

impl fmt::Display for InsufficientScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token was not granted enough")
    }
}

impl std::error::Error for InsufficientScope {}

/// Whether a space-separated list, as it stands in a token, holds exactly `scope`.
pub(super) fn list_contains(list: &str, scope: &str) -> bool {
    !scope.is_empty() && list.split(' ').any(|granted| granted == scope)
}
