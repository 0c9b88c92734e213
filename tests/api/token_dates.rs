//! Dates in tokens: what they may be, and how they are compared with the clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tower_cookie_jwt::{
    Verifier,
    testing::TestClock,
    token::{IssueErrorKind, Issuer, NewToken, TokenErrorKind, VerifierBuilder},
};

use crate::forge;

/// 2026-01-01T00:00:00Z, where a `TestClock` begins.
const NOW: u64 = 1_767_225_600;
const END_OF_9999: u64 = 253_402_300_799;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn builder() -> VerifierBuilder<()> {
    Verifier::builder(forge::ring()).with_clock(TestClock::new())
}

fn verifier() -> Verifier<()> {
    builder().build().expect("the settings agree")
}

fn verdict(verifier: &Verifier<()>, token: &str) -> Result<(), TokenErrorKind> {
    verifier.verify(token).map(drop).map_err(|error| error.kind())
}

#[test]
fn a_numeric_date_is_a_number_between_the_epoch_and_the_year_9999() {
    use TokenErrorKind::{Expired, Malformed};
    let late = [
        "4102444800",
        "4102444800.0",
        "4102444800.5",
        "4.1024448e9",
        "4.1024448E+9",
        "253402300799",
        "253402300799.0",
        "253402300799.9",
    ];
    let early = ["0", "1", "0.5", "1e-300", "1700000000", "1700000000.25"];
    let refused = [
        "253402300800",
        "253402300800.0",
        "4102444800000",
        "1e12",
        "1e19",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "100000000000000000000000000000000000000000000000000",
        "1e50",
        "1e308",
        "1e400",
        "-1",
        "-0.5",
        "-1e-300",
        "-9223372036854775808",
        "-1e308",
        "\"4102444800\"",
        "\"1\"",
        "\"\"",
        "true",
        "null",
        "[]",
        "[4102444800]",
        "{}",
        "{\"$serde_json::private::Number\":\"4102444800\"}",
        "NaN",
        "Infinity",
        "0x10",
        "+1",
        "01",
    ];
    let with = |name: &str, date: &str| match name {
        "exp" => forge::token(format!(r#"{{"exp":{date}}}"#)),
        _ => forge::token(format!(r#"{{"exp":4102444800,"{name}":{date}}}"#)),
    };
    for name in ["exp", "nbf", "iat", "auth_time"] {
        for date in late {
            let expected = if name == "nbf" { Err(TokenErrorKind::NotYetValid) } else { Ok(()) };
            assert_eq!(verdict(&verifier(), &with(name, date)), expected, "{name} of {date}");
        }
        for date in early {
            let expected = if name == "exp" { Err(Expired) } else { Ok(()) };
            assert_eq!(verdict(&verifier(), &with(name, date)), expected, "{name} of {date}");
        }
        for date in refused {
            // Of another type, dates that do not decide about the token count as absent.
            let absent = ["iat", "auth_time"].contains(&name) && serde_json::from_str::<Value>(date).is_ok();
            let expected = if absent { Ok(()) } else { Err(Malformed) };
            assert_eq!(verdict(&verifier(), &with(name, date)), expected, "{name} of {date}");
        }
    }
}

#[test]
fn dates_are_read_to_the_fraction_and_never_overflow() {
    let text = forge::token(r#"{"exp":253402300799.75,"nbf":0.25,"iat":1700000000,"auth_time":1.5}"#);
    let claims = verifier().verify(&text).expect("it verifies");
    assert_eq!(claims.not_before(), Some(UNIX_EPOCH + Duration::from_millis(250)));
    assert_eq!(claims.issued_at(), Some(at(1_700_000_000)));
    assert_eq!(claims.authenticated_at(), Some(UNIX_EPOCH + Duration::from_millis(1500)));
    let year = Duration::from_secs(366 * 24 * 60 * 60);
    assert!(claims.expires_at() >= at(END_OF_9999) && claims.expires_at() < at(END_OF_9999) + year);

    let clocks = [UNIX_EPOCH, UNIX_EPOCH - year, at(NOW), at(END_OF_9999), at(END_OF_9999) + 100 * year];
    let leeways = [Duration::ZERO, Duration::from_secs(30), Duration::MAX];
    for clock in clocks {
        for leeway in leeways {
            let verifier = builder()
                .with_clock(TestClock::at(clock))
                .with_leeway(leeway)
                .build()
                .expect("the settings agree");
            for payload in [r#"{"exp":0,"nbf":0}"#, r#"{"exp":253402300799,"nbf":253402300799}"#] {
                let verdict = verdict(&verifier, &forge::token(payload));
                let name = format!("{payload} at {clock:?} with {leeway:?}");
                assert!(leeway != Duration::MAX || verdict.is_ok(), "{name}: {verdict:?}");
            }
        }
    }
}

#[test]
fn leeway_is_thirty_seconds_on_expiry_and_beginning_and_nothing_on_issue() {
    use TokenErrorKind::{Expired, NotYetValid};
    let default = verifier();
    let none = builder().with_leeway(Duration::ZERO).build().expect("the settings agree");
    let table = [
        ("expired 29 s ago", &default, json!({ "exp": NOW - 29 }), Ok(())),
        ("expired 29.5 s ago", &default, json!({ "exp": NOW as f64 - 29.5 }), Ok(())),
        ("expired 30 s ago", &default, json!({ "exp": NOW - 30 }), Err(Expired)),
        ("expires now", &none, json!({ "exp": NOW }), Err(Expired)),
        ("expires in a moment", &none, json!({ "exp": NOW as f64 + 0.5 }), Ok(())),
        ("begins in 30 s", &default, json!({ "nbf": NOW + 30 }), Ok(())),
        ("begins in 30.5 s", &default, json!({ "nbf": NOW as f64 + 30.5 }), Err(NotYetValid)),
        ("begins in 31 s", &default, json!({ "nbf": NOW + 31 }), Err(NotYetValid)),
        ("begins now", &none, json!({ "nbf": NOW }), Ok(())),
        ("begins in a second", &none, json!({ "nbf": NOW + 1 }), Err(NotYetValid)),
        ("issued tomorrow", &none, json!({ "iat": NOW + 86_400 }), Ok(())),
        ("issued at the end of time", &none, json!({ "iat": END_OF_9999 }), Ok(())),
    ];
    for (name, verifier, claims, expected) in table {
        assert_eq!(verdict(verifier, &forge::valid_with(claims)), expected, "{name}");
    }
}

#[test]
fn nothing_is_issued_that_expires_at_once_or_after_the_year_9999() {
    let issuer = Issuer::new(forge::ring()).with_clock(TestClock::new());
    let issue = |lifetime| issuer.issue(&NewToken::access("ada", lifetime), &());
    for lifetime in [Duration::ZERO, Duration::from_millis(999)] {
        assert_eq!(*issue(lifetime).unwrap_err().kind(), IssueErrorKind::InvalidExpiry, "{lifetime:?}");
    }
    for lifetime in [Duration::from_secs(1), Duration::MAX] {
        let text = issue(lifetime).expect("it can be issued");
        let claims = verifier().verify(&text).expect("it verifies");
        assert!(claims.expires_at() <= at(END_OF_9999), "{lifetime:?}");
    }
}
