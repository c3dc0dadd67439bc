//! Rules for OverridePolicies and ClusterOverridePolicies.

use pando_api::policy::{OverrideSpec, OverriderOperator, Overriders, ResourceSelector};

use crate::selector::{self, Labels};

use super::{
    Invalid, invalid_affinity,
    propagation::{foreign_namespace, invalid_selector},
};

/// The longest total of annotation keys and values.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// What is wrong with the spec of an override policy. `namespace` is that of an OverridePolicy, `None` for a
/// ClusterOverridePolicy.
#[must_use]
pub fn invalid_overrides(spec: &OverrideSpec, namespace: Option<&str>) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (index, resource) in spec.resource_selectors.iter().enumerate() {
        let path = format!("spec.resourceSelectors[{index}]");
        found.extend(invalid_selector(resource, &path));
        found.extend(foreign_namespace(resource, namespace, &path));
    }
    if !spec.override_rules.is_empty() {
        let message = "it is deprecated and excludes overrideRules: move it into a rule";
        if spec.target_cluster.is_some() {
            found.push(Invalid::new("spec.targetCluster", message));
        }
        if spec.overriders != Overriders::default() {
            found.push(Invalid::new("spec.overriders", message));
        }
    }
    if let Some(affinity) = &spec.target_cluster {
        found.extend(invalid_affinity(affinity, "spec.targetCluster"));
    }
    found.extend(invalid_overriders(&spec.overriders, "spec.overriders"));
    for (index, rule) in spec.override_rules.iter().enumerate() {
        let path = format!("spec.overrideRules[{index}]");
        if let Some(affinity) = &rule.target_cluster {
            found.extend(invalid_affinity(affinity, &format!("{path}.targetCluster")));
        }
        found.extend(invalid_overriders(&rule.overriders, &format!("{path}.overriders")));
    }
    found
}

/// Whether a resource selector of an override policy keeps all rules. `namespace` is that of an OverridePolicy.
pub(crate) fn is_sound_selector(selector: &ResourceSelector, namespace: Option<&str>) -> bool {
    invalid_selector(selector, "").is_empty() && foreign_namespace(selector, namespace, "").is_none()
}

fn invalid_overriders(overriders: &Overriders, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (index, patch) in overriders.plaintext.iter().enumerate() {
        found.extend(invalid_pointer(&patch.path, &format!("{path}.plaintext[{index}].path")));
    }
    for (index, image) in overriders.image_overrider.iter().enumerate() {
        if let Some(predicate) = &image.predicate {
            found.extend(invalid_pointer(&predicate.path, &format!("{path}.imageOverrider[{index}].predicate.path")));
        }
    }
    for (index, labels) in overriders.labels_overrider.iter().enumerate() {
        found.extend(invalid_labels(&labels.value, &format!("{path}.labelsOverrider[{index}].value")));
    }
    for (index, annotations) in overriders.annotations_overrider.iter().enumerate() {
        found.extend(invalid_annotations(&annotations.value, &format!("{path}.annotationsOverrider[{index}].value")));
    }
    for (index, field) in overriders.field_overrider.iter().enumerate() {
        let path = format!("{path}.fieldOverrider[{index}]");
        found.extend(invalid_pointer(&field.field_path, &format!("{path}.fieldPath")));
        match (field.json.is_empty(), field.yaml.is_empty()) {
            (false, false) => found
                .push(Invalid::new(path.as_str(), "json and yaml exclude each other: keep the one the field holds")),
            (true, true) => found.push(Invalid::new(path.as_str(), "it changes nothing: add json or yaml operations")),
            (true, false) | (false, true) => {}
        }
        let json = field
            .json
            .iter()
            .map(|operation| (operation.sub_path.as_str(), operation.operator, operation.value.is_some()));
        found.extend(invalid_operations(json, &format!("{path}.json")));
        let yaml = field
            .yaml
            .iter()
            .map(|operation| (operation.sub_path.as_str(), operation.operator, operation.value.is_some()));
        found.extend(invalid_operations(yaml, &format!("{path}.yaml")));
    }
    found
}

/// Operations inside a field, as (sub path, operator, whether there is a value).
fn invalid_operations<'a>(
    operations: impl Iterator<Item = (&'a str, OverriderOperator, bool)>,
    path: &str,
) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (index, (sub_path, operator, has_value)) in operations.enumerate() {
        let path = format!("{path}[{index}]");
        found.extend(invalid_pointer(sub_path, &format!("{path}.subPath")));
        found.extend(invalid_operation(operator, has_value, &format!("{path}.value")));
    }
    found
}

fn invalid_operation(operator: OverriderOperator, has_value: bool, path: &str) -> Option<Invalid> {
    match (operator, has_value) {
        (OverriderOperator::Add | OverriderOperator::Replace, false) => {
            Some(Invalid::new(path, "add and replace need a value"))
        }
        (OverriderOperator::Remove, true) => Some(Invalid::new(path, "remove takes no value: leave it out")),
        _ => None,
    }
}

/// A JSON pointer (RFC 6901) is empty, or begins with a slash and escapes `~` and `/` as `~0` and `~1`.
fn invalid_pointer(pointer: &str, path: &str) -> Option<Invalid> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Some(Invalid::new(path, format!("{pointer:?} is not a JSON pointer: begin it with a slash")));
    }
    let escapes = pointer.split('~').skip(1);
    let is_escaped = escapes.into_iter().all(|rest| rest.starts_with(['0', '1']));
    (!is_escaped).then(|| {
        Invalid::new(path, format!("{pointer:?} is not a JSON pointer: write ~ as ~0 and / within a key as ~1"))
    })
}

fn invalid_labels(labels: &Labels, path: &str) -> Vec<Invalid> {
    let mut found = Vec::new();
    for (key, value) in labels {
        let path = format!("{path}[{key}]");
        found.extend(selector::label_key_problem(key).map(|message| Invalid::new(path.as_str(), message)));
        found.extend(selector::label_value_problem(value).map(|message| Invalid::new(path.as_str(), message)));
    }
    found
}

fn invalid_annotations(annotations: &Labels, path: &str) -> Vec<Invalid> {
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    let too_large = (size > ANNOTATIONS_MAX).then(|| {
        Invalid::new(path, format!("{size} bytes are more than the {ANNOTATIONS_MAX} that an object may carry"))
    });
    let keys = annotations.keys().filter_map(|key| {
        // Annotation keys may be upper case where label prefixes may not.
        let message = selector::label_key_problem(&key.to_lowercase())?;
        Some(Invalid::new(format!("{path}[{key}]"), message))
    });
    too_large.into_iter().chain(keys).collect()
}
