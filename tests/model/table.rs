//! The rules of device-bound sessions, compared with a table that is written down by hand.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    binding::{Bound, Proof, Verdict, admission, proven, verdict},
    rotation::{Admission, Decision, LostResponse, Rules},
};

const GRACE: Duration = Duration::from_secs(30);
const RULES: Rules = Rules { grace: GRACE, lost_response: LostResponse::UntilConfirmed };
const SECOND: Duration = Duration::from_secs(1);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn bound(is_enforced: bool) -> Option<Bound> {
    bound_for(UNIX_EPOCH, is_enforced)
}

fn bound_for(bound_at: SystemTime, is_enforced: bool) -> Option<Bound> {
    Some(Bound { bound_at, is_enforced, proofs: 7 })
}

fn named(decision: Decision) -> &'static str {
    match decision {
        Decision::Refuse => "refuse",
        Decision::Rotate => "rotate",
        Decision::RenewAccess => "renew",
        Decision::AnswerAgain { late: false } => "again",
        Decision::AnswerAgain { late: true } => "late",
        Decision::Revoke => "revoke",
        Decision::TooLate => "too late",
        Decision::CatchUp => "catch up",
    }
}

fn verdict_named(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Decided(decision) => named(decision),
        Verdict::Serve => "serve",
        Verdict::Prove => "prove",
    }
}

const DECISIONS: [Decision; 8] = [
    Decision::Refuse,
    Decision::Rotate,
    Decision::RenewAccess,
    Decision::AnswerAgain { late: false },
    Decision::AnswerAgain { late: true },
    Decision::Revoke,
    Decision::TooLate,
    Decision::CatchUp,
];

const TABLE: &str = "
    no proof, by age of the binding:
    decision | unbound  | observed | new      | waited   | old      | later    | first proof | proof
    refuse   | refuse   | refuse   | refuse   | refuse   | refuse   | refuse   | refuse      | refuse
    rotate   | rotate   | rotate   | serve    | too late | prove    | too late | rotate      | renew
    renew    | renew    | renew    | serve    | too late | prove    | too late | renew       | renew
    again    | again    | again    | serve    | too late | prove    | too late | again       | again
    late     | late     | late     | serve    | too late | prove    | too late | again       | again
    revoke   | revoke   | revoke   | revoke   | revoke   | revoke   | too late | revoke      | again
    too late | too late | too late | too late | too late | too late | too late | too late    | again
    catch up | catch up | catch up | serve    | too late | prove    | too late | catch up    | catch up
";

/// The row of a decision.
fn row(name: &str) -> Vec<&'static str> {
    let rows = TABLE.lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    rows.into_iter().find(|row| row[0] == name).expect("a row for each decision")
}

#[test]
fn every_verdict_is_that_of_the_table() {
    let ages = [Duration::ZERO, SECOND, GRACE - SECOND, GRACE, GRACE + SECOND, 1000 * GRACE];
    for decision in DECISIONS {
        let row = row(named(decision));
        for age in ages {
            let is_new = age < GRACE;
            let enforced = bound_for(now() - age, true);
            let ask = |bound, proof, waited| verdict(decision, bound, proof, now(), waited, RULES);
            let expect = |column: usize, verdict: Verdict| {
                assert_eq!(verdict_named(verdict), row[column], "{decision:?}, {age:?}, column {column}");
            };
            for waited in [Duration::ZERO, SECOND, 2 * GRACE] {
                expect(1, ask(None, Proof::None, waited));
                expect(2, ask(bound(false), Proof::None, waited));
                for not_enforced in [None, bound(false), bound_for(now() - age, false)] {
                    expect(7, ask(not_enforced, Proof::Good, waited));
                }
                for enforced in [bound(true), enforced] {
                    expect(8, ask(enforced, Proof::Good, waited));
                }
                let arrived_in_time = age.saturating_sub(waited) < GRACE;
                let column = if is_new {
                    3
                } else if arrived_in_time {
                    4
                } else {
                    5
                };
                expect(column, ask(enforced, Proof::None, waited));
                if !is_new {
                    expect(6, ask(enforced, Proof::None, waited).of_later_look());
                }
            }
        }
    }
}

#[test]
fn later_look_serves_within_the_grace_period_and_revokes_no_more() {
    for decision in DECISIONS {
        let enforced = bound_for(now() - SECOND, true);
        let decided = decision.of_later_look();
        let later = verdict(decided, enforced, Proof::None, now(), Duration::ZERO, RULES).of_later_look();
        let first = row(named(decision))[3];
        assert_eq!(verdict_named(later), if first == "revoke" { "too late" } else { first }, "{decision:?}");
    }
}

/// The clock of the store has been set back.
#[test]
fn binding_of_the_future_is_within_its_grace_period() {
    let enforced = bound_for(now() + 1000 * GRACE, true);
    let verdict = verdict(Decision::Rotate, enforced, Proof::None, now(), Duration::ZERO, RULES);
    assert_eq!(verdict, Verdict::Serve);
}

#[test]
fn first_proof_binds_and_each_is_counted() {
    for enforces in [false, true] {
        let first = Bound { bound_at: now(), is_enforced: enforces, proofs: 1 };
        assert_eq!(proven(None, enforces, now()), first);
        for was_enforced in [false, true] {
            let later = Bound { bound_at: UNIX_EPOCH, is_enforced: enforces, proofs: 8 };
            assert_eq!(proven(bound(was_enforced), enforces, now()), later, "the last policy holds");
        }
    }
}

#[test]
fn without_a_proof_no_cookies_leave_once_the_session_is_bound() {
    for asked in [
        Admission::Cookies { with_refresh: true },
        Admission::Cookies { with_refresh: false },
        Admission::MoveIssued,
        Admission::Reissue,
        Admission::Withhold,
        Admission::Superseded,
        Admission::Ended,
    ] {
        for (bound, proof) in [
            (None, Proof::None),
            (None, Proof::Good),
            (bound(false), Proof::None),
            (bound(false), Proof::Good),
            (bound(true), Proof::Good),
        ] {
            assert_eq!(admission(asked, bound, proof), asked, "{bound:?}, {proof:?}");
        }
        let left = if asked == Admission::Ended { Admission::Ended } else { Admission::Superseded };
        assert_eq!(admission(asked, bound(true), Proof::None), left);
    }
}
