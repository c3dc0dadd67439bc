//! The smallest JSON merge patch (RFC 7386) that turns one document into another.
//!
//! Hub objects are changed by merge patches that carry the resourceVersion they were computed from, so a write says
//! exactly which fields it decided and loses cleanly against a newer version.

use serde_json::{Map, Value};

/// The merge patch that turns `from` into `to`; `None` when they are equal.
///
/// Lists are replaced whole, as the RFC demands. A `null` inside `to` cannot be expressed by a merge patch and is
/// treated as absent, which is also how an API server reads it.
#[must_use]
pub fn between(from: &Value, to: &Value) -> Option<Value> {
    match (from, to) {
        (Value::Object(from), Value::Object(to)) => objects(from, to).map(Value::Object),
        (from, to) if from == to => None,
        (_, to) => Some(to.clone()),
    }
}

fn objects(from: &Map<String, Value>, to: &Map<String, Value>) -> Option<Map<String, Value>> {
    let removed = from
        .iter()
        .filter(|(key, value)| !value.is_null() && to.get(*key).is_none_or(Value::is_null))
        .map(|(key, _)| (key.clone(), Value::Null));
    let changed = to.iter().filter(|(_, value)| !value.is_null()).filter_map(|(key, wanted)| {
        let patch = match from.get(key) {
            Some(have) => between(have, wanted)?,
            None => wanted.clone(),
        };
        Some((key.clone(), patch))
    });
    let patch: Map<_, _> = removed.chain(changed).collect();
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::between;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    #[test]
    fn equal_documents_need_no_patch() {
        assert_eq!(between(&json!({"a": [1, {"b": 2}]}), &json!({"a": [1, {"b": 2}]})), None);
    }

    #[test]
    fn only_changed_fields_are_named_and_removed_ones_are_null() {
        let from = json!({"spec": {"keep": 1, "change": 1, "drop": {"x": 1}}, "kind": "K"});
        let to = json!({"spec": {"keep": 1, "change": 2, "add": [1]}, "kind": "K"});
        assert_eq!(between(&from, &to), Some(json!({"spec": {"change": 2, "add": [1], "drop": null}})));
    }

    #[test]
    fn a_list_is_replaced_whole() {
        assert_eq!(between(&json!({"l": [1, 2]}), &json!({"l": [1]})), Some(json!({"l": [1]})));
    }

    fn document() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![any::<i8>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|m| m.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn applying_the_patch_gives_the_target(from in document(), to in document()) {
            let mut patched = from.clone();
            if let Some(patch) = between(&from, &to) {
                json_patch::merge(&mut patched, &patch);
            }
            prop_assert_eq!(patched, to);
        }
    }
}
