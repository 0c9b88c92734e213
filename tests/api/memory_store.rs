//! `MemoryStore`: compare-and-set, purging, and what happens when it is full.

use std::time::{Duration, SystemTime};

use tower_cookie_jwt::{
    Clock, MemoryStore, Sessions,
    session::SessionError,
    store::{Created, NewRecord, RefreshStore, SessionId, SessionRecord, Stamps, Update},
    testing::TestClock,
};

use crate::shop::{DAY, SECRET, User, role};

fn store() -> (TestClock, MemoryStore) {
    let clock = TestClock::new();
    (clock.clone(), MemoryStore::new().with_clock(clock))
}

fn session(store: &MemoryStore, subject: &str) -> NewRecord {
    NewRecord::new(store.new_id(subject), subject, [7; 32])
}

async fn create(store: &MemoryStore, subject: &str) -> SessionRecord {
    match store.create(session(store, subject)).await {
        Ok(Created::Done(record)) => record,
        other => panic!("{other:?}"),
    }
}

async fn read(store: &MemoryStore, id: &SessionId) -> (Option<SessionRecord>, SystemTime) {
    let Ok(snapshot) = store.read(id).await;
    (snapshot.record, snapshot.now)
}

#[tokio::test(flavor = "current_thread")]
async fn new_session_begins_unconfirmed_at_the_stores_time() {
    let (clock, store) = store();
    let record = create(&store, "ada").await;
    let now = clock.now();
    assert_eq!((record.generation, record.version, record.confirmed_at), (0, 0, None));
    assert_eq!((record.created_at, record.last_seen_at, record.rotated_at), (now, now, now));
    assert_eq!((record.idle_expires_at, record.absolute_expires_at), (now + 14 * DAY, now + 90 * DAY));
    clock.advance(DAY);
    assert_eq!(read(&store, &record.id).await, (Some(record), now + DAY));
    assert_eq!(read(&store, &"unknown".into()).await, (None, now + DAY));
}

