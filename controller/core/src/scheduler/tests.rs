#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Taint;
use pando_api::{
    names::ClusterName,
    work::{ResourceBindingSpec, ResourceBindingStatus},
};

use super::{Assignment, Snapshot, Unit, Unschedulable, schedule};
use crate::cluster_facts::ClusterFacts;

mod decisions;
mod history;
mod parts;
mod properties;
mod triggers;

const SEED: &str = "
clusterAffinity: {clusterNames: [bj-prod, sh-prod, sz-prod]}
replicaScheduling:
  replicaDivisionPreference: Weighted
  weightPreference:
    staticWeightList:
    - {targetCluster: {clusterNames: [bj-prod]}, weight: 50}
    - {targetCluster: {clusterNames: [sh-prod]}, weight: 30}
    - {targetCluster: {clusterNames: [sz-prod]}, weight: 20}
";

/// A cluster that serves Deployments and ConfigMaps.
fn cluster(name: &str) -> ClusterFacts {
    ClusterFacts {
        name: ClusterName::parse(name).unwrap(),
        labels: BTreeMap::new(),
        provider: None,
        region: None,
        zones: [].into(),
        taints: Vec::new(),
        apis: [("apps/v1", "Deployment"), ("v1", "ConfigMap")].into_iter().collect(),
        is_deleting: false,
        is_ready: true,
    }
}

fn tainted(name: &str, taints: &[(&str, &str, &str)]) -> ClusterFacts {
    let taints = taints.iter().map(|(key, value, effect)| Taint {
        key: (*key).to_owned(),
        value: (!value.is_empty()).then(|| (*value).to_owned()),
        effect: (*effect).to_owned(),
        time_added: None,
    });
    ClusterFacts { taints: taints.collect(), ..cluster(name) }
}

fn labelled(name: &str, key: &str, value: &str) -> ClusterFacts {
    ClusterFacts { labels: BTreeMap::from([(key.to_owned(), value.to_owned())]), ..cluster(name) }
}

/// bj-prod, sh-prod, sz-prod.
fn three() -> Vec<ClusterFacts> {
    ["bj-prod", "sh-prod", "sz-prod"].map(cluster).into()
}

/// A binding of a template; built field by field, then scheduled.
#[derive(Clone, Debug)]
struct Binding {
    spec: ResourceBindingSpec,
    status: ResourceBindingStatus,
    annotations: BTreeMap<String, String>,
}

/// Deployment web with so many replicas.
fn web(replicas: i32, placement: &str) -> Binding {
    binding("{apiVersion: apps/v1, kind: Deployment, namespace: default, name: web}", placement)
        .with(|spec| spec.replicas = replicas)
        .with(|spec| spec.replica_requirements = Some(Default::default()))
}

/// ConfigMap settings.
fn settings(placement: &str) -> Binding {
    binding("{apiVersion: v1, kind: ConfigMap, namespace: default, name: settings}", placement)
}

fn binding(resource: &str, placement: &str) -> Binding {
    let spec = format!("resource: {resource}\n");
    let mut spec: ResourceBindingSpec = serde_yaml::from_str(&spec).unwrap();
    spec.placement = Some(serde_yaml::from_str(placement).unwrap());
    Binding { spec, status: ResourceBindingStatus::default(), annotations: BTreeMap::new() }
}

impl Binding {
    fn with(mut self, change: impl FnOnce(&mut ResourceBindingSpec)) -> Self {
        change(&mut self.spec);
        self
    }

    /// Assigned to these clusters, with the placement recorded as applied.
    fn placed(mut self, targets: &[(&str, i32)]) -> Self {
        let targets: Vec<_> =
            targets.iter().map(|(name, replicas)| serde_json::json!({"name": name, "replicas": replicas})).collect();
        self.spec.clusters = serde_json::from_value(targets.into()).unwrap();
        let applied = super::applied_placement(self.spec.placement.as_ref().unwrap()).unwrap();
        self.annotations.insert(pando_api::annotations::APPLIED_PLACEMENT.to_owned(), applied);
        self
    }

    fn evicted_from(mut self, cluster: &str) -> Self {
        let task =
            serde_json::json!({"fromCluster": cluster, "reason": "TaintUntolerated", "producer": "TaintManager"});
        self.spec.graceful_eviction_tasks = vec![serde_json::from_value(task).unwrap()];
        self
    }

    fn schedule(&self, clusters: &[ClusterFacts]) -> Result<Assignment, Unschedulable> {
        let snapshot: Snapshot = clusters.iter().cloned().collect();
        schedule(&Unit::from_binding(&self.spec, Some(&self.status)).unwrap(), &snapshot)
    }

    fn assignment(&self, clusters: &[ClusterFacts]) -> Assignment {
        self.schedule(clusters).unwrap()
    }

    fn failure(&self, clusters: &[ClusterFacts]) -> Unschedulable {
        self.schedule(clusters).unwrap_err()
    }
}

/// Targets as pairs, for comparison.
fn targets(assignment: &Assignment) -> Vec<(&str, i32)> {
    assignment.targets.iter().map(|target| (target.name.as_str(), target.replicas)).collect()
}
