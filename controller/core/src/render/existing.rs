//! A Work that is there, compared with the Work that shall be there.

use std::collections::BTreeMap;

use pando_api::{annotations, finalizers, work::Work};
use serde_json::{Map, Value};

use super::{Binding, Fault};
use crate::{interpreter, manifest::Manifest};

/// Annotations of Works that rendering writes only sometimes: stale ones have to go.
const OPTIONAL: [&str; 2] = [annotations::APPLIED_OVERRIDES, annotations::APPLIED_CLUSTER_OVERRIDES];

/// By permanent id; or by name, for a binding that was deleted and made again while its Works stayed.
pub(super) fn belongs_to(work: &Work, binding: &Binding<'_>) -> bool {
    let label = |key| work.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let annotation = |key| annotation(work, key);
    if label(binding.permanent_id_label()) == Some(binding.permanent_id) {
        return true;
    }
    match binding.namespace {
        Some(namespace) => {
            annotation(annotations::RESOURCE_BINDING_NAMESPACE) == Some(namespace)
                && annotation(annotations::RESOURCE_BINDING_NAME) == Some(binding.name)
        }
        None => annotation(annotations::CLUSTER_RESOURCE_BINDING_NAME) == Some(binding.name),
    }
}

fn annotation<'w>(work: &'w Work, key: &str) -> Option<&'w str> {
    work.metadata.annotations.as_ref().and_then(|annotations| annotations.get(key)).map(String::as_str)
}

pub(super) fn name_taken(work: &Work) -> Fault {
    let metadata = &work.metadata;
    let name = |name: &Option<String>| name.clone().unwrap_or_default();
    let owner = match (
        annotation(work, annotations::RESOURCE_BINDING_NAMESPACE),
        annotation(work, annotations::RESOURCE_BINDING_NAME),
    ) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => annotation(work, annotations::CLUSTER_RESOURCE_BINDING_NAME).unwrap_or("none").to_owned(),
    };
    Fault::NameTaken { work: format!("{}/{}", name(&metadata.namespace), name(&metadata.name)), owner }
}

/// Replicas in a Work's manifest, for the reason of a step.
pub(super) fn replicas(work: &Work) -> Option<i32> {
    interpreter::replicas(&manifest(work)?).map(|replicas| replicas.count)
}

fn manifest(work: &Work) -> Option<Manifest> {
    let raw = work.spec.workload.manifests.first()?;
    Manifest::from_template(raw.get().as_bytes()).ok()
}

/// Why `found` has to be replaced by `rendered`; `None` when it need not be.
pub(super) fn difference(found: &Work, rendered: &Work) -> Option<String> {
    if let Some(why) = content(found, rendered) {
        return Some(why);
    }
    let (old, new) = (&found.spec, &rendered.spec);
    let flag = |flag: Option<bool>| flag.unwrap_or_default();
    match (flag(old.suspend_dispatching), flag(new.suspend_dispatching)) {
        (false, true) => return Some("dispatching is suspended".to_owned()),
        (true, false) => return Some("dispatching resumes".to_owned()),
        _ => {}
    }
    if flag(old.preserve_resources_on_deletion) != flag(new.preserve_resources_on_deletion) {
        return Some("preserveResourcesOnDeletion changed".to_owned());
    }
    let (old, new) = (&found.metadata, &rendered.metadata);
    let has_all = |have: &Option<BTreeMap<String, String>>, want: &Option<BTreeMap<String, String>>| {
        want.iter().flatten().all(|(key, value)| have.as_ref().and_then(|have| have.get(key)) == Some(value))
    };
    let is_stale = |key: &str| annotation(found, key).is_some() && annotation(rendered, key).is_none();
    let finalized = old.finalizers.iter().flatten().any(|finalizer| finalizer == finalizers::EXECUTION);
    let same = has_all(&old.labels, &new.labels)
        && has_all(&old.annotations, &new.annotations)
        && has_owners(found, rendered)
        && !OPTIONAL.iter().any(|key| is_stale(key))
        && finalized;
    (!same).then(|| "labels, annotations or finalizer changed".to_owned())
}

