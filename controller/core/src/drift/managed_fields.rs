//! Our entries in `metadata.managedFields`.
//!
//! A POST by manager `pando` leaves an `Update` entry. While it exists, an apply by the same manager that drops a field
//! does not remove it: the `Update` entry co-owns it. So the entry is turned into an `Apply` entry once, before the first
//! apply; measured on a real API server.

use pando_api::managers;
use serde_json::{Value, json};

/// A JSON patch (RFC 6902) that makes all fields we ever wrote owned by our `Apply` entry. It tests the resourceVersion,
/// so a conflict means: read again.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversion {
    /// Position of the entry to convert.
    pub index: usize,
    /// The patch.
    pub patch: Value,
}

/// The conversion a live object needs before the next apply, if any.
pub(super) fn conversion(live: &Value) -> Option<Conversion> {
    let metadata = live.get("metadata")?;
    let entries = metadata.get("managedFields")?.as_array()?;
    let of_operation = |operation: &str| {
        entries.iter().position(|entry| {
            entry["manager"] == managers::MEMBER
                && entry["operation"] == operation
                && entry.get("subresource").and_then(Value::as_str).is_none_or(str::is_empty)
        })
    };
    let index = of_operation("Update")?;
    let guard = json!({"op": "test", "path": "/metadata/resourceVersion", "value": metadata.get("resourceVersion")?});
    let patch = match of_operation("Apply") {
        None => json!([
            guard,
            {"op": "replace", "path": format!("/metadata/managedFields/{index}/operation"), "value": "Apply"},
        ]),
        // A full write in between (for what apply refuses) left a second entry: one entry gets the fields of both.
        Some(applied) => {
            let fields = union(&entries[applied]["fieldsV1"], &entries[index]["fieldsV1"]);
            json!([
                guard,
                {"op": "replace", "path": format!("/metadata/managedFields/{applied}/fieldsV1"), "value": fields},
                {"op": "remove", "path": format!("/metadata/managedFields/{index}")},
            ])
        }
    };
    Some(Conversion { index, patch })
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
