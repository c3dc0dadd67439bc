//! All overriders but the image's: patches, maps of metadata, command lines, documents inside a string.

use json_patch::{Patch, PatchErrorKind};
use pando_api::policy::{
    CommandArgsOverrider, FieldOverrider, LabelAnnotationOverrider, OverriderOperator, PlaintextOverrider,
};
use serde_json::{Map, Value, json};

use super::{Problem, pod_spec_path};

/// JSON patches (RFC 6902), in their order; all or nothing.
pub(super) fn plaintext(overriders: &[PlaintextOverrider], object: &mut Value) -> Result<(), Problem> {
    let operations = overriders.iter().map(|o| operation(&o.operator, &o.path, o.value.as_ref()));
    patch("plaintext", "", operations.collect(), object)
}

/// Adds, replaces or removes labels or annotations. Add creates the map; the others touch only keys that are there.
pub(super) fn metadata(
    overrider: &'static str,
    map: &str,
    change: &LabelAnnotationOverrider,
    object: &mut Value,
) -> Result<(), Problem> {
    let fail = |cause: &str| Problem { overrider, path: format!("/metadata/{map}"), cause: cause.to_owned() };
    let metadata =
        object.get_mut("metadata").and_then(Value::as_object_mut).ok_or_else(|| fail("there is no metadata"))?;
    if matches!(change.operator, OverriderOperator::Add) {
        metadata.entry(map).or_insert_with(|| Value::Object(Map::new()));
    }
    let Some(entries) = metadata.get_mut(map).and_then(Value::as_object_mut) else {
        return Ok(());
    };
    for (key, value) in &change.value {
        match change.operator {
            OverriderOperator::Add => {
                entries.insert(key.clone(), Value::from(value.as_str()));
            }
            OverriderOperator::Replace => {
                if let Some(entry) = entries.get_mut(key) {
                    *entry = Value::from(value.as_str());
                }
            }
            OverriderOperator::Remove => {
                entries.remove(key);
            }
        }
    }
    Ok(())
}

/// Adds words to a container's command or arguments, or takes words away.
pub(super) fn command(
    overrider: &'static str,
    field: &str,
    change: &CommandArgsOverrider,
    object: &mut Value,
) -> Result<(), Problem> {
    let Some(pod) = pod_spec_path(object) else {
        return Ok(());
    };
    let path = format!("{pod}/containers[{}]/{field}", change.container_name);
    let fail = |cause: &str| Problem { overrider, path: path.clone(), cause: cause.to_owned() };
    let containers = object.pointer_mut(&format!("{pod}/containers")).and_then(Value::as_array_mut);
    let named = containers.into_iter().flatten().find(|container| container["name"] == change.container_name.as_str());
    // As in Karmada a container that the template does not have is nothing to change.
    let Some(container) = named.and_then(Value::as_object_mut) else {
        return Ok(());
    };
    match change.operator {
        OverriderOperator::Add => {
            let words = container.entry(field).or_insert_with(|| json!([]));
            let words = words.as_array_mut().ok_or_else(|| fail("the field is not a list"))?;
            words.extend(change.value.iter().map(|word| Value::from(word.as_str())));
        }
        OverriderOperator::Remove => {
            if let Some(words) = container.get_mut(field).and_then(Value::as_array_mut) {
                words.retain(|word| !change.value.iter().any(|gone| word == gone.as_str()));
            }
        }
        OverriderOperator::Replace => return Err(fail("the operator must be add or remove")),
    }
    Ok(())
}

/// Patches a JSON document that a string field holds. YAML documents are refused: they are not built yet.
pub(super) fn field(change: &FieldOverrider, object: &mut Value) -> Result<(), Problem> {
    const OVERRIDER: &str = "fieldOverrider";
    let fail = |cause: String| Problem { overrider: OVERRIDER, path: change.field_path.clone(), cause };
    if !change.yaml.is_empty() {
        return Err(fail(
            "documents in YAML cannot be overridden yet; use json, or plaintext for the whole field".to_owned(),
        ));
    }
    let at = object.pointer_mut(&change.field_path).ok_or_else(|| fail("there is no such field".to_owned()))?;
    let text = at.as_str().ok_or_else(|| fail("the field is not a string".to_owned()))?;
    let mut document: Value =
        // The error of a typed parse could quote the document; a position is enough.
        serde_json::from_str(text).map_err(|error| fail(format!("no JSON at line {} column {}", error.line(), error.column())))?;
    let operations = change.json.iter().map(|o| operation(&o.operator, &o.sub_path, o.value.as_ref()));
    patch(OVERRIDER, &change.field_path, operations.collect(), &mut document)?;
    *at = Value::from(document.to_string());
    Ok(())
}

fn operation(operator: &OverriderOperator, path: &str, value: Option<&Value>) -> Value {
    match operator {
        OverriderOperator::Add => json!({"op": "add", "path": path, "value": value}),
        OverriderOperator::Replace => json!({"op": "replace", "path": path, "value": value}),
        OverriderOperator::Remove => json!({"op": "remove", "path": path}),
    }
}

fn patch(overrider: &'static str, base: &str, operations: Vec<Value>, document: &mut Value) -> Result<(), Problem> {
    for operation in operations {
        let path = format!("{base}{}", operation["path"].as_str().unwrap_or_default());
        let fail = |cause: String| Problem { overrider, path: path.clone(), cause };
        let patch: Patch = serde_json::from_value(json!([operation])).map_err(|_| {
            fail("the path is not a JSON pointer (RFC 6901): it starts with / and escapes / as ~1".to_owned())
        })?;
        json_patch::patch(document, &patch).map_err(|error| {
            fail(match error.kind {
                PatchErrorKind::InvalidPointer | PatchErrorKind::InvalidFromPointer => {
                    "there is no such field".to_owned()
                }
                other => other.to_string(),
            })
        })?;
    }
    Ok(())
}
