//! Whose object is it? The record that every object we write in a member carries, and the proof by it.
//!
//! Karmada takes one label (`karmada.io/managed=true`) for proof; two federations that share a member then overwrite and
//! delete each other's objects. Here the label alone proves nothing: the record names the federation (uid of the hub's
//! kube-system namespace), the Work, the binding and the template.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use pando_api::{annotations, labels};
use serde_json::{Map, Value, json};

use crate::manifest::{Manifest, text};

/// Who wrote an object into a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Uid of the hub's kube-system namespace.
    pub federation: String,
    /// Permanent id of the binding; `None` for objects that no binding asked for (namespace sync).
    pub binding: Option<String>,
    /// Uid of the template on the hub.
    pub template_uid: String,
    /// Namespace of the Work, `karmada-es-<cluster>`.
    pub work_namespace: String,
    /// Name of the Work.
    pub work_name: String,
}

/// What an object's marks say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Written from this Work, for this binding and this template: it may be changed and deleted.
    Owned,
    /// Written from this Work of this federation, but for an earlier binding or template: it may be changed (and is then
    /// owned), not deleted.
    Inherited(Predecessor),
    /// Not ours.
    Foreign {
        /// What is missing or different.
        why: String,
    },
    /// Written by another federation: never touched, whatever the policy says.
    OtherFederation {
        /// Its id.
        federation: String,
    },
}

/// For whom an inherited object was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predecessor {
    /// This template; by a controller that names no federation: Karmada, before this hub changed over.
    Karmada,
    /// An earlier template of this name.
    Template,
    /// An earlier binding of this name.
    Binding,
}

impl fmt::Display for Predecessor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Karmada => "it was written for this template by another controller of this hub",
            Self::Template => "it was written for an earlier template of this name",
            Self::Binding => "it was written for an earlier binding of this name",
        })
    }
}

impl Record {
    /// The record on an object; `None` when it is incomplete.
    pub fn of(object: &Value) -> Option<Self> {
        let annotation = |key| text(object, &["metadata", "annotations", key]).filter(|value| !value.is_empty());
        Some(Self {
            federation: annotation(annotations::FEDERATION)?.to_owned(),
            binding: annotation(annotations::BINDING).map(str::to_owned),
            template_uid: annotation(annotations::TEMPLATE_UID)?.to_owned(),
            work_namespace: annotation(annotations::WORK_NAMESPACE)?.to_owned(),
            work_name: annotation(annotations::WORK_NAME)?.to_owned(),
        })
    }

    /// Writes the record and the managed label into a manifest, over anything a template or override put there.
    pub fn mark(&self, manifest: &mut Manifest) {
        manifest.set_label(labels::MANAGED, labels::MANAGED_VALUE);
        manifest.set_annotation(annotations::FEDERATION, &self.federation);
        match &self.binding {
            Some(binding) => manifest.set_annotation(annotations::BINDING, binding),
            None => manifest.remove_annotation(annotations::BINDING),
        }
        manifest.set_annotation(annotations::TEMPLATE_UID, &self.template_uid);
        manifest.set_annotation(annotations::WORK_NAMESPACE, &self.work_namespace);
        manifest.set_annotation(annotations::WORK_NAME, &self.work_name);
    }
}

/// What the marks on a live object prove, given the record we would have written.
pub fn prove(live: &Value, expected: &Record) -> Proof {
    let annotation = |key| text(live, &["metadata", "annotations", key]).unwrap_or_default();
    let federation = annotation(annotations::FEDERATION);
    if !federation.is_empty() && federation != expected.federation {
        return Proof::OtherFederation { federation: federation.to_owned() };
    }
    if text(live, &["metadata", "labels", labels::MANAGED]) != Some(labels::MANAGED_VALUE) {
        // Whoever removes the label takes the object out of our hands: that is the documented way to do so.
        return Proof::Foreign { why: format!("it has no label {}={}", labels::MANAGED, labels::MANAGED_VALUE) };
    }
    let (work_namespace, work_name) = (annotation(annotations::WORK_NAMESPACE), annotation(annotations::WORK_NAME));
    let template_uid = annotation(annotations::TEMPLATE_UID);
    if [work_namespace, work_name, template_uid].contains(&"") {
        return Proof::Foreign { why: "its ownership record is incomplete".to_owned() };
    }
    if (work_namespace, work_name) != (&expected.work_namespace, &expected.work_name) {
        return Proof::Foreign { why: format!("it belongs to Work {work_namespace}/{work_name}") };
    }
    match (federation.is_empty(), template_uid == expected.template_uid) {
        // Karmada names no federation, but nobody else knows the uid of our template: a hub that changes over keeps its objects.
        (true, true) => Proof::Inherited(Predecessor::Karmada),
        (true, false) => Proof::Foreign { why: "its ownership record names no federation".to_owned() },
        (false, false) => Proof::Inherited(Predecessor::Template),
        (false, true) if annotation(annotations::BINDING) != expected.binding.as_deref().unwrap_or_default() => {
            Proof::Inherited(Predecessor::Binding)
        }
        (false, true) => Proof::Owned,
    }
}

