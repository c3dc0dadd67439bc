//! `apps/v1` DaemonSet. It runs on every node, so it has no replicas to divide.

use serde_json::Value;

use super::counters;
use crate::interpreter::{Dependency, Kind, StatusItem, dependencies, integer};

const COUNTERS: [&str; 7] = [
    "currentNumberScheduled",
    "desiredNumberScheduled",
    "numberAvailable",
    "numberMisscheduled",
    "numberReady",
    "updatedNumberScheduled",
    "numberUnavailable",
];

pub(super) const KIND: Kind = Kind {
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("apps/v1", "DaemonSet")
};

fn reflect_status(live: &Value) -> Option<Value> {
    counters::reflect(live, &COUNTERS)
}

fn is_healthy(live: &Value) -> bool {
    let status = live.get("status").unwrap_or(&Value::Null);
    let updated = integer(status, "updatedNumberScheduled");
    counters::is_observed(live)
        && updated >= integer(status, "desiredNumberScheduled")
        && integer(status, "numberAvailable") >= updated
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    Some(counters::aggregate(template, items, &COUNTERS))
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec/template/spec")
}
