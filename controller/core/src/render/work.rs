//! The content of one Work (Karmada 1.19, `ensureWork` and `CreateOrUpdateWork`).

use std::collections::BTreeMap;

use pando_api::{
    annotations,
    annotations::{CONFLICT_RESOLUTION_ABORT as ABORT, CONFLICT_RESOLUTION_OVERWRITE as OVERWRITE},
    finalizers, labels, names,
    policy::ConflictResolution,
    raw::EmbeddedObject,
    work::{Work, WorkSpec},
};

use super::{Fault, RenderInput};
use crate::{
    cluster_facts::ClusterFacts,
    interpreter,
    manifest::{Manifest, Template},
    overrides::{AppliedOverrides, Selected},
    ownership::{self, Record},
    scheduler::{self, divide::Division},
};

/// Records of applied overrides beyond this size are cut to the names of the policies: all annotations of an object
/// together may have 256 KiB.
const MAX_RECORD_BYTES: usize = 64 * 1024;

/// Name of the Work for a template; the same in every cluster.
pub(super) fn name(template: &Template) -> String {
    let manifest = &template.manifest;
    names::work_name(manifest.namespace(), manifest.kind(), manifest.name())
}

/// The Work for one cluster.
pub(super) fn render(
    input: &RenderInput<'_>,
    completions: Option<&Division<&str>>,
    cluster: &ClusterFacts,
    replicas: Option<i32>,
) -> Result<Work, Fault> {
    let RenderInput { federation, binding, template, overrides, .. } = *input;
    let mut manifest = template.manifest.clone();
    if let Some(count) = replicas.filter(|_| scheduler::is_workload(binding.spec)) {
        interpreter::revise_replicas(&mut manifest, count);
        if let Some(share) = completions.and_then(|completions| completions.part(&cluster.name.as_ref())) {
            interpreter::revise_completions(&mut manifest, share);
        }
    }
    let (mut manifest, applied) = overridden(overrides, manifest, cluster)?;
    let conflict = conflict_resolution(&manifest, binding.spec.conflict_resolution);
    let namespace = cluster.name.execution_namespace().to_string();
    let mut annotations = binding_annotations(binding.namespace, binding.name);
    for (key, value) in &annotations {
        manifest.set_annotation(key, value.clone());
    }
    manifest.set_label(binding.permanent_id_label(), binding.permanent_id);
    let record = Record {
        federation: federation.to_owned(),
        binding: Some(binding.permanent_id.to_owned()),
        template_uid: template.uid.clone(),
        work_namespace: namespace,
        work_name: name(template),
    };
    finish(&mut manifest, &record, template, conflict);
    annotations.insert(annotations::CONFLICT_RESOLUTION.to_owned(), conflict.to_owned());
    annotations.extend(override_records(&applied));
    let mut work = assemble(&record, &manifest, annotations);
    let labels = work.metadata.labels.get_or_insert_default();
    labels.insert(binding.permanent_id_label().to_owned(), binding.permanent_id.to_owned());
    work.spec.suspend_dispatching = Some(is_suspended(input, cluster));
    work.spec.preserve_resources_on_deletion = Some(binding.spec.preserve_resources_on_deletion.unwrap_or_default());
    Ok(work)
}

/// The object for a cluster after its overrides.
pub(super) fn overridden(
    overrides: &Selected<'_>,
    manifest: Manifest,
    cluster: &ClusterFacts,
) -> Result<(Manifest, AppliedOverrides), Fault> {
    if overrides.is_empty() {
        return Ok((manifest, AppliedOverrides::default()));
    }
    Ok(overrides.apply(manifest, cluster)?)
}

/// The marks that every manifest gets last, and the seal over all of it.
pub(super) fn finish(manifest: &mut Manifest, record: &Record, template: &Template, conflict: &str) {
    record.mark(manifest);
    if template.generation > 0 {
        manifest.set_annotation(annotations::TEMPLATE_GENERATION, template.generation.to_string());
    }
    manifest.set_annotation(annotations::CONFLICT_RESOLUTION, conflict);
    ownership::seal(manifest);
}

