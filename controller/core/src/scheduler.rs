//! Binding + clusters → assignment: which clusters run the template, with how many replicas, and why.
//!
//! ```text
//!   unit (what to place) ─┐
//!                         ├─ filter ─► score ─► select ─► divide ─► Assignment { targets, verdicts, warnings }
//!   snapshot (clusters) ──┘  plugins/           all that   weights.rs
//!                                               passed     divide.rs
//! ```
//!
//! Semantics are Karmada 1.19's; `Display` of [`Assignment`] and [`Unschedulable`] is the explanation. Filters follow a fixed
//! order and the first that rejects a cluster is its verdict. Spread constraints, dynamic weights and aggregated
//! division are refused by name ([`Unschedulable::NotBuilt`]) instead of being ignored.
//!
//! The previous placement is an input ([`Unit::current`]): it lets a cluster pass filters it passed before. Static
//! division depends on nothing else, so solving again changes nothing.

use std::collections::BTreeMap;

use pando_api::{names::ClusterName, work::TargetCluster};

use crate::{cluster_facts::ClusterFacts, policy_check};

pub mod divide;

mod assignment;
mod plugins;
mod snapshot;
mod trigger;
mod unit;
mod unschedulable;
mod warnings;
mod weights;

#[cfg(test)]
mod tests;

pub use assignment::{Assignment, Verdict};
pub use plugins::Rejection;
pub use snapshot::Snapshot;
pub use trigger::{NotScheduled, Trigger, applied_placement, may_schedule, needs_scheduling};
pub use unit::{Strategy, Term, Unit};
pub(crate) use unit::{is_workload, strategy as strategy_of};
pub use unschedulable::Unschedulable;
pub use warnings::Warning;
pub use weights::EqualWeights;

use plugins::FilterInput;
use weights::Weights;

/// Decides where a unit runs.
///
/// With ordered `clusterAffinities` the terms are tried from the observed one on, and the first that finds a cluster is
/// used; its name is in the assignment.
///
/// # Errors
///
/// [`Unschedulable`] when no cluster fits (of several terms: the first one's error), or when the placement uses what
/// this release does not do.
pub fn schedule(unit: &Unit<'_>, snapshot: &Snapshot) -> Result<Assignment, Unschedulable> {
    let not_built: Vec<_> =
        policy_check::placement_not_built(unit.placement).into_iter().map(|gap| gap.field).collect();
    if !not_built.is_empty() {
        return Err(Unschedulable::NotBuilt { fields: not_built });
    }
    let mut first_failure = None;
    for term in unit.terms() {
        match schedule_term(unit, &term, snapshot) {
            Ok(assignment) => return Ok(assignment),
            Err(failure) => first_failure = first_failure.or(Some(failure)),
        }
    }
    Err(first_failure.unwrap_or(Unschedulable::NoClusterFits { verdicts: BTreeMap::new() }))
}

/// Filter, score, select and divide within one affinity term.
fn schedule_term(unit: &Unit<'_>, term: &Term<'_>, snapshot: &Snapshot) -> Result<Assignment, Unschedulable> {
    let mut verdicts = BTreeMap::new();
    let mut candidates = Vec::new();
    for cluster in snapshot.clusters() {
        match plugins::filter(&FilterInput { unit, term, cluster }) {
            Ok(()) => candidates.push(cluster),
            Err(rejection) => {
                verdicts.insert(cluster.name.clone(), Verdict::Rejected(rejection));
            }
        }
    }
    if candidates.is_empty() {
        return Err(Unschedulable::NoClusterFits { verdicts });
    }
    let warnings = warnings::of(unit, term, snapshot);
    let mut assignment = match unit.strategy() {
        _ if !unit.is_workload => everywhere(unit, &candidates, 0),
        Strategy::Duplicated => everywhere(unit, &candidates, unit.replicas),
        Strategy::StaticWeights(rules) => divided(unit, rules, &candidates)?,
        Strategy::NotBuilt(field) => {
            return Err(Unschedulable::NotBuilt { fields: vec![field] });
        }
    };
    assignment.affinity = term.name.map(str::to_owned);
    assignment.verdicts.append(&mut verdicts);
    assignment.warnings = warnings;
    Ok(assignment)
}

/// Every candidate gets the same number: all replicas (Duplicated), or none to speak of (not a workload).
fn everywhere(unit: &Unit<'_>, candidates: &[&ClusterFacts], replicas: u32) -> Assignment {
    let mut assignment = Assignment::empty(unit);
    for cluster in candidates {
        // Karmada removes workload targets without replicas, also for Duplicated.
        if unit.is_workload && replicas == 0 {
            assignment.verdicts.insert(cluster.name.clone(), Verdict::NoReplicasLeft { weight: None });
        } else {
            place(&mut assignment, unit, cluster, replicas, None);
        }
    }
    assignment
}

/// The replicas divided by static weights; clusters left with none are no targets.
fn divided(
    unit: &Unit<'_>,
    rules: Option<&[pando_api::policy::StaticClusterWeight]>,
    candidates: &[&ClusterFacts],
) -> Result<Assignment, Unschedulable> {
    let Weights { of, equal_because } = weights::of(rules, candidates);
    let division = divide::divide(unit.replicas, &of, divide::Ties::of_template(unit.uid))?;

    let mut assignment = Assignment::empty(unit);
    assignment.equal_weights = equal_because;
    for cluster in candidates {
        let name = &cluster.name;
        let weight = of.get(name).copied();
        match division.part(name) {
            Some(0) => drop(assignment.verdicts.insert(name.clone(), Verdict::NoReplicasLeft { weight })),
            Some(part) => place(&mut assignment, unit, cluster, part, weight),
            None => drop(assignment.verdicts.insert(name.clone(), Verdict::NoWeight)),
        }
    }
    Ok(assignment)
}

fn place(assignment: &mut Assignment, unit: &Unit<'_>, cluster: &ClusterFacts, replicas: u32, weight: Option<u64>) {
    let name: &ClusterName = &cluster.name;
    // Parts never exceed the binding's i32, so this never saturates.
    let replicas = i32::try_from(replicas).unwrap_or(i32::MAX);
    let verdict = Verdict::Placed { replicas, weight, score: plugins::score(unit, cluster) };
    assignment.verdicts.insert(name.clone(), verdict);
    assignment.targets.push(TargetCluster { name: name.to_string(), replicas, ..TargetCluster::default() });
}
