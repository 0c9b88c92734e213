//! The server: a gRPC service for signed-in users, and the layers around it.

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

/// The application's own claims.
#[derive(Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) name: String,
}

/// Serves until `stopped` completes.
pub(crate) async fn run(
    sessions: Sessions<User>,
    incoming: TcpIncoming,
    stopped: impl Future<Output = ()>,
) -> Result<(), transport::Error> {
    Server::builder()
        // Browsers use gRPC-web, and without TLS over HTTP/1.1. `GrpcWebLayer` must be outside the session layer,
        // so that it translates refusals as well.
        .accept_http1(true)
        .layer(GrpcWebLayer::new())
        // Refusals become gRPC statuses. This is opt-in, because gRPC statuses come with HTTP status 200, which would
        // be wrong for plain HTTP clients of the same server.
        .layer(sessions.layer().with_rejection(GrpcStatus))
        .add_service(HealthServer::new(ShopHealth))
        .serve_with_incoming_shutdown(incoming, stopped)
        .await
}

/// Tells signed-in users whether the parts of the shop are up.
struct ShopHealth;

#[tonic::async_trait]
impl Health for ShopHealth {
    type WatchStream = stream::Iter<vec::IntoIter<Result<HealthCheckResponse, Status>>>;

    /// Any signed-in user may ask about the shop; asking about its database requires the scope `ops`.
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // Fails only if the layer is missing: it refuses requests without a valid token.
        let claims = request.claims::<User>()?;
        if request.get_ref().service == "database" {
            claims.require_scope("ops")?; // PERMISSION_DENIED without it
        }
        greet(claims, serving(ServingStatus::Serving))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        // The claims are also available without the extension trait.
        let claims = request.extensions().get::<Claims<User>>();
        let claims = claims.ok_or_else(|| Status::internal("the server is not behind the session layer"))?;
        let updates = [ServingStatus::Serving, ServingStatus::NotServing, ServingStatus::Serving];
        let updates: Vec<_> = updates.into_iter().map(|update| Ok(serving(update))).collect();
        greet(claims, stream::iter(updates))
    }
}

/// Wraps `answer` in a response with the user's name in its metadata.
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
