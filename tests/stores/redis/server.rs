//! One server: the contract, and what is kept where.

use std::time::Duration;

use tower_cookie_jwt::{
    store::{NewRecord, RedisStore, RefreshStore, Stamps, Update},
    testing::{store_contract, store_contract_at_size},
};

use super::*;

#[tokio::test]
async fn one_server_keeps_the_contract() {
    let redis = Redis::start();
    let store = open(&redis).await;
    store_contract(&store).await;
    store_contract_at_size(&store, 10_000).await;
    let left: Vec<String> = run(&mut admin(&redis.url()).await, "KEYS *").await;
    assert_eq!(left, ["sessions:{changes}"], "nothing else is left behind");
}

#[tokio::test]
async fn existing_connection_is_used() {
    let redis = Redis::start();
    let client = ::redis::Client::open(redis.url()).expect("a plain URL");
    let manager = client.get_connection_manager().await.expect("the server answers");
    let store = RedisStore::from_manager(manager, TAG_KEY).expect("the key is long enough");
    let record = sign_in(&store, "ada").await;
    assert_eq!(read(&open(&redis).await, &record).await, Some(record), "both are one store");
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    let record = sign_in(&store, "ada").await;
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    assert_eq!(read(&store, &record).await.as_ref(), Some(&record));
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    assert!(store.update(&record, Stamps::default()).await.expect("the store answers").is_done());
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    assert_eq!(store.list("ada").await.expect("the store answers").len(), 1);
    run::<()>(&mut admin, "SCRIPT FLUSH").await;
    assert_eq!(store.remove_all("ada", None).await.expect("the store answers"), 1);
}

#[tokio::test]
async fn every_key_expires_with_the_sessions_it_belongs_to() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut short = new_session(&store, "ada");
    short.idle = MINUTE;
    let mut long = create(&store, short.clone()).await;
    short.id = store.new_id("ada");
    let short = create(&store, short).await;
    long.idle_expires_at += 10 * MINUTE;
    assert!(store.update(&long, Stamps::default()).await.expect("the store answers").is_done());

    let mut admin = admin(&redis.url()).await;
    let keys: Vec<String> = run(&mut admin, "KEYS *").await;
    assert_eq!(keys.len(), 3, "two records and an index: {keys:?}");
    for key in keys {
        let left = Duration::from_millis(run(&mut admin, &format!("PTTL {key}")).await);
        let expected = if key.ends_with(&short.id.as_str()[16..]) { MINUTE } else { 11 * MINUTE };
        assert!(left <= expected && left + BOUND > expected, "{key} ends in {left:?}, not in {expected:?}");
    }

    // The longest session goes back to a minute, and its index with it.
    let mut long = read(&store, &long).await.expect("it is there");
    long.idle_expires_at -= 10 * MINUTE;
    assert!(store.update(&long, Stamps::default()).await.expect("the store answers").is_done());
    let index = format!("sessions:{{{}}}", &long.id.as_str()[..16]);
    let left = Duration::from_millis(run(&mut admin, &format!("PTTL {index}")).await);
    assert!(left <= MINUTE, "the index ends in {left:?}");
}

#[tokio::test]
async fn index_loses_sessions_that_have_ended() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut kept = sign_in(&store, "ada").await;
    for _ in 0..10 {
        let mut short = new_session(&store, "ada");
        short.idle = Duration::from_millis(50);
        create(&store, short).await;
    }
    let mut admin = admin(&redis.url()).await;
    let index = format!("ZCARD sessions:{{{}}}", &kept.id.as_str()[..16]);
    tokio::time::sleep(Duration::from_millis(60)).await;
    kept.label = "used".into();
    assert!(store.update(&kept, Stamps::default()).await.expect("the store answers").is_done());
    assert_eq!(run::<u64>(&mut admin, &index).await, 1, "the ended ones are gone from the index");

    // An update that ends a session removes it immediately.
    let mut kept = read(&store, &kept).await.expect("it is there");
    kept.idle_expires_at = kept.created_at;
    assert!(store.update(&kept, Stamps::default()).await.expect("the store answers").is_done());
    assert_eq!(run::<Vec<String>>(&mut admin, "KEYS *").await, [""; 0], "nothing is left");
}

