//! What decisions know of a member cluster.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Taint;
use pando_api::{
    cluster::Cluster,
    names::{ClusterName, InvalidName},
};

/// A member cluster as decisions see it: no status beyond what they use, names parsed, the deprecated zone folded in.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterFacts {
    /// Its name.
    pub name: ClusterName,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// `spec.provider`, when not empty.
    pub provider: Option<String>,
    /// `spec.region`, when not empty.
    pub region: Option<String>,
    /// `spec.zones`, and the deprecated `spec.zone`.
    pub zones: BTreeSet<String>,
    /// `spec.taints`, in order.
    pub taints: Vec<Taint>,
    /// The kinds that it serves.
    pub apis: ServedApis,
    /// Whether it is being deleted (it has a deletion timestamp).
    pub is_deleting: bool,
    /// Whether its Ready condition is True. Not a filter: only taints are.
    pub is_ready: bool,
}

/// Which kinds a cluster serves, from `status.apiEnablements`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedApis {
    kinds: BTreeMap<String, BTreeSet<String>>,
}

impl ServedApis {
    /// Adds one kind; `api_version` as objects spell it: `apps/v1`, `v1`.
    pub fn insert(&mut self, api_version: impl Into<String>, kind: impl Into<String>) {
        self.kinds.entry(api_version.into()).or_default().insert(kind.into());
    }

    /// Whether the cluster serves this kind. `false` also before its kinds were collected.
    #[must_use]
    pub fn serves(&self, api_version: &str, kind: &str) -> bool {
        self.kinds.get(api_version).is_some_and(|kinds| kinds.contains(kind))
    }
}

impl<V: Into<String>, K: Into<String>> FromIterator<(V, K)> for ServedApis {
    fn from_iter<I: IntoIterator<Item = (V, K)>>(kinds: I) -> Self {
        let mut served = Self::default();
        for (api_version, kind) in kinds {
            served.insert(api_version, kind);
        }
        served
    }
}

impl ClusterFacts {
    /// The facts of a `Cluster` object.
    ///
    /// # Errors
    ///
    /// [`InvalidName`] when its name cannot be the name of a member.
    pub fn of(cluster: &Cluster) -> Result<Self, InvalidName> {
        let spec = &cluster.spec;
        let status = cluster.status.as_ref();
        let apis = status.iter().flat_map(|status| &status.api_enablements).flat_map(|enablement| {
            enablement.resources.iter().map(|resource| (enablement.group_version.as_str(), resource.kind.as_str()))
        });
        let conditions = status.iter().flat_map(|status| &status.conditions);
        Ok(Self {
            name: ClusterName::parse(cluster.metadata.name.as_deref().unwrap_or_default())?,
            labels: cluster.metadata.labels.clone().unwrap_or_default(),
            provider: given(&spec.provider),
            region: given(&spec.region),
            zones: spec.zones.iter().chain([&spec.zone]).filter(|zone| !zone.is_empty()).cloned().collect(),
            taints: spec.taints.clone(),
            apis: apis.collect(),
            is_deleting: cluster.metadata.deletion_timestamp.is_some(),
            is_ready: conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"),
        })
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use pando_api::cluster::Cluster;
    use serde_json::json;

    use super::ClusterFacts;

    fn cluster(object: serde_json::Value) -> Cluster {
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn facts_come_from_the_object() {
        let facts = ClusterFacts::of(&cluster(json!({
            "apiVersion": "cluster.karmada.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "bj-prod", "labels": {"tier": "prod"}, "deletionTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "syncMode": "Push", "provider": "ali", "region": "", "zone": "bj-1", "zones": ["bj-2"],
                "taints": [{"key": "k", "effect": "NoSchedule"}]
            },
            "status": {
                "apiEnablements": [{"groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment"}]}],
                "conditions": [
                    {"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
                ]
            }
        })))
        .unwrap();

        assert_eq!(facts.name.as_ref(), "bj-prod");
        assert_eq!(facts.labels["tier"], "prod");
        assert_eq!(facts.provider.as_deref(), Some("ali"));
        assert_eq!(facts.region, None, "an empty region is none");
        assert!(facts.zones.iter().eq(["bj-1", "bj-2"]));
        assert_eq!(facts.taints.len(), 1);
        assert!(facts.apis.serves("apps/v1", "Deployment"));
        assert!(!facts.apis.serves("apps/v1", "StatefulSet") && !facts.apis.serves("v1", "Deployment"));
        assert!(facts.is_deleting && facts.is_ready);
    }

    #[test]
    fn a_cluster_just_joined_serves_nothing_yet_and_is_not_ready() {
        let facts = ClusterFacts::of(&cluster(json!({
            "apiVersion": "cluster.karmada.io/v1alpha1",
            "kind": "Cluster",
            "metadata": {"name": "bj-prod"},
            "spec": {"syncMode": "Push"}
        })))
        .unwrap();
        assert!(!facts.apis.serves("v1", "ConfigMap") && !facts.is_ready && !facts.is_deleting);
    }

    #[test]
    fn a_name_that_no_member_can_have_is_refused() {
        let long = "x".repeat(49);
        let object = json!({
            "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
            "metadata": {"name": long}, "spec": {"syncMode": "Push"}
        });
        assert!(ClusterFacts::of(&cluster(object)).is_err());
    }
}
