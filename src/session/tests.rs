use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::rotation::{
    Admission, Decision, LostResponse, Rules, Write, admit, decide, moved, narrowed, reissued, sighting,
    successor, touched,
};
use crate::store::{NewRecord, SessionRecord, Stamps};

const GRACE: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(3600);
const RULES: Rules = Rules { grace: GRACE, lost_response: LostResponse::UntilConfirmed };
const MILLI: Duration = Duration::from_millis(1);

fn begun() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn now() -> SystemTime {
    begun() + Duration::from_secs(6000)
}

/// A session of generation 5 that began 100 minutes ago, with parent, seen generation, and how long ago that was
/// raised, the generation began, and its cookies were issued.
fn session(
    parent: u32,
    seen: Option<u32>,
    confirmed: Duration,
    rotated: Duration,
    issued: Duration,
) -> SessionRecord {
    let mut record = NewRecord::new("s".into(), "ada", [0; 32]).begin(begun());
    record.generation = 5;
    record.parent = parent;
    record.seen = seen;
    record.confirmed_at = seen.map(|_| now() - confirmed);
    record.rotated_at = now() - rotated;
    record.issued_at = now() - issued;
    record
}

/// Generation 5 follows 4 by a rotation, and has been confirmed for this long.
fn confirmed(period: Duration) -> SessionRecord {
    session(4, Some(5), period, 20 * GRACE, 20 * GRACE)
}

/// Generation 5 began by a rotation, this long ago, and has not been seen yet.
fn unconfirmed(rotated: Duration) -> SessionRecord {
    session(4, Some(4), rotated + 2 * GRACE, rotated, rotated)
}

fn look(presented: u32, record: &SessionRecord) -> Decision {
    decide(presented, record, now(), Duration::ZERO, RULES)
}

#[test]
fn each_row_of_the_table_decides_as_documented() {
    let [prompt, late] = [false, true].map(|late| Decision::AnswerAgain { late });
    let almost = GRACE - MILLI;
    // Two late answers in a row began 4 and 5; the client showed 3 last, ten minutes ago.
    let reissued_twice = session(2, Some(3), 20 * GRACE, GRACE, GRACE);
    // The client showed that it holds 4 although 5 has begun, just now and a grace period ago.
    let sighted_just_now = session(2, Some(4), Duration::ZERO, GRACE, GRACE);
    let sighted = session(2, Some(4), GRACE, GRACE, GRACE);
    let cases = [
        ("current and settled: rotate", 5, confirmed(GRACE), Decision::Rotate),
        ("current, settled long ago: rotate", 5, confirmed(9 * GRACE), Decision::Rotate),
        ("current, unconfirmed: access token alone", 5, unconfirmed(GRACE), Decision::RenewAccess),
        ("current, just confirmed: access token alone", 5, confirmed(Duration::ZERO), Decision::RenewAccess),
        ("current, almost settled: access token alone", 5, confirmed(almost), Decision::RenewAccess),
        ("parent, unconfirmed: answered again", 4, unconfirmed(GRACE), prompt),
        ("parent, almost two grace periods on: answered again", 4, unconfirmed(2 * GRACE - MILLI), prompt),
        ("parent, two grace periods on: late", 4, unconfirmed(2 * GRACE), late),
        ("parent, days on: late", 4, unconfirmed(100 * GRACE), late),
        ("parent, just confirmed: answered again", 4, confirmed(Duration::ZERO), prompt),
        ("parent, almost settled: answered again", 4, confirmed(almost), prompt),
        ("parent, settled: reuse", 4, confirmed(GRACE), Decision::Revoke),
        ("before the parent: reuse", 3, unconfirmed(GRACE), Decision::Revoke),
        ("before the parent, just confirmed: reuse", 3, confirmed(Duration::ZERO), Decision::Revoke),
        ("first of all: reuse", 0, confirmed(Duration::ZERO), Decision::Revoke),
        (
            "the parent of two reissues: answered again",
            2,
            session(2, Some(2), 20 * GRACE, GRACE, GRACE),
            prompt,
        ),
        ("between parent and current: answered again", 4, reissued_twice.clone(), prompt),
        ("seen, with two generations after it: answered again", 3, reissued_twice.clone(), prompt),
        ("before one that was seen a grace period ago: reuse", 2, reissued_twice, Decision::Revoke),
        ("before one that was seen just now: answered again", 3, sighted_just_now, prompt),
        ("before one that was seen a grace period ago, again: reuse", 3, sighted, Decision::Revoke),
        ("one ahead: the store has lost writes", 6, confirmed(GRACE), Decision::CatchUp),
        ("far ahead: the store has lost writes", u32::MAX, unconfirmed(GRACE), Decision::CatchUp),
    ];
    for (name, presented, record, expected) in cases {
        assert_eq!(look(presented, &record), expected, "{name}");
    }
}

