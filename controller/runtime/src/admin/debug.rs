//! A look inside: the live tree, the queues, and the log filter.

use std::fmt::Display;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use pando_context::Ctx;

use crate::metrics::{Member, Metrics};
use crate::priority::Priority;
use crate::telemetry::LogFilter;

/// What the debug server shows.
#[derive(Clone, Debug)]
pub struct Debug {
    /// The context whose tree is shown: the root.
    pub contexts: Ctx,
    /// Knows the queues.
    pub metrics: Metrics,
    /// The log filter, if it can be changed.
    pub log: Option<LogFilter>,
}

impl Debug {
    pub(super) fn router(self) -> Router {
        Router::new()
            .route("/debug/contexts", get(super::contexts::contexts))
            .route("/debug/queues", get(queues))
            .route("/debug/members", get(members))
            .route("/loglevel", get(log_filter).put(set_log_filter))
            .with_state(self)
    }
}

async fn queues(State(debug): State<Debug>) -> String {
    let row = |name: &dyn Display, cells: &mut dyn Iterator<Item = String>| {
        format!("{name:<28}{}\n", cells.map(|cell| format!("{cell:>12}")).collect::<String>())
    };
    let ready = Priority::ALL.map(|priority| priority.as_str().to_owned());
    let others = ["delayed", "processing", "failing", "oldest"].map(str::to_owned);
    let mut text = row(&"queue", &mut ready.into_iter().chain(others));
    for (name, depth) in debug.metrics.queues() {
        let oldest = depth.oldest.map_or("-".to_owned(), |oldest| format!("{oldest:.1?}"));
        let counts = depth.waiting.into_iter().chain([depth.delayed, depth.processing, depth.failing]);
        text.push_str(&row(&name, &mut counts.map(|count| count.to_string()).chain([oldest])));
    }
    text
}

/// One line for each member: how the link is, and what is going on on it.
async fn members(State(debug): State<Debug>) -> String {
    let mut text = format!(
        "{:<28}{:<12}{:>10}{:>7}{:>7}{:>9}{:>8}{:>6}  cause\n",
        "member", "state", "in flight", "peak", "limit", "waiting", "parked", "lost"
    );
    for member in debug.metrics.members() {
        let Member { cluster, state, cause, in_flight, peak, limit, waiting, parked, lost } = member;
        text.push_str(&format!(
            "{cluster:<28}{state:<12}{in_flight:>10}{peak:>7}{limit:>7}{waiting:>9}{parked:>8}{lost:>6}  {cause}\n"
        ));
    }
    text
}

async fn log_filter(State(debug): State<Debug>) -> String {
    debug.log.map_or_else(|| "not set up\n".to_owned(), |log| format!("{}\n", log.get()))
}

async fn set_log_filter(State(debug): State<Debug>, filter: String) -> Response {
    let Some(log) = debug.log else {
        return (StatusCode::NOT_FOUND, "the log filter of this process is fixed\n").into_response();
    };
    match log.set(filter.trim()) {
        Ok(()) => {
            let filter = log.get();
            tracing::info!(%filter, "log filter changed");
            format!("{filter}\n").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}
