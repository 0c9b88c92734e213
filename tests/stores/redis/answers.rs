//! Answers that are lost, late or not waited for.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tower_cookie_jwt::store::{RefreshStore, Stamps, Update};

use super::{gate::Gate, *};

#[tokio::test]
async fn call_whose_response_was_lost_still_succeeds() {
    let redis = Redis::start();
    let gate = Gate::to(redis.port()).await;
    let store = open_url(&gate.url()).await;
    // The scripts are known, so that the answer that is lost is the one to the script.
    let record = sign_in(&store, "eve").await;
    store.update(&record, Stamps::default()).await.expect("the store answers");

    gate.lose_next_answer();
    let record = sign_in(&store, "ada").await;
    assert!(!gate.will_lose(), "an answer was lost");
    assert_eq!(read(&store, &record).await.as_ref(), Some(&record), "the answer tells what is stored");
    assert_eq!(store.list("ada").await.expect("the store answers").len(), 1, "it was created once");

    gate.lose_next_answer();
    let stamps = Stamps { confirmed_at: true, idle: Some(2 * MINUTE), ..Stamps::default() };
    let Update::Done(written) = store.update(&record, stamps).await.expect("the store answers") else {
        panic!("it is our own write");
    };
    assert!(!gate.will_lose(), "an answer was lost");
    assert!(written.version == 1 && written.confirmed_at.is_some(), "it was written once: {written:?}");
    assert_eq!(read(&store, &record).await, Some(*written), "the times are those of the write");
    assert_eq!(store.update(&record, Stamps::default()).await.expect("the store answers"), Update::Conflict);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn response_to_a_dropped_call_never_reaches_another_call() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut records = Vec::new();
    for number in 0..32 {
        let mut new = new_session(&store, "ada");
        new.label = number.to_string().into();
        records.push(create(&store, new).await);
    }
    let records = Arc::new(records);
    // A busy machine needs more patience until some calls are answered, and a fast one less until some are
    // dropped.
    let (mut patience, mut dropped, mut answered) = (Duration::from_micros(1500), 0, 0);
    let deadline = Instant::now() + 10 * BOUND;
    while dropped < 100 || answered < 100 {
        assert!(Instant::now() < deadline, "{dropped} dropped, {answered} answered");
        let (late, in_time) = read_and_drop(&store, &records, patience).await;
        (dropped, answered) = (dropped + late, answered + in_time);
        patience = if late > in_time { 2 * patience } else { patience / 2 };
    }
}

/// Reads records concurrently, each for a part of `patience`; returns how many reads were dropped and answered.
async fn read_and_drop(
    store: &RedisStore,
    records: &Arc<Vec<SessionRecord>>,
    patience: Duration,
) -> (u32, u32) {
    let most = u64::try_from(patience.as_micros()).expect("a short time").max(1);
    let readers = (0..16).map(|reader| {
        let (store, records) = (store.clone(), Arc::clone(records));
        tokio::spawn(async move {
            let (mut dropped, mut answered) = (0, 0);
            for turn in 0..400 {
                let record = &records[(reader * 7 + turn * 3) % records.len()];
                let patience = Duration::from_micros((turn as u64 * 37 + reader as u64 * 101) % most);
                match tokio::time::timeout(patience, store.read(&record.id)).await {
                    Err(_) => dropped += 1,
                    Ok(snapshot) => {
                        assert_eq!(snapshot.expect("the store answers").record.as_ref(), Some(record));
                        answered += 1;
                    }
                }
            }
            (dropped, answered)
        })
    });
    let mut total = (0, 0);
    for reader in readers.collect::<Vec<_>>() {
        let (dropped, answered) = reader.await.expect("every answer is the right one");
        total = (total.0 + dropped, total.1 + answered);
    }
    total
}

#[tokio::test]
async fn time_comes_from_the_server() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;
    let (seconds, micros): (u64, u64) = run(&mut admin(&redis.url()).await, "TIME").await;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
    let snapshot = store.read(&record.id).await.expect("the store answers");
    assert!(snapshot.now >= now && snapshot.now < now + BOUND);
    assert!(record.created_at <= now + Duration::from_millis(1));
}
