//! When a session ends, and when it does not.

use super::*;

#[tokio::test]
async fn the_session_ends_by_most_of_4xx() {
    for status in [400, 401, 403, 404, 429] {
        let (server, browser, _) = bound().await;
        server.script([answer(status, &[], "")]);
        assert_eq!(get(&browser, "/page").await, 200);
        assert!(browser.device_sessions().is_empty(), "{status}");
        assert_eq!(server.seen()[1].get("secure-session-skipped"), None, "{status}");
    }
    let (server, browser, _) = bound().await;
    let mut end = instructions();
    end["continue"] = false.into();
    server.script([answer(200, &[], &end.to_string())]);
    get(&browser, "/page").await;
    assert!(browser.device_sessions().is_empty());
}

#[tokio::test]
async fn the_session_ends_by_four_refused_proofs_in_a_row() {
    let (server, browser, _) = bound().await;
    server.script((0..5).map(|n| answer(403, &[challenge(&format!("c{n}"))], "")));
    get(&browser, "/page").await;
    assert_eq!(server.seen().iter().filter(|seen| seen.answered().is_some()).count(), 4);
    assert!(browser.device_sessions().is_empty());
}

#[tokio::test]
async fn the_session_outlives_failures_of_the_service() {
    for status in [500, 503] {
        let (server, browser, _) = bound().await;
        server.script([answer(status, &[], "")]);
        assert_eq!(get(&browser, "/page").await, 200);
        let skipped = "server_error;session_identifier=\"s1\"";
        assert_eq!(server.seen()[1].get("secure-session-skipped"), Some(skipped), "{status}");
        assert_eq!(browser.device_sessions(), ["s1"], "{status}");
    }
}

/// Three times at once, and again with the next request.
#[tokio::test]
async fn a_proof_without_an_answer_is_sent_again() {
    let (server, browser, _) = bound().await;
    server.script([answer(403, &[challenge("c2")], "")]);
    let lost = (0..3).map(|_| Err("connection reset".to_owned()));
    server.script.lock().unwrap().extend(lost);
    assert_eq!(get(&browser, "/page").await, 200);
    let seen = server.seen();
    assert_eq!(seen[4].get("secure-session-skipped"), Some("unreachable;session_identifier=\"s1\""));
    assert_eq!(seen.iter().filter(|seen| seen.answered().as_deref() == Some("c2")).count(), 3);

    server.script([answer(200, &[cookie("renewed", 600)], &instructions().to_string())]);
    assert_eq!(get(&browser, "/page").await, 200);
    assert_eq!(server.seen()[0].answered().as_deref(), Some("c2"));
}

#[tokio::test]
async fn signatures_beyond_the_quota_are_not_made() {
    let (server, clock) = (Server::default(), TestClock::new());
    let browser = server.browser(&clock).with_signing_quota(2);
    server.script([answer(200, &[cookie("", 0)], &instructions().to_string())]);
    browser.post("/login").send().await.unwrap();
    server.script([answer(403, &[challenge("c2")], ""), answer(200, &[cookie("a", 600)], "{}")]);
    get(&browser, "/page").await;
    server.seen();
    browser.remove_cookie("access");
    browser.device.lock().sessions[0].proof = None;
    get(&browser, "/page").await;
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].get("secure-session-skipped"), Some("quota_exceeded;session_identifier=\"s1\""));
    clock.advance(Duration::from_secs(9 * 60));
    server.script([answer(403, &[challenge("c3")], ""), answer(200, &[cookie("b", 600)], "")]);
    get(&browser, "/page").await;
    assert_eq!(server.seen().len(), 3);
}
