//! Which fields this release does not act on.

use std::collections::BTreeSet;

use pando_api::policy::{OverrideSpec, Placement, PreemptionBehavior, PropagationSpec};

use crate::gates::{Gates, POLICY_PREEMPTION};
use crate::scheduler::{Strategy, strategy_of};

use super::{Effect, Unsupported};

fn gap(is_set: bool, field: &'static str, effect: Effect) -> Option<Unsupported> {
    is_set.then_some(Unsupported { field, effect })
}

/// The fields of a PropagationPolicy or ClusterPropagationPolicy that are set and not acted on.
#[must_use]
pub fn not_built_in_propagation(spec: &PropagationSpec, gates: Gates) -> Vec<Unsupported> {
    let mut gaps = placement_not_built(&spec.placement);
    let preempts_in_vain = spec.preemption == PreemptionBehavior::Always && !gates.policy_preemption;
    let tolerates_for_a_while =
        spec.placement.cluster_tolerations.iter().any(|toleration| toleration.toleration_seconds.is_some());
    gaps.extend(
        [
            gap(preempts_in_vain, "spec.preemption: Always", Effect::Off { gate: POLICY_PREEMPTION }),
            // Nothing is evicted yet, so nothing is evicted early or late.
            gap(tolerates_for_a_while, "spec.placement.clusterTolerations.tolerationSeconds", Effect::Warn),
            gap(spec.propagate_deps, "spec.propagateDeps", Effect::Warn),
            gap(spec.association, "spec.association", Effect::Warn),
            gap(spec.failover.is_some(), "spec.failover", Effect::Warn),
            gap(spec.schedule_priority.is_some(), "spec.schedulePriority", Effect::Warn),
        ]
        .into_iter()
        .flatten(),
    );
    gaps
}

/// The fields of a placement that are set and not acted on. All of them hold: ignoring one could place work where it must
/// not be.
#[must_use]
pub fn placement_not_built(placement: &Placement) -> Vec<Unsupported> {
    let overflows = placement.cluster_affinities.iter().any(|term| !term.overflow_affinities.is_empty());
    let division = match strategy_of(placement) {
        Strategy::NotBuilt(field) => Some(Unsupported { field, effect: Effect::Hold }),
        Strategy::Duplicated | Strategy::StaticWeights(_) => None,
    };
    [
        gap(overflows, "spec.placement.clusterAffinities.overflowAffinities", Effect::Hold),
        gap(!placement.spread_constraints.is_empty(), "spec.placement.spreadConstraints", Effect::Hold),
        division,
        gap(placement.workload_affinity.is_some(), "spec.placement.workloadAffinity", Effect::Hold),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The fields of an OverridePolicy or ClusterOverridePolicy that are set and not acted on. All of them hold the templates
/// that the policy selects: without the override, what ships would be wrong.
#[must_use]
pub fn not_built_in_overrides(spec: &OverrideSpec) -> Vec<Unsupported> {
    let rules = spec.override_rules.iter().map(|rule| &rule.overriders);
    let mut fields = rules.chain([&spec.overriders]).flat_map(|overriders| &overriders.field_overrider);
    let edits_yaml = fields.any(|field| !field.yaml.is_empty());
    gap(edits_yaml, "spec.overrideRules.overriders.fieldOverrider.yaml", Effect::Hold).into_iter().collect()
}

/// The override policies that a policy waits for and that do not exist. Its templates are held until they all do.
///
/// `existing` are the names of the OverridePolicies in the namespace of a PropagationPolicy, or of all
/// ClusterOverridePolicies for a ClusterPropagationPolicy.
#[must_use]
pub fn missing_overrides<'a>(spec: &'a PropagationSpec, existing: &BTreeSet<&str>) -> Vec<&'a str> {
    spec.dependent_overrides.iter().map(String::as_str).filter(|name| !existing.contains(name)).collect()
}
