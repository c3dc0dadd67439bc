//! `v1` PersistentVolume.

use serde_json::Value;

use super::phases;
use crate::interpreter::{Kind, StatusItem, keep_spec_field};

const PHASES: [&str; 5] = ["Failed", "Pending", "Available", "Bound", "Released"];

pub(super) const KIND: Kind =
    Kind { retain: Some(retain), aggregate_status: Some(aggregate_status), ..Kind::of("v1", "PersistentVolume") };

fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    phases::aggregate(template, items, &PHASES)
}

/// The member's controller binds the volume to a claim.
fn retain(desired: &mut Value, live: &Value) {
    keep_spec_field(desired, live, "claimRef");
}
