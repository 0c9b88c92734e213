use std::{fmt, mem, str::FromStr};

use serde::{Serialize, Serializer};

/// A set of scopes, written as a space-separated list in the `scope` claim (RFC 6749 §3.3, RFC 8693 §4.2).
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
    /// Parses a space-separated list of scopes. Order and duplicates do not matter.
    ///
    /// # Errors
    ///
    /// Returns an [`InvalidScope`] error if the list contains a character that is not allowed in a scope
    /// (RFC 6749 §3.3).
    pub fn new(list: impl AsRef<str>) -> Result<Self, InvalidScope> {
        let list = list.as_ref();
        let allowed = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ';
        if !list.chars().all(allowed) {
            return Err(InvalidScope(()));
        }
        Ok(Self::granted(list))
    }

    /// Parses a list of required scopes. It must not be empty, as every token meets an empty requirement.
    pub(crate) fn demanded(list: &str) -> Result<Self, InvalidScope> {
        Self::new(list).and_then(|scopes| if scopes.is_empty() { Err(InvalidScope(())) } else { Ok(scopes) })
    }

    /// Parses the list of a verified token, without restricting the characters that the issuer used.
    pub(crate) fn granted(list: &str) -> Self {
        let mut scopes: Vec<&str> = list.split(' ').filter(|scope| !scope.is_empty()).collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self { text: scopes.join(" ").into_boxed_str() }
    }

    /// Returns `true` if the set contains exactly this scope.
    pub fn contains(&self, scope: &str) -> bool {
        self.iter().any(|granted| granted == scope)
    }

    /// Returns `true` if `other` contains every scope of this set.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|scope| other.contains(scope))
    }

    /// Returns `true` if the set contains no scopes.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Returns an iterator over the scopes in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Returns the scopes as a space-separated list in alphabetical order.
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

/// Collects the union of several sets. An iterator of parsed names can be collected into a
/// `Result<Scopes, InvalidScope>`.
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

/// Serializes the scopes as a space-separated list in alphabetical order.
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

/// The error returned when a scope contains a character that is not allowed (RFC 6749 §3.3), or when no scope is
/// given although one is required.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScope(());

impl fmt::Display for InvalidScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scope is empty, or contains a character that is not allowed (RFC 6749, section 3.3)")
    }
}

impl std::error::Error for InvalidScope {}

/// The error returned when a token does not have a required scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InsufficientScope {
    scope: Box<str>,
}

impl InsufficientScope {
    pub(crate) fn of(scope: &str) -> Self {
        Self { scope: scope.into() }
    }

    /// Returns the required scope, or several separated by spaces.
    pub fn scope(&self) -> &str {
        &self.scope
    }
}

impl fmt::Display for InsufficientScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the token does not grant the required permission")
    }
}

impl std::error::Error for InsufficientScope {}

/// Returns `true` if a space-separated list contains exactly `scope`.
pub(super) fn list_contains(list: &str, scope: &str) -> bool {
    !scope.is_empty() && list.split(' ').any(|granted| granted == scope)
}
