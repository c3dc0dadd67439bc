//! `v1` Service. Only the load-balancer addresses are worth reporting; everything else about it is local to a member.

use serde_json::{Map, Value, json};

use crate::{
    interpreter::{Interpreter, StatusItem, keep_spec_field},
    manifest::text,
};

pub(in crate::interpreter) struct Service;

impl Interpreter for Service {
    fn reflect_status(&self, live: &Value) -> Option<Value> {
        if !is_load_balancer(live) {
            return None;
        }
        let balancer = live
            .get("status")?
            .get("loadBalancer")
            .cloned()
            .unwrap_or_else(|| Value::Object(Map::new()));
        Some(json!({ "loadBalancer": balancer }))
    }

    fn healthy(&self, live: &Value) -> bool {
        let addressed = |ingress: &Value| {
            ["hostname", "ip"]
                .iter()
                .any(|field| text(ingress, &[field]).is_some_and(|address| !address.is_empty()))
        };
        !is_load_balancer(live)
            || live
                .get("status")
                .is_some_and(|status| ingresses(status).any(addressed))
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        if !is_load_balancer(template) {
            return None;
        }
        let mut all: Vec<Value> = Vec::new();
        for item in items {
            for ingress in item.status.iter().flat_map(ingresses) {
                let mut ingress = ingress.clone();
                name_its_cluster(&mut ingress, item.cluster);
                if !all.contains(&ingress) {
                    all.push(ingress);
                }
            }
        }
        let mut status = template
            .get("status")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        status.insert(
            "loadBalancer".to_owned(),
            if all.is_empty() {
                json!({})
            } else {
                json!({ "ingress": all })
            },
        );
        Some(Value::Object(status))
    }

    fn retain(&self, desired: &mut Value, live: &Value) {
        // Given out by the member's API server and immutable. A headless Service says `None` itself.
        if text(desired, &["spec", "clusterIP"]).is_none_or(str::is_empty) {
            keep_spec_field(desired, live, "clusterIP");
            keep_spec_field(desired, live, "clusterIPs");
        }
        if live
            .pointer("/spec/healthCheckNodePort")
            .and_then(Value::as_i64)
            .is_some_and(|port| port > 0)
        {
            keep_spec_field(desired, live, "healthCheckNodePort");
        }
    }
}

fn is_load_balancer(service: &Value) -> bool {
    text(service, &["spec", "type"]) == Some("LoadBalancer")
}

fn ingresses(status: &Value) -> impl Iterator<Item = &Value> {
    status
        .pointer("/loadBalancer/ingress")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// Karmada's way to tell where an address without a host name comes from.
fn name_its_cluster(ingress: &mut Value, cluster: &str) {
    if let Some(ingress) = ingress.as_object_mut()
        && ingress
            .get("hostname")
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
    {
        ingress.insert("hostname".to_owned(), Value::from(cluster));
    }
}
