//! HTTP/1.1 over the context tree: every connection is a task below its server.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pando_context::{Ctx, Kind, Stop, Task};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

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
                ctx.spawn_named(&CONNECTION, peer, |_| async move {
                    connection(stream, router).await;
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

async fn connection(stream: TcpStream, router: Router) {
    let service = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        async move { Ok::<Response, Infallible>(answer(router, request.map(Body::new)).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "connection ended");
    }
}

async fn answer(router: Router, request: Request<Body>) -> Response {
    match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
