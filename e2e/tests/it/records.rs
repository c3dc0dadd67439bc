//! What the hub keeps of templates: their bindings and Works.

use anyhow::Result;
use kube::api::{DynamicObject, ListParams};
use pando_e2e::federation::Federation;
use serde_json::{Value, json};

use crate::objects;

/// The ResourceBindings of a namespace.
pub(crate) async fn bindings(federation: &Federation, namespace: &str) -> Result<Vec<DynamicObject>> {
    let place = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding", "metadata": { "namespace": namespace },
    });
    Ok(objects::api_of(&federation.hub.client, &place)?.list(&ListParams::default()).await?.items)
}

/// The Works of a namespace's templates for all members; not those of the namespace itself.
pub(crate) async fn works(federation: &Federation, namespace: &str) -> Result<Vec<DynamicObject>> {
    let everywhere = json!({ "apiVersion": "work.karmada.io/v1alpha1", "kind": "Work", "metadata": {} });
    let mut works = objects::api_of(&federation.hub.client, &everywhere)?.list(&ListParams::default()).await?.items;
    works.retain(|work| manifest(work)["metadata"]["namespace"] == namespace);
    Ok(works)
}

/// What a Work carries.
pub(crate) fn manifest(work: &DynamicObject) -> &Value {
    &work.data["spec"]["workload"]["manifests"][0]
}
