//! `ResourceBinding` and `ClusterResourceBinding`: one object and the clusters it goes to.

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use kube_core::{ApiResource, DynamicResourceScope, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Component, ReplicaRequirements};
use crate::conditions::StrictConditions;
use crate::crds::Column;
use crate::omit;
use crate::policy::{
    self, ConflictResolution, FailoverBehavior, ONE_WAY_TO_SUSPEND, ONE_WAY_TO_SUSPEND_MESSAGE, Placement, PurgeMode,
    SuspendClusters,
};
use crate::raw::EmbeddedObject;
use crate::resource::custom_resource;
use crate::words::words;
use crate::{finalizers, labels};

custom_resource! {
    /// A namespaced object, the clusters it goes to, and what became of it there. Made from a policy.
    pub struct ResourceBinding(NamespaceResourceScope) {
        /// The object, the rules of its policy, and the chosen clusters.
        spec: ResourceBindingSpec,
        /// What was scheduled and what the clusters report.
        status: ResourceBindingStatus,
    }
    group: "work.karmada.io", version: "v1alpha2", plural: "resourcebindings", short: ["rb"],
    columns: [SCHEDULED, FULLY_APPLIED, Column::AGE],
}

custom_resource! {
    /// A cluster-wide object, the clusters it goes to, and what became of it there. Made from a policy.
    pub struct ClusterResourceBinding(ClusterResourceScope) {
        /// The object, the rules of its policy, and the chosen clusters.
        spec: ResourceBindingSpec,
        /// What was scheduled and what the clusters report.
        status: ResourceBindingStatus,
    }
    group: "work.karmada.io", version: "v1alpha2", plural: "clusterresourcebindings", short: ["crb"],
    columns: [SCHEDULED, FULLY_APPLIED, Column::AGE],
}

/// A binding of either scope, as the controllers use it: with a namespace it is a [`ResourceBinding`], without one a
/// [`ClusterResourceBinding`]. The two differ in nothing but the names of a label, a finalizer and some annotations.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Binding {
    /// Name, labels, annotations and the other standard fields.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// The object, the rules of its policy, and the chosen clusters.
    pub spec: ResourceBindingSpec,
    /// What was scheduled and what the clusters report.
    #[serde(default)]
    pub status: Option<ResourceBindingStatus>,
}

impl Binding {
    /// A binding with a name and a spec and nothing else; of the cluster-wide kind until it has a namespace.
    #[must_use]
    pub fn new(name: &str, spec: ResourceBindingSpec) -> Self {
        let mut binding = Self { spec, ..Self::default() };
        binding.metadata.name = Some(name.to_owned());
        binding
    }

    /// Its namespace; `None` for a ClusterResourceBinding.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref().filter(|namespace| !namespace.is_empty())
    }

    /// Which of the two kinds it is.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        if self.namespace().is_some() { "ResourceBinding" } else { "ClusterResourceBinding" }
    }

    /// The label that holds the permanent id of a binding of this scope, on it and on its Works.
    #[must_use]
    pub const fn permanent_id_label(is_namespaced: bool) -> &'static str {
        if is_namespaced { labels::BINDING_PERMANENT_ID } else { labels::CLUSTER_BINDING_PERMANENT_ID }
    }

    /// Its permanent id: the identity that its Works and member objects carry. `None` when the label is gone or empty.
    #[must_use]
    pub fn permanent_id(&self) -> Option<&str> {
        let label = Self::permanent_id_label(self.namespace().is_some());
        self.metadata.labels.as_ref()?.get(label).map(String::as_str).filter(|id| !id.is_empty())
    }

    /// The finalizer that keeps a binding of this scope until its Works are gone.
    #[must_use]
    pub const fn finalizer(is_namespaced: bool) -> &'static str {
        if is_namespaced { finalizers::BINDING } else { finalizers::CLUSTER_BINDING }
    }
}

/// The apiVersion of both kinds of bindings.
pub const BINDING_API_VERSION: &str = "work.karmada.io/v1alpha2";

impl Serialize for Binding {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut object = serializer.serialize_struct("Binding", 5)?;
        object.serialize_field("apiVersion", BINDING_API_VERSION)?;
        object.serialize_field("kind", self.kind())?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("spec", &self.spec)?;
        if let Some(status) = &self.status {
            object.serialize_field("status", status)?;
        }
        object.end()
    }
}

