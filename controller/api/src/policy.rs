//! `policy.karmada.io/v1alpha1`: what goes where, and how it differs there.

mod failover;
mod override_;
mod placement;
mod propagation;
mod selector;

pub use failover::{
    ApplicationFailoverBehavior, ClusterFailoverBehavior, DecisionConditions, FailoverBehavior, PurgeMode,
    StatePreservation, StatePreservationRule,
};
pub use override_::{
    ClusterOverridePolicy, CommandArgsOverrider, FieldOverrider, ImageComponent, ImageOverrider, ImagePredicate,
    LabelAnnotationOverrider, OverridePolicy, OverrideSpec, OverriderOperator, Overriders, PatchOperation,
    PlaintextOverrider, RuleWithCluster,
};
pub use placement::{
    ClusterAffinityTerm, ClusterPreferences, DynamicWeightFactor, OverflowAffinityTerm, Placement,
    ReplicaDivisionPreference, ReplicaSchedulingStrategy, ReplicaSchedulingType, SpreadConstraint, SpreadField,
    StaticClusterWeight, WorkloadAffinity, WorkloadGroupTerm,
};
pub use propagation::{
    ActivationPreference, ClusterPropagationPolicy, ConflictResolution, DEFAULT_SCHEDULER, PreemptionBehavior,
    PriorityClassSource, PropagationPolicy, PropagationSpec, SchedulePriority, SuspendClusters, Suspension,
};
pub use selector::{ClusterAffinity, FieldSelector, ResourceSelector};

pub(crate) use propagation::{ONE_WAY_TO_SUSPEND, ONE_WAY_TO_SUSPEND_MESSAGE};

/// Spec of a [`PropagationPolicy`].
pub type PropagationPolicySpec = PropagationSpec;
/// Spec of a [`ClusterPropagationPolicy`]: the same fields.
pub type ClusterPropagationPolicySpec = PropagationSpec;

#[cfg(test)]
mod tests;
