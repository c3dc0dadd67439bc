//! The member clusters at one moment, as the scheduler sees them.

use std::collections::BTreeMap;

use pando_api::{cluster::Cluster, names::ClusterName};

use crate::cluster_facts::ClusterFacts;

/// All member clusters at one moment, by name. The order in which they were added does not matter.
///
/// Take it only from a synchronised store: a cluster that is missing here counts as gone.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    clusters: BTreeMap<ClusterName, ClusterFacts>,
}

impl Snapshot {
    /// From `Cluster` objects. Those whose name no member can have are left out.
    pub fn of_clusters<C: AsRef<Cluster>>(clusters: impl IntoIterator<Item = C>) -> Self {
        clusters.into_iter().filter_map(|cluster| ClusterFacts::of(cluster.as_ref()).ok()).collect()
    }

    /// The clusters, by name.
    pub fn clusters(&self) -> impl ExactSizeIterator<Item = &ClusterFacts> {
        self.clusters.values()
    }

    /// The cluster of this name. A string that is no cluster name finds nothing.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ClusterFacts> {
        self.clusters.get(name)
    }

    /// How many clusters there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.clusters.len()
    }

    /// Whether there is no cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.clusters.is_empty()
    }
}

impl FromIterator<ClusterFacts> for Snapshot {
    fn from_iter<I: IntoIterator<Item = ClusterFacts>>(clusters: I) -> Self {
        Self { clusters: clusters.into_iter().map(|facts| (facts.name.clone(), facts)).collect() }
    }
}
