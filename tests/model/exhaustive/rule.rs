//! The rules that tests take away, one at a time.

/// A rule that a test takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Exchanges write without comparing versions.
    CompareAndSet,
    /// A confirmed generation is rotated before the grace period is over.
    Settling,
    /// A late answer begins a generation one grace period after the last cookies, not two.
    TwoGraces,
    /// Cookies of a slow handler go without moving issued-at.
    MovingIssued,
    /// A late answer goes between one and two grace periods after the last cookies.
    Withholding,
    /// A late answer moves issued-at between one and two grace periods after the last cookies.
    Bound,
    /// The cookies of a slow handler go without another look at the record.
    SecondLook,
    /// The second look lets the refresh cookie of a confirmed generation go again.
    KeepingBack,
    /// A later look at a token revokes as the first does.
    LaterLook,
    /// Confirmed-at is the time of the read before the write.
    StampAtWrite,
    /// A token that is handed to other servers carries its generation, and they let it be sighted.
    NoGeneration,
    /// Only tokens of the current generation count as seen.
    SeenGeneration,
    /// A late answer begins its generation at the first look, before the handler.
    ReissueAtSecondLook,
    /// Registering a key binds the session, not the first proof.
    FirstProofBinds,
    /// Cookies alone go on renewing a bound session.
    Proving,
    /// Requests that were on the network as the session was bound are refused.
    GraceOfBinding,
    /// Requests without a proof are served for ever.
    EndOfGrace,
    /// A later look refuses for want of a proof as the first does.
    LaterProof,
    /// The second look lets cookies go to a request without a proof in a session that has been bound meanwhile.
    Strip,
    /// With a proof, an older token of a bound session is reuse all the same.
    OlderWithProof,
    /// With a proof, an older token is no reuse, even if the binding is not enforced.
    ReuseWhileObserved,
    /// A proof of a bound session rotates.
    NoRotation,
    /// A proof's answer may be late, and begin a generation.
    NeverLate,
    /// The pair goes with a proof without moving issued-at.
    MovingWithProof,
    /// A challenge is good for any number of proofs.
    SingleUse,
    /// A proof by any other registered key renews a bound session.
    OneKey,
    /// Access cookies last as long as their tokens, which may then expire on the way.
    AccessMargin,
}
