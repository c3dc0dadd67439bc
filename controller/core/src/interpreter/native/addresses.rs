//! Load-balancer addresses: `status.loadBalancer.ingress` of Service and Ingress.

use serde_json::{Value, json};

use crate::{
    interpreter::{StatusItem, present_status},
    manifest::text,
};

/// Whether a live object has an address.
pub(super) fn any(live: &Value) -> bool {
    let addressed = |ingress: &Value| {
        ["hostname", "ip"].iter().any(|field| text(ingress, &[field]).is_some_and(|address| !address.is_empty()))
    };
    live.get("status").is_some_and(|status| ingresses(status).any(addressed))
}

/// The template's status with the addresses of all members, each once.
pub(super) fn collected(template: &Value, items: &[StatusItem<'_>]) -> Value {
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
    let mut status = present_status(template);
    status.insert("loadBalancer".to_owned(), if all.is_empty() { json!({}) } else { json!({ "ingress": all }) });
    Value::Object(status)
}

fn ingresses(status: &Value) -> impl Iterator<Item = &Value> {
    status.pointer("/loadBalancer/ingress").and_then(Value::as_array).into_iter().flatten()
}

/// Karmada's way to tell where an address without a host name comes from.
fn name_its_cluster(ingress: &mut Value, cluster: &str) {
    if let Some(ingress) = ingress.as_object_mut()
        && ingress.get("hostname").and_then(Value::as_str).is_none_or(str::is_empty)
    {
        ingress.insert("hostname".to_owned(), Value::from(cluster));
    }
}
