use crate::token::{Budget, MAX_SIGNATURE_CHECKS};

/// The tokens of one request that have cost a signature check: each value is checked once.
///
/// There are never more than checks, so however many cookies a request carries, looking at each stays
/// cheap.
pub(super) struct Seen<'h> {
    tokens: [&'h [u8]; MAX_SIGNATURE_CHECKS as usize],
    len: usize,
}

impl<'h> Seen<'h> {
    pub(super) const fn new() -> Self {
        Self { tokens: [&[]; MAX_SIGNATURE_CHECKS as usize], len: 0 }
    }

    /// Runs `check` on a token that has not been seen, and remembers it if that has cost a check.
    pub(super) fn first_time<T>(
        &mut self,
        token: &'h [u8],
        budget: &mut Budget,
        check: impl FnOnce(&mut Budget) -> T,
    ) -> Option<T> {
        if self.tokens[..self.len].contains(&token) {
            return None;
        }
        let before = budget.left();
        let outcome = check(budget);
        if budget.left() < before
            && let Some(slot) = self.tokens.get_mut(self.len)
        {
            *slot = token;
            self.len += 1;
        }
        Some(outcome)
    }
}