#[test]
fn late_answers_begin_at_most_32_generations_in_a_row() {
    let mut record = session(4, Some(4), 90 * GRACE, 2 * GRACE, 2 * GRACE);
    for generation in 5..4 + 32 {
        record.generation = generation;
        assert_eq!(look(4, &record), Decision::AnswerAgain { late: true }, "{generation}");
        let admission = admit(generation, true, true, Some(&record), now(), RULES);
        assert_eq!(admission, Admission::Reissue, "{generation}");
    }
    record.generation = 36;
    assert_eq!(look(4, &record), Decision::Revoke);
    assert_eq!(look(35, &record), Decision::Revoke, "whatever generation it is that it is not");
    assert_eq!(look(36, &record), Decision::RenewAccess, "a client that has the newest stays");
    assert_eq!(admit(36, true, true, Some(&record), now(), RULES), Admission::Withhold);
    record.issued_at = now() - 2 * GRACE + MILLI;
    assert_eq!(look(4, &record), Decision::AnswerAgain { late: true }, "its cookies may still be under way");
    // One of them was seen meanwhile: the count begins anew, although the parent stays.
    record.issued_at = now() - 2 * GRACE;
    record.seen = Some(35);
    record.confirmed_at = Some(now());
    assert_eq!(look(35, &record), Decision::AnswerAgain { late: true });
    record.seen = Some(36);
    assert_eq!(look(4, &record), Decision::AnswerAgain { late: false }, "confirmed, and not settled");
}

#[test]
fn a_token_is_evaluated_by_what_held_when_it_arrived() {
    let second = Duration::from_secs(1);
    // Confirmed and rotated so many seconds ago, and waited for so many.
    for (name, presented, confirmed, rotated, waited, expected) in [
        ("a prompt answer", 4, 31, 60, 0, Decision::Revoke),
        ("settled before it arrived", 4, 40, 60, 10, Decision::Revoke),
        ("settled while it waited", 4, 31, 60, 10, Decision::TooLate),
        ("settled at this moment", 4, 30, 60, 0, Decision::Revoke),
        ("rotated and settled while it waited", 4, 60, 90, 100, Decision::TooLate),
        ("before the parent, prompt", 3, 31, 60, 0, Decision::Revoke),
        ("before the parent since before it arrived", 3, 31, 60, 30, Decision::Revoke),
        ("before the parent only since it waits", 3, 31, 60, 61, Decision::TooLate),
        ("the current one, however long it waited", 5, 31, 60, 1000, Decision::Rotate),
    ] {
        let record = session(4, Some(5), confirmed * second, rotated * second, rotated * second);
        assert_eq!(decide(presented, &record, now(), waited * second, RULES), expected, "{name}");
    }
    let mut record = session(4, Some(4), 90 * GRACE, 2 * GRACE + second, 2 * GRACE + second);
    record.generation = 36;
    assert_eq!(decide(4, &record, now(), second, RULES), Decision::Revoke, "the bound held when it arrived");
    assert_eq!(decide(4, &record, now(), 2 * second, RULES), Decision::TooLate, "the bound is reached since");
    // A clock that was set back lets no ancestor off.
    let mut record = unconfirmed(GRACE);
    record.rotated_at = now() + 600 * second;
    assert_eq!(decide(3, &record, now(), second, RULES), Decision::Revoke);
}

#[test]
fn an_expired_session_is_refused_whatever_is_presented() {
    for presented in [0, 4, 5, 6] {
        for (name, idle) in [("idle", true), ("absolute", false)] {
            let mut record = confirmed(GRACE);
            *(if idle { &mut record.idle_expires_at } else { &mut record.absolute_expires_at }) = now();
            assert_eq!(look(presented, &record), Decision::Refuse, "{name} expiry, {presented}");
            assert_eq!(admit(5, true, false, Some(&record), now(), RULES), Admission::Ended, "{name}");
            assert_eq!(sighting(5, &record, now(), GRACE, IDLE), None, "{name}");
        }
    }
}

