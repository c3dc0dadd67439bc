//! What Karmada's mutating webhooks fill in.

use pando_api::policy::{PropagationSpec, PurgeMode, ReplicaDivisionPreference, ReplicaSchedulingType, SpreadField};

/// The grace period of a graceful application failover that names none, in seconds.
const GRACE_PERIOD_SECONDS: i32 = 600;

/// A spec with Karmada's defaults filled in. `namespace` is that of a PropagationPolicy, `None` for a
/// ClusterPropagationPolicy. Doing it twice changes nothing.
#[must_use]
pub fn defaulted(spec: &PropagationSpec, namespace: Option<&str>) -> PropagationSpec {
    let mut spec = spec.clone();
    if let Some(namespace) = namespace {
        for selector in spec.resource_selectors.iter_mut().filter(|selector| selector.namespace.is_empty()) {
            namespace.clone_into(&mut selector.namespace);
        }
    }
    // An imported Service is of no use without what it points to.
    if spec
        .resource_selectors
        .iter()
        .any(|selector| selector.kind == "ServiceImport" && selector.api_version.starts_with("multicluster.x-k8s.io/"))
    {
        spec.propagate_deps = true;
    }
    for constraint in &mut spec.placement.spread_constraints {
        if constraint.spread_by_field.is_none() && constraint.spread_by_label.is_empty() {
            constraint.spread_by_field = Some(SpreadField::Cluster);
        }
        if constraint.min_groups == 0 {
            constraint.min_groups = 1;
        }
    }
    if let Some(scheduling) = &mut spec.placement.replica_scheduling
        && scheduling.replica_scheduling_type == ReplicaSchedulingType::Divided
        && scheduling.replica_division_preference.is_none()
    {
        scheduling.replica_division_preference = Some(ReplicaDivisionPreference::Weighted);
    }
    if let Some(application) = spec.failover.as_mut().and_then(|failover| failover.application.as_mut())
        && application.purge_mode == PurgeMode::Gracefully
    {
        application.grace_period_seconds.get_or_insert(GRACE_PERIOD_SECONDS);
    }
    spec
}