/// Completes a manifest whose content is final: writes Karmada's inventories of managed labels and annotations, and
/// `pando.io/manifest-hash` over everything else. A changed hash on the live object says that fields may have to go, which
/// comparing what is desired with what is there cannot see.
pub fn seal(manifest: &mut Manifest) {
    manifest.remove_annotation(annotations::MANIFEST_HASH);
    let labels = manifest.labels().map(|(key, _)| key).collect::<BTreeSet<_>>();
    let labels = labels.into_iter().collect::<Vec<_>>().join(",");
    let own = [annotations::MANAGED_ANNOTATIONS, annotations::MANAGED_LABELS, annotations::MANIFEST_HASH];
    let all = manifest.annotations().map(|(key, _)| key).chain(own).collect::<BTreeSet<_>>();
    let all = all.into_iter().collect::<Vec<_>>().join(",");
    manifest.set_annotation(annotations::MANAGED_LABELS, labels);
    manifest.set_annotation(annotations::MANAGED_ANNOTATIONS, all);
    let hash = manifest.hash();
    manifest.set_annotation(annotations::MANIFEST_HASH, hash);
}

/// The merge patch that takes every mark of ours off a live object and leaves the rest. It carries uid and
/// resourceVersion, so it can hit no other object and no newer state.
pub fn strip_patch(live: &Value) -> Value {
    let present = |map: &str, keys: &[&'static str]| {
        let on_live = live.get("metadata").and_then(|metadata| metadata.get(map));
        keys.iter()
            .filter(|key| on_live.is_some_and(|on_live| on_live.get(**key).is_some()))
            .map(|key| ((*key).to_owned(), Value::Null))
            .collect::<Map<_, _>>()
    };
    json!({"metadata": {
        "uid": text(live, &["metadata", "uid"]),
        "resourceVersion": text(live, &["metadata", "resourceVersion"]),
        "labels": present("labels", &OUR_LABELS),
        "annotations": present("annotations", &OUR_ANNOTATIONS),
    }})
}

/// Was the live object there before us, and taken over? Then it is not ours to delete.
pub fn is_adopted(live: &Value) -> bool {
    text(live, &["metadata", "annotations", annotations::ADOPTED]) == Some("true")
}

/// Marks what is about to be written as taken over. Every later write has to say so again: an apply drops what it does
/// not repeat.
pub fn mark_adopted(body: &mut Value) {
    if let Some(metadata) = body.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(annotations::ADOPTED.to_owned(), Value::from("true"));
        }
    }
}

/// Labels that only Pando writes on a member object.
pub const OUR_LABELS: [&str; 4] =
    [labels::MANAGED, labels::BINDING_PERMANENT_ID, labels::CLUSTER_BINDING_PERMANENT_ID, labels::WORK_PERMANENT_ID];

/// Annotations that only Pando writes on a member object. The conflict resolution is not among them: it is the user's
/// word on the template, too.
pub const OUR_ANNOTATIONS: [&str; 13] = [
    annotations::FEDERATION,
    annotations::ADOPTED,
    annotations::BINDING,
    annotations::MANIFEST_HASH,
    annotations::TEMPLATE_UID,
    annotations::TEMPLATE_GENERATION,
    annotations::WORK_NAMESPACE,
    annotations::WORK_NAME,
    annotations::MANAGED_LABELS,
    annotations::MANAGED_ANNOTATIONS,
    annotations::RESOURCE_BINDING_NAMESPACE,
    annotations::RESOURCE_BINDING_NAME,
    annotations::CLUSTER_RESOURCE_BINDING_NAME,
];
