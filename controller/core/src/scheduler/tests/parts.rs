//! The small parts: units, snapshots, weights, warnings.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use pando_api::{cluster::Cluster, policy::Placement};

use super::*;
use crate::scheduler::{EqualWeights, Strategy, Verdict, Warning, strategy_of, weights};

fn placement(yaml: &str) -> Placement {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn strategies_follow_type_preference_and_weights() {
    let is = |yaml: &str, expected: fn(Strategy<'_>) -> bool| {
        let placement = placement(&format!("replicaScheduling: {yaml}"));
        assert!(expected(strategy_of(&placement)), "{yaml}: {:?}", strategy_of(&placement));
    };
    is("null", |strategy| strategy == Strategy::Duplicated);
    is("{replicaSchedulingType: Duplicated}", |strategy| strategy == Strategy::Duplicated);
    // the type's default is Divided, and Divided without a preference is Weighted
    is("{}", |strategy| strategy == Strategy::StaticWeights(None));
    is("{replicaDivisionPreference: Weighted}", |strategy| strategy == Strategy::StaticWeights(None));
    is("{weightPreference: {}}", |strategy| strategy == Strategy::StaticWeights(Some(&[])));
    is(
        "{weightPreference: {staticWeightList: [{targetCluster: {}, weight: 2}]}}",
        |strategy| matches!(strategy, Strategy::StaticWeights(Some([rule])) if rule.weight == 2),
    );
    is("{replicaDivisionPreference: Aggregated}", |strategy| matches!(strategy, Strategy::NotBuilt(_)));
    // the dynamic weight wins over the list
    is(
        "{weightPreference: {dynamicWeight: AvailableReplicas, staticWeightList: [{targetCluster: {}, weight: 2}]}}",
        |strategy| matches!(strategy, Strategy::NotBuilt(_)),
    );
}

#[test]
fn a_workload_has_replicas_or_says_what_one_needs() {
    let is_workload = |binding: &Binding| Unit::from_binding(&binding.spec, None).unwrap().is_workload;
    assert!(!is_workload(&settings("{}")));
    assert!(is_workload(&settings("{}").with(|spec| spec.replicas = 1)));
    assert!(is_workload(&web(0, "{}")));
    let of_components = |count| web(3, "{}").with(|spec| spec.components = vec![Default::default(); count]);
    assert!(is_workload(&of_components(1)));
    assert!(!is_workload(&of_components(2)), "no one number to divide");
}

#[test]
fn a_unit_knows_its_targets_and_evictions() {
    let binding = web(4, "{}").placed(&[("bj-prod", 3), ("sh-prod", 1)]).evicted_from("sz-prod");
    let unit = Unit::from_binding(&binding.spec, Some(&binding.status)).unwrap();
    assert!(unit.current.iter().eq(&["bj-prod", "sh-prod"]));
    assert!(unit.evicting.iter().eq(&["sz-prod"]));
    assert_eq!((unit.api_version, unit.kind, unit.replicas), ("apps/v1", "Deployment", 4));
    assert_eq!(unit.observed_affinity, None, "an empty name is none");
}

#[test]
fn a_snapshot_is_made_of_shared_clusters_and_leaves_out_impossible_names() {
    let object = |name: &str| -> Arc<Cluster> {
        let object = serde_json::json!({
            "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
            "metadata": {"name": name}, "spec": {"syncMode": "Push"}
        });
        Arc::new(serde_json::from_value(object).unwrap())
    };
    let snapshot = Snapshot::of_clusters([object("sz-prod"), object("Not A Name"), object("bj-prod")]);
    assert!(snapshot.clusters().map(|facts| facts.name.as_ref()).eq(["bj-prod", "sz-prod"]));
    assert_eq!((snapshot.len(), snapshot.is_empty()), (2, false));
    assert!(snapshot.get("bj-prod").is_some() && snapshot.get("Not A Name").is_none() && snapshot.get("").is_none());
}

#[test]
fn weights_come_from_the_heaviest_rule_or_are_equal() {
    let (bj, sh) = (cluster("bj"), cluster("sh"));
    let candidates = [&bj, &sh];
    let weigh = |rules: &str| {
        let rules: Vec<pando_api::policy::StaticClusterWeight> = serde_yaml::from_str(rules).unwrap();
        let weights::Weights { of, equal_because } = weights::of(Some(&rules), &candidates);
        let of: Vec<String> = of.iter().map(|(name, weight)| format!("{name} {weight}")).collect();
        (of.join(", "), equal_because)
    };
    let equally = ("bj 1, sh 1".to_owned(), Some(EqualWeights::NoRuleMatches));
    assert_eq!(weigh("[{targetCluster: {}, weight: 3}]"), ("bj 3, sh 3".to_owned(), None));
    assert_eq!(
        weigh("[{targetCluster: {}, weight: 3}, {targetCluster: {clusterNames: [sh]}, weight: 2}]").0,
        "bj 3, sh 3"
    );
    assert_eq!(
        weigh("[{targetCluster: {}, weight: 3}, {targetCluster: {clusterNames: [sh]}, weight: 9}]").0,
        "bj 3, sh 9"
    );
    assert_eq!(weigh("[{targetCluster: {exclude: [sh]}, weight: 3}]").0, "bj 3");
    assert_eq!(weigh("[{targetCluster: {clusterNames: [elsewhere]}, weight: 3}]"), equally);
    assert_eq!(weigh("[]"), equally);
    // weights below 1 cannot pass the schema; if they did, they would weigh nothing
    assert_eq!(weigh("[{targetCluster: {}, weight: 0}, {targetCluster: {clusterNames: [sh]}, weight: -1}]"), equally);
    assert_eq!(weights::of(None, &candidates).equal_because, Some(EqualWeights::NoPreference));
}

#[test]
fn unknown_names_are_looked_for_where_they_matter() {
    let names = |binding: &Binding| -> Vec<String> {
        let fields = binding.assignment(&three()).warnings.into_iter().map(|warning| {
            let Warning::UnknownClusters { field, names } = warning;
            format!("{field}: {}", names.into_iter().collect::<Vec<_>>().join(" "))
        });
        fields.collect()
    };
    let weighted = "
clusterAffinity: {clusterNames: [bj-prod, b, a, a]}
replicaScheduling: {weightPreference: {staticWeightList: [{targetCluster: {exclude: [c]}, weight: 1}]}}
";
    assert_eq!(
        names(&web(1, weighted)),
        [
            "spec.placement.clusterAffinity.clusterNames: a b",
            "spec.placement.replicaScheduling.weightPreference.staticWeightList[0].targetCluster.exclude: c",
        ]
    );
    // what is no workload is not weighed
    assert_eq!(names(&settings(weighted)), ["spec.placement.clusterAffinity.clusterNames: a b"]);
    // only the term that was used is looked at
    let terms = "clusterAffinities: [{affinityName: x, clusterNames: [nowhere]}, {affinityName: y, clusterNames: [bj-prod, nowhere]}]";
    assert_eq!(names(&web(1, terms)), ["spec.placement.clusterAffinities[1].clusterNames: nowhere"]);
    assert_eq!(names(&web(1, "{}")), Vec::<String>::new());
}

#[test]
fn a_present_target_scores_higher() {
    let assignment = web(2, "{}").placed(&[("sh-prod", 2)]).assignment(&three()[..2]);
    let score = |name: &str| match assignment.verdicts[name] {
        Verdict::Placed { score, .. } => score,
        _ => panic!("{name} is placed"),
    };
    assert_eq!((score("bj-prod"), score("sh-prod")), (0, 100));
}
