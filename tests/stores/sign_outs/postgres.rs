//! On PostgreSQL.

use tokio::{task::block_in_place, time::sleep};
use tower_cookie_jwt::store::PostgresStore;

use super::{
    BOUND, faults,
    lot::{Way, lot},
    nodes::{A, B, C, Nodes},
    random,
    table::Table,
};
use crate::{
    poolers::{self, documented, pgbouncer},
    proxy::Proxy,
    servers::Postgres,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: see `tests/run long`"]
async fn sign_outs_count_within_the_bound_on_postgresql() {
    let mut table = Table::of("PostgreSQL");
    on_one_server(&mut table).await;
    through_a_pooler(&mut table).await;
    for loses_writes in [false, true] {
        on_a_promoted_standby(&mut table, loses_writes).await;
    }
    table.check();
}

async fn on_one_server(table: &mut Table) {
    let server = block_in_place(Postgres::start);
    let proxies = [Proxy::before(server.port()).await];
    let store = PostgresStore::connect(&server.url()).await.expect("it opens");
    let nodes = Nodes::start(store, [server.url(), server.url(), url(proxies[0].port())]);
    for round in 0..2 {
        faults::none(&nodes, table).await;
        faults::processes(&nodes, table).await;
        faults::way(&nodes, table, &proxies, round).await;
        let crash = async {
            sleep(random(200, 1200)).await;
            block_in_place(|| {
                let backends = server.backends("0");
                server.signal_backends(&backends[..1], "KILL");
            });
        };
        lot(&nodes, table.row("server crash"), Way::At(A), false, crash).await;
        let stop = async {
            sleep(random(0, 600)).await;
            server.signal("STOP");
            sleep(2 * BOUND).await;
            server.signal("CONT");
        };
        lot(&nodes, table.row("server stopped for a while"), Way::At(A), false, stop).await;
        let truncate = || server.run("TRUNCATE sessions");
        lot(&nodes, table.row("table emptied"), Way::All(&truncate), false, async {}).await;
        let delete = |users: &[String]| {
            server.run(&format!("DELETE FROM sessions WHERE subject IN ('{}')", users.join("', '")));
        };
        lot(&nodes, table.row("deleted by hand"), Way::Named(&delete), false, async {}).await;
    }
}

/// The third node reaches the server through PgBouncer in session mode.
async fn through_a_pooler(table: &mut Table) {
    let server = block_in_place(pgbouncer::database);
    let mut pooler = block_in_place(|| pgbouncer::before(&server, documented("session")));
    let proxy = Proxy::before(pooler.port()).await;
    let direct = poolers::url(server.port());
    let store = PostgresStore::connect(&direct).await.expect("it opens");
    let nodes = Nodes::start(store, [direct.clone(), direct, poolers::url(proxy.port())]);
    lot(&nodes, table.row("pooler in session mode"), Way::At(A), false, async {}).await;
    let restart = async {
        sleep(random(0, 800)).await;
        pooler = block_in_place(|| pgbouncer::before(&server, documented("session")));
        proxy.lead_to(pooler.port());
    };
    lot(&nodes, table.row("pooler restarted"), Way::At(A), false, restart).await;
}

/// The primary dies, and all are led to the standby: which has all that was confirmed, or has lost the last of it.
async fn on_a_promoted_standby(table: &mut Table, loses_writes: bool) {
    let mut primary = block_in_place(Postgres::start);
    let standby = block_in_place(|| Postgres::start_standby_of(&primary));
    if !loses_writes {
        block_in_place(|| primary.commit_on_standby());
    }
    let proxy = Proxy::before(primary.port()).await;
    let store = PostgresStore::connect(&url(proxy.port())).await.expect("it opens");
    let nodes = Nodes::start(store, [A, B, C].map(|_| url(proxy.port())));
    let promote = async {
        sleep(random(100, 400)).await;
        if loses_writes {
            standby.signal("STOP");
            sleep(random(100, 400)).await;
        }
        block_in_place(|| {
            primary.kill();
            if loses_writes {
                standby.signal("CONT");
            }
            standby.promote();
        });
        proxy.lead_to(standby.port());
    };
    let fault = if loses_writes { "promotion, writes lost" } else { "promotion" };
    lot(&nodes, table.row(fault), Way::At(A), loses_writes, promote).await;
    lot(&nodes, table.row("after a promotion"), Way::At(A), false, async {}).await;
}

fn url(port: u16) -> String {
    format!("postgres://postgres@127.0.0.1:{port}/postgres")
}
