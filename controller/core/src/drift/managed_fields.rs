//! Our entries in `metadata.managedFields`.
//!
//! A POST by manager `pando` leaves an `Update` entry. While it exists, an apply by the same manager that drops a field
//! does not remove it: the `Update` entry co-owns it. So the entry is turned into an `Apply` entry once, before the first
//! apply; measured on a real API server. The same goes for the entry of the Karmada that wrote an object before us: what
//! it wrote from the template has to go when the template drops it. (What client-go's `csaupgrade` does for kubectl.)

use pando_api::managers;
use serde_json::{Value, json};

/// Whose `Update` entries are ours.
pub(super) const OURS: &[&str] = &[managers::MEMBER];
/// Whose `Update` entries are ours on an object that Karmada wrote for the same template: its push and pull modes. On any
/// other object an entry of that name may be a Karmada's that runs in the member.
pub(super) const OURS_AND_KARMADAS: &[&str] = &[managers::MEMBER, "karmada-controller-manager", "karmada-agent"];

/// A JSON patch (RFC 6902) that makes all fields we ever wrote owned by our `Apply` entry. It tests the resourceVersion,
/// so a conflict means: read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// The patch.
    pub patch: Value,
}

/// The conversion a live object needs before the next apply, if any: one `Apply` entry gets the fields of all `Update`
/// entries of the managers, which go.
pub(super) fn conversion(live: &Value, managers: &[&str]) -> Option<Conversion> {
    let metadata = live.get("metadata")?;
    let entries = metadata.get("managedFields")?.as_array()?;
    let is_main = |entry: &Value| entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty);
    let of = |operation: &str, managers: &[&str]| {
        let is_one = |entry: &Value| {
            entry["operation"] == operation && is_main(entry) && managers.iter().any(|name| entry["manager"] == *name)
        };
        entries.iter().enumerate().filter(|(_, entry)| is_one(entry)).map(|(index, _)| index).collect::<Vec<_>>()
    };
    let mut updates = of("Update", managers);
    if updates.is_empty() {
        return None;
    }
    let applied = of("Apply", OURS).first().copied();
    // Without an Apply entry the first one becomes it.
    let kept = applied.unwrap_or_else(|| updates.remove(0));
    let at = |index: usize, field: &str| format!("/metadata/managedFields/{index}{field}");
    let mut patch =
        vec![json!({"op": "test", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion")?})];
    if applied.is_none() {
        if entries[kept]["manager"] != managers::MEMBER {
            patch.push(json!({"op": "replace", "path": at(kept, "/manager"), "value": managers::MEMBER}));
        }
        patch.push(json!({"op": "replace", "path": at(kept, "/operation"), "value": "Apply"}));
    }
    if !updates.is_empty() {
        let all = updates
            .iter()
            .fold(entries[kept]["fieldsV1"].clone(), |all, index| union(&all, &entries[*index]["fieldsV1"]));
        patch.push(json!({"op": "replace", "path": at(kept, "/fieldsV1"), "value": all}));
    }
    // From the last one on, so that positions stay true.
    patch.extend(updates.iter().rev().map(|index| json!({"op": "remove", "path": at(*index, "")})));
    Some(Conversion { patch: Value::Array(patch) })
}

/// The union of two field sets: `FieldsV1` is a tree of maps whose keys are the fields.
fn union(left: &Value, right: &Value) -> Value {
    let (Value::Object(left), Value::Object(right)) = (left, right) else {
        return if left.is_object() { left.clone() } else { right.clone() };
    };
    let mut both = left.clone();
    for (field, below) in right {
        let merged = both.get(field).map_or_else(|| below.clone(), |there| union(there, below));
        both.insert(field.clone(), merged);
    }
    Value::Object(both)
}
