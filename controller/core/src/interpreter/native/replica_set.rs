//! `apps/v1` ReplicaSet.

use serde_json::Value;

use super::{counters, scaled};
use crate::interpreter::{Dependency, Kind, StatusItem, dependencies, integer};

const COUNTERS: [&str; 4] = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

pub(super) const KIND: Kind = Kind {
    replicas: Some(scaled::replicas),
    revise_replicas: Some(scaled::revise_replicas),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("apps/v1", "ReplicaSet")
};

fn reflect_status(live: &Value) -> Option<Value> {
    counters::reflect(live, &COUNTERS)
}

fn is_healthy(live: &Value) -> bool {
    let available = live.get("status").map_or(0, |status| integer(status, "availableReplicas"));
    counters::is_observed(live) && scaled::wanted(live).is_none_or(|wanted| available >= wanted)
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    Some(counters::aggregate(template, items, &COUNTERS))
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec/template/spec")
}
