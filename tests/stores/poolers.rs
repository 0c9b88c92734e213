//! PgBouncer and HAProxy between the store and PostgreSQL, with the lines that the documentation has.

mod haproxy;
pub(crate) mod pgbouncer;

use std::error::Error;

use tower_cookie_jwt::store::PostgresStoreError;

use crate::servers::Postgres;

/// Returns the block of the recipe that follows this name.
pub(crate) fn documented(name: &str) -> &'static str {
    let recipe = include_str!("../../docs/recipes/poolers.md");
    let marker = format!("<!-- test: {name} -->\n```");
    let block = recipe.split_once(&marker).unwrap_or_else(|| panic!("the recipe has no `{name}`")).1;
    let block = block.split_once("\n```").expect("the block ends").0;
    block.split_once('\n').expect("it has lines").1
}

/// Replaces what the machines of the documentation have and those of a test do not.
fn replaced(text: &str, replacements: &[(&str, &str)]) -> String {
    replacements.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the recipe has no `{from}`");
        text.replace(from, to)
    })
}

/// Makes the role and the database of the recipe.
fn set_up(server: &Postgres) {
    // One by one, as a database is not made within a transaction.
    documented("role").lines().for_each(|statement| server.run(statement));
}

/// The address of the recipe, at this port.
pub(crate) fn url(port: u16) -> String {
    format!("postgres://web:correct%20horse@127.0.0.1:{port}/shop")
}

fn chain(error: &PostgresStoreError) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{error}: {source}")
}