/// Which of the two kinds is meant says the [`ApiResource`].
impl Resource for Binding {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

const SCHEDULED: Column = Column::text("SCHEDULED", ".status.conditions[?(@.type==\"Scheduled\")].status");
const FULLY_APPLIED: Column = Column::text("FULLYAPPLIED", ".status.conditions[?(@.type==\"FullyApplied\")].status");

/// The object, the rules of its policy, and the chosen clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceBindingSpec {
    /// The object to ship.
    pub resource: ObjectReference,
    /// Whether what the object refers to is shipped with it; from the policy.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub propagate_deps: bool,
    /// What one replica needs; absent for objects without replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_requirements: Option<ReplicaRequirements>,
    /// How many replicas the object asks for in all; 0 for objects without replicas.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub replicas: i32,
    /// The pod templates of the object, if it has several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<Component>,
    /// The chosen clusters and the replicas of each; written by the scheduler.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<TargetCluster>,
    /// Which clusters may be chosen and how replicas are divided; from the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<Placement>,
    /// Clusters that the object is leaving, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub graceful_eviction_tasks: Vec<GracefulEvictionTask>,
    /// The bindings whose objects refer to this one; it follows them to their clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_by: Vec<BindingSnapshot>,
    /// The scheduler that chooses clusters; from the policy.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub scheduler_name: String,
    /// Whether and how the object moves away from failing clusters; from the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover: Option<FailoverBehavior>,
    /// What to do about an object that a member has already and that is not ours; from the policy.
    #[serde(default)]
    pub conflict_resolution: ConflictResolution,
    /// When a fresh choice of clusters was asked for; it is made if this is later than the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reschedule_triggered_at: Option<Time>,
    /// What is paused; from the policy, and by others for scheduling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspension: Option<Suspension>,
    /// Whether the members keep their copies when the object is deleted here; from the policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preserve_resources_on_deletion: Option<bool>,
    /// How urgent scheduling is; from the priority class that the policy names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule_priority: Option<SchedulePriority>,
    /// The groups of workloads that this one belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_affinity_groups: Option<WorkloadAffinityGroups>,
}

/// The object that a binding ships.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// API group and version of the object.
    pub api_version: String,
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object; empty for cluster-wide ones.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Uid of the object.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub uid: String,
    /// Version of the object that the binding was last made from.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub resource_version: String,
}

/// A cluster that receives the object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetCluster {
    /// Name of the cluster.
    pub name: String,
    /// How many replicas it runs.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub replicas: i32,
    /// How many replicas of each pod template it runs, if there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<TargetComponent>,
}

/// Replicas of one pod template in one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TargetComponent {
    /// Name of the pod template.
    pub name: String,
    /// How many replicas the cluster runs.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub replicas: i32,
}

/// A cluster that the object is leaving.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GracefulEvictionTask {
    /// Name of the cluster.
    pub from_cluster: String,
    /// When the copy there is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purge_mode: Option<PurgeMode>,
    /// How many replicas leave; absent for objects without replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// Why it leaves, one word for programs.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"))]
    pub reason: String,
    /// Why it leaves, a sentence for people.
    #[serde(default, skip_serializing_if = "omit::zero")]
    #[schemars(length(max = 1024))]
    pub message: String,
    /// The controller that asked for it.
    pub producer: String,
    /// Longest wait in seconds for the replacement to become healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i32>,
    /// True keeps the copy there until a person removes the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppress_deletion: Option<bool>,
    /// Labels with parts of the old copy's status for the new copy.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub preserved_label_state: BTreeMap<String, String>,
    /// When the task was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Time>,
    /// The clusters that had the object before it moved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters_before_failover: Vec<String>,
}

/// Another binding and its clusters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BindingSnapshot {
    /// Namespace of the binding; empty for a cluster-wide one.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub namespace: String,
    /// Name of the binding.
    pub name: String,
    /// Its clusters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<TargetCluster>,
}

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
    /// True keeps the scheduler from choosing clusters; for other controllers, such as queues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<bool>,
}

impl From<policy::Suspension> for Suspension {
    fn from(suspension: policy::Suspension) -> Self {
        let policy::Suspension { dispatching, dispatching_on_clusters } = suspension;
        Self { dispatching, dispatching_on_clusters, scheduling: None }
    }
}

/// How urgent scheduling is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SchedulePriority {
    /// The value of the priority class; higher ones are scheduled first.
    #[serde(default)]
    pub priority: i32,
}

/// The groups of workloads that a workload belongs to, each written as key=value of its label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadAffinityGroups {
    /// The group whose workloads go to the same clusters.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub affinity_group: String,
    /// The group whose workloads go to different clusters.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub anti_affinity_group: String,
}

/// What was scheduled and what the clusters report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceBindingStatus {
    /// Generation of the binding that the scheduler last decided on.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub scheduler_observed_generation: i64,
    /// Name of the group of clusters that was chosen from, if the placement names groups.
    #[serde(default, rename = "schedulerObservingAffinityName", skip_serializing_if = "omit::zero")]
    pub scheduler_observed_affinity_name: String,
    /// When clusters were last chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_scheduled_time: Option<Time>,
    /// Whether clusters are chosen (Scheduled) and have got the object (FullyApplied).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "StrictConditions")]
    pub conditions: Vec<Condition>,
    /// What each cluster reports about its copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregated_status: Vec<AggregatedStatusItem>,
}

/// What one cluster reports about its copy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AggregatedStatusItem {
    /// Name of the cluster.
    pub cluster_name: String,
    /// The status of the copy, or the part of it that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<EmbeddedObject>,
    /// Whether the copy is as wanted.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub applied: bool,
    /// Why the copy is not as wanted.
    #[serde(default, skip_serializing_if = "omit::zero")]
    pub applied_message: String,
    /// Whether the copy does its work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<ResourceHealth>,
}

words! {
    /// Whether an object in a member does its work.
    #[derive(Default)]
    pub enum ResourceHealth {
        /// It does.
        Healthy = "Healthy",
        /// It does not.
        Unhealthy = "Unhealthy",
        /// Nobody can tell, for example because the kind has no rule.
        #[default]
        Unknown = "Unknown",
    }
}