#[test]
fn a_clock_set_back_never_settles_anything_earlier() {
    let record = confirmed(GRACE);
    for back in [MILLI, Duration::from_secs(29), Duration::from_secs(3600 * 24 * 400)] {
        let look = |presented| decide(presented, &record, now() - back, Duration::ZERO, RULES);
        assert_eq!(look(5), Decision::RenewAccess, "set back by {back:?}");
        assert_eq!(look(4), Decision::AnswerAgain { late: false }, "set back by {back:?}");
    }
}

#[test]
fn a_time_window_replaces_confirmation_where_it_is_configured() {
    let within = |window| Rules { grace: GRACE, lost_response: LostResponse::Within(window) };
    let record = unconfirmed(20 * GRACE);
    let look =
        |presented, record: &_, window| decide(presented, record, now(), Duration::ZERO, within(window));
    let again = Decision::AnswerAgain { late: false };
    assert_eq!(look(4, &record, 21 * GRACE), again, "within the window, nothing is late");
    assert_eq!(look(4, &record, 20 * GRACE), Decision::Revoke, "after the window");
    assert_eq!(look(5, &record, 20 * GRACE), Decision::Rotate, "after the window");
    assert_eq!(look(5, &confirmed(GRACE), 40 * GRACE), Decision::Rotate, "confirmed and settled before");
    let admission = admit(5, true, false, Some(&record), now(), within(21 * GRACE));
    assert_eq!(admission, Admission::MoveIssued, "nothing is reissued");
}

#[test]
fn the_second_look_admits_what_no_newer_answer_forbids() {
    let both = Admission::Cookies { with_refresh: true };
    let access = Admission::Cookies { with_refresh: false };
    let issued = |ago| session(4, Some(4), 90 * GRACE, ago, ago);
    let two = 2 * GRACE;
    for (name, generation, wants_refresh, late, record, expected) in [
        ("fresh", 5, true, false, issued(Duration::ZERO), both),
        ("fresh, for a late one", 5, true, true, issued(GRACE - MILLI), both),
        ("no refresh cookie was asked for", 5, false, false, issued(9 * GRACE), access),
        ("confirmed meanwhile", 5, true, false, confirmed(Duration::ZERO), access),
        ("confirmed meanwhile, for a late one", 5, true, true, confirmed(9 * GRACE), access),
        ("after a slow handler", 5, true, false, issued(GRACE), Admission::MoveIssued),
        ("after a very slow handler", 5, true, false, issued(99 * GRACE), Admission::MoveIssued),
        ("late, between one and two grace periods", 5, true, true, issued(GRACE), Admission::Withhold),
        ("late, almost after two", 5, true, true, issued(two - MILLI), Admission::Withhold),
        ("late, after two grace periods", 5, true, true, issued(two), Admission::Reissue),
        ("moved on meanwhile", 4, true, false, issued(Duration::ZERO), Admission::Superseded),
        ("moved back: the store has lost writes", 6, true, true, issued(two), Admission::Superseded),
    ] {
        let admission = admit(generation, wants_refresh, late, Some(&record), now(), RULES);
        assert_eq!(admission, expected, "{name}");
    }
    assert_eq!(admit(5, true, false, None, now(), RULES), Admission::Ended);
}

/// The record as a store has it after a write at `now()`.
fn written(write: Write) -> SessionRecord {
    write.record.stamped(write.stamps, now())
}

