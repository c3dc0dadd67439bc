//! What is to be placed.

use std::collections::BTreeSet;

use pando_api::{
    policy::{ClusterAffinity, Placement, ReplicaDivisionPreference, ReplicaSchedulingType, StaticClusterWeight},
    work::{ResourceBindingSpec, ResourceBindingStatus},
};

use super::trigger;

/// One template to be placed: a view of a binding.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// `apps/v1`, `v1`: what a cluster must serve.
    pub api_version: &'a str,
    /// `Deployment`: what a cluster must serve.
    pub kind: &'a str,
    /// The template's uid; decides ties. May be empty.
    pub uid: &'a str,
    /// How many replicas the template wants in all. Negative ones count as 0.
    pub replicas: u32,
    /// Whether the kind has replicas at all. Others go to every selected cluster.
    pub is_workload: bool,
    /// Where it may go.
    pub placement: &'a Placement,
    /// The clusters it is assigned to now.
    pub current: BTreeSet<&'a str>,
    /// The clusters it is being evicted from.
    pub evicting: BTreeSet<&'a str>,
    /// The term of `clusterAffinities` that was used last; terms before it are not tried.
    pub observed_affinity: Option<&'a str>,
}

/// How replicas are given to the selected clusters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strategy<'a> {
    /// Every cluster gets all of them.
    Duplicated,
    /// They are divided by the weights of these rules; without rules, equally.
    StaticWeights(Option<&'a [StaticClusterWeight]>),
    /// What this field asks for is not built yet.
    NotBuilt(&'static str),
}

/// One group of clusters to try: the only one, or a named one of `clusterAffinities`.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// The name of the term; `None` for a plain `clusterAffinity`.
    pub name: Option<&'a str>,
    /// Which clusters belong to it; `None` means all.
    pub affinity: Option<&'a ClusterAffinity>,
    /// Where the affinity stands in the policy, for messages.
    pub(super) index: Option<usize>,
}

impl Term<'_> {
    /// The path of its affinity in a policy, and in a binding.
    pub(super) fn path(&self) -> String {
        match self.index {
            Some(index) => format!("spec.placement.clusterAffinities[{index}]"),
            None => "spec.placement.clusterAffinity".to_owned(),
        }
    }
}

impl<'a> Unit<'a> {
    /// The unit of a binding; `None` when the binding has no placement (an attached dependency: it follows another
    /// binding and is not scheduled).
    ///
    /// When a rescheduling was requested, the terms of `clusterAffinities` are tried from the first one again.
    #[must_use]
    pub fn from_binding(spec: &'a ResourceBindingSpec, status: Option<&'a ResourceBindingStatus>) -> Option<Self> {
        let observed = status.map(|status| status.scheduler_observed_affinity_name.as_str());
        let afresh = trigger::reschedule_is_requested(spec, status);
        Some(Self {
            api_version: &spec.resource.api_version,
            kind: &spec.resource.kind,
            uid: &spec.resource.uid,
            replicas: u32::try_from(spec.replicas).unwrap_or(0),
            is_workload: is_workload(spec),
            placement: spec.placement.as_ref()?,
            current: spec.clusters.iter().map(|target| target.name.as_str()).collect(),
            evicting: spec.graceful_eviction_tasks.iter().map(|task| task.from_cluster.as_str()).collect(),
            observed_affinity: observed.filter(|name| !afresh && !name.is_empty()),
        })
    }

    /// How its replicas are given out. Divided without a preference is Weighted, as Karmada's webhook would set it.
    #[must_use]
    pub fn strategy(&self) -> Strategy<'a> {
        strategy(self.placement)
    }

    /// The terms to try, in order.
    pub(super) fn terms(&self) -> Vec<Term<'a>> {
        let placement = self.placement;
        if placement.cluster_affinities.is_empty() {
            return vec![Term { name: None, affinity: placement.cluster_affinity.as_ref(), index: None }];
        }
        let is_observed = |name: &str| self.observed_affinity == Some(name);
        let start = placement.cluster_affinities.iter().position(|term| is_observed(&term.affinity_name)).unwrap_or(0);
        let terms = placement.cluster_affinities.iter().enumerate().skip(start);
        terms
            .map(|(index, term)| Term {
                name: Some(&term.affinity_name),
                affinity: Some(&term.affinity),
                index: Some(index),
            })
            .collect()
    }
}

/// How a placement gives out replicas. Divided without a preference is Weighted, as Karmada's webhook would set it.
pub(crate) fn strategy(placement: &Placement) -> Strategy<'_> {
    let Some(scheduling) = &placement.replica_scheduling else {
        return Strategy::Duplicated;
    };
    if scheduling.replica_scheduling_type == ReplicaSchedulingType::Duplicated {
        return Strategy::Duplicated;
    }
    if scheduling.replica_division_preference == Some(ReplicaDivisionPreference::Aggregated) {
        return Strategy::NotBuilt("spec.placement.replicaScheduling.replicaDivisionPreference: Aggregated");
    }
    match &scheduling.weight_preference {
        Some(preference) if preference.dynamic_weight.is_some() => {
            Strategy::NotBuilt("spec.placement.replicaScheduling.weightPreference.dynamicWeight")
        }
        Some(preference) => Strategy::StaticWeights(Some(&preference.static_weight_list)),
        None => Strategy::StaticWeights(None),
    }
}

/// Whether replicas mean something for this binding: it has some, or says what one needs. With several components there
/// is no one number to divide; such a unit goes whole to every selected cluster.
pub(crate) fn is_workload(spec: &ResourceBindingSpec) -> bool {
    (spec.replicas > 0 || spec.replica_requirements.is_some()) && spec.components.len() <= 1
}
