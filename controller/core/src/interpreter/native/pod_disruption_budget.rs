//! `policy/v1` PodDisruptionBudget.

use serde_json::{Map, Value};

use super::counters;
use crate::interpreter::{Kind, StatusItem, integer, present_status};

const COUNTERS: [&str; 4] = ["disruptionsAllowed", "expectedPods", "desiredHealthy", "currentHealthy"];
const DISRUPTED: &str = "disruptedPods";

pub(super) const KIND: Kind = Kind {
    aggregate_status: Some(aggregate_status),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("policy/v1", "PodDisruptionBudget")
};

fn reflect_status(live: &Value) -> Option<Value> {
    let mut reflected = counters::reflect_plainly(live, &COUNTERS)?;
    if let Some(pods) = live.get("status").and_then(|status| status.get(DISRUPTED)).filter(|pods| pods.is_object()) {
        reflected.insert(DISRUPTED.to_owned(), pods.clone());
    }
    Some(Value::Object(reflected))
}

/// Sums; a pod that is being disrupted is named with its cluster.
fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let mut status = present_status(template);
    counters::sum(&mut status, items, &COUNTERS);
    let mut disrupted = Map::new();
    for item in items {
        let pods = item.status.as_ref().and_then(|status| status.get(DISRUPTED)?.as_object()).into_iter().flatten();
        disrupted.extend(pods.map(|(pod, since)| (format!("{}/{pod}", item.cluster), since.clone())));
    }
    if disrupted.is_empty() {
        status.remove(DISRUPTED);
    } else {
        status.insert(DISRUPTED.to_owned(), Value::Object(disrupted));
    }
    Some(Value::Object(status))
}

fn is_healthy(live: &Value) -> bool {
    let status = live.get("status").unwrap_or(&Value::Null);
    integer(status, "currentHealthy") >= integer(status, "desiredHealthy")
}
