//! `apps/v1` ReplicaSet.

use serde_json::Value;

use super::scaled;
use crate::interpreter::{Interpreter, Replicas, StatusItem, integer};

const COUNTERS: [&str; 4] = ["replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"];

pub(in crate::interpreter) struct ReplicaSet;

impl Interpreter for ReplicaSet {
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
        let available = live.get("status").map_or(0, |status| integer(status, "availableReplicas"));
        scaled::is_observed(live) && scaled::wanted(live).is_none_or(|wanted| available >= wanted)
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        Some(scaled::aggregate_status(template, items, &COUNTERS))
    }
}
