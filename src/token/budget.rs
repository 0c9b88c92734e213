use crate::keys::MAX_SIGNATURE_CHECKS;

/// The number of signature checks that remain for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    left: u8,
    /// Whether a check was refused, so that a token has not been evaluated.
    overdrawn: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: MAX_SIGNATURE_CHECKS as u8, overdrawn: false }
    }
}

impl Budget {
    const fn left(self) -> u8 {
        self.left
    }

    /// Returns whether a check has been refused since the last call, and resets the flag.
    pub(crate) fn take_overdrawn(&mut self) -> bool {
        std::mem::take(&mut self.overdrawn)
    }

    /// Spends one check, or returns `false` if none is left.
    pub(super) fn spend(&mut self) -> bool {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.overdrawn = true,
        }
        !self.overdrawn
    }
}

/// The tokens of a request that have already cost a signature check, so that each value is checked only once.
///
/// There are at most as many as there are checks, so looking up a token stays cheap however many cookies a request
/// carries.
pub(crate) struct Seen<'h> {
    tokens: [&'h [u8]; MAX_SIGNATURE_CHECKS],
    len: usize,
}

impl<'h> Seen<'h> {
    pub(crate) const fn new() -> Self {
        Self { tokens: [&[]; MAX_SIGNATURE_CHECKS], len: 0 }
    }

    /// Runs `check` unless the token has been seen, and remembers the token if a check was spent on it.
    ///
    /// Returns `None` for a token that has been seen.
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
