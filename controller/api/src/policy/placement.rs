//! Where an object goes and how its replicas are shared out.

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClusterAffinity;
use crate::omit;
use crate::words::words;

/// Which clusters receive the objects and how replicas are divided between them.
///
/// The fields are written in the order of Karmada's type: the applied-placement annotation is its
/// JSON.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.clusterAffinity) && has(self.clusterAffinities))",
    "message": "use clusterAffinity or clusterAffinities, not both",
}]))]
pub struct Placement {
    /// The clusters to choose from; without it and without clusterAffinities all clusters are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_affinity: Option<ClusterAffinity>,
    /// Groups of clusters, tried in this order; the first one that can take the objects wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_affinities: Vec<ClusterAffinityTerm>,
    /// Cluster taints that do not keep the objects away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_tolerations: Vec<Toleration>,
    /// How many clusters, regions and so on the objects are spread over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub spread_constraints: Vec<SpreadConstraint>,
    /// How replicas are shared out; without it every cluster gets all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_scheduling: Option<ReplicaSchedulingStrategy>,
    /// Which workloads of a namespace go to the same clusters, and which to different ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_affinity: Option<WorkloadAffinity>,
}

/// A named group of clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterAffinityTerm {
    /// Name of the group, unique within the placement.
    #[schemars(length(min = 1, max = 32))]
    pub affinity_name: String,
    /// The clusters of the group; its fields stand next to the name.
    #[serde(flatten)]
    pub affinity: ClusterAffinity,
    /// Further clusters that are used, tier by tier, only when those before cannot take all replicas.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overflow_affinities: Vec<OverflowAffinityTerm>,
}

/// A named tier of clusters that takes what the tiers before cannot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OverflowAffinityTerm {
    /// Name of the tier, unique within the placement.
    #[schemars(length(min = 1, max = 32))]
    pub affinity_name: String,
    /// The clusters of the tier; its fields stand next to the name.
    #[serde(flatten)]
    pub affinity: ClusterAffinity,
}

/// How many groups of clusters the objects are spread over.
//
// The second rule relies on the default of minGroups: with a `has()` for it as well, its worst case
// in an unbounded list is over what an API server allows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "!(has(self.spreadByField) && has(self.spreadByLabel))",
    "message": "use spreadByField or spreadByLabel, not both",
}, {
    "rule": "!has(self.maxGroups) || self.maxGroups == 0 || self.maxGroups >= self.minGroups",
    "message": "maxGroups must not be lower than minGroups",
}]))]
pub struct SpreadConstraint {
    /// Property of the clusters that forms the groups; cluster when neither this nor spreadByLabel is
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread_by_field: Option<SpreadField>,
    /// Label of the Cluster objects whose values form the groups.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub spread_by_label: String,
    /// Most groups to use; 0 or absent means no limit was given.
    #[serde(default, skip_serializing_if = "omit::zero")]
    #[schemars(range(min = 0))]
    pub max_groups: i64,
    /// Fewest groups to use; 0 means 1.
    #[serde(default = "one_group")]
    #[schemars(range(min = 0))]
    pub min_groups: i64,
}

/// Karmada's admission webhook fills this in; here the schema does.
fn one_group() -> i64 {
    1
}

impl Default for SpreadConstraint {
    fn default() -> Self {
        Self { spread_by_field: None, spread_by_label: String::new(), max_groups: 0, min_groups: one_group() }
    }
}

/// How the replicas of a workload are shared out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaSchedulingStrategy {
    /// Whether each cluster gets all replicas (Duplicated) or its share of them (Divided).
    #[serde(default)]
    pub replica_scheduling_type: ReplicaSchedulingType,
    /// How shares are formed: on as few clusters as possible (Aggregated) or by weight (Weighted).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_division_preference: Option<ReplicaDivisionPreference>,
    /// The weights when shares are formed by weight; without it all clusters weigh the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_preference: Option<ClusterPreferences>,
}

/// Weights of clusters, either given or measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPreferences {
    /// Weights given in advance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub static_weight_list: Vec<StaticClusterWeight>,
    /// What to measure the weights by; if set, the list is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_weight: Option<DynamicWeightFactor>,
}

/// The weight of some clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StaticClusterWeight {
    /// The clusters that have this weight.
    pub target_cluster: ClusterAffinity,
    /// The weight, relative to the others; at least 1.
    #[schemars(range(min = 1))]
    pub weight: i64,
}

/// Groups of workloads that attract or repel each other. A workload belongs to the group that the
/// value of a label on its template names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadAffinity {
    /// Workloads of one group go to the same clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<WorkloadGroupTerm>,
    /// Workloads of one group go to different clusters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<WorkloadGroupTerm>,
}

/// How workloads are grouped.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadGroupTerm {
    /// Key of the label on the templates; its value names the group.
    pub group_by_label_key: String,
}

words! {
    /// Property of clusters that forms groups to spread over.
    pub enum SpreadField {
        /// Every cluster is a group of its own.
        Cluster = "cluster",
        /// The clusters of a region.
        Region = "region",
        /// The clusters of a zone.
        Zone = "zone",
        /// The clusters of a provider.
        Provider = "provider",
    }

    /// Whether replicas are copied or shared out.
    #[derive(Default)]
    pub enum ReplicaSchedulingType {
        /// Every cluster gets the full number.
        Duplicated = "Duplicated",
        /// The number is divided between the clusters.
        #[default]
        Divided = "Divided",
    }

    /// How shares are formed when replicas are divided.
    pub enum ReplicaDivisionPreference {
        /// As few clusters as possible.
        Aggregated = "Aggregated",
        /// By weight.
        Weighted = "Weighted",
    }

    /// What dynamic weights are measured by.
    pub enum DynamicWeightFactor {
        /// How many replicas the cluster could still run.
        AvailableReplicas = "AvailableReplicas",
    }
}
