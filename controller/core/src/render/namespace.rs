//! Namespace sync: a Work for a hub namespace in each member, so that what is propagated has a place.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use pando_api::{annotations, policy::ConflictResolution, work::Work};

use super::{Action, Fault, MAX_WORK_BYTES, WorkStep, existing, work};
use crate::{cluster_facts::ClusterFacts, manifest::Template, overrides::Selected, ownership::Record};

/// What a namespace's Work in one member depends on.
#[derive(Clone, Copy, Debug)]
pub struct NamespaceInput<'a> {
    /// Uid of the hub's kube-system namespace.
    pub federation: &'a str,
    /// The namespace on the hub.
    pub namespace: &'a Template,
    /// ClusterOverridePolicies that select it.
    pub overrides: &'a Selected<'a>,
    /// The member.
    pub cluster: &'a ClusterFacts,
    /// The Work that is there.
    pub existing: Option<&'a Arc<Work>>,
}

/// Decides the Work of one namespace in one member. It is owned by the Namespace, so that the hub's garbage collector
/// removes it; the member's namespace stays (see [`crate::drift::release`]).
///
/// # Errors
/// A [`Fault`] when the Work cannot be rendered; what is there stays.
pub fn namespace_work(input: &NamespaceInput<'_>) -> Result<WorkStep, Fault> {
    let NamespaceInput { federation, namespace, overrides, cluster, existing } = *input;
    let step = |action, why| Ok(WorkStep { cluster: cluster.name.clone(), action, why });
    if let Some(found) = existing {
        if is_anothers(found, namespace) {
            return Err(existing::name_taken(found));
        }
        if found.metadata.deletion_timestamp.is_some() {
            return step(Action::Hold, "the old Work is still being deleted".to_owned());
        }
    }
    let rendered = render(federation, namespace, overrides, cluster)?;
    let bytes = work::size(&rendered);
    if bytes > MAX_WORK_BYTES {
        return Err(Fault::ManifestTooLarge { bytes });
    }
    let Some(found) = existing else {
        return step(Action::Create(Box::new(rendered)), "new namespace or cluster".to_owned());
    };
    match existing::difference(found, &rendered) {
        None => step(Action::Keep(Arc::clone(found)), "as desired".to_owned()),
        Some(why) => {
            let to = Box::new(existing::merged(found, rendered));
            step(Action::Replace { from: Arc::clone(found), to }, why)
        }
    }
}

/// A policy may propagate a namespace, too: the Work then belongs to a binding and has the same name.
fn is_anothers(found: &Work, namespace: &Template) -> bool {
    let owners = found.metadata.owner_references.as_deref().unwrap_or_default();
    !owners.iter().any(|owner| owner.kind == "Namespace" && owner.name == namespace.manifest.name())
}

fn render(
    federation: &str,
    namespace: &Template,
    overrides: &Selected<'_>,
    cluster: &ClusterFacts,
) -> Result<Work, Fault> {
    let (mut manifest, applied) = work::overridden(overrides, namespace.manifest.clone(), cluster)?;
    // A hub's API server adds these to every namespace: the member's does so itself, or has its own finalizer.
    if let Some(object) = manifest.value_mut().as_object_mut() {
        object.remove("spec");
    }
    let record = Record {
        federation: federation.to_owned(),
        binding: None,
        template_uid: namespace.uid.clone(),
        work_namespace: cluster.name.execution_namespace().to_string(),
        work_name: work::name(namespace),
    };
    let conflict = work::conflict_resolution(&manifest, ConflictResolution::Abort);
    work::finish(&mut manifest, &record, namespace, conflict);
    let mut annotations = BTreeMap::from([(annotations::CONFLICT_RESOLUTION.to_owned(), conflict.to_owned())]);
    annotations.extend(work::override_records(&applied));
    let mut work = work::assemble(&record, &manifest, annotations);
    work.metadata.owner_references = Some(vec![OwnerReference {
        api_version: namespace.manifest.api_version().to_owned(),
        kind: namespace.manifest.kind().to_owned(),
        name: namespace.manifest.name().to_owned(),
        uid: namespace.uid.clone(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }]);
    Ok(work)
}
