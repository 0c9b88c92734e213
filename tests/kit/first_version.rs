//! Sessions that the first version of a schema stored, as a later one reads them.

use std::time::{Duration, SystemTime};

use tower_cookie_jwt::store::{RefreshStore, Stamps};

/// Checks that all nodes read the four sessions of ada alike, and write them as they were read.
pub(crate) async fn check_migrated<S: RefreshStore>(nodes: &[S], claims: &str) {
    let at = |millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis);
    for (id, generation, parent, seen, confirmed_at) in [
        ("new", 0, 0, None, None),
        ("begun", 0, 0, Some(0), Some(at(5000))),
        // Seen long ago.
        ("rotated", 7, 6, Some(6), Some(at(0))),
        ("used", 7, 6, Some(7), Some(at(5000))),
    ] {
        let record = nodes[0].read(&id.into()).await.expect("it reads").record.expect("it is there");
        assert_eq!((record.generation, record.parent, record.seen), (generation, parent, seen), "{id}");
        assert_eq!(record.confirmed_at, confirmed_at, "{id}");
        assert_eq!([record.rotated_at, record.issued_at, record.claims_at], [at(4000); 3], "{id}");
        assert_eq!((record.created_at, record.last_seen_at), (at(1000), at(6000)), "{id}");
        assert_eq!((&*record.scope, &*record.claims, &*record.label), ("read", claims, "l"), "{id}");
        assert_eq!((record.extension.len(), record.version), (0, 9), "{id}");
        assert!(nodes[1].list("ada").await.expect("it lists").contains(&record), "{id}");
        assert!(nodes[2].update(&record, Stamps::default()).await.expect("it writes").is_done(), "{id}");
        let stored = nodes[3].read(&record.id).await.expect("it reads").record;
        let mut expected = record;
        expected.version = 10;
        assert_eq!(stored, Some(expected), "{id}");
    }
}
