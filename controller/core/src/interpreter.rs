//! What Pando knows about single kinds: where the replicas are, what of the status counts, when an object is healthy,
//! what it needs beside itself.
//!
//! One file per known kind in `interpreter/native/`, one table of all in [`native`]. Kinds are known by apiVersion and
//! kind, as in Karmada: another version of a kind may have its fields elsewhere. What is not in the table has Karmada's
//! defaults for kinds without a hook: no replicas, the whole `.status`, always healthy, nothing aggregated, retained or
//! depended on.

mod dependencies;
mod native;
#[cfg(test)]
pub(crate) mod real;
mod requirements;
#[cfg(test)]
mod tests;

use pando_api::work::{ReplicaRequirements, ResourceHealth};
use serde_json::{Map, Value};

pub use dependencies::Dependency;

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

type Aggregate = fn(&Value, &[StatusItem<'_>]) -> Option<Value>;

/// What is known of one kind, operation by operation; `None` is the default for kinds without a hook.
#[derive(Clone, Copy)]
struct Kind {
    api_version: &'static str,
    kind: &'static str,
    replicas: Option<fn(&Value) -> Replicas>,
    /// Writes the replicas of one member into the object. `false`: the object has no place for them.
    revise_replicas: Option<fn(&mut Value, i32) -> bool>,
    retain: Option<fn(&mut Value, &Value)>,
    /// The template's new status, or `None` when it is left alone. The items come sorted by cluster.
    aggregate_status: Option<Aggregate>,
    dependencies: Option<fn(&Value) -> Vec<Dependency>>,
    reflect_status: Option<fn(&Value) -> Option<Value>>,
    is_healthy: Option<fn(&Value) -> bool>,
}

impl Kind {
    /// A kind without any hook, to be filled in.
    const fn of(api_version: &'static str, kind: &'static str) -> Self {
        Self {
            api_version,
            kind,
            replicas: None,
            revise_replicas: None,
            retain: None,
            aggregate_status: None,
            dependencies: None,
            reflect_status: None,
            is_healthy: None,
        }
    }
}

fn of(object: &Value) -> Option<&'static Kind> {
    let api_version = text(object, &["apiVersion"])?;
    let kind = text(object, &["kind"])?;
    native::KINDS.iter().find(|known| known.kind == kind && known.api_version == api_version)
}

/// Replicas of a workload; `None` for every other kind.
pub fn replicas(manifest: &Manifest) -> Option<Replicas> {
    of(manifest.value())?.replicas.map(|replicas| replicas(manifest.value()))
}

/// The manifest with `count` replicas; unchanged, and `false`, when the kind has none to revise.
pub fn revise_replicas(manifest: &mut Manifest, count: i32) -> bool {
    of(manifest.value())
        .and_then(|kind| kind.revise_replicas)
        .is_some_and(|revise| revise(manifest.value_mut(), count.max(0)))
}

/// Whether two requirements mean the same, however their quantities are written.
pub fn same_requirements(left: Option<&ReplicaRequirements>, right: Option<&ReplicaRequirements>) -> bool {
    requirements::same(left, right)
}

/// How often a Job has to succeed; `None` for a Job that counts nothing (a work queue) and for every other kind.
pub(crate) fn completions(manifest: &Manifest) -> Option<u32> {
    native::completions(manifest.value())
}

/// The Job with `count` completions. Only for what has [`completions`].
pub(crate) fn revise_completions(manifest: &mut Manifest, count: u32) {
    native::revise_completions(manifest.value_mut(), count);
}

/// The part of a member object's status that travels to the hub; `None` when there is none to report (yet).
///
/// The generation of the template that the member object was rendered from is read from its annotation.
///
/// Kinds without a hook travel whole, CustomResourceDefinitions too: their status is names, conditions and versions,
/// a few hundred bytes; it is the spec that is large.
///
/// Nulls say nothing and stay behind: a merge patch cannot carry them, so what the hub keeps would never equal what was
/// reported, and a restart would report it again.
pub fn reflect_status(live: &Value) -> Option<Value> {
    let mut status = match of(live).and_then(|kind| kind.reflect_status) {
        Some(reflect) => reflect(live),
        None => whole_status(live).cloned(),
    }?;
    drop_nulls(&mut status);
    Some(status)
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(drop_nulls);
        }
        Value::Array(items) => {
            items.retain(|item| !item.is_null());
            items.iter_mut().for_each(drop_nulls);
        }
        _ => {}
    }
}

fn whole_status(live: &Value) -> Option<&Value> {
    live.get("status").filter(|status| status.is_object())
}

/// Health of a member object: Karmada's rules, but that a StatefulSet's partition is heeded.
pub fn health(live: &Value) -> ResourceHealth {
    let is_healthy = of(live).and_then(|kind| kind.is_healthy).is_none_or(|is_healthy| is_healthy(live));
    if is_healthy { ResourceHealth::Healthy } else { ResourceHealth::Unhealthy }
}

/// Whether [`aggregate_status`] knows this kind at all.
pub fn aggregates(api_version: &str, kind: &str) -> bool {
    let known = native::KINDS.iter().find(|known| known.kind == kind && known.api_version == api_version);
    known.is_some_and(|known| known.aggregate_status.is_some())
}

/// The template's new `.status`, computed from the members in any order; `None` when it is left alone.
/// `template` is the hub object as read (with metadata.generation and status).
///
/// Fields that are not aggregated stay as they are. (Karmada replaces the whole status of some kinds; a field that the
/// hub's API server sets itself, as `lastPhaseTransitionTime` of a volume, would then differ after every write.)
pub fn aggregate_status(template: &Value, items: &[StatusItem<'_>]) -> Option<Value> {
    let aggregate = of(template)?.aggregate_status?;
    if items.is_sorted_by_key(|item| item.cluster) {
        return aggregate(template, items);
    }
    let mut sorted = items.to_vec();
    sorted.sort_by_key(|item| item.cluster);
    aggregate(template, &sorted)
}

/// Copies from the live object what the member gives out itself (addresses, ports, autoscaled replicas), so that
/// applying `desired` does not take it away.
pub fn retain(desired: &mut Value, live: &Value) {
    if let Some(retain) = of(desired).and_then(|kind| kind.retain) {
        retain(desired, live);
    }
}

/// The objects that a template needs beside itself, each once, in order. They may not exist.
pub fn dependencies(template: &Manifest) -> Vec<Dependency> {
    let mut found =
        of(template.value()).and_then(|kind| kind.dependencies).map_or_else(Vec::new, |list| list(template.value()));
    found.sort();
    found.dedup();
    found
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

/// The present status of a template, to be changed.
fn present_status(template: &Value) -> Map<String, Value> {
    template.get("status").and_then(Value::as_object).cloned().unwrap_or_default()
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

/// The items of a list field; none when it is absent.
fn list<'v>(value: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}
