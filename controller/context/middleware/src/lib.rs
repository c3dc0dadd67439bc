//! The context tree at the edges of a process: what comes in over HTTP and gRPC, and what goes out to a database.
//!
//! Inside a process, [`pando_context`] gives every piece of work an owner, a deadline and a reason for its end. This
//! package makes the same words hold where the work meets protocols that have words of their own:
//!
//! | Meaning | HTTP ([`ContextLayer::new`]) | gRPC (`ContextLayer::grpc`) | Database (`Transaction`) |
//! |---|---|---|---|
//! | how long it may take | `?timeout=`, `x-request-timeout`, `grpc-timeout` | `grpc-timeout` | `statement_timeout` of PostgreSQL |
//! | the trace it belongs to | `traceparent` | `traceparent` | `application_name` of PostgreSQL |
//! | the caller has gone | the connection or stream ends | the stream is reset | – |
//! | time has run out | 504 with the reason | `DEADLINE_EXCEEDED` | rolled back |
//! | the server stops | 503 with `retry-after` | `UNAVAILABLE` | rolled back |
//! | cut off while the answer streams | the connection or stream breaks | the status, in trailers | – |
//!
//! # Servers
//!
//! [`ContextLayer`] is a [`tower::Layer`] for hyper, axum and tonic alike. Each request gets a context below the one
//! the layer was made with, `request/GET /readyz`. Its handler is polled inside that context, so [`Ctx::current`]
//! finds it; it is in the request's extensions, too (with feature `axum`: the extractor `RequestCtx`).
//!
//! ```
//! use axum::{Router, body::Body, routing::get};
//! use http::{Request, StatusCode};
//! use pando_context::{ReasonKind, Scope};
//! use pando_context_middleware::{ContextLayer, RequestCtx};
//! use std::time::Duration;
//! use tower::ServiceExt as _;
//!
//! /// Works for as long as somebody waits for the answer, and no longer.
//! async fn report(RequestCtx(ctx): RequestCtx) -> String {
//!     format!("{}, and {} s to go", ctx.label(), ctx.remaining().unwrap_or_default().as_secs_f64().ceil())
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let root = Scope::root("server");
//! let router = Router::new().route("/report", get(report)).layer(ContextLayer::new(root.ctx()));
//! let ask = |uri| router.clone().oneshot(Request::get(uri).body(Body::empty()).unwrap());
//!
//! let answer = ask("/report?timeout=10s").await.unwrap();
//! let text = axum::body::to_bytes(answer.into_body(), 1000).await.unwrap();
//! assert_eq!(text, "request/GET /report, and 10 s to go");
//!
//! // A caller that has given up already is not worked for, and neither is anybody once the server stops.
//! assert_eq!(ask("/report?timeout=0").await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
//! root.cancel(ReasonKind::Shutdown);
//! assert_eq!(ask("/report").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
//! root.stop(ReasonKind::Shutdown, Duration::from_secs(5)).await.unwrap();
//! # });
//! ```
//!
//! The flow of one request:
//!
//! 1. The layer reads deadline and trace from the head. A deadline that cannot be read is an error of the caller
//!    (400): whoever asks for a bound and gets none would wait for longer than it can bear. A trace that cannot be
//!    read starts a new one, as W3C asks: nobody's request fails for want of a trace.
//! 2. The handler runs in the request's context. What it spawns there, in `request`, ends with the request at the latest.
//! 3. When the caller goes away, hyper drops the handler. The context is cancelled with
//!    [`ReasonKind::ClientGone`](pando_context::ReasonKind::ClientGone) first: what is below learns the true reason.
//! 4. When the context ends first (deadline, or a cancel from above), the handler is dropped, and the answer says why.
//! 5. The body of the answer still belongs to the request. A body that streams ends with the context, in a way that no
//!    client takes for a complete answer. The context ends with the last byte.
//!
//! ## Guarantees
//!
//! * `join` of the parent waits for handlers and bodies; when it returns, both have been dropped.
//! * In a parent that has ended, no handler is called. The caller gets 503 (`UNAVAILABLE`).
//! * A handler that has answered in time is never turned into a timeout.
//!
//! ## Caveats
//!
//! * hyper notices that an HTTP/1 client has gone when it reads; it reads while a handler runs, unless the client has
//!   sent more than one buffer of a second request or of a body that nobody reads.
//! * The connections are not the layer's. Serve them in tasks of the tree, HTTP/2 with [`TreeExecutor`], so that
//!   stopping the server ends them as well.
//! * The text of the answer names contexts (`request/GET /slow`). Do not put secrets into names.
//!
//! # Databases
//!
//! With features `sqlite` and `postgres`, `Transaction` is a transaction that cannot outlive its context: it is
//! committed on purpose or rolled back, and [`Scope::join`](pando_context::Scope::join) waits for the rollback. A
//! statement that runs at that moment is interrupted in the database itself. See its documentation.
//!
//! # Features
//!
//! None is on by default. `axum`: the extractor and the name by route. `grpc`: tonic. `sqlite`, `postgres`: sqlx.
//!
//! [`Ctx::current`]: pando_context::Ctx::current

mod body;
mod deadline;
mod executor;
#[cfg(feature = "axum")]
mod extract;
#[cfg(feature = "grpc")]
mod grpc;
mod protocol;
mod server;
mod trace;
#[cfg(feature = "sqlx")]
mod transaction;

pub use body::ContextBody;
pub use deadline::{Malformed, go_duration, grpc_timeout};
pub use executor::TreeExecutor;
#[cfg(feature = "axum")]
pub use extract::{NoContext, RequestCtx, matched_path};
#[cfg(feature = "grpc")]
pub use grpc::{Grpc, request_ctx, status};
pub use protocol::{Http, Protocol};
pub use server::{ContextLayer, ContextService, REQUEST, ResponseFuture};
pub use trace::TraceParent;
#[cfg(feature = "sqlx")]
pub use transaction::{Backend, Lease, Transaction, TransactionError};
