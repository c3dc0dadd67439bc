//! What operators and probes can ask the process: health, metrics, and a look inside.
//!
//! Three small HTTP servers. Health and metrics are for the cluster; the debug server shows
//! contexts and queues and belongs on a loopback address. Connections are tasks of the tree, so
//! none is left when the server's context has ended.

mod client;
mod contexts;
mod debug;
mod readiness;
mod server;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pando_context::{Ctx, Task};
use tokio::net::TcpListener;

pub use self::client::{AskError, ask};
pub use self::debug::Debug;
pub use self::readiness::{Gate, Readiness};
use crate::metrics::{CONTENT_TYPE, Metrics};

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {purpose}: {source}; {}", advice(source, purpose))]
pub struct BindError {
    address: SocketAddr,
    purpose: Purpose,
    source: std::io::Error,
}

/// What a server is for, and by which flag its address is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    /// `/metrics`.
    Metrics,
    /// `/debug/...`, `/loglevel`.
    Debug,
}

impl Purpose {
    /// The flag that sets the address. Karmada's names where Karmada has one.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Health => "--health-probe-bind-address",
            Self::Metrics => "--metrics-bind-address",
            Self::Debug => "--debug-bind-address",
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Health => "health",
            Self::Metrics => "metrics",
            Self::Debug => "debug",
        })
    }
}

fn advice(source: &std::io::Error, purpose: &Purpose) -> String {
    let flag = purpose.flag();
    match source.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("end the process that uses it, or set {flag} to another port (:0 takes a free one)")
        }
        std::io::ErrorKind::PermissionDenied => format!("set {flag} to a port above 1023"),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("set {flag} to an address of this machine, or to 0.0.0.0")
        }
        _ => format!("set {flag} to another address"),
    }
}

/// Listens on an address. Port 0 takes a free one; the listener knows which.
///
/// # Errors
///
/// One line that names the address, the cause and the flag to change.
pub async fn listen(address: SocketAddr, purpose: Purpose) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| BindError { address, purpose, source })
}

/// Serves `/healthz`, `/livez` (the process answers: 200) and `/readyz` (200 once every gate is
/// open, 503 before; `?verbose` lists the gates as a Kubernetes API server does).
#[track_caller]
pub fn serve_health(ctx: &Ctx, listener: TcpListener, readiness: Readiness) -> Task<()> {
    let alive = || async { "ok\n" };
    let router = Router::new()
        .route("/healthz", get(alive))
        .route("/livez", get(alive))
        .route("/readyz", get(readyz))
        .with_state(readiness);
    server::serve(ctx, "health", listener, router)
}

async fn readyz(State(readiness): State<Readiness>, RawQuery(query): RawQuery) -> Response {
    let ready = readiness.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let asked = query.is_some_and(|query| query.split('&').any(|word| word.starts_with("verbose")));
    // Whoever asks why it is not ready should not have to ask twice.
    match ready && !asked {
        true => (status, "ok\n".to_owned()).into_response(),
        false => (status, readiness.to_string()).into_response(),
    }
}

/// Serves `/metrics`.
#[track_caller]
pub fn serve_metrics(ctx: &Ctx, listener: TcpListener, metrics: Metrics) -> Task<()> {
    let router = Router::new().route("/metrics", get(scrape)).with_state(metrics);
    server::serve(ctx, "metrics", listener, router)
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Serves `/debug/contexts`, `/debug/queues`, `/debug/members` and `/loglevel`. For loopback addresses: it tells
/// names of clusters and objects to whoever asks.
#[track_caller]
pub fn serve_debug(ctx: &Ctx, listener: TcpListener, debug: Debug) -> Task<()> {
    server::serve(ctx, "debug", listener, debug.router())
}
