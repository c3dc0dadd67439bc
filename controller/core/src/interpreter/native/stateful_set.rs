//! `apps/v1` StatefulSet.

use serde_json::Value;

use super::scaled;
use crate::interpreter::{Interpreter, Replicas, StatusItem, integer};

const COUNTERS: [&str; 5] = ["replicas", "readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];

pub(in crate::interpreter) struct StatefulSet;

impl Interpreter for StatefulSet {
    fn replicas(&self, object: &Value) -> Option<Replicas> {
        scaled::replicas(object)
    }

    fn revise_replicas(&self, object: &mut Value, count: i32) -> bool {
        scaled::revise_replicas(object, count)
    }

    fn reflect_status(&self, live: &Value) -> Option<Value> {
        scaled::reflect_status(live, &COUNTERS)
    }

    fn healthy(&self, live: &Value) -> bool {
        let status = live.get("status").unwrap_or(&Value::Null);
        let available = integer(status, "availableReplicas");
        let updated = integer(status, "updatedReplicas");
        // A partitioned rollout is complete when the pods above the partition are updated and all pods are up.
        let partition =
            live.pointer("/spec/updateStrategy/rollingUpdate/partition").and_then(Value::as_i64).unwrap_or(0);
        scaled::is_observed(live)
            && scaled::wanted(live).is_none_or(|wanted| updated >= wanted - partition && available >= wanted)
            && available >= updated
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        Some(scaled::aggregate_status(template, items, &COUNTERS))
    }
}
