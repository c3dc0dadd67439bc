//! What Pando knows about single kinds: where the replicas are, what of the status counts, when an object is healthy.
//!
//! One file per known kind in `interpreter/native/`; a kind without a file gets [`Generic`], which is Karmada's behaviour
//! for kinds without a hook: no replicas, the whole `.status`, always healthy, nothing aggregated, nothing retained.

mod native;
mod pod;
#[cfg(test)]
mod tests;

use pando_api::work::{ReplicaRequirements, ResourceHealth};
use serde_json::{Map, Value};

use crate::manifest::{Manifest, text};

/// How many copies a workload asks for, and what one copy needs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Replicas {
    /// Desired copies; never negative.
    pub count: i32,
    /// Needs of one copy; `None` when it asks for nothing in particular.
    pub requirements: Option<ReplicaRequirements>,
}

/// Status of one template's object in one member.
#[derive(Clone, Debug, PartialEq)]
pub struct StatusItem<'a> {
    /// Name of the member.
    pub cluster: &'a str,
    /// What [`reflect_status`] collected there; `None` when nothing was collected yet.
    pub status: Option<Value>,
}

/// Knowledge about one kind. Every method has Karmada's default for kinds without a hook.
trait Interpreter: Sync {
    fn replicas(&self, _object: &Value) -> Option<Replicas> {
        None
    }

    /// Writes the replicas of one member into the object. `false`: this kind has none to write.
    fn revise_replicas(&self, _object: &mut Value, _count: i32) -> bool {
        false
    }

    fn reflect_status(&self, live: &Value) -> Option<Value> {
        live.get("status").filter(|status| status.is_object()).cloned()
    }

    fn healthy(&self, _live: &Value) -> bool {
        true
    }

    /// The template's new status, or `None` when this kind's template status is left alone.
    fn aggregate_status(&self, _template: &Value, _items: &[StatusItem<'_>]) -> Option<Value> {
        None
    }

    fn retain(&self, _desired: &mut Value, _live: &Value) {}
}

/// A kind that Pando knows nothing about.
struct Generic;

impl Interpreter for Generic {}

fn of(object: &Value) -> &'static dyn Interpreter {
    let kind = text(object, &["kind"]).unwrap_or_default();
    match (text(object, &["apiVersion"]).unwrap_or_default(), kind) {
        ("apps/v1", "Deployment") => &native::Deployment,
        ("apps/v1", "StatefulSet") => &native::StatefulSet,
        ("apps/v1", "ReplicaSet") => &native::ReplicaSet,
        ("networking.k8s.io/v1", "Ingress") => &native::Ingress,
        ("v1", "PersistentVolumeClaim") => &native::PersistentVolumeClaim,
        ("v1", "Service") => &native::Service,
        ("v1", "Secret") => &native::Secret,
        // ConfigMap and Namespace have neither replicas nor a status that Karmada treats in any special way.
        _ => &Generic,
    }
}

/// Replicas of a workload; `None` for every other kind.
pub fn replicas(manifest: &Manifest) -> Option<Replicas> {
    of(manifest.value()).replicas(manifest.value())
}

/// The manifest with `count` replicas; unchanged when the kind has none.
pub fn revise_replicas(manifest: &mut Manifest, count: i32) -> bool {
    of(manifest.value()).revise_replicas(manifest.value_mut(), count)
}

/// The part of a member object's status that travels to the hub; `None` when there is none to report (yet).
///
/// The generation of the template that the member object was rendered from is read from its annotation.
pub fn reflect_status(live: &Value) -> Option<Value> {
    of(live).reflect_status(live)
}

/// Health of a member object: Karmada's rules, exactly.
pub fn health(live: &Value) -> ResourceHealth {
    if of(live).healthy(live) { ResourceHealth::Healthy } else { ResourceHealth::Unhealthy }
}

/// The template's new `.status`, computed from the members; `None` when this kind has no aggregated status.
/// `template` is the hub object as read (with metadata.generation and status).
pub fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    of(template).aggregate_status(template, items)
}

/// Copies from the live object what the member gives out itself (addresses, ports, autoscaled replicas), so that
/// applying `desired` does not take it away.
pub fn retain(desired: &mut Value, live: &Value) {
    of(desired).retain(desired, live);
}

/// An integer field; absent counts as zero, as in Go's typed objects.
fn integer(value: &Value, field: &str) -> i64 {
    value.get(field).and_then(Value::as_i64).unwrap_or_default()
}

/// Sets an integer field as Go's `omitempty` does: zero is absent.
fn set_counter(map: &mut Map<String, Value>, field: &str, count: i64) {
    if count == 0 {
        map.remove(field);
    } else {
        map.insert(field.to_owned(), Value::from(count));
    }
}

/// Copies a field below `spec` from the live object when it is there.
fn keep_spec_field(desired: &mut Value, live: &Value, field: &str) {
    let Some(found) = live.get("spec").and_then(|spec| spec.get(field)).filter(|found| !found.is_null()) else {
        return;
    };
    if let Some(spec) = desired.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert(field.to_owned(), found.clone());
    }
}
