//! `v1` Service. Only the load-balancer addresses are worth reporting; everything else about it is local to a member.

use serde_json::{Map, Value, json};

use super::addresses;
use crate::{
    interpreter::{Kind, StatusItem, keep_spec_field},
    manifest::text,
};

pub(super) const KIND: Kind = Kind {
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    reflect_status: Some(reflect_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("v1", "Service")
};

fn reflect_status(live: &Value) -> Option<Value> {
    if !is_load_balancer(live) {
        return None;
    }
    let balancer = live.get("status")?.get("loadBalancer").cloned().unwrap_or_else(|| Value::Object(Map::new()));
    Some(json!({ "loadBalancer": balancer }))
}

fn is_healthy(live: &Value) -> bool {
    !is_load_balancer(live) || addresses::any(live)
}

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    is_load_balancer(template).then(|| addresses::collected(template, items))
}

/// Given out by the member's API server and immutable. A headless Service says `None` itself.
fn retain(desired: &mut Value, live: &Value) {
    if text(desired, &["spec", "clusterIP"]).is_none_or(str::is_empty) {
        keep_spec_field(desired, live, "clusterIP");
        keep_spec_field(desired, live, "clusterIPs");
    }
    if live.pointer("/spec/healthCheckNodePort").and_then(Value::as_i64).is_some_and(|port| port > 0) {
        keep_spec_field(desired, live, "healthCheckNodePort");
    }
}

fn is_load_balancer(service: &Value) -> bool {
    text(service, &["spec", "type"]) == Some("LoadBalancer")
}
