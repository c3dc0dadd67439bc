//! What a person should look at although the unit was placed.

use std::{collections::BTreeSet, fmt};

use pando_api::policy::ClusterAffinity;

use super::{Snapshot, Strategy, Term, Unit};

/// Something in the placement that had no effect and was probably meant to have one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// A list names clusters that do not exist. The others are placed.
    UnknownClusters {
        /// The list, as a path in the policy.
        field: String,
        /// The unknown names, sorted.
        names: BTreeSet<String>,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::UnknownClusters { field, names } = self;
        write!(f, "{field} names")?;
        for (index, name) in names.iter().enumerate() {
            write!(f, "{} {name:?}", if index == 0 { "" } else { "," })?;
        }
        f.write_str(if names.len() == 1 { ", which is no member cluster" } else { ", which are no member clusters" })
    }
}

pub(super) fn of(unit: &Unit<'_>, term: &Term<'_>, snapshot: &Snapshot) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(affinity) = term.affinity {
        warnings.extend(unknown_in(&term.path(), affinity, snapshot));
    }
    if let (true, Strategy::StaticWeights(Some(rules))) = (unit.is_workload, unit.strategy()) {
        for (index, rule) in rules.iter().enumerate() {
            let path =
                format!("spec.placement.replicaScheduling.weightPreference.staticWeightList[{index}].targetCluster");
            warnings.extend(unknown_in(&path, &rule.target_cluster, snapshot));
        }
    }
    warnings
}

fn unknown_in(path: &str, affinity: &ClusterAffinity, snapshot: &Snapshot) -> impl Iterator<Item = Warning> {
    // A typo in `exclude` lets work onto the very cluster that was to be spared.
    [("clusterNames", &affinity.cluster_names), ("exclude", &affinity.exclude)].into_iter().filter_map(
        move |(list, names)| {
            let names: BTreeSet<String> = names.iter().filter(|name| snapshot.get(name).is_none()).cloned().collect();
            (!names.is_empty()).then(|| Warning::UnknownClusters { field: format!("{path}.{list}"), names })
        },
    )
}
