//! The scheduling plugins, one file each: filters say whether a cluster may take a unit, with a reason when not; scores rank.

use std::fmt;

use crate::cluster_facts::ClusterFacts;

use super::{Term, Unit};

mod api_enablement;
mod cluster_affinity;
mod cluster_eviction;
mod cluster_locality;
mod deletion;
mod taint_toleration;

/// What every filter sees.
pub(super) struct FilterInput<'a> {
    pub(super) unit: &'a Unit<'a>,
    pub(super) term: &'a Term<'a>,
    pub(super) cluster: &'a ClusterFacts,
}

impl FilterInput<'_> {
    /// Whether the cluster has the unit already. Some filters spare it then: taking work away is not their business.
    fn is_target(&self) -> bool {
        self.unit.current.contains(self.cluster.name.as_ref())
    }
}

/// Why a filter rejected a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The filter, by Karmada's plugin name.
    pub plugin: &'static str,
    /// The cause, in Karmada's words: equal causes are counted together.
    pub reason: String,
    /// What exactly about this cluster, if there is more to say.
    pub detail: Option<String>,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

type Filter = fn(&FilterInput<'_>) -> Result<(), Rejection>;

/// In the order in which they are asked.
const FILTERS: [Filter; 5] = [
    deletion::filter,
    api_enablement::filter,
    taint_toleration::filter,
    cluster_affinity::filter,
    cluster_eviction::filter,
];

/// Asks the filters in order; the first that rejects has the say.
pub(super) fn filter(input: &FilterInput<'_>) -> Result<(), Rejection> {
    FILTERS.iter().try_for_each(|filter| filter(input))
}

/// The sum of the scores. It orders candidates where not all of them are taken; today all are.
pub(super) fn score(unit: &Unit<'_>, cluster: &ClusterFacts) -> u32 {
    cluster_locality::score(unit, cluster)
}
