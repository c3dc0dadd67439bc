#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;

#[test]
fn the_seed_policy_splits_five_three_two() {
    insta::assert_snapshot!(web(10, SEED).assignment(&three()), @r"
    10 replicas divided by static weights
      bj-prod  5 (weight 50)
      sh-prod  3 (weight 30)
      sz-prod  2 (weight 20)
    ");
}

#[test]
fn thirteen_replicas_split_as_documented() {
    assert_eq!(web(13, SEED).assignment(&three()).result(), "{bj-prod:6, sh-prod:4, sz-prod:3}");
}

#[test]
fn a_cluster_that_leaves_gives_its_share_to_the_others() {
    let mut clusters = three();
    clusters[2].is_deleting = true;
    let before = [("bj-prod", 5), ("sh-prod", 3), ("sz-prod", 2)];
    insta::assert_snapshot!(web(10, SEED).placed(&before).assignment(&clusters), @r"
    10 replicas divided by static weights
      bj-prod  6 (weight 50)
      sh-prod  4 (weight 30)
      sz-prod  none: cluster(s) is being deleted
    ");
}

#[test]
fn an_unknown_cluster_is_named_and_the_others_are_placed() {
    let placement = "
clusterAffinity: {clusterNames: [bj-prod, sh-prod, atlantis], exclude: [eldorado, utopia]}
replicaScheduling:
  replicaSchedulingType: Divided
  replicaDivisionPreference: Weighted
  weightPreference:
    staticWeightList:
    - {targetCluster: {clusterNames: [bj-prod]}, weight: 2}
    - {targetCluster: {clusterNames: [sh-prod]}, weight: 1}
    - {targetCluster: {clusterNames: [Not A Name]}, weight: 9}
";
    insta::assert_snapshot!(web(9, placement).assignment(&three()), @r#"
    9 replicas divided by static weights
      bj-prod  6 (weight 2)
      sh-prod  3 (weight 1)
      sz-prod  none: cluster(s) did not match the placement cluster affinity constraint: clusterNames does not name it
      warning: spec.placement.clusterAffinity.clusterNames names "atlantis", which is no member cluster
      warning: spec.placement.clusterAffinity.exclude names "eldorado", "utopia", which are no member clusters
      warning: spec.placement.replicaScheduling.weightPreference.staticWeightList[2].targetCluster.clusterNames names "Not A Name", which is no member cluster
    "#);
}

#[test]
fn duplicated_gives_every_cluster_all_replicas() {
    let placement = "replicaScheduling: {replicaSchedulingType: Duplicated}";
    insta::assert_snapshot!(web(3, placement).assignment(&three()), @r"
    3 replicas on every selected cluster
      bj-prod  3
      sh-prod  3
      sz-prod  3
    ");
}

#[test]
fn without_a_strategy_replicas_are_duplicated() {
    assert_eq!(targets(&web(2, "{}").assignment(&three())), [("bj-prod", 2), ("sh-prod", 2), ("sz-prod", 2)]);
}

#[test]
fn what_is_no_workload_goes_everywhere_without_replicas() {
    insta::assert_snapshot!(settings(SEED).assignment(&three()), @r"
    every selected cluster gets it
      bj-prod  placed
      sh-prod  placed
      sz-prod  placed
    ");
    assert_eq!(targets(&settings("{}").assignment(&three())), [("bj-prod", 0), ("sh-prod", 0), ("sz-prod", 0)]);
}

#[test]
fn a_workload_scaled_to_zero_has_no_targets() {
    assert_eq!(targets(&web(0, SEED).assignment(&three())), []);
    insta::assert_snapshot!(web(0, "{}").assignment(&three()), @r"
    0 replicas on every selected cluster
      bj-prod  none: the template wants no replicas
      sh-prod  none: the template wants no replicas
      sz-prod  none: the template wants no replicas
    ");
}

#[test]
fn a_negative_replica_count_is_none() {
    assert_eq!(targets(&web(-3, SEED).assignment(&three())), []);
}

#[test]
fn the_largest_replica_count_is_divided() {
    let assignment = web(i32::MAX, SEED).assignment(&three());
    assert_eq!(targets(&assignment).iter().map(|(_, replicas)| i64::from(*replicas)).sum::<i64>(), i64::from(i32::MAX));
}

#[test]
fn clusters_left_without_replicas_are_no_targets() {
    insta::assert_snapshot!(web(1, SEED).assignment(&three()), @r"
    1 replica divided by static weights
      bj-prod  1 (weight 50)
      sh-prod  none: no replica left at weight 30
      sz-prod  none: no replica left at weight 20
    ");
}

#[test]
fn the_template_uid_decides_who_gets_the_remainder() {
    let equally = "replicaScheduling: {replicaSchedulingType: Divided}";
    let with_uid = |uid: &str| web(7, equally).with(|spec| spec.resource.uid = uid.to_owned()).assignment(&three());
    assert_eq!(with_uid("a").result(), "{bj-prod:3, sh-prod:2, sz-prod:2}");
    assert_eq!(with_uid("b").result(), "{bj-prod:2, sh-prod:2, sz-prod:3}");
}

/// Rules by label; the heaviest of several counts, and who matches none gets nothing.
#[test]
fn a_cluster_weighs_as_much_as_its_heaviest_rule() {
    let placement = "
replicaScheduling:
  replicaSchedulingType: Divided
  replicaDivisionPreference: Weighted
  weightPreference:
    staticWeightList:
    - {targetCluster: {labelSelector: {matchLabels: {tier: prod}}}, weight: 1}
    - {targetCluster: {clusterNames: [bj-prod]}, weight: 3}
";
    let clusters =
        [labelled("bj-prod", "tier", "prod"), labelled("sh-prod", "tier", "prod"), labelled("sz-test", "tier", "test")];
    insta::assert_snapshot!(web(8, placement).assignment(&clusters), @r"
    8 replicas divided by static weights
      bj-prod  6 (weight 3)
      sh-prod  2 (weight 1)
      sz-test  none: no rule of staticWeightList gives it a weight
    ");
}

#[test]
fn when_no_rule_matches_a_candidate_all_weigh_the_same() {
    let placement = "
replicaScheduling:
  replicaSchedulingType: Divided
  replicaDivisionPreference: Weighted
  weightPreference:
    staticWeightList:
    - {targetCluster: {labelSelector: {matchLabels: {tier: prod}}}, weight: 7}
";
    insta::assert_snapshot!(web(6, placement).assignment(&three()), @r"
    6 replicas divided equally: no rule of staticWeightList gives a weight to a selected cluster
      bj-prod  2 (weight 1)
      sh-prod  2 (weight 1)
      sz-prod  2 (weight 1)
    ");
}

#[test]
fn without_weights_all_weigh_the_same() {
    insta::assert_snapshot!(web(6, "replicaScheduling: {replicaSchedulingType: Divided}").assignment(&three()), @r"
    6 replicas divided equally: there is no weightPreference
      bj-prod  2 (weight 1)
      sh-prod  2 (weight 1)
      sz-prod  2 (weight 1)
    ");
}

#[test]
fn every_filter_says_why() {
    let placement = "{clusterAffinity: {clusterNames: [a-good, b-api, c-taint, d-gone, f-evicted]}}";
    let clusters = [
        cluster("a-good"),
        ClusterFacts { apis: Default::default(), ..cluster("b-api") },
        tainted("c-taint", &[("soft", "", "PreferNoSchedule"), ("dedicated", "db", "NoSchedule")]),
        ClusterFacts { is_deleting: true, ..cluster("d-gone") },
        cluster("e-other"),
        cluster("f-evicted"),
    ];
    insta::assert_snapshot!(web(1, placement).evicted_from("f-evicted").assignment(&clusters), @r"
    1 replica on every selected cluster
      a-good     1
      b-api      none: cluster(s) did not have the API resource: apps/v1, kind Deployment
      c-taint    none: cluster(s) had untolerated taint {dedicated=db:NoSchedule}
      d-gone     none: cluster(s) is being deleted
      e-other    none: cluster(s) did not match the placement cluster affinity constraint: clusterNames does not name it
      f-evicted  none: cluster(s) is in the process of eviction
    ");
}

#[test]
fn no_fit_counts_the_causes_as_karmada_does() {
    let placement = "{clusterAffinity: {clusterNames: [a, b, c]}}";
    let clusters = [
        tainted("a", &[("x", "", "NoExecute")]),
        tainted("b", &[("x", "", "NoExecute")]),
        ClusterFacts { apis: Default::default(), ..cluster("c") },
        cluster("d"),
        ClusterFacts { is_deleting: true, ..cluster("e") },
    ];
    let failure = web(1, placement).failure(&clusters);
    insta::assert_snapshot!(failure, @"0/5 clusters are available: 1 cluster(s) did not have the API resource, 1 cluster(s) did not match the placement cluster affinity constraint, 1 cluster(s) is being deleted, 2 cluster(s) had untolerated taint {x:NoExecute}.");
    assert_eq!((failure.reason(), failure.clears_targets()), ("NoClusterFit", true));
}

#[test]
fn no_cluster_at_all_is_said_so() {
    insta::assert_snapshot!(web(1, SEED).failure(&[]), @"0/0 clusters are available: no cluster exists.");
}

#[test]
fn a_present_target_survives_a_taint_and_a_lost_discovery() {
    let clusters = [ClusterFacts { apis: Default::default(), ..tainted("bj-prod", &[("x", "", "NoExecute")]) }];
    assert!(web(4, "{}").schedule(&clusters).is_err());
    let placed = web(4, "{}").placed(&[("bj-prod", 4)]).assignment(&clusters);
    assert_eq!(targets(&placed), [("bj-prod", 4)]);
}

#[test]
fn a_present_target_outside_the_affinity_is_left() {
    let placement = "clusterAffinity: {clusterNames: [sh-prod]}";
    let placed = web(4, placement).placed(&[("bj-prod", 4)]).assignment(&three());
    assert_eq!(targets(&placed), [("sh-prod", 4)]);
}

#[test]
fn a_cluster_that_is_not_ready_is_filtered_by_its_taints_only() {
    let clusters = [ClusterFacts { is_ready: false, ..cluster("bj-prod") }];
    assert_eq!(targets(&web(1, "{}").assignment(&clusters)), [("bj-prod", 1)]);
}

#[test]
fn taints_are_tolerated_as_in_kubernetes() {
    let taint = ("dedicated", "db", "NoSchedule");
    for (toleration, tolerated) in [
        ("{key: dedicated, operator: Equal, value: db, effect: NoSchedule}", true),
        ("{key: dedicated, value: db}", true),
        ("{key: dedicated, operator: Exists}", true),
        ("{operator: Exists}", true),
        ("{operator: Exists, effect: NoExecute}", false),
        ("{key: dedicated, value: web}", false),
        ("{key: dedicated}", false),
        ("{key: other, operator: Exists}", false),
        ("{key: dedicated, operator: Gt, value: db}", false),
    ] {
        let fits =
            web(1, &format!("clusterTolerations: [{toleration}]")).schedule(&[tainted("bj-prod", &[taint])]).is_ok();
        assert_eq!(fits, tolerated, "{toleration}");
    }
}

const TERMS: &str = "
clusterAffinities:
- {affinityName: primary, clusterNames: [bj-prod]}
- {affinityName: backup, clusterNames: [sh-prod]}
- {affinityName: last, clusterNames: [sz-prod]}
";

#[test]
fn affinity_terms_are_tried_in_order() {
    assert_eq!(web(2, TERMS).assignment(&three()).affinity.as_deref(), Some("primary"));
    insta::assert_snapshot!(web(2, TERMS).assignment(&three()[1..]), @r"
    2 replicas on every selected cluster (affinity term backup)
      sh-prod  2
      sz-prod  none: cluster(s) did not match the placement cluster affinity constraint: clusterNames does not name it
    ");
}

#[test]
fn terms_before_the_observed_one_are_not_tried_again() {
    let mut binding = web(2, TERMS);
    binding.status.scheduler_observed_affinity_name = "backup".to_owned();
    assert_eq!(targets(&binding.assignment(&three())), [("sh-prod", 2)]);

    binding.status.scheduler_observed_affinity_name = "removed-meanwhile".to_owned();
    assert_eq!(targets(&binding.assignment(&three())), [("bj-prod", 2)]);

    binding.status.scheduler_observed_affinity_name = "backup".to_owned();
    let afresh = binding
        .with(|spec| spec.reschedule_triggered_at = Some(serde_json::from_str("\"2026-01-01T00:00:00Z\"").unwrap()));
    assert_eq!(targets(&afresh.assignment(&three())), [("bj-prod", 2)]);
}

#[test]
fn when_all_terms_fail_the_first_failure_is_told() {
    let clusters = [ClusterFacts { apis: Default::default(), ..cluster("bj-prod") }];
    insta::assert_snapshot!(web(2, TERMS).failure(&clusters), @"0/1 clusters are available: 1 cluster(s) did not have the API resource.");
}

#[test]
fn what_is_not_built_is_refused_by_name() {
    for placement in [
        "spreadConstraints: [{spreadByField: cluster, minGroups: 1, maxGroups: 2}]",
        "replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}",
        "replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {dynamicWeight: AvailableReplicas}}",
    ] {
        let failure = web(2, placement).failure(&three());
        assert!(matches!(failure, Unschedulable::NotBuilt { .. }), "{placement}: {failure}");
        assert_eq!((failure.reason(), failure.clears_targets()), (pando_api::conditions::NOT_SUPPORTED, false));
    }
    let failure = web(2, "spreadConstraints: [{spreadByField: cluster, minGroups: 1, maxGroups: 2}]").failure(&three());
    insta::assert_snapshot!(failure, @"spec.placement.spreadConstraints is not supported by this release: remove it to have the template placed");
}

#[test]
fn a_binding_without_a_placement_is_no_unit() {
    let spec = ResourceBindingSpec { placement: None, ..web(1, "{}").spec };
    assert!(Unit::from_binding(&spec, None).is_none());
}
