//! What Deployment, StatefulSet and ReplicaSet have in common: `spec.replicas`.

use serde_json::Value;

use crate::interpreter::{Replicas, requirements};

/// The API server's default when `spec.replicas` is absent.
const DEFAULT_REPLICAS: i64 = 1;

pub(super) fn replicas(object: &Value) -> Replicas {
    let count = wanted(object).unwrap_or(DEFAULT_REPLICAS);
    Replicas { count: bounded(count), requirements: of_template(object) }
}

/// What one pod of `spec.template` needs.
pub(super) fn of_template(object: &Value) -> Option<pando_api::work::ReplicaRequirements> {
    object.pointer("/spec/template/spec").and_then(requirements::requirements)
}

/// A count as the API has it.
pub(super) fn bounded(count: i64) -> i32 {
    i32::try_from(count.max(0)).unwrap_or(i32::MAX)
}

pub(super) fn revise_replicas(object: &mut Value, count: i32) -> bool {
    set(object, "replicas", count)
}

/// Sets a number below `spec`.
pub(super) fn set(object: &mut Value, field: &str, count: i32) -> bool {
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return false };
    spec.insert(field.to_owned(), Value::from(count));
    true
}

/// `spec.replicas`; a server has filled in the default.
pub(super) fn wanted(object: &Value) -> Option<i64> {
    object.pointer("/spec/replicas").and_then(Value::as_i64)
}