#[tokio::test]
async fn versions_are_exact_beyond_what_a_double_can_hold() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    for version in [(1_u64 << 53) - 1, 1 << 53, (1 << 53) + 1, i64::MAX as u64 - 1, u64::MAX - 2] {
        let mut record = sign_in(&store, "ada").await;
        let (tag, member) = record.id.as_str().split_at(16);
        let mut set = ::redis::cmd("SETRANGE");
        set.arg(format!("sessions:{{{tag}}}:{member}")).arg(8).arg(version.to_be_bytes().as_slice());
        set.query_async::<()>(&mut admin).await.expect("the record is there");
        for near in [version - 1, version + 1] {
            record.version = near;
            assert_eq!(
                store.update(&record, Stamps::default()).await.expect("the store answers"),
                Update::Conflict,
                "{near}"
            );
        }
        record.version = version;
        assert!(
            store.update(&record, Stamps::default()).await.expect("the store answers").is_done(),
            "{version}"
        );
        assert_eq!(read(&store, &record).await.map(|record| record.version), Some(version + 1));
    }
}

#[tokio::test]
async fn id_in_use_is_not_overwritten() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let record = sign_in(&store, "ada").await;
    let again = NewRecord::new(record.id.clone(), "ada", [8; 32]);
    let error = store.create(again).await.expect_err("the id is in use");
    assert_eq!(error.to_string(), "the id of the new session is already in use");
    assert_eq!(read(&store, &record).await, Some(record));
}

#[tokio::test]
async fn value_that_is_not_a_record_is_an_error() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    let record = sign_in(&store, "ada").await;
    let (tag, member) = record.id.as_str().split_at(16);
    run::<()>(&mut admin, &format!("SET sessions:{{{tag}}}:{member} nonsense EX 60")).await;
    let error = store.read(&record.id).await.expect_err("it is not a record");
    assert_eq!(
        error.to_string(),
        "a stored session is corrupt or was written by a later version of tower-cookie-jwt"
    );
    store.list("ada").await.expect_err("it is not a record");
    assert_eq!(store.remove_all("ada", None).await.expect("the store answers"), 1, "it can be removed");
}

#[tokio::test]
async fn value_of_the_former_format_is_read_and_written_in_the_present_one() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut admin = admin(&redis.url()).await;
    let record = sign_in(&store, "ada").await;
    let (tag, member) = record.id.as_str().split_at(16);
    let times = [5000_u64, 1000, 6000, 4_102_444_800_000, 4_102_444_800_000, u64::MAX];
    let mut value = [[1; 8], 9_u64.to_be_bytes()].concat();
    value.push(1);
    value.extend(times.map(u64::to_be_bytes).concat());
    value.extend(7_u32.to_be_bytes());
    value.extend([7; 32]);
    for text in ["ada", "read", "{}", "x", "label"] {
        value.extend(u32::try_from(text.len()).expect("short").to_be_bytes());
        value.extend(text.as_bytes());
    }
    let mut set = ::redis::cmd("SET");
    set.arg(format!("sessions:{{{tag}}}:{member}")).arg(value).arg("KEEPTTL");
    set.query_async::<()>(&mut admin).await.expect("it is set");

    let at = |millis| std::time::UNIX_EPOCH + Duration::from_millis(millis);
    let former = read(&store, &record).await.expect("it is there");
    assert_eq!((former.generation, former.parent, former.seen, former.version), (7, 6, Some(6), 9));
    assert_eq!(former.confirmed_at, Some(at(0)), "seen long ago");
    assert_eq!([former.rotated_at, former.issued_at, former.claims_at], [at(5000); 3]);
    assert_eq!(store.list("ada").await.expect("the store answers"), std::slice::from_ref(&former));
    let Update::Done(written) = store.update(&former, Stamps::default()).await.expect("the store answers")
    else {
        panic!("the version is the same");
    };
    assert_eq!(read(&store, &record).await.as_ref(), Some(&*written));
    let mut expected = former;
    expected.version = 10;
    assert_eq!(*written, expected);
}
