//! `v1` PersistentVolumeClaim.

use serde_json::Value;

use crate::{
    interpreter::{Interpreter, keep_spec_field},
    manifest::text,
};

pub(in crate::interpreter) struct PersistentVolumeClaim;

impl Interpreter for PersistentVolumeClaim {
    fn healthy(&self, live: &Value) -> bool {
        text(live, &["status", "phase"]) == Some("Bound")
    }

    fn retain(&self, desired: &mut Value, live: &Value) {
        // Chosen by the member when the claim is made or bound, and immutable from then on.
        keep_spec_field(desired, live, "volumeName");
        if desired.pointer("/spec/storageClassName").is_none_or(Value::is_null) {
            keep_spec_field(desired, live, "storageClassName");
        }
    }
}
