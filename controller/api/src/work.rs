//! `work.karmada.io`: bindings (v1alpha2) and Works (v1alpha1).

mod binding;
mod requirements;
#[allow(clippy::module_inception, reason = "the kind is called Work")]
mod work;

pub use binding::{
    AggregatedStatusItem, BINDING_API_VERSION, Binding, BindingSnapshot, ClusterResourceBinding, GracefulEvictionTask,
    ObjectReference, ResourceBinding, ResourceBindingSpec, ResourceBindingStatus, ResourceHealth, SchedulePriority,
    Suspension, TargetCluster, TargetComponent, WorkloadAffinityGroups,
};
pub use requirements::{Component, NodeClaim, ReplicaRequirements};
pub use work::{ManifestStatus, ResourceIdentifier, Work, WorkSpec, WorkStatus, WorkloadTemplate};

#[cfg(test)]
mod tests;