fn has_owners(found: &Work, rendered: &Work) -> bool {
    let have = found.metadata.owner_references.as_deref().unwrap_or_default();
    rendered.metadata.owner_references.iter().flatten().all(|owner| have.iter().any(|other| other.uid == owner.uid))
}

fn content(found: &Work, rendered: &Work) -> Option<String> {
    let (old, new) = (&found.spec.workload.manifests, &rendered.spec.workload.manifests);
    if old == new {
        return None;
    }
    let (Some(before), Some(after), 1) = (manifest(found), manifest(rendered), old.len()) else {
        return Some("its manifest is unusable".to_owned());
    };
    // A server may return the same object in other bytes.
    if same(before.value(), after.value()) {
        return None;
    }
    Some(reason(before, &after))
}

/// What changed, for people: the replicas, the rest, or only the template's generation.
fn reason(mut before: Manifest, after: &Manifest) -> String {
    let count = |manifest: &Manifest| interpreter::replicas(manifest).map(|replicas| replicas.count);
    let mut reasons = Vec::new();
    if let (Some(old), Some(new)) = (count(&before), count(after))
        && old != new
    {
        reasons.push(format!("replicas {old} → {new}"));
        interpreter::revise_replicas(&mut before, new);
    }
    let mut after = after.clone();
    let generation =
        |manifest: &Manifest| manifest.annotation(annotations::TEMPLATE_GENERATION).unwrap_or("0").to_owned();
    let (old, new) = (generation(&before), generation(&after));
    for manifest in [&mut before, &mut after] {
        for key in [annotations::TEMPLATE_GENERATION, annotations::MANIFEST_HASH] {
            manifest.remove_annotation(key);
        }
    }
    if !same(before.value(), after.value()) {
        reasons.push("manifest changed".to_owned());
    } else if reasons.is_empty() {
        reasons.push(format!("template generation {old} → {new}"));
    }
    reasons.join(", ")
}

/// Equal after a server had it in hands: null is absent, numbers are equal by value, and the order of keys is nothing.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let covered = |one: &Map<String, Value>, other: &Map<String, Value>| {
                one.iter().all(|(key, value)| value.is_null() || other.get(key).is_some_and(|there| same(value, there)))
            };
            covered(left, right)
                && right.iter().all(|(key, value)| value.is_null() || left.get(key).is_some_and(|v| !v.is_null()))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Number(a), Value::Number(b)) => a == b || (a.is_f64() || b.is_f64()) && a.as_f64() == b.as_f64(),
        (left, right) => left == right,
    }
}

/// The rendered Work with the identity and the foreign metadata of the one that is there.
pub(super) fn merged(found: &Work, mut rendered: Work) -> Work {
    let kept = found.metadata.clone();
    let metadata = &mut rendered.metadata;
    let ours = std::mem::replace(metadata, kept);
    metadata.managed_fields = None;
    metadata.labels.get_or_insert_default().extend(ours.labels.unwrap_or_default());
    let annotations = metadata.annotations.get_or_insert_default();
    for key in OPTIONAL {
        annotations.remove(key);
    }
    annotations.extend(ours.annotations.unwrap_or_default());
    add_missing(metadata.finalizers.get_or_insert_default(), ours.finalizers, |a, b| a == b);
    if ours.owner_references.is_some() {
        add_missing(metadata.owner_references.get_or_insert_default(), ours.owner_references, |a, b| a.uid == b.uid);
    }
    rendered.status.clone_from(&found.status);
    rendered
}

fn add_missing<T>(list: &mut Vec<T>, ours: Option<Vec<T>>, same: impl Fn(&T, &T) -> bool) {
    for item in ours.unwrap_or_default() {
        if !list.iter().any(|there| same(there, &item)) {
            list.push(item);
        }
    }
}
