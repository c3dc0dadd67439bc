//! `apps/v1` Deployment.

use serde_json::Value;

use super::scaled;
use crate::interpreter::{Interpreter, Replicas, StatusItem, integer};

const COUNTERS: [&str; 5] =
    ["replicas", "readyReplicas", "updatedReplicas", "availableReplicas", "unavailableReplicas"];

pub(in crate::interpreter) struct Deployment;

impl Interpreter for Deployment {
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
        let updated = integer(status, "updatedReplicas");
        scaled::is_observed(live)
            && scaled::wanted(live).is_none_or(|wanted| updated >= wanted)
            && integer(status, "availableReplicas") >= updated
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        Some(scaled::aggregate_status(template, items, &COUNTERS))
    }

    fn retain(&self, desired: &mut Value, live: &Value) {
        scaled::retain(desired, live);
    }
}
