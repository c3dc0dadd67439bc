//! `cluster.karmada.io/v1alpha1`: the members.
//!
//! Karmada serves `Cluster` from an aggregated server without a schema. Here it is a custom
//! resource, so its conditions are checked less strictly than Kubernetes' own (an empty reason is
//! accepted), and there is no `proxy` sub-resource yet.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::conditions::RelaxedConditions;
use crate::crds::Column;
use crate::omit;
use crate::resource::custom_resource;
use crate::words::words;

pub use k8s_openapi::api::core::v1::Taint;

#[cfg(test)]
mod tests;

custom_resource! {
    /// A member cluster: how to reach it, where it runs, and how it is.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "size(self.metadata.name) <= 48 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
        "message": "a cluster name has at most 48 characters: lower case letters, digits and '-', not '-' first or last",
    }]))]
    pub struct Cluster(ClusterResourceScope) {
        /// How to reach the cluster and where it runs.
        spec: ClusterSpec,
        /// What was last seen of the cluster.
        status: ClusterStatus,
    }
    group: "cluster.karmada.io", version: "v1alpha1", plural: "clusters", short: [],
    columns: [
        Column::text("VERSION", ".status.kubernetesVersion"),
        Column::text("MODE", ".spec.syncMode"),
        Column::text("READY", ".status.conditions[?(@.type==\"Ready\")].status"),
        Column::wide("ZONES", ".spec.zones"),
        Column::wide("REGION", ".spec.region"),
        Column::wide("PROVIDER", ".spec.provider"),
        Column::wide("API-ENDPOINT", ".spec.apiEndpoint"),
        Column::wide("PROXY-URL", ".spec.proxyURL"),
        Column::AGE,
    ],
}

/// How to reach a cluster and where it runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!has(self.zone) || self.zone == '' || !has(self.zones) || size(self.zones) == 0",
    "message": "use zones; zone is its old form and cannot be set as well",
}]))]
pub struct ClusterSpec {
    /// Identity of the cluster: uid of its kube-system namespace. No two clusters share one.
    #[serde(default, skip_serializing_if = "omit::zero")]
    #[schemars(length(max = 128000))]
    pub id: String,
    /// Who carries the work over: this side (Push) or an agent in the cluster (Pull).
    pub sync_mode: SyncMode,
    /// Address of the cluster's API server, such as https://10.0.0.1:6443.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub api_endpoint: String,
    /// The Secret with the credentials for the cluster (keys token and caBundle).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalSecretReference>,
    /// The Secret with a token that may impersonate users in the cluster (key token).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator_secret_ref: Option<LocalSecretReference>,
    /// True accepts any certificate from the cluster; whoever is in between can read and change
    /// everything.
    #[serde(default, rename = "insecureSkipTLSVerification", skip_serializing_if = "omit::zero")]
    pub insecure_skip_tls_verification: bool,
    /// Proxy on the way to the cluster: an http, https or socks5 address.
    #[serde(default, rename = "proxyURL", skip_serializing_if = "omit::zero")]
    pub proxy_url: String,
    /// Headers for the proxy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub proxy_header: BTreeMap<String, String>,
    /// Who runs the cluster, such as the name of a cloud.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub provider: String,
    /// The region the cluster runs in.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub region: String,
    /// Old form of zones for a single zone.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub zone: String,
    /// The zones the cluster's nodes run in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Marks that keep away, or drive away, whatever does not tolerate them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub taints: Vec<Taint>,
    /// Classes of node sizes; the nodes are counted by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_models: Vec<ResourceModel>,
}

/// Points at a Secret of the federation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalSecretReference {
    /// Namespace of the Secret.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
}

/// A class of node sizes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceModel {
    /// Number of the class; larger nodes have larger numbers.
    #[schemars(range(min = 0))]
    pub grade: i64,
    /// How much of each resource a node of this class has.
    pub ranges: Vec<ResourceModelRange>,
}

/// How much of one resource nodes of a class have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceModelRange {
    /// Name of the resource, such as cpu.
    pub name: String,
    /// The least amount, included.
    pub min: Quantity,
    /// The upper bound, not included.
    pub max: Quantity,
}

/// What was last seen of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// Version of the cluster's API server.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub kubernetes_version: String,
    /// The APIs that the cluster serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_enablements: Vec<ApiEnablement>,
    /// Whether the cluster is healthy (Ready) and its APIs are known (CompleteAPIEnablements).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "RelaxedConditions")]
    pub conditions: Vec<Condition>,
    /// How many nodes the cluster has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_summary: Option<NodeSummary>,
    /// How much of each resource the cluster has, and how much is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_summary: Option<ResourceSummary>,
    /// What is being done about troubles of the cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remedy_actions: Vec<String>,
}

/// The resources of one group and version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiEnablement {
    /// API group and version, such as apps/v1.
    pub group_version: String,
    /// The resources it has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<ApiResource>,
}

/// A resource that a cluster serves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiResource {
    /// Plural name of the resource, such as deployments.
    pub name: String,
    /// Kind of the resource, such as Deployment.
    pub kind: String,
}

/// How many nodes a cluster has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeSummary {
    /// All of them.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub total_num: i32,
    /// Those that are ready.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub ready_num: i32,
}

/// How much of each resource a cluster has, and how much is taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceSummary {
    /// What pods can have on all nodes together.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocatable: BTreeMap<String, Quantity>,
    /// What pods that have no node yet ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocating: BTreeMap<String, Quantity>,
    /// What pods on nodes ask for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub allocated: BTreeMap<String, Quantity>,
    /// How many nodes of each class have room.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allocatable_modelings: Vec<AllocatableModeling>,
}

/// How many nodes are of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AllocatableModeling {
    /// Number of the class.
    #[schemars(range(min = 0))]
    pub grade: i64,
    /// How many nodes.
    pub count: i64,
}

words! {
    /// Who carries the work to a cluster.
    #[derive(Default)]
    pub enum SyncMode {
        /// The controllers, which reach the cluster's API server.
        #[default]
        Push = "Push",
        /// An agent in the cluster, which reaches the federation.
        Pull = "Pull",
    }
}
