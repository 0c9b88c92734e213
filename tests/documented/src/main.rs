//! Opens stores over TLS with the lines of the documentation: `documented KIND URL… [CERTIFICATE]`.

use std::error::Error;

use tower_cookie_jwt::store::{PostgresStore, RedisStore};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let tag_key = b"sixteen bytes or more";
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["postgres", url] => PostgresStore::connect(url).await?.ping().await?,
        ["redis", url, certificate] => {
            let store = RedisStore::options()
                .with_root_certificate(std::fs::read(certificate)?)
                .connect(url, tag_key)
                .await?;
            store.ping().await?;
        }
        ["cluster", urls @ .., certificate] => {
            let store = RedisStore::options()
                .with_root_certificate(std::fs::read(certificate)?)
                .connect_cluster(urls.iter().copied(), tag_key)
                .await?;
            store.ping().await?;
        }
        _ => {
            return Err(
                "usage: documented postgres URL | redis URL CERTIFICATE | cluster URL… CERTIFICATE".into()
            );
        }
    }
    println!("connected");
    Ok(())
}
