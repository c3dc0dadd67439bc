//! Field managers: who a write in `managedFields` is from. One name per controller, so that
//! `kubectl get --show-managed-fields` tells which arrow wrote a field.

/// Template and policy to binding: binding specs, claim marks on templates.
pub const DETECTOR: &str = "pando-detector";
/// Policy finalizers and permanent ids.
pub const POLICIES: &str = "pando-policies";
/// Binding to clusters: `spec.clusters` and the `Scheduled` condition.
pub const BINDING_SCHEDULER: &str = "pando-binding-scheduler";
/// Binding to Works: `work.spec`.
pub const BINDING_WORKS: &str = "pando-binding-works";
/// Work to member: finalizers and the `Applied` and `Dispatching` conditions on Works.
pub const EXECUTION: &str = "pando-execution";
/// Member to Work: manifest statuses and their health.
pub const WORK_STATUS: &str = "pando-work-status";
/// Works to binding and template: aggregated statuses, `FullyApplied`.
pub const BINDING_STATUS: &str = "pando-binding-status";
/// Cluster objects: finalizers, execution namespaces.
pub const CLUSTER: &str = "pando-cluster";
/// Cluster health, versions, API lists and resource summaries.
pub const CLUSTER_STATUS: &str = "pando-cluster-status";
/// Taints of unhealthy clusters and evictions.
pub const CLUSTER_TAINTS: &str = "pando-cluster-taints";
/// Works that create namespaces in members.
pub const NAMESPACE_SYNC: &str = "pando-namespace-sync";
/// Bindings of the objects a template refers to.
pub const DEPENDENCIES: &str = "pando-dependencies";
/// The user commands (`pando join`, …).
pub const COMMAND_LINE: &str = "pando-cli";

/// Everything we write in a member cluster. One name only: the member sees one owner.
pub const MEMBER: &str = "pando";

/// Every field manager of the hub, for checks that want to know "is this write ours".
pub const HUB: &[&str] = &[
    DETECTOR,
    POLICIES,
    BINDING_SCHEDULER,
    BINDING_WORKS,
    EXECUTION,
    WORK_STATUS,
    BINDING_STATUS,
    CLUSTER,
    CLUSTER_STATUS,
    CLUSTER_TAINTS,
    NAMESPACE_SYNC,
    DEPENDENCIES,
    COMMAND_LINE,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_manager_is_another_one_and_fits_the_api() {
        let all: BTreeSet<&str> = HUB.iter().copied().chain([MEMBER]).collect();
        assert_eq!(all.len(), HUB.len() + 1);
        assert!(all.iter().all(|name| name.len() <= 128 && name.starts_with("pando")));
    }
}
