//! `networking.k8s.io/v1` Ingress. Reported and aggregated like the addresses of a Service.

use serde_json::Value;

use super::addresses;
use crate::interpreter::{Interpreter, StatusItem, keep_spec_field};

pub(in crate::interpreter) struct Ingress;

impl Interpreter for Ingress {
    fn healthy(&self, live: &Value) -> bool {
        addresses::any(live)
    }

    fn aggregate_status(&self, template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
        Some(addresses::collected(template, items))
    }

    fn retain(&self, desired: &mut Value, live: &Value) {
        // Filled in by admission when the object is created, and never again.
        if desired.pointer("/spec/ingressClassName").is_none_or(Value::is_null) {
            keep_spec_field(desired, live, "ingressClassName");
        }
    }
}
