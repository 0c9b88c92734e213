use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rotation::{Decision, LostResponse, Rules, confirmation, decide, successor};
use crate::store::{NewRecord, SessionRecord};

const GRACE: Duration = Duration::from_secs(30);
const RULES: Rules = Rules { grace: GRACE, lost_response: LostResponse::UntilConfirmed };

fn begun() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

/// A session of generation 5 that has been confirmed for `confirmed_for`, ten minutes in.
fn session(confirmed_for: Option<Duration>) -> (SessionRecord, SystemTime) {
    let now = begun() + Duration::from_secs(600);
    let mut record = NewRecord::new("s".into(), "ada", [0; 32]).begin(begun());
    record.generation = 5;
    record.rotated_at = begun();
    record.confirmed_at = confirmed_for.map(|period| now - period);
    (record, now)
}

#[test]
fn a_token_is_evaluated_by_what_held_when_it_arrived() {
    let second = Duration::from_secs(1);
    // `began` and `confirmed` say how many seconds ago the current generation, 5, began and was confirmed.
    for (name, presented, began, confirmed, waited, expected) in [
        ("a prompt answer", 4, 60, 31, 0, Decision::Revoke),
        ("settled before it arrived", 4, 60, 40, 10, Decision::Revoke),
        ("settled while it waited", 4, 60, 31, 10, Decision::TooLate),
        ("settled a moment before it arrived", 4, 60, 30, 0, Decision::Revoke),
        ("rotated and settled while it waited", 4, 90, 60, 100, Decision::TooLate),
        ("an ancestor, answered promptly", 3, 60, 31, 0, Decision::Revoke),
        ("an ancestor before it arrived", 3, 60, 31, 59, Decision::Revoke),
        ("an ancestor only since it arrived", 3, 60, 31, 61, Decision::TooLate),
        ("the current generation, however long it waited", 5, 60, 31, 1000, Decision::Rotate),
    ] {
        let (mut record, now) = session(Some(confirmed * second));
        record.rotated_at = now - began * second;
        let verdict = decide(presented, &record, now, waited * second, RULES);
        assert_eq!(verdict, expected, "{name}");
    }
    // A clock that was set back does not excuse an ancestor.
    let (mut record, now) = session(None);
    record.rotated_at = now + 600 * second;
    assert_eq!(decide(3, &record, now, second, RULES), Decision::Revoke);
}

#[test]
fn each_relation_and_confirmation_leads_to_its_decision() {
    let just = Duration::ZERO;
    let almost = GRACE - Duration::from_millis(1);
    let settled = GRACE;
    let cases = [
        ("current and settled: rotate", 5, Some(settled), Decision::Rotate),
        ("current, settled long ago: rotate", 5, Some(GRACE * 9), Decision::Rotate),
        ("current, not confirmed: access token only", 5, None, Decision::RenewAccess),
        ("current, just confirmed: access token only", 5, Some(just), Decision::RenewAccess),
        ("current, almost settled: access token only", 5, Some(almost), Decision::RenewAccess),
        ("parent, not confirmed: answered again, however late", 4, None, Decision::AnswerAgain),
        ("parent, just confirmed: answered again", 4, Some(just), Decision::AnswerAgain),
        ("parent, almost settled: answered again", 4, Some(almost), Decision::AnswerAgain),
        ("parent, settled: reuse", 4, Some(settled), Decision::Revoke),
        ("grandparent, settled: reuse", 3, Some(settled), Decision::Revoke),
        ("grandparent, not confirmed: reuse", 3, None, Decision::Revoke),
        ("the first generation: reuse", 0, Some(just), Decision::Revoke),
        ("successor: the store has lost writes", 6, Some(settled), Decision::CatchUp),
        ("far successor: the store has lost writes", u32::MAX, None, Decision::CatchUp),
    ];
    for (name, presented, confirmed_for, expected) in cases {
        let (record, now) = session(confirmed_for);
        assert_eq!(decide(presented, &record, now, Duration::ZERO, RULES), expected, "{name}");
    }
}

#[test]
fn an_expired_session_is_refused_whatever_is_presented() {
    for presented in [0, 4, 5, 6] {
        for (name, idle) in [("idle", true), ("absolute", false)] {
            let (mut record, now) = session(Some(GRACE));
            *(if idle { &mut record.idle_expires_at } else { &mut record.absolute_expires_at }) = now;
            assert_eq!(
                decide(presented, &record, now, Duration::ZERO, RULES),
                Decision::Refuse,
                "{name} expiry, {presented}"
            );
        }
    }
}

