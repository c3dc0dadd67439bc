//! Clients over the guarded stack: by explicit context ([`Requests`]), and kube's own.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body as HttpBody;
use kube::Client;
use kube::client::Body;
use pando_context::{Ctx, Kind, Scope};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, ServiceExt};

use super::Limits;
use super::error::{RequestError, Sent};
use super::guard::{self, Answer, Answering, Guard, Reports, Wire};

/// kube's client: a queue, and a task that takes from it.
const CLIENT: Kind = Kind::new("client");
const CLOSE: Kind = Kind::new("close");
/// More than enough for a message to a task of this process.
const CLOSING: Duration = Duration::from_secs(5);

/// Requests to one API server, each in the context of its caller. Clones share connections.
#[derive(Clone)]
pub struct Requests {
    guard: Guard,
    namespace: String,
}

impl Requests {
    pub(super) fn new(guard: Guard, namespace: String) -> Self {
        Self { guard, namespace }
    }

    /// Requests through a service that the caller brings: an API server in memory, or a client that exists already. `ctx` is
    /// the receiving side. Whether a request without an answer reached the server is not known here: it counts as sent.
    pub fn over<S, B>(ctx: &Ctx, limits: Limits, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
        S::Error: Into<BoxError>,
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = BoxCloneSyncService::new(service.map_err(Into::into).map_response(guard::boxed));
        Self::new(Guard::new(ctx.clone(), limits, Reports::default(), Wire::Unseen, service), "default".to_owned())
    }

    /// The same through a client of kube's.
    pub fn through(ctx: &Ctx, limits: Limits, client: Client) -> Self {
        let service = tower::service_fn(move |request| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Self::over(ctx, limits, service)
    }

    /// Sends one request on behalf of `caller`. It ends at its bounds, or earlier if the caller or the receiving side does.
    ///
    /// # Errors
    ///
    /// No answer came. What the server says, of whatever status, is an answer.
    pub async fn send(
        &self,
        caller: &Ctx,
        bounds: Bounds,
        request: Request<Body>,
    ) -> Result<Response<Answer>, RequestError> {
        let answer = self.guard.clone().carry(Some(caller.clone()), Some(bounds), request).await;
        answer.map_err(RequestError::from_stack)
    }

    /// A client of kube's over the same connections. Its requests are made on behalf of the context that polls them.
    ///
    /// It works until the receiving context ends, and its worker with it: clones that somebody keeps longer only fail.
    /// Must be called within a tokio runtime.
    pub fn client(&self) -> Client {
        let ctx = self.guard.ctx();
        let service = Worked { guard: self.guard.clone(), _in_tree: ctx.child(&CLIENT) };
        let client = Client::new(service, self.namespace.clone());
        // The worker sleeps until somebody asks something, and a service that is not ready any more is its end.
        let last = client.clone();
        let close = move |_: Ctx| async move { drop(last.send(Request::new(Body::empty())).await) };
        ctx.on_cancel(&CLOSE, CLOSING, close).keep();
        client
    }
}

/// Bounds of one request, in place of the limits of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For everything up to the end of the answer; for a watch, up to its begin.
    pub within: Duration,
    /// The largest answer in bytes, after decompression; for a watch, the largest event.
    pub bytes: u64,
}

impl std::fmt::Debug for Requests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Requests({:?})", self.guard.ctx())
    }
}

/// What the worker of kube's client owns. kube spawns that task past the tree, but it cannot outlive the scope in here, nor
/// the scope it.
struct Worked {
    guard: Guard,
    _in_tree: Scope,
}

impl Service<Request<Body>> for Worked {
    type Response = Response<Answer>;
    type Error = BoxError;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(match self.guard.ctx().check() {
            Ok(()) => Ok(()), // what is inside is made ready in the call, within its deadline
            Err(stop) => Err(RequestError::Closed { stop, sent: Sent::NotSent }.into()),
        })
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The worker calls, and whoever waits for the answer polls: its context is the current one from the first poll on.
        self.guard.clone().carry(None, None, request)
    }
}
