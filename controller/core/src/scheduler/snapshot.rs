//! The member clusters at one moment, as the scheduler sees them.

use std::collections::BTreeMap;

use pando_api::{
    cluster::Cluster,
    names::{ClusterName, InvalidName},
};

use crate::cluster_facts::ClusterFacts;

/// All member clusters at one moment, by name. The order in which they were added does not matter.
///
/// Take it only from a synchronised store: a cluster that is missing here counts as gone.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    clusters: BTreeMap<ClusterName, ClusterFacts>,
    refused: Vec<InvalidName>,
}

impl Snapshot {
    /// From `Cluster` objects. Those whose name no member can have are left out and listed by [`Snapshot::refused`].
    pub fn of_clusters<C: AsRef<Cluster>>(clusters: impl IntoIterator<Item = C>) -> Self {
        let mut snapshot = Self::default();
        for cluster in clusters {
            match ClusterFacts::of(cluster.as_ref()) {
                Ok(facts) => drop(snapshot.clusters.insert(facts.name.clone(), facts)),
                Err(refusal) => snapshot.refused.push(refusal),
            }
        }
        snapshot
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

    /// Cluster objects left out because of their name.
    #[must_use]
    pub fn refused(&self) -> &[InvalidName] {
        &self.refused
    }
}

impl FromIterator<ClusterFacts> for Snapshot {
    fn from_iter<I: IntoIterator<Item = ClusterFacts>>(clusters: I) -> Self {
        let clusters = clusters.into_iter().map(|facts| (facts.name.clone(), facts)).collect();
        Self { clusters, refused: Vec::new() }
    }
}
