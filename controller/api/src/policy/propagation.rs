//! `PropagationPolicy` and `ClusterPropagationPolicy`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FailoverBehavior, Placement, ResourceSelector};
use crate::crds::Column;
use crate::omit;
use crate::resource::custom_resource;
use crate::words::words;

/// The scheduler that takes a binding when the policy names none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";

custom_resource! {
    /// Ships the objects it selects in its own namespace to member clusters.
    pub struct PropagationPolicy(NamespaceResourceScope) {
        /// What to ship, where to, and how.
        spec: PropagationSpec,
    }
    group: "policy.karmada.io", version: "v1alpha1", plural: "propagationpolicies", short: ["pp"],
    columns: [
        Column::text("CONFLICT-RESOLUTION", ".spec.conflictResolution"),
        Column::text("PRIORITY", ".spec.priority"),
        Column::AGE,
    ],
}

custom_resource! {
    /// Ships the objects it selects, in any namespace and cluster-wide ones, to member clusters.
    pub struct ClusterPropagationPolicy(ClusterResourceScope) {
        /// What to ship, where to, and how.
        spec: PropagationSpec,
    }
    group: "policy.karmada.io", version: "v1alpha1", plural: "clusterpropagationpolicies", short: ["cpp"],
    columns: [
        Column::text("CONFLICT-RESOLUTION", ".spec.conflictResolution"),
        Column::text("PRIORITY", ".spec.priority"),
        Column::AGE,
    ],
}

/// What to ship, where to, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PropagationSpec {
    /// The objects to ship; at least one selector.
    #[schemars(length(min = 1))]
    pub resource_selectors: Vec<ResourceSelector>,
    /// Old name of propagateDeps, no longer in use.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub association: bool,
    /// Whether the ConfigMaps, Secrets and so on that a shipped workload refers to are shipped with it.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub propagate_deps: bool,
    /// Which clusters receive the objects; without it every cluster does.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub placement: Placement,
    /// Which policy wins when several select an object: the one with the higher number, then the one
    /// with the more precise selector.
    #[serde(default)]
    pub priority: i32,
    /// Whether this policy may take objects over from policies of lower priority.
    #[serde(default)]
    pub preemption: PreemptionBehavior,
    /// Names of override policies that must exist before anything is shipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependent_overrides: Vec<String>,
    /// The scheduler that chooses clusters; it cannot be changed later.
    #[serde(default = "default_scheduler")]
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "self == oldSelf",
        "message": "schedulerName cannot be changed; delete the policy and create it anew",
    }]))]
    pub scheduler_name: String,
    /// Whether and how workloads move away from failing clusters; without it they stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverBehavior>,
    /// What to do about an object that a member has already and that is not ours: leave it (Abort) or
    /// take it over (Overwrite).
    #[serde(default)]
    pub conflict_resolution: ConflictResolution,
    /// When a change of the policy takes effect: at once, or with Lazy only when the object itself
    /// changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_preference: Option<ActivationPreference>,
    /// Whether shipping is paused, for all clusters or for some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// Whether the members keep their copies when the object is deleted here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_resources_on_deletion: Option<bool>,
    /// How urgent scheduling is compared with other workloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_priority: Option<SchedulePriority>,
}

fn default_scheduler() -> String {
    DEFAULT_SCHEDULER.to_owned()
}

impl Default for PropagationSpec {
    fn default() -> Self {
        Self {
            resource_selectors: Vec::new(),
            association: false,
            propagate_deps: false,
            placement: Placement::default(),
            priority: 0,
            preemption: PreemptionBehavior::default(),
            dependent_overrides: Vec::new(),
            scheduler_name: default_scheduler(),
            failover: None,
            conflict_resolution: ConflictResolution::default(),
            activation_preference: None,
            suspension: None,
            preserve_resources_on_deletion: None,
            schedule_priority: None,
        }
    }
}

pub(crate) const ONE_WAY_TO_SUSPEND: &str = "!has(self.dispatching) || !self.dispatching || !has(self.dispatchingOnClusters) || !has(self.dispatchingOnClusters.clusterNames) || size(self.dispatchingOnClusters.clusterNames) == 0";
pub(crate) const ONE_WAY_TO_SUSPEND_MESSAGE: &str =
    "use dispatching or dispatchingOnClusters, not both: dispatching pauses all clusters already";

/// What is paused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": ONE_WAY_TO_SUSPEND,
    "message": ONE_WAY_TO_SUSPEND_MESSAGE,
}]))]
pub struct Suspension {
    /// True pauses shipping to every cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatching: Option<bool>,
    /// Pauses shipping to some clusters only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatching_on_clusters: Option<SuspendClusters>,
}

/// The clusters that nothing is shipped to for now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspendClusters {
    /// Their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cluster_names: Vec<String>,
}

/// Where the urgency of scheduling is read from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulePriority {
    /// The kind of priority class that is meant.
    pub priority_class_source: PriorityClassSource,
    /// Name of the priority class.
    pub priority_class_name: String,
}

words! {
    /// Whether a policy takes objects over from policies of lower priority.
    #[derive(Default)]
    pub enum PreemptionBehavior {
        /// It does.
        Always = "Always",
        /// It does not.
        #[default]
        Never = "Never",
    }

    /// What to do about an object that is in the member already and is not ours.
    #[derive(Default)]
    pub enum ConflictResolution {
        /// Leave it alone and report.
        #[default]
        Abort = "Abort",
        /// Take it over.
        Overwrite = "Overwrite",
    }

    /// When a change of a policy takes effect, if not at once.
    pub enum ActivationPreference {
        /// When the object itself changes.
        Lazy = "Lazy",
    }

    /// Which priority class a policy names. Karmada 1.19 declares two more and refuses them.
    #[derive(Default)]
    pub enum PriorityClassSource {
        /// A PriorityClass of scheduling.k8s.io/v1.
        #[default]
        KubePriorityClass = "KubePriorityClass",
    }
}
