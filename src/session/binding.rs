//! The rules of device-bound sessions, as pure functions beside those of rotation.
//!
//! The browser holds a key whose public half the record keeps from the first *proof* on, a challenge signed with it.
//! Registering the key writes nothing: the first proof *binds* the session. While the binding is *enforced*, cookies
//! alone renew nothing. [`verdict`] says what becomes of the decision about a refresh token, [`proven`] what a proof
//! makes of the binding, and [`admission`] which cookies may still go on a response:
//!
//! | decision | not enforced | enforced, no proof | within grace, no proof | enforced, proof |
//! |---|---|---|---|---|
//! | `Rotate` | as it is | `Prove` | `Serve` | `RenewAccess` |
//! | `RenewAccess`, `CatchUp` | as it is | `Prove` | `Serve` | as it is |
//! | `AnswerAgain` | as it is; with a proof never late | `Prove` | `Serve` | never late |
//! | `Revoke`, `TooLate` | as it is | as it is | as it is | `AnswerAgain`, not late |
//! | `Refuse` | as it is | as it is | as it is | as it is |
//!
//! A binding that is only observed changes nothing, not for a proof either: where cookies alone renew, a proof that
//! made up for reuse would hide a thief. What a later look takes for `Prove` is `TooLate`: the token may have arrived
//! before the binding.
//!
//! # The grace period of a binding
//!
//! Requests that were on the network as the session was bound carry no proof, and must not be refused for it: they are
//! served for a grace period after [`Bound::bound_at`]. The extension holds no time of the write, but that of the read
//! before it, which may be older by any reload and any stall of the store. That is early enough for the thief, and late
//! enough for the browser: it sends no request without a proof once it has the answer to its registration, and no
//! proof before. So what it can have sent without one was sent before the read, and arrives within a grace period of
//! that. No margin is needed, but the time must not be rounded down. An access cookie is another matter: it must end a
//! grace period before its token, or a request that leaves with it arrives without.
//!
//! A request that the store has kept waiting may have arrived in time; then it is asked to come again.

use std::time::{Duration, SystemTime};

use super::rotation::{Admission, Decision, Rules, is_past};

/// What the rules know of a session's binding, besides the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    /// The store's time at the read before the write of the first proof.
    pub(crate) bound_at: SystemTime,
    /// Whether cookies alone no longer renew: the policy under which the last proof was accepted.
    pub(crate) is_enforced: bool,
    /// How many proofs have been accepted. A challenge names this number, so it is good for one proof.
    pub(crate) proofs: u32,
}

/// What a request shows besides its cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Nothing.
    None,
    /// A proof by the key of the binding, or by any registered key in a session that is not bound. Its challenge names
    /// the number of proofs that this very record counts.
    Good,
}

/// What to do about a refresh token, given the binding of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Carry out this decision. With a proof, what it writes must be written, or else a touch, with the binding that
    /// [`proven`] returns: the challenge is used up by it.
    Decided(Decision),
    /// The claims for this request; no cookies, and nothing is written.
    Serve,
    /// Refuse the request until the device proves itself. Nothing is written, cleared or revoked.
    Prove,
}

impl Verdict {
    /// The verdict on a token that has been looked at before in the same request.
    ///
    /// It may have arrived before the session was bound; if so, the client proves itself when it asks again.
    pub(crate) const fn of_later_look(self) -> Self {
        match self {
            Self::Decided(decision) => Self::Decided(decision.of_later_look()),
            Self::Prove => Self::Decided(Decision::TooLate),
            Self::Serve => Self::Serve,
        }
    }
}

/// Applies the binding of the session to what [`decide`](super::rotation::decide) says.
///
/// `waited` is how long the store took to show the record, as there.
pub(crate) fn verdict(
    decision: Decision,
    bound: Option<Bound>,
    proof: Proof,
    now: SystemTime,
    waited: Duration,
    rules: Rules,
) -> Verdict {
    match (proof, bound.filter(|bound| bound.is_enforced)) {
        (Proof::Good, Some(_)) => Verdict::Decided(of_proven(decision)),
        (Proof::Good, None) => Verdict::Decided(never_late(decision)),
        (Proof::None, Some(bound)) => match decision {
            Decision::Refuse | Decision::Revoke | Decision::TooLate => Verdict::Decided(decision),
            Decision::Rotate | Decision::RenewAccess | Decision::AnswerAgain { .. } | Decision::CatchUp => {
                of_unproven(bound, now, waited, rules)
            }
        },
        (Proof::None, None) => Verdict::Decided(decision),
    }
}

/// The key makes up for an older token, and for rotation.
const fn of_proven(decision: Decision) -> Decision {
    match decision {
        Decision::Rotate => Decision::RenewAccess,
        Decision::Revoke | Decision::TooLate => Decision::AnswerAgain { late: false },
        decision => never_late(decision),
    }
}

/// The session is bound by the time of the second look, so a late answer need not begin a generation.
const fn never_late(decision: Decision) -> Decision {
    match decision {
        Decision::AnswerAgain { .. } => Decision::AnswerAgain { late: false },
        decision => decision,
    }
}

fn of_unproven(bound: Bound, now: SystemTime, waited: Duration, rules: Rules) -> Verdict {
    let is_over = |at: SystemTime| is_past(bound.bound_at, rules.grace, at);
    if !is_over(now) {
        return Verdict::Serve;
    }
    if is_over(now.checked_sub(waited).unwrap_or(SystemTime::UNIX_EPOCH)) {
        Verdict::Prove
    } else {
        Verdict::Decided(Decision::TooLate)
    }
}

/// The binding after an accepted proof, which `enforces` it or not; `now` is the time of the read.
///
/// The first proof binds, and nothing unbinds. The session is under the policy that it was last proven under.
pub(crate) fn proven(bound: Option<Bound>, enforces: bool, now: SystemTime) -> Bound {
    match bound {
        None => Bound { bound_at: now, is_enforced: enforces, proofs: 1 },
        // Wraps around, as a number that stands still would leave the last challenge usable again and again.
        Some(bound) => Bound { is_enforced: enforces, proofs: bound.proofs.wrapping_add(1), ..bound },
    }
}

/// Applies the binding, as it is at the second look, to what [`admit`](super::rotation::admit) says.
///
/// What a request without a proof was granted before the session was bound does not leave any more.
pub(crate) fn admission(admission: Admission, bound: Option<Bound>, proof: Proof) -> Admission {
    let is_withheld = proof == Proof::None && bound.is_some_and(|bound| bound.is_enforced);
    match admission {
        Admission::Cookies { .. } | Admission::MoveIssued | Admission::Reissue | Admission::Withhold
            if is_withheld =>
        {
            Admission::Superseded
        }
        admission => admission,
    }
}
