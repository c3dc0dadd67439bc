//! `v1` PersistentVolumeClaim.

use serde_json::Value;

use super::phases;
use crate::{
    interpreter::{Kind, StatusItem, keep_spec_field},
    manifest::text,
};

const PHASES: [&str; 3] = ["Lost", "Pending", "Bound"];

pub(super) const KIND: Kind = Kind {
    retain: Some(retain),
    aggregate_status: Some(aggregate_status),
    is_healthy: Some(is_healthy),
    ..Kind::of("v1", "PersistentVolumeClaim")
};

fn is_healthy(live: &Value) -> bool {
    text(live, &["status", "phase"]) == Some("Bound")
}

/// The phase that asks most for attention. (Karmada calls a claim bound that no member has reported yet.)
fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    phases::aggregate(template, items, &PHASES)
}

/// Chosen by the member when the claim is made or bound, and immutable from then on. The class is beyond Karmada.
fn retain(desired: &mut Value, live: &Value) {
    keep_spec_field(desired, live, "volumeName");
    if desired.pointer("/spec/storageClassName").is_none_or(Value::is_null) {
        keep_spec_field(desired, live, "storageClassName");
    }
}
