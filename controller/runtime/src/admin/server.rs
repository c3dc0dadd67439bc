//! HTTP/1.1 over the context tree: every connection is a task below its server, every request a context below its
//! connection. A request ends with its client.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use pando_context::{Ctx, Kind, Stop, Task};
use pando_context_middleware::ContextLayer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Layer as _;

const SERVER: Kind = Kind::new("server");
const CONNECTION: Kind = Kind::new("connection");

/// Connections of one server at a time: probes and scrapers are few. More wait to be accepted.
const CONNECTIONS: usize = 64;

/// How long a client may take to send the head of a request, idle time between two included.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long to wait after an accept that failed, which for want of file descriptors it does at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[track_caller]
pub(super) fn serve(ctx: &Ctx, name: &'static str, listener: TcpListener, router: Router) -> Task<()> {
    ctx.spawn_named(&SERVER, name, move |ctx| async move {
        match listener.local_addr() {
            Ok(address) => tracing::info!(server = name, %address, "listening"),
            Err(error) => tracing::info!(server = name, %error, "listening"),
        }
        // It ends only with its context, which is not worth a word.
        if let Err(stop) = accept(&ctx, &listener, router).await {
            tracing::debug!(server = name, %stop, "no longer listening");
        }
    })
}

async fn accept(ctx: &Ctx, listener: &TcpListener, router: Router) -> Result<(), Stop> {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = ctx.run(Arc::clone(&places).acquire_owned()).await?;
        match ctx.run(listener.accept()).await? {
            Ok((stream, peer)) => {
                let router = router.clone();
                ctx.spawn_named(&CONNECTION, peer, |ctx| async move {
                    connection(&ctx, stream, router).await;
                    drop(place);
                })
                .detach();
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
                ctx.sleep(ACCEPT_PAUSE).await?;
            }
        }
    }
}

async fn connection(ctx: &Ctx, stream: TcpStream, router: Router) {
    let service = TowerToHyperService::new(ContextLayer::new(ctx).layer(router));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "connection ended");
    }
}
