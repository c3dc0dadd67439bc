#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use kube_core::Resource;
use serde_json::{Value, json};

use super::*;

/// The sample of the documentation.
const SAMPLE: &str = include_str!("../../../../deploy/samples/prod-web-app-policy.yaml");

/// Every field of the spec that Karmada 1.19 knows, as a user may write it.
const EVERYTHING: &str = r#"
apiVersion: policy.karmada.io/v1alpha1
kind: PropagationPolicy
metadata: {name: everything, namespace: shop}
spec:
  resourceSelectors:
    - {apiVersion: apps/v1, kind: Deployment, namespace: shop, labelSelector: {matchLabels: {app: web}}}
    - {apiVersion: v1, kind: ConfigMap, name: settings}
  association: true
  propagateDeps: true
  priority: 7
  preemption: Always
  dependentOverrides: [first]
  schedulerName: other
  conflictResolution: Overwrite
  activationPreference: Lazy
  preserveResourcesOnDeletion: true
  suspension: {dispatchingOnClusters: {clusterNames: [bj-prod]}}
  schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: high}
  failover:
    application:
      decisionConditions: {tolerationSeconds: 60}
      purgeMode: Gracefully
      gracePeriodSeconds: 30
      statePreservation: {rules: [{aliasLabelName: job, jsonPath: "{.jobId}"}]}
    cluster: {purgeMode: Directly}
  placement:
    clusterAffinities:
      - affinityName: main
        clusterNames: [bj-prod]
        exclude: [sz-prod]
        labelSelector: {matchExpressions: [{key: tier, operator: In, values: [gold]}]}
        fieldSelector: {matchExpressions: [{key: region, operator: NotIn, values: [north]}]}
        overflowAffinities: [{affinityName: spill, clusterNames: [sh-prod]}]
    clusterTolerations: [{key: cluster.karmada.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
    spreadConstraints:
      - {spreadByField: cluster, minGroups: 1, maxGroups: 2}
      - {spreadByLabel: rack, minGroups: 2}
    replicaScheduling:
      replicaSchedulingType: Divided
      replicaDivisionPreference: Weighted
      weightPreference: {dynamicWeight: AvailableReplicas}
    workloadAffinity: {affinity: {groupByLabelKey: app}, antiAffinity: {groupByLabelKey: rival}}
"#;

fn object(yaml: &str) -> Value {
    serde_yaml::from_str(yaml).unwrap()
}

#[test]
fn the_sample_policy_reads_with_karmadas_defaults() {
    let policy: PropagationPolicy = serde_yaml::from_str(SAMPLE).unwrap();
    let strategy = policy.spec.placement.replica_scheduling.as_ref().unwrap();
    assert_eq!(strategy.replica_scheduling_type, ReplicaSchedulingType::Divided);
    assert_eq!(strategy.replica_division_preference, Some(ReplicaDivisionPreference::Weighted));
    let weights: Vec<i64> =
        strategy.weight_preference.as_ref().unwrap().static_weight_list.iter().map(|entry| entry.weight).collect();
    assert_eq!(weights, [50, 30, 20]);
    assert_eq!(policy.spec.scheduler_name, DEFAULT_SCHEDULER);
    assert_eq!(policy.spec.preemption, PreemptionBehavior::Never);
    assert_eq!(policy.spec.conflict_resolution, ConflictResolution::Abort);
    assert_eq!(policy.spec.priority, 0);
}

#[test]
fn the_sample_policy_loses_nothing_on_a_round_trip() {
    let policy: PropagationPolicy = serde_yaml::from_str(SAMPLE).unwrap();
    let mut expected = object(SAMPLE);
    let defaults = [
        ("/spec", "priority", json!(0)),
        ("/spec", "preemption", json!("Never")),
        ("/spec", "schedulerName", json!("default-scheduler")),
        ("/spec", "conflictResolution", json!("Abort")),
        ("/spec/placement/replicaScheduling", "replicaSchedulingType", json!("Divided")),
    ];
    for (parent, field, default) in defaults {
        expected.pointer_mut(parent).unwrap()[field] = default;
    }
    assert_eq!(serde_json::to_value(policy).unwrap(), expected);
}

#[test]
fn a_policy_with_every_field_round_trips() {
    let policy: PropagationPolicy = serde_yaml::from_str(EVERYTHING).unwrap();
    assert_eq!(serde_json::to_value(&policy).unwrap(), object(EVERYTHING));
    let cluster_wide: ClusterPropagationPolicy = serde_yaml::from_str(EVERYTHING).unwrap();
    assert_eq!(cluster_wide.spec, policy.spec);
}

#[test]
fn a_written_policy_holds_no_null_and_no_empty_parts() {
    let policy = PropagationPolicy::new("p", PropagationSpec::default());
    assert_eq!(
        serde_json::to_value(policy).unwrap(),
        json!({
            "apiVersion": "policy.karmada.io/v1alpha1",
            "kind": "PropagationPolicy",
            "metadata": {"name": "p"},
            "spec": {
                "resourceSelectors": [],
                "priority": 0,
                "preemption": "Never",
                "schedulerName": "default-scheduler",
                "conflictResolution": "Abort",
            },
        })
    );
}

#[test]
fn defaults_in_code_are_the_defaults_of_the_schema() {
    let spec: PropagationSpec = serde_json::from_value(json!({"resourceSelectors": []})).unwrap();
    assert_eq!(spec, PropagationSpec::default());
    let conditions: DecisionConditions = serde_json::from_value(json!({})).unwrap();
    assert_eq!(conditions, DecisionConditions::default());
    assert_eq!(conditions.toleration_seconds, 300);
    let constraint: SpreadConstraint = serde_json::from_value(json!({})).unwrap();
    assert_eq!(constraint, SpreadConstraint::default());
    assert_eq!(constraint.min_groups, 1);
}

#[test]
fn override_policies_round_trip_with_every_overrider() {
    let text = r#"
apiVersion: policy.karmada.io/v1alpha1
kind: OverridePolicy
metadata: {name: o, namespace: shop}
spec:
  resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
  overrideRules:
    - targetCluster: {clusterNames: [bj-prod]}
      overriders:
        plaintext: [{path: /spec/replicas, operator: replace, value: 3}, {path: /a, operator: remove}]
        imageOverrider: [{predicate: {path: /spec/x}, component: Registry, operator: add, value: registry.example}]
        commandOverrider: [{containerName: web, operator: add, value: [--fast]}]
        argsOverrider: [{containerName: web, operator: remove, value: [--slow]}]
        labelsOverrider: [{operator: add, value: {a: b}}]
        annotationsOverrider: [{operator: remove, value: {c: d}}]
        fieldOverrider: [{fieldPath: /data/x, yaml: [{subPath: /a, operator: add, value: {deep: [1]}}]}]
"#;
    let policy: OverridePolicy = serde_yaml::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&policy).unwrap(), object(text));
    let cluster_wide: ClusterOverridePolicy = serde_yaml::from_str(text).unwrap();
    assert_eq!(cluster_wide.spec, policy.spec);
}

