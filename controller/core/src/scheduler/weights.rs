//! Static weights: a cluster weighs as much as the heaviest rule that matches it.

use std::{collections::BTreeMap, fmt};

use pando_api::{names::ClusterName, policy::StaticClusterWeight};

use crate::{cluster_facts::ClusterFacts, selector};

/// Weights by cluster; candidates without one get nothing.
pub(super) struct Weights {
    pub(super) of: BTreeMap<ClusterName, u64>,
    pub(super) equal_because: Option<EqualWeights>,
}

/// Why all candidates weigh the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EqualWeights {
    /// The policy has no `weightPreference`.
    NoPreference,
    /// Not one rule gives a weight above 0 to a candidate.
    NoRuleMatches,
}

impl fmt::Display for EqualWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPreference => "equally: there is no weightPreference",
            Self::NoRuleMatches => "equally: no rule of staticWeightList gives a weight to a selected cluster",
        })
    }
}

pub(super) fn of(rules: Option<&[StaticClusterWeight]>, candidates: &[&ClusterFacts]) -> Weights {
    let equally = |because| Weights {
        of: candidates.iter().map(|cluster| (cluster.name.clone(), 1)).collect(),
        equal_because: Some(because),
    };
    let Some(rules) = rules else {
        return equally(EqualWeights::NoPreference);
    };
    let of: BTreeMap<ClusterName, u64> =
        candidates.iter().filter_map(|cluster| Some((cluster.name.clone(), heaviest(rules, cluster)?))).collect();
    if of.is_empty() { equally(EqualWeights::NoRuleMatches) } else { Weights { of, equal_because: None } }
}

/// The largest weight above 0 among the rules that match.
fn heaviest(rules: &[StaticClusterWeight], cluster: &ClusterFacts) -> Option<u64> {
    rules
        .iter()
        .filter(|rule| selector::cluster_matches(&rule.target_cluster, cluster).is_ok())
        .filter_map(|rule| u64::try_from(rule.weight).ok().filter(|weight| *weight > 0))
        .max()
}
