//! Ids, tag keys, prefixes, and what errors say.

use tower_cookie_jwt::store::{NewRecord, RedisStore, RefreshStore, SessionId, Stamps, Update};

use super::*;

#[tokio::test]
async fn hostile_ids_match_nothing_and_change_nothing() {
    let redis = Redis::start();
    let store = open(&redis).await;
    let mut record = sign_in(&store, "ada").await;
    let (tag, member) = record.id.as_str().split_at(16);
    let hostile = [
        String::new(),
        "{".into(),
        "}".into(),
        "{}".into(),
        tag.to_owned(),
        format!("{tag}}}:{member}"),
        format!("{tag} {member}"),
        format!("{tag}{}", "*".repeat(22)),
        format!("{tag}{}", "}".repeat(22)),
        format!("{tag}{member}\r\nFLUSHALL\r\n"),
        format!("{tag}{}\n", &member[1..]),
        format!("{tag}{}\0", &member[1..]),
        format!("{}{member}", "é".repeat(8)),
        record.id.as_str().to_uppercase(),
        record.id.as_str().repeat(1000),
    ];
    for id in hostile.map(SessionId::new) {
        let snapshot = store.read(&id).await.expect("a missing session is not an error");
        assert!(snapshot.record.is_none(), "{id:?}");
        assert!(snapshot.now >= record.created_at - MINUTE, "the time of the store is returned anyway");
        assert!(!store.remove(&id).await.expect("a missing session is not an error"), "{id:?}");
        assert_eq!(store.remove_all("eve", Some(&id)).await.expect("nothing to keep"), 0, "{id:?}");
        let mut forged = record.clone();
        forged.id = id;
        assert_eq!(
            store.update(&forged, Stamps::default()).await.expect("it is not found"),
            Update::Gone,
            "{:?}",
            forged.id
        );
    }
    for id in ["", "{a}", "0123456789abcdef"] {
        store.create(NewRecord::new(id.into(), "ada", [7; 32])).await.expect_err("the id has a foreign form");
    }
    // An id that is another subject's would hide the session from its own subject's list.
    store.create(NewRecord::new(store.new_id("eve"), "ada", [7; 32])).await.expect_err("the id is eve's");
    let keys: u64 = run(&mut admin(&redis.url()).await, "DBSIZE").await;
    assert_eq!(keys, 2, "there is ada's session and nothing else");
    record.label = "used".into();
    assert!(store.update(&record, Stamps::default()).await.expect("the store answers").is_done());
}

#[tokio::test]
async fn prefix_separates_two_stores_on_one_server() {
    let redis = Redis::start();
    let shop = open(&redis).await;
    let forum = open(&redis).await.with_key_prefix("forum/").expect("it has no braces");
    let (one, other) = (sign_in(&shop, "ada").await, sign_in(&forum, "ada").await);
    assert!(read(&shop, &other).await.is_none(), "one store's session is not the other's");
    assert!(read(&forum, &one).await.is_none(), "one store's session is not the other's");
    assert_eq!(shop.remove_all("ada", None).await.expect("the store answers"), 1);
    assert_eq!(forum.list("ada").await.expect("the store answers"), [other]);
    for prefix in ["{", "}", "a{b}c"] {
        let error = forum.clone().with_key_prefix(prefix).expect_err("braces decide the slot");
        assert!(error.to_string().contains("no braces"), "{error}");
    }
}

#[tokio::test]
async fn another_tag_key_finds_sessions_by_id_but_does_not_list_them() {
    let redis = Redis::start();
    let former = open(&redis).await;
    let present = RedisStore::connect(&redis.url(), [8; 16]).await.expect("the server answers");
    let record = sign_in(&former, "ada").await;
    assert_eq!(read(&present, &record).await.as_ref(), Some(&record), "requests go on");
    assert!(
        present.update(&record, Stamps::default()).await.expect("the store answers").is_done(),
        "rotation, too"
    );
    assert!(present.list("ada").await.expect("the store answers").is_empty());
    assert_eq!(former.list("ada").await.expect("the store answers").len(), 1, "the index is up to date");
    assert!(present.remove(&record.id).await.expect("the store answers"), "and so does sign-out");
    assert!(former.list("ada").await.expect("the store answers").is_empty(), "also in its index");
}

#[tokio::test]
async fn short_tag_key_is_refused_with_the_remedy() {
    let error = RedisStore::connect("redis://127.0.0.1:1", [7; 15]).await.expect_err("15 bytes are too few");
    assert!(error.to_string().contains("at least 16 bytes"), "{error}");
    let error = RedisStore::connect_cluster(["redis://127.0.0.1:1"], []).await.expect_err("none is too few");
    assert!(error.to_string().contains("openssl rand"), "{error}");
}

#[tokio::test]
async fn no_error_and_no_debug_output_has_a_password_or_a_key() {
    let redis = Redis::start_with(&["--requirepass", "correct-password"]);
    let with = |password: &str| redis.url().replace("//", &format!("//:{password}@"));
    let store = open_url(&with("correct-password")).await;
    sign_in(&store, "ada").await;
    assert!(!format!("{store:?}").contains("correct-password"), "{store:?}");
    let tag_key = b"secret-tag-key-of-the-store";
    let secret = RedisStore::connect(&with("correct-password"), tag_key).await.expect("it answers");
    assert!(!format!("{secret:?}").contains("115, 101") && !format!("{secret:?}").contains("secret"));

    let mut urls = vec![redis.url(), with("secret-password")];
    for bad in [
        "1:99999",
        "host:port",
        "[::1",
        "",
        "0.0.0.0",
        "127.0.0.1:1",
        "127.0.0.1/x",
        "127.0.0.1/0?protocol=secret-password",
    ] {
        for scheme in ["redis", "rediss", "http", "redis+cluster"] {
            urls.push(format!("{scheme}://user:secret-password@{bad}"));
        }
    }
    for url in urls {
        let error = RedisStore::connect(&url, TAG_KEY).await.expect_err("the URL is wrong");
        assert!(!all_words(&error).contains("secret-password"), "{url}: {}", all_words(&error));
        let error = RedisStore::connect_cluster([url.as_str()], TAG_KEY).await.expect_err("the URL is wrong");
        assert!(!all_words(&error).contains("secret-password"), "{url}: {}", all_words(&error));
    }
}
