//! What keeps an object in a member that is being deleted: in words for a condition.

use pando_core::seen::Seen;
use pando_member::object::Live;
use serde_json::Value;

/// What holds the object, to be put behind "… is being deleted": its finalizers, who set them, and, of a namespace, what the
/// member's namespace controller waits for. Empty when nothing is known.
pub(super) fn by(seen: &Seen<(Live, Value)>) -> String {
    match seen {
        Seen::Found((_, live)) => holds(live),
        Seen::Absent | Seen::Unreadable(_) => String::new(),
    }
}

fn holds(live: &Value) -> String {
    let finalizers: Vec<String> = list(live, "/metadata/finalizers")
        .filter_map(Value::as_str)
        .map(|finalizer| match set_by(live, finalizer) {
            Some(manager) => format!("{finalizer} (set by {manager})"),
            None => finalizer.to_owned(),
        })
        .collect();
    // A namespace says in conditions what is left in it. Their messages name kinds and finalizers, no values.
    let remains: Vec<&str> = list(live, "/status/conditions")
        .filter(|condition| live["kind"] == "Namespace" && condition["status"] == "True")
        .filter_map(|condition| condition["message"].as_str())
        .collect();
    let mut text = String::new();
    if !finalizers.is_empty() {
        text.push_str(&format!("; held by its finalizers: {}", finalizers.join(", ")));
    }
    if !remains.is_empty() {
        text.push_str(&format!("; the member says: {}", remains.join(" ")));
    }
    text
}

fn list<'a>(live: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    live.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The manager whose field the finalizer is.
fn set_by<'a>(live: &'a Value, finalizer: &str) -> Option<&'a str> {
    let field = format!("v:\"{finalizer}\"");
    let owns = |entry: &&Value| entry["fieldsV1"]["f:metadata"]["f:finalizers"].get(&field).is_some();
    list(live, "/metadata/managedFields").find(owns)?["manager"].as_str()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finalizers_are_named_with_who_set_them_and_a_namespace_says_what_is_in_it() {
        let live = json!({"kind": "ConfigMap", "metadata": {
        "finalizers": ["example.org/hold", "example.org/other"],
        "managedFields": [
            {"manager": "pando", "fieldsV1": {"f:data": {}}},
            {"manager": "backup-operator", "fieldsV1": {"f:metadata": {"f:finalizers": {"v:\"example.org/hold\"": {}}}}},
        ]}});
        assert_eq!(
            holds(&live),
            "; held by its finalizers: example.org/hold (set by backup-operator), example.org/other"
        );
        let namespace = json!({"kind": "Namespace", "metadata": {}, "status": {"conditions": [
            {"type": "NamespaceDeletionDiscoveryFailure", "status": "False", "message": "All resources successfully discovered"},
            {"type": "NamespaceFinalizersRemaining", "status": "True", "message": "Some content in the namespace has finalizers remaining: x in 1 resource instances"},
        ]}});
        assert_eq!(
            holds(&namespace),
            "; the member says: Some content in the namespace has finalizers remaining: x in 1 resource instances"
        );
        assert_eq!(holds(&json!({"metadata": {}})), "");
    }
}
