//! The server of the browser tests: the crate's layers around what the `spa` example has not.
//!
//! Counts what its handlers did and records every request with its answer, see [`record`]. Settings come
//! from the environment, see [`config`]. Not an application to copy from: that is `spa`.

mod api;
mod config;
mod device;
mod files;
mod recipes;
mod record;
mod store;

use std::{error::Error, net::Ipv4Addr};

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

use self::{config::Config, record::Record, store::LabStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let config = Config::from_env()?;
    let record = Record::default();
    let store = LabStore::new();
    let sessions = config.sessions(store.clone(), record.clone())?;
    let mut app = Router::new()
        .merge(api::routes(sessions.clone(), record.clone(), config.unprotected))
        .merge(device::routes(sessions.clone(), record.clone()))
        .merge(recipes::routes(sessions, record.clone(), config.clients.clone()))
        .merge(files::routes(config.clients.clone()));
    if config.open_cors {
        app = app.layer(CorsLayer::very_permissive());
    }
    // Outermost, so that refusals by the layers are seen too; not around the routes that read it.
    let app = app
        .layer(middleware::from_fn_with_state(record.clone(), record::observe))
        .merge(record::routes(record, store));

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
