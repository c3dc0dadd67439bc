//! Prefer clusters that have the unit already.

use crate::cluster_facts::ClusterFacts;

use super::Unit;

/// 100 for a present target, else 0, as in Karmada.
pub(super) fn score(unit: &Unit<'_>, cluster: &ClusterFacts) -> u32 {
    if unit.current.contains(cluster.name.as_ref()) { 100 } else { 0 }
}
