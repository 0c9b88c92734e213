//! The server: a gRPC service that must know who asks, and the layers around it.

use std::vec;

use futures_util::stream;
use serde::{Deserialize, Serialize};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{self, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tonic_web::GrpcWebLayer;
use tower_cookie_jwt::{Claims, Sessions, reject::GrpcStatus, tonic::RequestClaims};

/// What the application keeps in the token about its users.
#[derive(Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

/// Serves until `stopped`.
pub(crate) async fn run(
    sessions: Sessions<User>,
    incoming: TcpIncoming,
    stopped: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    Server::builder()
        // Browsers speak gRPC-web, and without TLS they do so over HTTP/1.1. Its layer goes outside of ours,
        // so that our refusals are translated for them as well.
        .accept_http1(true)
        .layer(GrpcWebLayer::new())
        // Refusals become gRPC statuses. That is opt-in: a server that speaks plain HTTP too must not
        // answer a refusal with 200.
        .layer(sessions.layer().with_rejection(GrpcStatus))
        .add_service(HealthServer::new(ShopHealth))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
}

/// Tells signed-in users how the parts of the shop are doing.
struct ShopHealth;

#[tonic::async_trait]
impl Health for ShopHealth {
    type WatchStream = stream::Iter<vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    /// Anybody who is signed in may ask about the shop; about its database only with the scope `ops`.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // The layers have verified the token already, so this cannot fail for lack of one.
        let claims = request.claims::<User>()?;
        if request.get_ref().service == "database" {
            claims.require_scope("ops")?; // PERMISSION_DENIED where it is missing
        }
        greet(claims, serving(ServingStatus::Serving))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // The same without the extension trait.
        let claims = request.extensions().get::<Claims<User>>();
        let claims = claims.ok_or_else(|| Status::internal("the layers are missing"))?;
        let updates = [ServingStatus::Serving, ServingStatus::NotServing, ServingStatus::Serving];
        let updates: Vec<_> = updates.into_iter().map(|update| Ok(serving(update))).collect();
        greet(claims, stream::iter(updates))
    }
}

/// The answer, with the user's name in the response metadata.
fn greet<T>(claims: &Claims<User>, answer: T) -> Result<Response<T>, Status> {
    let name: MetadataValue<Ascii> =
        claims.custom().name.parse().map_err(|_| Status::internal("the name is not ASCII"))?;
    let mut response = Response::new(answer);
    response.metadata_mut().insert("user", name);
    Ok(response)
}

fn serving(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
