//! A server on a port of its own, with every connection and stream in the tree.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pando_context::{Ctx, Kind, Reason, ReasonKind};
use pando_context_middleware::TreeExecutor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tower::Service;

const SERVER: Kind = Kind::new("server");
const CONNECTION: Kind = Kind::new("connection");

/// What a server speaks, without TLS.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    Http1,
    Http2,
}

pub(crate) async fn serve<S, B>(ctx: &Ctx, version: Version, service: S) -> SocketAddr
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    ctx.spawn(&SERVER, move |ctx| async move {
        loop {
            let (socket, peer) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            ctx.spawn_named(&CONNECTION, peer, move |ctx| async move {
                let io = TokioIo::new(socket);
                let _ended = match version {
                    Version::Http1 => {
                        http1::Builder::new().timer(TokioTimer::new()).serve_connection(io, service).await
                    }
                    Version::Http2 => http2::Builder::new(TreeExecutor::new(&ctx)).serve_connection(io, service).await,
                };
            })
            .detach();
        }
    })
    .detach();
    address
}

/// A connection of an HTTP/2 client, driven in the tree. It ends with the context or with the last handle.
pub(crate) async fn connect<B>(ctx: &Ctx, address: SocketAddr) -> hyper::client::conn::http2::SendRequest<B>
where
    B: http_body::Body + Send + Unpin + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let io = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TreeExecutor::new(ctx), io).await.unwrap();
    ctx.spawn(&CONNECTION, |_| async move { drop(connection.await) }).detach();
    sender
}

/// Deadlines for work that must begin before they pass: whoever is too slow for one tries the next.
pub(crate) const DEADLINES: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(20)];

/// Waits until something is true, for at most ten seconds.
pub(crate) async fn until(ctx: &Ctx, condition: impl Fn() -> bool) {
    let looking = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    ctx.timeout(&Kind::new("until"), Duration::from_secs(10), looking).await.unwrap();
}

/// Tells a test why a piece of work ended, at the moment when it is dropped.
#[derive(Clone)]
pub(crate) struct Witness {
    sender: UnboundedSender<Option<(ReasonKind, String)>>,
    begun: Arc<AtomicUsize>,
}

pub(crate) type Testimony = UnboundedReceiver<Option<(ReasonKind, String)>>;

impl Witness {
    pub(crate) fn new() -> (Self, Testimony) {
        let (sender, receiver) = unbounded_channel();
        (Self { sender, begun: Arc::default() }, receiver)
    }

    /// How much work has begun so far.
    pub(crate) fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    pub(crate) fn of(&self, ctx: &Ctx) -> Watched {
        self.begun.fetch_add(1, Ordering::SeqCst);
        Watched { witness: self.clone(), ctx: ctx.clone() }
    }
}

/// Lives in a future; dropped with it.
pub(crate) struct Watched {
    witness: Witness,
    ctx: Ctx,
}

impl Drop for Watched {
    fn drop(&mut self) {
        let reason = self.ctx.reason();
        let seen = reason.map(|reason: Arc<Reason>| (reason.kind(), reason.text().to_owned()));
        drop(self.witness.sender.send(seen));
    }
}