#[test]
fn setting_the_clock_back_never_settles_a_generation_early() {
    let (record, now) = session(Some(GRACE));
    assert_eq!(decide(5, &record, now, Duration::ZERO, RULES), Decision::Rotate);
    for back in [Duration::from_millis(1), Duration::from_secs(29), Duration::from_secs(3600 * 24 * 400)] {
        assert_eq!(
            decide(5, &record, now - back, Duration::ZERO, RULES),
            Decision::RenewAccess,
            "set back by {back:?}"
        );
        assert_eq!(
            decide(4, &record, now - back, Duration::ZERO, RULES),
            Decision::AnswerAgain,
            "set back by {back:?}"
        );
    }
}

#[test]
fn a_time_window_replaces_confirmation_if_configured() {
    let rules = |window| Rules { grace: GRACE, lost_response: LostResponse::Within(window) };
    let ten_minutes = Duration::from_secs(600);
    let (record, now) = session(None);
    assert_eq!(
        decide(4, &record, now, Duration::ZERO, rules(ten_minutes + GRACE)),
        Decision::AnswerAgain,
        "within the window"
    );
    assert_eq!(
        decide(4, &record, now, Duration::ZERO, rules(ten_minutes)),
        Decision::Revoke,
        "after the window"
    );
    assert_eq!(
        decide(5, &record, now, Duration::ZERO, rules(ten_minutes)),
        Decision::Rotate,
        "after the window"
    );
    let (record, now) = session(Some(GRACE));
    assert_eq!(
        decide(5, &record, now, Duration::ZERO, rules(ten_minutes * 2)),
        Decision::Rotate,
        "confirmed and settled before"
    );
}

#[test]
fn each_decision_writes_its_successor_record() {
    let idle = Duration::from_secs(3600);
    let (record, now) = session(Some(GRACE));
    let write = |verdict, record: &SessionRecord, now, idle| {
        successor(verdict, 9, record, now, idle).expect("something to write")
    };

    let rotated = write(Decision::Rotate, &record, now, idle);
    assert_eq!((rotated.generation, rotated.confirmed_at, rotated.rotated_at), (6, None, now));
    assert_eq!(rotated.last_seen_at, now);

    let confirmed = write(Decision::RenewAccess, &rotated, now, idle);
    assert_eq!(confirmed.confirmed_at, Some(now));
    assert_eq!(
        confirmation(6, Some(rotated), now, idle),
        Some(confirmed.clone()),
        "the same by access token"
    );

    let caught_up = write(Decision::CatchUp, &record, now, idle);
    assert_eq!((caught_up.generation, caught_up.confirmed_at), (9, Some(now)));

    let long = Duration::from_secs(u64::from(u32::MAX));
    for (name, idle) in [("long", long), ("out of range", Duration::MAX)] {
        let rotated = write(Decision::Rotate, &record, now, idle);
        assert_eq!(rotated.expires_at(), record.absolute_expires_at, "absolute expiry holds: {name}");
    }
    let back = write(Decision::Rotate, &record, now - Duration::from_secs(500), Duration::ZERO);
    assert_eq!(back.idle_expires_at, record.idle_expires_at, "a clock set back shortens nothing");
}

#[test]
fn an_up_to_date_record_is_not_written() {
    let idle = Duration::from_secs(3600);
    let (record, now) = session(Some(GRACE));
    for verdict in
        [Decision::RenewAccess, Decision::AnswerAgain, Decision::Refuse, Decision::Revoke, Decision::TooLate]
    {
        assert_eq!(successor(verdict, 5, &record, now, idle), None, "{verdict:?}");
    }
    let (unconfirmed, _) = session(None);
    assert_eq!(
        successor(Decision::AnswerAgain, 4, &unconfirmed, now, idle),
        None,
        "a parent's token confirms nothing"
    );
    let cases = [
        ("already confirmed: the first confirmation counts", 5, Some(record)),
        ("the session has moved on", 4, Some(unconfirmed.clone())),
        ("the session is not there yet", 6, Some(unconfirmed)),
        ("ended", 5, None),
    ];
    for (name, generation, record) in cases {
        assert_eq!(confirmation(generation, record, now, idle), None, "{name}");
    }
}

#[test]
fn a_label_names_browser_and_system() {
    let cases = [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
             Safari/537.36 Edg/140.0.0.0",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
             Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/18.0 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        ("curl/8.5.0", "curl/8.5.0"),
        ("", ""),
    ];
    for (agent, expected) in cases {
        let mut headers = http::HeaderMap::new();
        headers.insert("user-agent", agent.parse().expect("a header value"));
        assert_eq!(super::sign_in::label_from(&headers), expected, "{agent}");
    }
    let mut headers = http::HeaderMap::new();
    headers.insert("user-agent", "x".repeat(5000).parse().expect("a header value"));
    assert_eq!(super::sign_in::label_from(&headers).len(), 80, "truncated");
}
