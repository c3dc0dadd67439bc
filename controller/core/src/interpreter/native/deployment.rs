//! `apps/v1` Deployment.

use pando_api::labels;
use serde_json::Value;

use super::{counters, scaled};
use crate::{
    interpreter::{Dependency, Kind, StatusItem, dependencies, integer, keep_spec_field},
    manifest::text,
};

const COUNTERS: [&str; 5] =
    ["replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "unavailableReplicas"];

pub(super) const KIND: Kind = Kind {
    replicas: Some(scaled::replicas),
    revise_replicas: Some(scaled::revise_replicas),
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("apps/v1", "Deployment")
};

fn reflect_status(live: &Value) -> Option<Value> {
    counters::reflect(live, &COUNTERS)
}

fn is_healthy(live: &Value) -> bool {
    let status = live.get("status").unwrap_or(&Value::Null);
    let updated = integer(status, "updatedReplicas");
    counters::is_observed(live)
        && scaled::wanted(live).is_none_or(|wanted| updated >= wanted)
        && integer(status, "availableReplicas") >= updated
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    Some(counters::aggregate(template, items, &COUNTERS))
}

/// Karmada's rule: the label on the *template* hands the replicas over to the member (an autoscaler there).
fn retain(desired: &mut Value, live: &Value) {
    if text(desired, &["metadata", "labels", labels::RETAIN_REPLICAS]) == Some(labels::RETAIN_REPLICAS_VALUE) {
        keep_spec_field(desired, live, "replicas");
    }
}

fn needs(template: &Value) -> Vec<Dependency> {
    dependencies::of_pod(template, "/spec/template/spec")
}
