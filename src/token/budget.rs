/// The signature checks that are left for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u8,
    /// A check was wanted and not to be had: some token has not been judged.
    overdrawn: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MAX_SIGNATURE_CHECKS, overdrawn: false }
    }
}

impl Budget {
    const fn left(self) -> u8 {
        self.left
    }

    /// Whether a token has not been judged since this was last asked.
    pub(crate) fn take_overdrawn(&mut self) -> bool {
        std::mem::take(&mut self.overdrawn)
    }

    /// Takes one check; false when there is none to take.
    pub(super) fn spend(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.overdrawn = true,
        }
        !self.overdrawn
    }
}

/// Signature checks spent on one request in all, however many tokens and keys there are.
const MAX_SIGNATURE_CHECKS: u8 = 4;

/// The tokens of one request that have cost a signature check: each value is checked once.
///
/// There are never more than checks, so however many cookies a request carries, looking at each stays
/// cheap.
pub(crate) struct Seen<'h> {
    tokens: [&'h [u8]; MAX_SIGNATURE_CHECKS as usize],
    len: usize,
}

impl<'h> Seen<'h> {
    pub(crate) const fn new() -> Self {
        Self { tokens: [&[]; MAX_SIGNATURE_CHECKS as usize], len: 0 }
    }

    /// Runs `check` on a token that has not been seen, and remembers it if that has cost a check.
    pub(crate) fn first_time<T>(
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
