//! `apps/v1` StatefulSet. Each member has a set of its own, with ordinals from 0 (or `spec.ordinals.start`).

use serde_json::Value;

use super::{counters, scaled};
use crate::{
    interpreter::{Dependency, Kind, StatusItem, dependencies, integer, list},
    manifest::text,
};

const COUNTERS: [&str; 5] = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];

pub(super) const KIND: Kind = Kind {
    replicas: Some(scaled::replicas),
    revise_replicas: Some(scaled::revise_replicas),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("apps/v1", "StatefulSet")
};

fn reflect_status(live: &Value) -> Option<Value> {
    counters::reflect(live, &COUNTERS)
}

fn is_healthy(live: &Value) -> bool {
    let status = live.get("status").unwrap_or(&Value::Null);
    let available = integer(status, "availableReplicas");
    let updated = integer(status, "updatedReplicas");
    // A partitioned rollout is complete when the pods above the partition are updated and all pods are up.
    let partition = live.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).unwrap_or(0);
    counters::is_observed(live)
        && scaled::wanted(live).is_none_or(|wanted| updated >= wanted.saturating_sub(partition) && available >= wanted)
        && available >= updated
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    Some(counters::aggregate(template, items, &COUNTERS))
}

/// Claims that the set makes itself, one for each pod, are not needed from elsewhere.
fn needs(template: &Value) -> Vec<Dependency> {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let made: Vec<_> =
        list(spec, "volumeClaimTemplates").filter_map(|claim| text(claim, &["metadata", "name"])).collect();
    let mut needs = dependencies::of_pod(template, "/spec/template/spec");
    needs.retain(|need| {
        need.kind != "PersistentVolumeClaim" || !need.name.as_deref().is_some_and(|name| made.contains(&name))
    });
    needs
}
