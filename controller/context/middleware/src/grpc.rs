//! gRPC's words, by way of tonic.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Response, Version};
use pando_context::{Ctx, ReasonKind, Stop};
use tonic::{Code, Status};

use crate::ContextLayer;
use crate::deadline::{self, Malformed};
use crate::protocol::{Protocol, sealed};

/// gRPC: deadlines from `grpc-timeout`, stops as a status, in the head or in trailers.
#[derive(Clone, Copy, Debug)]
pub struct Grpc;

impl ContextLayer<Grpc> {
    /// For gRPC servers: contexts of requests are children of `parent`, named by service and method.
    ///
    /// A layer and not an interceptor: an interceptor sees the head of a request and has no hold on what becomes of it.
    /// It goes around generated services and around `tonic::transport::Server` (`Server::layer`) alike. tonic's own
    /// server also reads `grpc-timeout`, outside of every layer, and answers a moment later with a text of its own.
    pub fn grpc(parent: &Ctx) -> Self {
        Self::of(parent)
    }
}

impl sealed::Sealed for Grpc {}

impl Protocol for Grpc {
    fn asked(head: &Parts) -> Result<Option<Duration>, Malformed> {
        deadline::of_grpc(&head.headers)
    }

    fn name(head: &Parts) -> String {
        head.uri.path().trim_start_matches('/').to_owned()
    }

    fn malformed(error: &Malformed) -> Response<Bytes> {
        Status::invalid_argument(error.to_string()).into_http()
    }

    fn stopped(_: Version, stop: &Stop) -> Response<Bytes> {
        status(stop).into_http()
    }

    fn trailers(stop: &Stop) -> Option<HeaderMap> {
        let mut trailers = HeaderMap::new();
        status(stop).add_header(&mut trailers).ok().map(|()| trailers)
    }
}

/// What a stop is called in gRPC: `DEADLINE_EXCEEDED`; `CANCELLED` where the caller, or somebody on its behalf, wanted
/// the end; `UNAVAILABLE`, which callers retry, where the server was the one that could not go on.
///
/// ```
/// use pando_context::{Ctx, Kind, Scope, Stop};
/// use pando_context_middleware::status;
/// use std::time::Duration;
///
/// async fn answer(ctx: &Ctx) -> Result<(), tonic::Status> {
///     ctx.sleep(Duration::from_secs(3600)).await.map_err(|stop: Stop| status(&stop))
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let root = Scope::root("server");
/// let call = root.ctx().with_timeout(&Kind::new("call"), Duration::from_secs(1));
/// // There is no point in waiting for longer than there is time.
/// assert_eq!(answer(call.ctx()).await.unwrap_err().code(), tonic::Code::DeadlineExceeded);
/// # });
/// ```
pub fn status(stop: &Stop) -> Status {
    let code = match stop.reason().kind() {
        ReasonKind::Deadline => Code::DeadlineExceeded,
        ReasonKind::ClientGone | ReasonKind::Requested | ReasonKind::SiblingFailed => Code::Cancelled,
        _ => Code::Unavailable,
    };
    Status::new(code, stop.to_string())
}

/// The context of a request, for methods of tonic's services. Code that they call takes it as an argument.
///
/// # Errors
///
/// `INTERNAL` if the server has no [`ContextLayer`].
pub fn request_ctx<T>(request: &tonic::Request<T>) -> Result<Ctx, Status> {
    let ctx = request.extensions().get().cloned();
    ctx.ok_or_else(|| Status::internal("this service has no context: add ContextLayer::grpc to its server"))
}