/// A Work with one manifest.
pub(super) fn assemble(record: &Record, manifest: &Manifest, annotations: BTreeMap<String, String>) -> Work {
    let mut work = Work::new(&record.work_name, WorkSpec::default());
    work.metadata.namespace = Some(record.work_namespace.clone());
    work.metadata.labels = Some(BTreeMap::from([(labels::WORK_PERMANENT_ID.to_owned(), permanent_id(record))]));
    work.metadata.annotations = Some(annotations);
    work.metadata.finalizers = Some(vec![finalizers::EXECUTION.to_owned()]);
    // A JSON value always serialises.
    work.spec.workload.manifests = EmbeddedObject::from_value(manifest.value()).into_iter().collect();
    work
}

/// Annotations with which Works and manifests name their binding.
fn binding_annotations(namespace: Option<&str>, name: &str) -> BTreeMap<String, String> {
    let pairs = match namespace {
        Some(namespace) => {
            vec![(annotations::RESOURCE_BINDING_NAMESPACE, namespace), (annotations::RESOURCE_BINDING_NAME, name)]
        }
        None => vec![(annotations::CLUSTER_RESOURCE_BINDING_NAME, name)],
    };
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// The applied-overrides annotations.
pub(super) fn override_records(applied: &AppliedOverrides) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    for (key, list) in [
        (annotations::APPLIED_CLUSTER_OVERRIDES, &applied.cluster),
        (annotations::APPLIED_OVERRIDES, &applied.namespaced),
    ] {
        if list.is_empty() {
            continue;
        }
        let full = serde_json::to_string(list).unwrap_or_default();
        let record = if full.len() <= MAX_RECORD_BYTES {
            full
        } else {
            let names = list.iter().map(|applied| serde_json::json!({"policyName": applied.policy_name}));
            serde_json::Value::from_iter(names).to_string()
        };
        records.insert(key.to_owned(), record);
    }
    records
}

/// The template's annotation wins over the policy's field; anything but the two words is ignored.
pub(super) fn conflict_resolution(manifest: &Manifest, in_binding: ConflictResolution) -> &'static str {
    match (manifest.annotation(annotations::CONFLICT_RESOLUTION), in_binding) {
        (Some(OVERWRITE), _) => OVERWRITE,
        (Some(ABORT), _) => ABORT,
        (_, ConflictResolution::Overwrite) => OVERWRITE,
        _ => ABORT,
    }
}

fn is_suspended(input: &RenderInput<'_>, cluster: &ClusterFacts) -> bool {
    let Some(suspension) = &input.binding.spec.suspension else {
        return false;
    };
    let names = suspension.dispatching_on_clusters.iter().flat_map(|clusters| &clusters.cluster_names);
    suspension.dispatching == Some(true) || names.into_iter().any(|name| name == cluster.name.as_ref())
}

/// A UUID (version 8: made by us) from the Work's identity: Karmada draws a random one, which a pure function cannot.
fn permanent_id(record: &Record) -> String {
    let identity = format!(
        "{}/{}/{}/{}",
        record.federation,
        record.binding.as_deref().unwrap_or(&record.template_uid),
        record.work_namespace,
        record.work_name
    );
    let bits = xxhash_rust::xxh3::xxh3_128(identity.as_bytes());
    let bits = bits & !(0xf << 76) | 0x8 << 76;
    let bits = bits & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// About how many bytes the Work has on the wire.
pub(super) fn size(work: &Work) -> usize {
    let pairs = work.metadata.annotations.iter().flatten().chain(work.metadata.labels.iter().flatten());
    let metadata: usize = pairs.map(|(key, value)| key.len() + value.len() + 6).sum();
    let manifests: usize = work.spec.workload.manifests.iter().map(|manifest| manifest.get().len()).sum();
    metadata + manifests + 512
}
