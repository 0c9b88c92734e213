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
    pub(crate) const fn left(self) -> u8 {
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
pub(crate) const MAX_SIGNATURE_CHECKS: u8 = 4;
