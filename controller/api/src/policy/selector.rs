//! How policies pick objects and clusters.

use k8s_openapi::api::core::v1::NodeSelectorRequirement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::omit;

/// Picks objects of the federation by type and by name or labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSelector {
    /// API group and version of the objects, such as apps/v1.
    pub api_version: String,
    /// Kind of the objects, such as Deployment.
    pub kind: String,
    /// Namespace of the objects; empty means the policy's own namespace, or every namespace in a
    /// cluster-wide policy.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Name of one object; empty means every object of the kind that the labels select.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub name: String,
    /// Labels the objects must have; ignored when a name is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
}

/// Picks member clusters. All parts that are set must agree; with no part set every cluster matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAffinity {
    /// Labels of the Cluster objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<LabelSelector>,
    /// Provider, region and zone of the clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field_selector: Option<FieldSelector>,
    /// Names of the clusters; empty means any name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_names: Vec<String>,
    /// Names of clusters that never match, whatever the other parts say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// Picks clusters by where they run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FieldSelector {
    /// Requirements that must all hold; the keys are provider, region and zone, the operators In and
    /// NotIn.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<NodeSelectorRequirement>,
}
