use super::*;
use crate::{
    KeyRing, Verifier,
    token::{Issuer, NewToken, token_id_of},
};

const HOUR: Duration = Duration::from_secs(3600);

fn moment(step: u64) -> Moment {
    Moment { monotonic: step * 1000, wall: 0 }
}

fn claims() -> Claims<()> {
    let keys = KeyRing::hs256("0123456789abcdef0123456789abcdef").expect("a long secret");
    let new = NewToken::access("ada", HOUR).with_session_id("session").with_token_id(token_id_of("{}"));
    let token = Issuer::new(keys.clone()).issue(&new, &()).expect("it is issued");
    Verifier::<()>::new(keys).verify(&token).expect("it verifies")
}

/// What happens in one history, besides the passing of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The session is removed, its entry becomes visible, and `sign_out` returns.
    Delete,
    Announce,
    Return,
    /// A question about the token is sent, the store reads, and the answer arrives.
    Ask(Stage),
    /// Two polls, one after the other.
    Poll(usize, Stage),
    Request,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Sent,
    AtStore,
    Arrived,
}

/// What must not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    AnnouncesBeforeDeleting,
    DatesEntriesByTheStartOfThePoll,
}

/// Plays every interleaving, and counts those in which a request that began more than the bound after `sign_out` had
/// returned is served unread, for some bound.
fn late(mistake: Mistake) -> (u64, u64) {
    use Stage::{Arrived, AtStore, Sent};
    let writer = match mistake {
        Mistake::AnnouncesBeforeDeleting => vec![Step::Announce, Step::Delete, Step::Return],
        _ => vec![Step::Delete, Step::Announce, Step::Return],
    };
    let stages = [Sent, AtStore, Arrived];
    let chains = [
        writer,
        stages.map(Step::Ask).to_vec(),
        stages
            .map(|stage| Step::Poll(0, stage))
            .into_iter()
            .chain(stages.map(|stage| Step::Poll(1, stage)))
            .collect(),
        vec![Step::Request],
    ];
    let claims = claims();
    let (mut late, mut histories) = (0, 0);
    let mut history = Vec::new();
    interleave(&chains, &mut [0; 4], &mut history, &mut |history| {
        histories += 1;
        late += u64::from(is_late(history, &claims, mistake));
    });
    (late, histories)
}

fn interleave(
    chains: &[Vec<Step>; 4],
    places: &mut [usize; 4],
    history: &mut Vec<Step>,
    play: &mut impl FnMut(&[Step]),
) {
    let mut is_over = true;
    for chain in 0..chains.len() {
        if let Some(step) = chains[chain].get(places[chain]) {
            is_over = false;
            places[chain] += 1;
            history.push(*step);
            interleave(chains, places, history, play);
            history.pop();
            places[chain] -= 1;
        }
    }
    if is_over {
        play(history);
    }
}

fn is_late(history: &[Step], claims: &Claims<()>, mistake: Mistake) -> bool {
    let heard = Heard::of_size(HOUR, 1, 1);
    claims.asked().forget();
    // Everything was heard before, and the token was found live.
    heard.floor.set(moment(1));
    claims.asked().answered(moment(2), Known::Live);
    let (mut is_live, mut is_announced, mut was_told) = (true, false, false);
    let (mut returned, mut asked, mut read) = (None, moment(0), Known::Nothing);
    let (mut sent, mut brings) = (moment(0), false);
    for (place, step) in history.iter().enumerate() {
        let now = moment(10 + place as u64);
        match step {
            Step::Delete => is_live = false,
            Step::Announce => is_announced = true,
            Step::Return => returned = Some(now),
            Step::Ask(Stage::Sent) => asked = now,
            Step::Ask(Stage::AtStore) => read = if is_live { Known::Live } else { Known::Ended },
            Step::Ask(Stage::Arrived) => claims.asked().answered(asked, read),
            Step::Poll(_, Stage::Sent) => sent = now,
            Step::Poll(_, Stage::AtStore) => {
                brings = is_announced && !std::mem::replace(&mut was_told, is_announced)
            }
            Step::Poll(_, Stage::Arrived) => {
                let merged = if mistake == Mistake::DatesEntriesByTheStartOfThePoll { sent } else { now };
                if brings {
                    heard.merge(["session"], merged);
                }
                heard.is_complete_as_of(sent);
            }
            Step::Request => {
                let Some(returned) = returned else { return false };
                // The longest bound of which this is too late.
                let Some(bound) = (now.monotonic - returned.monotonic).checked_sub(1) else {
                    return false;
                };
                return heard.known(claims, Duration::from_nanos(bound), now) == Known::Live;
            }
        }
    }
    false
}

#[test]
fn no_interleaving_serves_an_ended_session_after_the_bound_and_each_mistake_does() {
    assert_eq!(late(Mistake::None), (0, 240_240));
    for mistake in [Mistake::AnnouncesBeforeDeleting, Mistake::DatesEntriesByTheStartOfThePoll] {
        assert!(late(mistake).0 > 0, "{mistake:?}");
    }
}

#[test]
fn entries_are_kept_as_long_as_tokens_live_and_then_dropped() {
    let heard = Heard::new(HOUR);
    let at = |minutes: u64| Moment { monotonic: minutes * 60 * 1_000_000_000 + 1, wall: 0 };
    let claims = claims();
    heard.merge(["session"], at(1));
    for minutes in 2..=60 {
        heard.merge(["other"], at(minutes));
        assert!(heard.has_entry(&claims), "after {minutes} minutes");
    }
    for minutes in 61..200 {
        heard.merge(["other"], at(minutes));
    }
    assert!(!heard.has_entry(&claims));
    assert_eq!(heard.len(), 1);
}

#[test]
fn what_was_missed_is_asked_about_once_and_too_many_entries_are_a_gap() {
    let heard = Heard::new(HOUR);
    let claims = claims();
    let limit = Duration::from_secs(1);
    let at = |seconds: u64| Moment { monotonic: seconds * 1_000_000_000, wall: seconds * 1000 };
    heard.miss(at(10));
    heard.is_complete_as_of(at(10));
    // Its time of issue is far later than this clock; only a question after the gap counts for a token from before.
    assert_eq!(
        heard.known(&claims, limit, at(10)),
        Known::Live,
        "issued later than everything that was missed"
    );
    claims.asked().answered(at(9), Known::Live);
    heard.miss(Moment { wall: u64::MAX, ..at(11) });
    heard.is_complete_as_of(at(20));
    assert_eq!(heard.known(&claims, limit, at(20)), Known::Nothing, "asked before");
    claims.asked().answered(at(20), Known::Live);
    heard.is_complete_as_of(at(50));
    assert_eq!(heard.known(&claims, limit, at(50)), Known::Live, "asked since");
    assert_eq!(heard.known(&claims, limit, at(52)), Known::Nothing, "this node is behind");

    let sessions: Vec<_> = (0..=MOST).map(|number| number.to_string()).collect();
    let late = Moment { wall: u64::MAX, ..at(53) };
    assert!(!heard.merge(sessions.iter().map(String::as_str), late), "one too many");
    assert_eq!(heard.len(), 0);
    heard.is_complete_as_of(at(54));
    assert_eq!(heard.known(&claims, limit, at(54)), Known::Nothing, "each is asked about once");
}
