//! `networking.k8s.io/v1` Ingress. Reported whole, aggregated like the addresses of a Service.

use serde_json::Value;

use super::addresses;
use crate::{
    interpreter::{Dependency, Kind, StatusItem, keep_spec_field, list},
    manifest::text,
};

pub(super) const KIND: Kind = Kind {
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    dependencies: Some(needs),
    is_healthy: Some(addresses::any),
    ..Kind::of("networking.k8s.io/v1", "Ingress")
};

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    Some(addresses::collected(template, items))
}

/// Beyond Karmada: the default class, filled in by admission when the object is created, and never again.
fn retain(desired: &mut Value, live: &Value) {
    if desired.pointer("/spec/ingressClassName").is_none_or(Value::is_null) {
        keep_spec_field(desired, live, "ingressClassName");
    }
}

/// The Secrets with its certificates.
fn needs(template: &Value) -> Vec<Dependency> {
    let spec = template.get("spec").unwrap_or(&Value::Null);
    let names = list(spec, "tls").filter_map(|tls| text(tls, &["secretName"])).filter(|name| !name.is_empty());
    names.map(|name| Dependency::core(template, "Secret", name)).collect()
}
