//! `Work`: the manifests that one cluster receives.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ResourceHealth;
use crate::conditions::StrictConditions;
use crate::crds::Column;
use crate::omit;
use crate::raw::EmbeddedObject;
use crate::resource::custom_resource;

custom_resource! {
    /// Manifests for one member cluster. The namespace, karmada-es- and the name of the cluster, says
    /// which.
    pub struct Work(NamespaceResourceScope) {
        /// The manifests.
        spec: WorkSpec,
        /// Whether they are applied and what the member says about them.
        status: WorkStatus,
    }
    group: "work.karmada.io", version: "v1alpha1", plural: "works", short: ["wk"],
    columns: [
        Column::text("WORKLOAD-KIND", ".spec.workload.manifests[*].kind"),
        Column::text("APPLIED", ".status.conditions[?(@.type==\"Applied\")].status"),
        Column::AGE,
    ],
}

/// The manifests for one member cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkSpec {
    /// The manifests.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub workload: WorkloadTemplate,
    /// True keeps the member as it is for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend_dispatching: Option<bool>,
    /// Whether the member keeps its copies when the Work is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_resources_on_deletion: Option<bool>,
}

/// The manifests for one member cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadTemplate {
    /// Complete objects as the member shall have them; in practice exactly one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifests: Vec<EmbeddedObject>,
}

/// Whether the manifests are applied and what the member says about them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkStatus {
    /// Whether the manifests may be applied (Dispatching) and are (Applied).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "StrictConditions")]
    pub conditions: Vec<Condition>,
    /// What the member says about each manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub manifest_statuses: Vec<ManifestStatus>,
}

/// What the member says about one manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestStatus {
    /// Which manifest this is about.
    pub identifier: ResourceIdentifier,
    /// The status of the object in the member, or the part of it that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<EmbeddedObject>,
    /// Whether the object does its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ResourceHealth>,
}

/// Points at a manifest of the Work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceIdentifier {
    /// Position in the list of manifests, from 0.
    pub ordinal: i64,
    /// API group of the object; empty for the core group.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub group: String,
    /// API version of the object, without the group.
    pub version: String,
    /// Kind of the object.
    pub kind: String,
    /// Name of the API resource; Karmada always writes an empty text, and so do we.
    pub resource: String,
    /// Namespace of the object; empty for cluster-wide ones.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Name of the object.
    pub name: String,
}