#[test]
fn a_record_moves_on_as_documented() {
    let write = |decision, presented, record: &SessionRecord| {
        written(successor(decision, presented, record, now(), GRACE, IDLE).expect("something to write"))
    };

    let before = confirmed(GRACE);
    let rotated = write(Decision::Rotate, 5, &before);
    assert_eq!((rotated.generation, rotated.parent), (6, 5));
    assert_eq!((rotated.rotated_at, rotated.issued_at, rotated.last_seen_at), (now(), now(), now()));
    assert_eq!((rotated.seen, rotated.confirmed_at), (Some(5), before.confirmed_at), "what was seen stays");

    let renewed = write(Decision::RenewAccess, 6, &rotated);
    assert_eq!((renewed.seen, renewed.confirmed_at, renewed.parent), (Some(6), Some(now()), 5));
    let sighted = sighting(6, &rotated, now(), GRACE, IDLE).map(written);
    assert_eq!(sighted, Some(renewed), "seen either way");

    let late = unconfirmed(2 * GRACE);
    let reissued = written(reissued(late.clone(), IDLE));
    assert_eq!((reissued.generation, reissued.parent), (6, 4), "the parent stays");
    assert_eq!((reissued.rotated_at, reissued.issued_at), (now(), now()));
    assert_eq!((reissued.seen, reissued.confirmed_at), (late.seen, late.confirmed_at));
    let again = write(Decision::AnswerAgain { late: false }, 5, &reissued);
    assert_eq!(
        (again.seen, again.parent, again.confirmed_at),
        (Some(5), 4, Some(now())),
        "5 has arrived after all"
    );

    // 4 was seen long ago, so that nothing before it is in flight any more.
    let reissued_from_2 = session(2, Some(4), GRACE, 3 * GRACE, 3 * GRACE);
    assert_eq!(write(Decision::RenewAccess, 5, &reissued_from_2).parent, 4);
    let reissued_from_2 = session(2, Some(4), GRACE - MILLI, 3 * GRACE, 3 * GRACE);
    assert_eq!(write(Decision::RenewAccess, 5, &reissued_from_2).parent, 2);

    let caught_up = write(Decision::CatchUp, 9, &before);
    assert_eq!((caught_up.generation, caught_up.seen, caught_up.parent), (9, Some(9), 4));
    let times = (caught_up.confirmed_at, caught_up.rotated_at, caught_up.issued_at);
    assert_eq!(times, (Some(now()), now(), now()));

    let moved = written(moved(late.clone(), IDLE));
    assert_eq!((moved.issued_at, moved.rotated_at), (now(), late.rotated_at));

    let touch = touched(before.clone(), Some(IDLE));
    assert_eq!(touch.stamps, Stamps { last_seen_at: true, idle: Some(IDLE), ..Stamps::default() });
    for (name, idle) in [("long", 999_999 * IDLE), ("beyond all calendars", Duration::MAX)] {
        let touched = written(touched(before.clone(), Some(idle)));
        assert_eq!(touched.expires_at(), before.absolute_expires_at, "absolute expiry holds: {name}");
    }
    let touch = touched(before.clone(), Some(Duration::ZERO));
    let back = touch.record.stamped(touch.stamps, begun() - IDLE);
    let times = (back.last_seen_at, back.idle_expires_at);
    assert_eq!(times, (before.last_seen_at, before.idle_expires_at), "a clock set back moves nothing back");
}

#[test]
fn a_narrowing_counts_as_a_presentation_and_leaves_the_idle_expiry() {
    let before = unconfirmed(GRACE);
    for (presented, seen) in [(5, Some(5)), (4, Some(4))] {
        let after = written(narrowed(presented, &before, now(), GRACE));
        assert_eq!((after.generation, after.seen), (5, seen), "{presented}");
        assert_eq!(
            (after.last_seen_at, after.idle_expires_at),
            (now(), before.idle_expires_at),
            "{presented}"
        );
    }
}

#[test]
fn a_record_that_says_all_is_not_written() {
    let again = Decision::AnswerAgain { late: false };
    for decision in [Decision::RenewAccess, again, Decision::Refuse, Decision::Revoke, Decision::TooLate] {
        assert_eq!(successor(decision, 5, &confirmed(GRACE), now(), GRACE, IDLE), None, "{decision:?}");
    }
    assert_eq!(
        successor(again, 4, &unconfirmed(GRACE), now(), GRACE, IDLE),
        None,
        "a parent's token confirms nothing"
    );
    let reissued = session(2, Some(2), 9 * GRACE, GRACE, GRACE);
    for (name, generation, record, is_written) in [
        ("the current one", 5, &reissued, true),
        ("one that a reissue has passed", 4, &reissued, true),
        ("the parent", 2, &reissued, false),
        ("before the parent", 1, &reissued, false),
        ("one ahead is left to the next refresh", 6, &reissued, false),
        ("confirmed already", 5, &confirmed(GRACE), false),
    ] {
        assert_eq!(sighting(generation, record, now(), GRACE, IDLE).is_some(), is_written, "{name}");
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
