//! Whether a binding is to be scheduled now: Karmada's rules, first match wins.

use std::{collections::BTreeMap, fmt};

use pando_api::{
    annotations, labels,
    policy::{ClusterAffinityTerm, DEFAULT_SCHEDULER, Placement},
    work::{ResourceBindingSpec, ResourceBindingStatus},
};
use thiserror::Error;

use super::{Snapshot, Strategy, unit};

/// Why a binding is scheduled now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// The placement is not the one that was applied last, or none was applied yet.
    PlacementChanged,
    /// The template's replicas are no longer those that are assigned.
    ReplicasChanged,
    /// Somebody asked for it (`rescheduleTriggeredAt`), for instance a WorkloadRebalancer.
    Requested,
    /// Nothing is divided, so looking again is cheap and picks up clusters that joined or changed.
    NothingDivided,
    /// A target is being deleted, or is gone.
    TargetLost {
        /// Its name.
        cluster: String,
    },
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PlacementChanged => f.write_str("placement changed"),
            Self::ReplicasChanged => f.write_str("replicas changed"),
            Self::Requested => f.write_str("rescheduling was requested"),
            Self::NothingDivided => f.write_str("nothing is divided: every trigger schedules"),
            Self::TargetLost { cluster } => write!(f, "target {cluster} is being deleted or gone"),
        }
    }
}

/// Why this scheduler leaves a binding alone.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NotScheduled {
    /// Another scheduler is responsible.
    #[error("schedulerName is {name:?}: another scheduler places it")]
    OtherScheduler {
        /// Its name.
        name: String,
    },
    /// `suspension.scheduling` is set.
    #[error("suspension.scheduling is true: it is placed when that is lifted")]
    Suspended,
    /// It belongs to no policy: an attached dependency, which follows another binding.
    #[error("it belongs to no policy: it goes where the binding goes that needs it")]
    NoPolicy,
    /// It has no placement.
    #[error("it has no placement")]
    NoPlacement,
}

/// Whether this scheduler is responsible for a binding with these labels.
///
/// # Errors
///
/// [`NotScheduled`] says why it is not.
pub fn may_schedule(spec: &ResourceBindingSpec, binding_labels: &BTreeMap<String, String>) -> Result<(), NotScheduled> {
    if !spec.scheduler_name.is_empty() && spec.scheduler_name != DEFAULT_SCHEDULER {
        return Err(NotScheduled::OtherScheduler { name: spec.scheduler_name.clone() });
    }
    if spec.suspension.as_ref().is_some_and(|suspension| suspension.scheduling == Some(true)) {
        return Err(NotScheduled::Suspended);
    }
    let owners = [
        labels::PROPAGATION_POLICY_PERMANENT_ID,
        labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID,
        labels::BINDING_MANAGED_BY,
    ];
    if !owners.iter().any(|owner| binding_labels.contains_key(*owner)) {
        return Err(NotScheduled::NoPolicy);
    }
    if spec.placement.is_none() {
        return Err(NotScheduled::NoPlacement);
    }
    Ok(())
}

/// Why a binding is to be scheduled now; `None` when its assignment stands.
///
/// Unlike Karmada, a target that is missing from the snapshot counts as lost (Karmada looks only at clusters that are
/// being deleted, and misses those deleted while it was down), and an unreadable record of the applied placement counts
/// as a change.
#[must_use]
pub fn needs_scheduling(
    spec: &ResourceBindingSpec,
    status: Option<&ResourceBindingStatus>,
    binding_annotations: &BTreeMap<String, String>,
    snapshot: &Snapshot,
) -> Option<Trigger> {
    let placement = spec.placement.as_ref()?;
    let applied = binding_annotations.get(annotations::APPLIED_PLACEMENT);
    let observed = status.map(|status| status.scheduler_observed_affinity_name.as_str());
    if placement_changed(placement, applied.map(String::as_str), observed.unwrap_or_default()) {
        return Some(Trigger::PlacementChanged);
    }
    if replicas_changed(spec, placement) {
        return Some(Trigger::ReplicasChanged);
    }
    if reschedule_is_requested(spec, status) {
        return Some(Trigger::Requested);
    }
    if !unit::is_workload(spec) || unit::strategy(placement) == Strategy::Duplicated {
        return Some(Trigger::NothingDivided);
    }
    let is_lost = |name: &str| snapshot.get(name).is_none_or(|cluster| cluster.is_deleting);
    let lost = spec.clusters.iter().find(|target| is_lost(&target.name))?;
    Some(Trigger::TargetLost { cluster: lost.name.clone() })
}

/// The value of the annotation that records a placement as applied.
///
/// # Errors
///
/// When the placement cannot be written as JSON, which its types do not allow to happen.
pub fn applied_placement(placement: &Placement) -> serde_json::Result<String> {
    serde_json::to_string(placement)
}

fn placement_changed(now: &Placement, applied: Option<&str>, observed_affinity: &str) -> bool {
    let Some(applied) = applied.and_then(|json| serde_json::from_str::<Placement>(json).ok()) else { return true };
    let Placement {
        cluster_affinity,
        cluster_affinities,
        cluster_tolerations,
        spread_constraints,
        replica_scheduling,
        workload_affinity: _, // which workloads keep company does not move what is placed
    } = now;
    *cluster_affinity != applied.cluster_affinity
        || *cluster_tolerations != applied.cluster_tolerations
        || *spread_constraints != applied.spread_constraints
        || *replica_scheduling != applied.replica_scheduling
        || terms_changed(cluster_affinities, &applied.cluster_affinities, observed_affinity)
}

/// Of ordered terms only the one in use matters.
fn terms_changed(now: &[ClusterAffinityTerm], applied: &[ClusterAffinityTerm], observed: &str) -> bool {
    fn in_use<'a>(terms: &'a [ClusterAffinityTerm], observed: &str) -> Option<&'a ClusterAffinityTerm> {
        terms.iter().find(|term| term.affinity_name == observed)
    }
    now != applied && (in_use(now, observed).is_none() || in_use(now, observed) != in_use(applied, observed))
}

fn replicas_changed(spec: &ResourceBindingSpec, placement: &Placement) -> bool {
    if placement.replica_scheduling.is_none() || !unit::is_workload(spec) {
        return false;
    }
    let wanted = i64::from(spec.replicas);
    let assigned = || spec.clusters.iter().map(|target| i64::from(target.replicas));
    match unit::strategy(placement) {
        Strategy::Duplicated => assigned().any(|replicas| replicas != wanted),
        Strategy::StaticWeights(_) | Strategy::NotBuilt(_) => assigned().sum::<i64>() != wanted,
    }
}

/// Whether a rescheduling was asked for after the last one. Asked for and never scheduled counts.
pub(super) fn reschedule_is_requested(spec: &ResourceBindingSpec, status: Option<&ResourceBindingStatus>) -> bool {
    let Some(requested) = &spec.reschedule_triggered_at else {
        return false;
    };
    match status.and_then(|status| status.last_scheduled_time.as_ref()) {
        Some(scheduled) => requested.0 > scheduled.0,
        None => true,
    }
}
