//! On SQLite: three processes on one file.

use sqlx::{Connection, SqliteConnection};
use tokio::{runtime::Handle, time::sleep};
use tower_cookie_jwt::store::SqliteStore;

use super::{
    faults,
    lot::{Way, lot},
    nodes::{A, B, C, Nodes},
    random,
    table::Table,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn sign_outs_count_within_the_bound_on_sqlite() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("sessions.sqlite");
    let path = path.to_str().expect("temporary folders have plain names");
    let store = SqliteStore::open(path).await.expect("it opens");
    let nodes = Nodes::start(store, [A, B, C].map(|_| format!("sqlite:{path}")));
    let mut table = Table::of("SQLite");
    for _ in 0..4 {
        faults::none(&nodes, &mut table).await;
        faults::processes(&nodes, &mut table).await;
        let kill_all = async {
            for _ in 0..2 {
                sleep(random(200, 800)).await;
                [A, B, C].into_iter().for_each(|node| nodes.kill(node));
                [A, B, C].into_iter().for_each(|node| nodes.restart(node));
            }
        };
        lot(&nodes, table.row("all nodes killed"), Way::At(A), false, kill_all).await;
        let delete = |users: &[String]| {
            by_hand(path, &format!("DELETE FROM sessions WHERE subject IN ('{}')", users.join("', '")));
        };
        lot(&nodes, table.row("deleted by hand"), Way::Named(&delete), false, async {}).await;
        let empty = || by_hand(path, "DELETE FROM sessions");
        lot(&nodes, table.row("table emptied"), Way::All(&empty), false, async {}).await;
    }
    table.check();
}

/// Over a connection that is not the store's.
fn by_hand(path: &str, statement: &str) {
    Handle::current().block_on(async {
        let mut connection = SqliteConnection::connect(path).await.expect("it opens");
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.expect("it deletes");
        connection.close().await.expect("it ends");
    });
}