#[test]
fn go_clients_write_an_empty_overriders_and_a_null_value() {
    let spec: OverrideSpec = serde_json::from_value(json!({
        "overriders": {},
        "overrideRules": [{"overriders": {"plaintext": [{"path": "/a", "operator": "remove", "value": null}]}}],
    }))
    .unwrap();
    assert_eq!(spec.overriders, Overriders::default());
    assert_eq!(spec.override_rules[0].overriders.plaintext[0].value, None);
}

#[test]
fn words_of_older_karmada_releases_are_read_and_written_anew() {
    let mode = |word: &str| serde_json::from_value::<PurgeMode>(json!(word)).unwrap();
    assert_eq!(mode("Immediately"), PurgeMode::Directly);
    assert_eq!(mode("Graciously"), PurgeMode::Gracefully);
    assert_eq!(serde_json::to_value(mode("Immediately")).unwrap(), json!("Directly"));
}

#[test]
fn every_word_is_written_as_it_is_printed() {
    fn check<
        T: serde::Serialize + serde::de::DeserializeOwned + Copy + PartialEq + std::fmt::Debug + std::fmt::Display,
    >(
        all: &[T],
        words: &[&str],
    ) {
        let printed: Vec<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(printed, words);
        for value in all {
            let json = serde_json::to_value(value).unwrap();
            assert_eq!(json, json!(value.to_string()));
            assert_eq!(serde_json::from_value::<T>(json).unwrap(), *value);
        }
    }
    check(SpreadField::ALL, &["cluster", "region", "zone", "provider"]);
    check(ReplicaSchedulingType::ALL, &["Duplicated", "Divided"]);
    check(ReplicaDivisionPreference::ALL, &["Aggregated", "Weighted"]);
    check(DynamicWeightFactor::ALL, &["AvailableReplicas"]);
    check(PurgeMode::ALL, &["Directly", "Gracefully", "Never"]);
    check(PreemptionBehavior::ALL, &["Always", "Never"]);
    check(ConflictResolution::ALL, &["Abort", "Overwrite"]);
    check(ActivationPreference::ALL, &["Lazy"]);
    check(PriorityClassSource::ALL, &["KubePriorityClass"]);
    check(OverriderOperator::ALL, &["add", "remove", "replace"]);
    check(ImageComponent::ALL, &["Registry", "Repository", "Tag"]);
}

#[test]
fn a_word_nobody_knows_is_an_error_and_not_a_guess() {
    let error = serde_json::from_value::<ConflictResolution>(json!("Merge")).unwrap_err().to_string();
    assert!(error.contains("Merge") && error.contains("Overwrite"), "{error}");
}

#[test]
fn the_json_of_a_placement_has_karmadas_field_order() {
    let policy: PropagationPolicy = serde_yaml::from_str(SAMPLE).unwrap();
    assert_eq!(
        serde_json::to_string(&policy.spec.placement).unwrap(),
        concat!(
            r#"{"clusterAffinity":{"clusterNames":["bj-prod","sh-prod","sz-prod"]},"#,
            r#""replicaScheduling":{"replicaSchedulingType":"Divided","replicaDivisionPreference":"Weighted","#,
            r#""weightPreference":{"staticWeightList":["#,
            r#"{"targetCluster":{"clusterNames":["bj-prod"]},"weight":50},"#,
            r#"{"targetCluster":{"clusterNames":["sh-prod"]},"weight":30},"#,
            r#"{"targetCluster":{"clusterNames":["sz-prod"]},"weight":20}]}}}"#,
        )
    );
}

#[test]
fn both_kinds_of_policy_are_addressed_as_in_karmada() {
    assert_eq!(
        PropagationPolicy::url_path(&(), Some("shop")),
        "/apis/policy.karmada.io/v1alpha1/namespaces/shop/propagationpolicies"
    );
    assert_eq!(
        ClusterPropagationPolicy::url_path(&(), None),
        "/apis/policy.karmada.io/v1alpha1/clusterpropagationpolicies"
    );
    assert_eq!(OverridePolicy::kind(&()), "OverridePolicy");
    assert_eq!(ClusterOverridePolicy::plural(&()), "clusteroverridepolicies");
}
