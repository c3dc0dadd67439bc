//! A look inside: the live tree, the queues, and the log filter.

use std::fmt::Display;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use pando_context::{Ctx, TreeNode};
use serde::{Deserialize, Serialize};

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
            .route("/debug/contexts", get(contexts))
            .route("/debug/queues", get(queues))
            .route("/debug/members", get(members))
            .route("/loglevel", get(log_filter).put(set_log_filter))
            .with_state(self)
    }
}

/// What of the tree is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    /// `json`; anything else is text.
    format: Option<String>,
    /// Only contexts of this kind.
    kind: Option<String>,
    /// Only contexts at or below one with this name: `cluster=bj-prod`.
    cluster: Option<String>,
    /// `stopping`: only cancelled contexts that have not ended.
    state: Option<String>,
    /// Only contexts that are at least so many seconds old.
    older: Option<f64>,
    /// Only so many levels.
    depth: Option<usize>,
}

impl Filter {
    fn admits(&self, node: &TreeNode) -> bool {
        let equal = |asked: &Option<String>, is: &str| asked.as_ref().is_none_or(|a| a == is);
        equal(&self.kind, node.label.kind().as_str())
            && self.state.as_ref().is_none_or(|state| state != "stopping" || node.cancelled.is_some())
            && self.older.is_none_or(|seconds| node.age.as_secs_f64() >= seconds)
            && self.depth.is_none_or(|depth| node.depth <= depth)
    }

    /// The nodes that are asked for, in the order of the tree.
    fn select<'a>(&self, nodes: &'a [TreeNode]) -> Vec<&'a TreeNode> {
        let mut selected = Vec::new();
        // The depth of the named cluster's context while the walk is below it.
        let mut inside = None;
        for node in nodes {
            if inside.is_some_and(|depth| node.depth <= depth) {
                inside = None;
            }
            if inside.is_none() && self.cluster.is_some() && node.label.name() == self.cluster.as_deref() {
                inside = Some(node.depth);
            }
            if (self.cluster.is_none() || inside.is_some()) && self.admits(node) {
                selected.push(node);
            }
        }
        selected
    }
}

#[derive(Serialize)]
struct ContextRow<'a> {
    depth: usize,
    kind: &'a str,
    name: Option<&'a str>,
    age_seconds: f64,
    remaining_seconds: Option<f64>,
    cancelled: Option<CancelledRow>,
    holds: usize,
    shielded: bool,
    trace: String,
    place: String,
}

#[derive(Serialize)]
struct CancelledRow {
    kind: &'static str,
    text: String,
    origin: Option<String>,
    seconds_ago: f64,
}

impl<'a> From<&'a TreeNode> for ContextRow<'a> {
    fn from(node: &'a TreeNode) -> Self {
        Self {
            depth: node.depth,
            kind: node.label.kind().as_str(),
            name: node.label.name(),
            age_seconds: node.age.as_secs_f64(),
            remaining_seconds: node.remaining.map(|left| left.as_secs_f64()),
            cancelled: node.cancelled.as_ref().map(|(reason, since)| CancelledRow {
                kind: reason.kind().as_str(),
                text: reason.text().to_owned(),
                origin: reason.origin().map(ToString::to_string),
                seconds_ago: since.as_secs_f64(),
            }),
            holds: node.holds,
            shielded: node.shielded,
            trace: node.trace.to_string(),
            place: node.place.to_string(),
        }
    }
}

async fn contexts(State(debug): State<Debug>, Query(filter): Query<Filter>) -> Response {
    let tree = debug.contexts.dump();
    let nodes = filter.select(tree.nodes());
    if filter.format.as_deref() == Some("json") {
        return Json(Vec::from_iter(nodes.into_iter().map(ContextRow::from))).into_response();
    }
    nodes.into_iter().map(|node| format!("{node}\n")).collect::<String>().into_response()
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