#[tokio::test(flavor = "current_thread")]
async fn of_concurrent_writes_with_one_version_exactly_one_is_done() {
    let (_, store) = store();
    let mut record = create(&store, "ada").await;
    for round in 1..=3 {
        let mut writers = Vec::new();
        for label in ["one", "two", "three"] {
            let (store, mut record) = (store.clone(), record.clone());
            record.label = label.into();
            writers.push(tokio::spawn(async move { store.update(&record, Stamps::default()).await }));
        }
        let mut done = 0;
        for writer in writers {
            match writer.await.unwrap() {
                Ok(Update::Done(_)) => done += 1,
                Ok(other) => assert_eq!(other, Update::Conflict, "round {round}"),
            }
        }
        assert_eq!(done, 1, "round {round}");
        record = read(&store, &record.id).await.0.unwrap();
        assert_eq!(record.version, round, "the winner's write increments the version");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn removed_or_missing_session_is_never_written() {
    let (_, store) = store();
    let record = create(&store, "ada").await;
    assert_eq!(store.remove(&record.id).await, Ok(true));
    assert_eq!(store.remove(&record.id).await, Ok(false));
    assert_eq!(store.update(&record, Stamps::default()).await, Ok(Update::Gone));
    assert_eq!(read(&store, &record.id).await.0, None);
    assert_eq!(store.list("ada").await, Ok(vec![]));
    assert!(store.is_empty());
}

#[tokio::test(flavor = "current_thread")]
async fn lists_the_live_sessions_of_a_subject_oldest_first() {
    let (clock, store) = store();
    let mut ids = Vec::new();
    for age in 0..5 {
        let mut new = session(&store, "ada");
        new.idle = if age == 2 { DAY / 2 } else { 3 * DAY };
        let Ok(Created::Done(record)) = store.create(new).await else { panic!("full") };
        ids.push(record.id);
        create(&store, "bob").await;
        clock.advance(Duration::from_secs(60));
    }
    let listed = async |subject| {
        let Ok(records) = store.list(subject).await;
        records.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!(listed("ada").await, ids);
    clock.advance(DAY);
    ids.remove(2);
    assert_eq!(listed("ada").await, ids, "without the expired one");
    assert!(listed("eve").await.is_empty());

    assert_eq!(store.remove_all("ada", Some(&ids[1])).await, Ok(4), "the expired one was there still");
    assert_eq!(listed("ada").await, [ids[1].clone()]);
    assert_eq!(store.remove_all("bob", Some(&ids[1])).await, Ok(5), "another's session keeps nothing");
    assert_eq!(store.remove_all("eve", None).await, Ok(0));
    assert_eq!(store.len(), 1);
}

#[tokio::test(flavor = "current_thread")]
async fn expired_sessions_are_purged_on_insertion_and_live_ones_stay() {
    let (clock, store) = store();
    let mut used = create(&store, "ada").await;
    for _ in 0..10 {
        create(&store, "ada").await;
    }
    clock.advance(10 * DAY);
    used.idle_expires_at = clock.now() + 14 * DAY;
    assert!(matches!(store.update(&used, Stamps::default()).await, Ok(Update::Done(_))));
    clock.advance(4 * DAY - Duration::from_secs(1));
    create(&store, "bob").await;
    assert_eq!(store.len(), 12, "none has expired yet");
    clock.advance(Duration::from_secs(1));
    create(&store, "bob").await;
    assert_eq!(store.len(), 3);
    assert!(read(&store, &used.id).await.0.is_some(), "it has been used meanwhile");
    clock.advance(10 * DAY);
    create(&store, "eve").await;
    assert!(read(&store, &used.id).await.0.is_none(), "and is purged in its turn");
    assert_eq!(store.list("ada").await, Ok(vec![]));
}

/// More of them than a sign-in looks at while there is room.
#[tokio::test(flavor = "current_thread")]
async fn expired_sessions_are_purged_some_at_a_time_and_take_no_room() {
    let (clock, store) = store();
    let store = store.with_capacity(2000);
    for _ in 0..1500 {
        create(&store, "ada").await;
    }
    clock.advance(14 * DAY);
    let mut left = store.len();
    while left > 10 {
        create(&store, "bob").await;
        assert!(store.len() < left && left - store.len() < 500, "some of {left}: {}", store.len());
        left = store.len();
    }

    // Full, and those that come first have been used meanwhile.
    let store = MemoryStore::new().with_clock(clock.clone()).with_capacity(2000);
    for number in 0..2000 {
        let mut record = create(&store, "ada").await;
        clock.advance(Duration::from_millis(1));
        if number < 1990 {
            record.idle_expires_at = clock.now() + 20 * DAY;
            assert!(matches!(store.update(&record, Stamps::default()).await, Ok(Update::Done(_))));
        }
    }
    clock.advance(14 * DAY);
    for _ in 0..10 {
        create(&store, "bob").await;
    }
    assert!(matches!(store.create(session(&store, "eve")).await, Ok(Created::Full)), "all are live");
}

#[tokio::test(flavor = "current_thread")]
async fn full_store_refuses_sign_in_and_evicts_no_session() {
    let (clock, store) = store();
    let store = store.with_capacity(2);
    let keys = tower_cookie_jwt::KeyRing::hs256(SECRET).unwrap();
    let sessions = Sessions::<User>::builder(keys, store.clone())
        .with_audience("shop")
        .with_clock(clock.clone())
        .build()
        .unwrap();
    let (parts, ()) = http::Request::post("https://shop.example/login").body(()).unwrap().into_parts();
    for subject in ["ada", "bob"] {
        drop(sessions.sign_in(&parts, subject, role("customer")).await.unwrap());
    }
    let error = sessions.sign_in(&parts, "eve", role("customer")).await.unwrap_err();
    assert!(matches!(error, SessionError::Full), "{error}");
    assert_eq!(error.refusal().map(|refusal| refusal.status().as_u16()), Some(503));
    for (subject, count) in [("ada", 1), ("bob", 1), ("eve", 0)] {
        assert_eq!(sessions.list(subject).await.unwrap().len(), count, "{subject}");
    }

    assert_eq!(sessions.sign_out_everywhere("bob").await.unwrap(), 1);
    drop(sessions.sign_in(&parts, "eve", role("customer")).await.expect("there is room again"));
    clock.advance(14 * DAY);
    for _ in 0..2 {
        drop(sessions.sign_in(&parts, "bob", role("customer")).await.expect("expired sessions take no room"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn ids_are_unguessable_and_differ() {
    let (_, store) = store();
    let ids: std::collections::HashSet<_> = (0..1000).map(|_| store.new_id("ada")).collect();
    assert_eq!(ids.len(), 1000);
    assert!(ids.iter().all(|id| id.as_str().len() == 22), "128 bits");
}

#[tokio::test(flavor = "current_thread")]
async fn clones_share_the_sessions_and_debug_shows_no_secret() {
    let (_, store) = store();
    let mut new = session(&store, "ada");
    new.claims = r#"{"role":"confidential"}"#.into();
    new.xsrf_token = "xsrf-value".into();
    new.secret_hash = [171; 32];
    let texts = [format!("{new:?}"), format!("{:?}", store.create(new).await), format!("{store:?}")];
    for text in texts {
        for secret in ["confidential", "xsrf-value", "171, 171"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    assert_eq!(store.clone().len(), 1);
}
