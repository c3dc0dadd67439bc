#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use pando_api::{
    policy::{OverrideSpec, PropagationSpec},
    work::ResourceBindingSpec,
};
use proptest::prelude::*;
use serde_json::json;

use crate::gates::Gates;
use crate::scheduler::{Snapshot, Unit, Unschedulable, schedule};

use super::{
    Effect, defaulted, holding, invalid_overrides, invalid_propagation, missing_overrides, not_built_in_overrides,
    not_built_in_propagation, one_line,
};

/// A valid spec that selects Deployments, with `more` fields.
fn spec(more: &str) -> PropagationSpec {
    let base: serde_json::Value =
        serde_yaml::from_str("{resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}], placement: {}}").unwrap();
    serde_json::from_value(merged(base, more)).unwrap()
}

fn merged(mut base: serde_json::Value, more: &str) -> serde_json::Value {
    if let Some(more) = serde_yaml::from_str::<Option<serde_json::Map<_, _>>>(more).unwrap() {
        base.as_object_mut().unwrap().extend(more);
    }
    base
}

fn overrides(text: &str) -> OverrideSpec {
    serde_yaml::from_str(text).unwrap()
}

/// The problems of a PropagationPolicy in namespace default, one in a line.
fn problems(more: &str) -> String {
    lines(&invalid_propagation(&spec(more), Some("default")))
}

fn lines<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_founding_policy_is_valid_and_fully_acted_on() {
    let policy = spec(
        "
placement:
  clusterAffinity: {clusterNames: [bj-prod, sh-prod, sz-prod]}
  replicaScheduling:
    replicaDivisionPreference: Weighted
    weightPreference:
      staticWeightList:
      - {targetCluster: {clusterNames: [bj-prod]}, weight: 50}
      - {targetCluster: {clusterNames: [sh-prod]}, weight: 30}
      - {targetCluster: {clusterNames: [sz-prod]}, weight: 20}
",
    );
    assert_eq!(invalid_propagation(&policy, Some("default")), []);
    assert_eq!(not_built_in_propagation(&policy, Gates::default()), []);
}

#[test]
fn everything_that_is_acted_on_is_valid_and_no_gap() {
    let policy = spec(
        "
resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, namespace: default, name: web}]
placement:
  clusterAffinities:
  - {affinityName: near, clusterNames: [bj-prod], exclude: [sz-prod]}
  - affinityName: far
    labelSelector: {matchLabels: {tier: prod}}
    fieldSelector: {matchExpressions: [{key: region, operator: In, values: [shanghai]}]}
  clusterTolerations: [{key: dedicated, operator: Equal, value: db, effect: NoSchedule}, {operator: Exists}]
  replicaScheduling: {replicaSchedulingType: Duplicated}
priority: 7
conflictResolution: Overwrite
preserveResourcesOnDeletion: true
activationPreference: Lazy
schedulerName: default-scheduler
suspension: {dispatchingOnClusters: {clusterNames: [sz-prod]}}
dependentOverrides: [first]
",
    );
    assert_eq!(invalid_propagation(&policy, Some("default")), []);
    assert_eq!(not_built_in_propagation(&policy, Gates::default()), []);
}

#[test]
fn selectors_must_say_what_they_select() {
    insta::assert_snapshot!(problems("resourceSelectors: []"), @"spec.resourceSelectors: the list is empty, so nothing is selected: add a selector");
    insta::assert_snapshot!(problems(
        "
resourceSelectors:
- {apiVersion: '', kind: ''}
- {apiVersion: v1, kind: ConfigMap, namespace: other}
- {apiVersion: v1, kind: ConfigMap, namespace: default}
- {apiVersion: v1, kind: Secret, labelSelector: {matchExpressions: [{key: a, operator: is, values: [b]}]}}
"
    ), @r#"
    spec.resourceSelectors[0].apiVersion: it is empty: write for instance apps/v1
    spec.resourceSelectors[0].kind: it is empty: write for instance Deployment
    spec.resourceSelectors[1].namespace: "other" is not the policy's own namespace "default": use the cluster-scoped kind of policy
    spec.resourceSelectors[3].labelSelector.matchExpressions[0].operator: unknown operator "is": use In, NotIn, Exists or DoesNotExist
    "#);
}

#[test]
fn a_cluster_policy_may_select_any_namespace() {
    let policy = spec("resourceSelectors: [{apiVersion: v1, kind: ConfigMap, namespace: other}]");
    assert_eq!(invalid_propagation(&policy, None), []);
}

#[test]
fn affinity_is_given_in_one_way() {
    insta::assert_snapshot!(problems(
        "
placement:
  clusterAffinity: {clusterNames: [a]}
  clusterAffinities: [{affinityName: x, clusterNames: [a]}]
"
    ), @"spec.placement: clusterAffinity and clusterAffinities exclude each other: keep one of them");
}

#[test]
fn affinity_terms_have_names_of_their_own() {
    insta::assert_snapshot!(problems(
        "
placement:
  clusterAffinities:
  - {affinityName: one}
  - {affinityName: one}
  - {affinityName: ''}
  - {affinityName: a-name-that-is-longer-than-32-characters}
  - affinityName: two
    fieldSelector: {matchExpressions: [{key: planet, operator: Exists}]}
    overflowAffinities: [{affinityName: spill}]
"
    ), @r#"
    spec.placement.clusterAffinities[1].affinityName: "one" is used twice: give each term its own name
    spec.placement.clusterAffinities[2].affinityName: "" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.placement.clusterAffinities[3].affinityName: "a-name-that-is-longer-than-32-characters" is longer than 32 characters: shorten it
    spec.placement.clusterAffinities[4].fieldSelector.matchExpressions[0].key: unknown cluster field "planet": use provider, region or zone
    spec.placement.clusterAffinities[4].fieldSelector.matchExpressions[0].operator: unsupported operator "Exists": use In or NotIn
    spec.placement.clusterAffinities[4].fieldSelector.matchExpressions[0].values: at least one value is needed
    spec.placement.clusterAffinities[4].overflowAffinities: tiers need to know how much fits: set dynamicWeight, or replicaDivisionPreference Aggregated
    spec.placement.clusterAffinities[4].overflowAffinities[0]: an empty tier selects every cluster: say which ones
    "#);
}

#[test]
fn overflow_tiers_go_with_capacity() {
    let dynamic = "
placement:
  clusterAffinities: [{affinityName: one, overflowAffinities: [{affinityName: two, clusterNames: [a]}]}]
  replicaScheduling: {replicaSchedulingType: Divided, weightPreference: {dynamicWeight: AvailableReplicas}}
";
    assert_eq!(problems(dynamic), "");
}

#[test]
fn tolerations_follow_core_v1() {
    insta::assert_snapshot!(problems(
        "
placement:
  clusterTolerations:
  - {operator: Equal, value: x}
  - {key: a, operator: Exists, value: x}
  - {key: a, operator: Gt, value: '1'}
  - {key: a, value: 'not valid'}
  - {key: '-', operator: Exists}
  - {key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}
  - {key: a, operator: Exists, effect: Never}
  - {key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}
"
    ), @r#"
    spec.placement.clusterTolerations[0].operator: without a key it must be Exists, which tolerates every taint
    spec.placement.clusterTolerations[1].value: Exists takes no value: remove it
    spec.placement.clusterTolerations[2].operator: unknown operator "Gt": use Equal or Exists
    spec.placement.clusterTolerations[3].value: "not valid" is not a label value: use up to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.placement.clusterTolerations[4].key: "-" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.placement.clusterTolerations[5].effect: tolerationSeconds goes with NoExecute only: set it, or remove the seconds
    spec.placement.clusterTolerations[6].effect: unknown effect "Never": use NoSchedule, PreferNoSchedule or NoExecute
    "#);
}

#[test]
fn spread_constraints_are_consistent() {
    insta::assert_snapshot!(problems(
        "
placement:
  spreadConstraints:
  - {spreadByField: region, spreadByLabel: rack, minGroups: 1}
  - {spreadByField: region, minGroups: -1, maxGroups: -2}
  - {spreadByField: zone, minGroups: 3, maxGroups: 2}
"
    ), @r"
    spec.placement.spreadConstraints[0]: spreadByField and spreadByLabel exclude each other: keep one of them
    spec.placement.spreadConstraints[1].minGroups: -1 is below 0: use 0 or more
    spec.placement.spreadConstraints[1].maxGroups: -2 is below 0: use 0 or more
    spec.placement.spreadConstraints[1].spreadByField: region is constrained twice: merge the two
    spec.placement.spreadConstraints[2].maxGroups: 2 is below minGroups 3: raise it, or lower minGroups
    spec.placement.spreadConstraints: spreadByField needs a constraint on cluster as well: add one
    ");
    assert_eq!(problems("placement: {spreadConstraints: [{spreadByField: cluster, minGroups: 1, maxGroups: 0}]}"), "");
    assert_eq!(problems("placement: {spreadConstraints: [{spreadByLabel: rack}]}"), "");
}

#[test]
fn weights_are_at_least_one() {
    insta::assert_snapshot!(problems(
        "
placement:
  replicaScheduling:
    weightPreference:
      staticWeightList:
      - {targetCluster: {clusterNames: [a]}, weight: 0}
      - {targetCluster: {labelSelector: {matchLabels: {'a b': c}}}, weight: -5}
"
    ), @r#"
    spec.placement.replicaScheduling.weightPreference.staticWeightList[0].weight: 0 is below 1: use 1 or more
    spec.placement.replicaScheduling.weightPreference.staticWeightList[1].weight: -5 is below 1: use 1 or more
    spec.placement.replicaScheduling.weightPreference.staticWeightList[1].targetCluster.labelSelector.matchLabels[a b]: "a b" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    "#);
}

#[test]
fn company_is_kept_or_avoided_not_both() {
    insta::assert_snapshot!(problems(
        "placement: {workloadAffinity: {affinity: {groupByLabelKey: app}, antiAffinity: {groupByLabelKey: app}}}"
    ), @"spec.placement.workloadAffinity: affinity and antiAffinity group by the same label: no cluster can satisfy both");
    insta::assert_snapshot!(problems("placement: {workloadAffinity: {affinity: {groupByLabelKey: 'a b'}}}"), @r#"spec.placement.workloadAffinity.affinity.groupByLabelKey: "a b" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit"#);
}

#[test]
fn failover_rules() {
    insta::assert_snapshot!(problems(
        "failover: {application: {decisionConditions: {tolerationSeconds: -1}, purgeMode: Gracefully}}"
    ), @r"
    spec.propagateDeps: application failover moves dependencies too: set it to true
    spec.failover.application.decisionConditions.tolerationSeconds: -1 is below 0: use 0 or more
    spec.failover.application.gracePeriodSeconds: purgeMode Gracefully needs it: set for instance 600
    ");
    insta::assert_snapshot!(problems(
        "{propagateDeps: true, failover: {application: {decisionConditions: {}, purgeMode: Directly, gracePeriodSeconds: 5}}}"
    ), @"spec.failover.application.gracePeriodSeconds: only purgeMode Gracefully has a grace period: remove it");
    insta::assert_snapshot!(problems(
        "{propagateDeps: true, failover: {application: {decisionConditions: {}, purgeMode: Gracefully, gracePeriodSeconds: 0}}}"
    ), @"spec.failover.application.gracePeriodSeconds: 0 is not above 0: use 1 or more");
    assert_eq!(problems("failover: {cluster: {purgeMode: Directly}}"), "");
}

#[test]
fn preemption_needs_names() {
    insta::assert_snapshot!(problems("preemption: Always"), @"spec.resourceSelectors[0].name: preemption is Always, which could take over every object of this kind: name the one that is meant");
    assert_eq!(problems("{preemption: Always, resourceSelectors: [{apiVersion: v1, kind: Secret, name: a}]}"), "");
}

#[test]
fn suspension_is_for_all_or_for_some() {
    insta::assert_snapshot!(problems(
        "suspension: {dispatching: true, dispatchingOnClusters: {clusterNames: [a]}}"
    ), @"spec.suspension: dispatching suspends all clusters, dispatchingOnClusters some: keep one of them");
    assert_eq!(problems("suspension: {dispatching: false, dispatchingOnClusters: {clusterNames: [a]}}"), "");
    assert_eq!(problems("suspension: {dispatching: true, dispatchingOnClusters: {clusterNames: []}}"), "");
}

#[test]
fn a_schedule_priority_names_a_class() {
    insta::assert_snapshot!(problems(
        "schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: ''}"
    ), @"spec.schedulePriority.priorityClassName: it is empty: name a PriorityClass");
}

#[test]
fn unsupported_fields_are_named_with_their_effect() {
    let policy = spec(
        "
placement:
  clusterAffinities: [{affinityName: a, overflowAffinities: [{affinityName: b, clusterNames: [x]}]}]
  clusterTolerations: [{operator: Exists, effect: NoExecute, tolerationSeconds: 5}]
  spreadConstraints: [{spreadByField: cluster}]
  replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}
  workloadAffinity: {affinity: {groupByLabelKey: app}}
propagateDeps: true
association: true
failover: {cluster: {purgeMode: Directly}}
schedulePriority: {priorityClassSource: KubePriorityClass, priorityClassName: high}
preemption: Always
",
    );
    let gaps = not_built_in_propagation(&policy, Gates::default());
    insta::assert_snapshot!(lines(&gaps), @r"
    spec.placement.clusterAffinities.overflowAffinities is not supported by this release, and ignoring it could do harm: remove it to go on
    spec.placement.spreadConstraints is not supported by this release, and ignoring it could do harm: remove it to go on
    spec.placement.replicaScheduling.replicaDivisionPreference: Aggregated is not supported by this release, and ignoring it could do harm: remove it to go on
    spec.placement.workloadAffinity is not supported by this release, and ignoring it could do harm: remove it to go on
    spec.preemption: Always has no effect: it needs the controller's --feature-gates=PropagationPolicyPreemption=true
    spec.placement.clusterTolerations.tolerationSeconds has no effect in this release
    spec.propagateDeps has no effect in this release
    spec.association has no effect in this release
    spec.failover has no effect in this release
    spec.schedulePriority has no effect in this release
    ");
    assert!(holding(&gaps).iter().all(|gap| gap.effect == Effect::Hold));
    let with_gate = not_built_in_propagation(&policy, Gates { policy_preemption: true });
    assert_eq!(gaps.len() - with_gate.len(), 1, "acted on: {}", lines(&with_gate));
    assert_eq!(holding(&gaps).len(), 4);

    let dynamic = spec("placement: {replicaScheduling: {weightPreference: {dynamicWeight: AvailableReplicas}}}");
    insta::assert_snapshot!(one_line(&not_built_in_propagation(&dynamic, Gates::default())), @"spec.placement.replicaScheduling.weightPreference.dynamicWeight is not supported by this release, and ignoring it could do harm: remove it to go on");
}

#[test]
fn a_preference_that_its_type_does_not_use_is_no_gap() {
    let duplicated = "{replicaSchedulingType: Duplicated, replicaDivisionPreference: Aggregated, weightPreference: {dynamicWeight: AvailableReplicas}}";
    assert_eq!(
        not_built_in_propagation(&spec(&format!("placement: {{replicaScheduling: {duplicated}}}")), Gates::default()),
        []
    );
}

#[test]
fn dependent_overrides_are_waited_for() {
    let policy = spec("dependentOverrides: [first, second]");
    assert_eq!(missing_overrides(&policy, &BTreeSet::from(["second", "third"])), ["first"]);
    assert!(missing_overrides(&policy, &BTreeSet::from(["first", "second"])).is_empty());
    assert!(missing_overrides(&spec(""), &BTreeSet::new()).is_empty());
}

#[test]
fn defaults_are_those_of_the_webhook() {
    let policy = spec(
        "
resourceSelectors: [{apiVersion: apps/v1, kind: Deployment}, {apiVersion: v1, kind: Secret, namespace: kept}, {apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport}]
placement:
  spreadConstraints: [{maxGroups: 2}, {spreadByLabel: rack, minGroups: 2}]
  replicaScheduling: {replicaSchedulingType: Divided}
failover: {application: {decisionConditions: {}, purgeMode: Gracefully}}
",
    );
    let filled = defaulted(&policy, Some("default"));
    insta::assert_snapshot!(serde_yaml::to_string(&filled).unwrap(), @r"
    resourceSelectors:
    - apiVersion: apps/v1
      kind: Deployment
      namespace: default
    - apiVersion: v1
      kind: Secret
      namespace: kept
    - apiVersion: multicluster.x-k8s.io/v1alpha1
      kind: ServiceImport
      namespace: default
    propagateDeps: true
    placement:
      spreadConstraints:
      - spreadByField: cluster
        maxGroups: 2
        minGroups: 1
      - spreadByLabel: rack
        minGroups: 2
      replicaScheduling:
        replicaSchedulingType: Divided
        replicaDivisionPreference: Weighted
    priority: 0
    preemption: Never
    schedulerName: default-scheduler
    failover:
      application:
        decisionConditions:
          tolerationSeconds: 300
        purgeMode: Gracefully
        gracePeriodSeconds: 600
    conflictResolution: Abort
    ");
    assert_eq!(defaulted(&filled, Some("default")), filled, "doing it twice changes nothing");
}

#[test]
fn a_cluster_policy_keeps_its_selectors_open() {
    let policy = spec("");
    assert_eq!(defaulted(&policy, None).resource_selectors, policy.resource_selectors);
}

#[test]
fn nothing_is_defaulted_where_it_does_not_apply() {
    for more in [
        "placement: {replicaScheduling: {replicaSchedulingType: Duplicated}}",
        "placement: {replicaScheduling: {replicaSchedulingType: Divided, replicaDivisionPreference: Aggregated}}",
        "failover: {application: {decisionConditions: {}, purgeMode: Directly}}",
        "failover: {application: {decisionConditions: {}, purgeMode: Gracefully, gracePeriodSeconds: 5}}",
    ] {
        assert_eq!(defaulted(&spec(more), None), spec(more), "{more}");
    }
}

#[test]
fn overrides_that_work_today_are_valid_and_no_gap() {
    let policy = overrides(
        "
resourceSelectors: [{apiVersion: apps/v1, kind: Deployment, name: web}]
overrideRules:
- targetCluster: {clusterNames: [bj-prod]}
  overriders:
    plaintext: [{path: /spec/replicas, operator: replace, value: 3}, {path: /metadata/labels/a~1b, operator: remove}]
    imageOverrider: [{component: Registry, operator: replace, value: registry.example.com, predicate: {path: /spec/template/spec/containers/0/image}}]
    labelsOverrider: [{operator: add, value: {tier: prod}}]
    annotationsOverrider: [{operator: add, value: {Example.com/Owner: any text at all}}]
    commandOverrider: [{containerName: web, operator: add, value: [--verbose]}]
    argsOverrider: [{containerName: web, operator: remove, value: [--quiet]}]
    fieldOverrider: [{fieldPath: /data/settings.json, json: [{subPath: /region, operator: replace, value: north}]}]
",
    );
    assert_eq!(invalid_overrides(&policy, Some("default")), []);
    assert_eq!(not_built_in_overrides(&policy), []);
}

#[test]
fn overrides_that_are_not_built_hold() {
    let yaml = "fieldOverrider: [{fieldPath: /data/a, yaml: [{subPath: /a, operator: remove}]}]";
    let legacy = overrides(&format!("overriders: {{{yaml}}}"));
    let rules = overrides(&format!("overrideRules: [{{overriders: {{}}}}, {{overriders: {{{yaml}}}}}]"));
    assert_eq!(not_built_in_overrides(&legacy), not_built_in_overrides(&rules));
    insta::assert_snapshot!(lines(&not_built_in_overrides(&rules)), @"spec.overrideRules.overriders.fieldOverrider.yaml is not supported by this release, and ignoring it could do harm: remove it to go on");
}

#[test]
fn overrides_are_checked_rule_by_rule() {
    let policy = overrides(
        "
resourceSelectors: [{apiVersion: '', kind: Deployment, namespace: other}]
targetCluster: {clusterNames: [a]}
overriders: {plaintext: [{path: 'spec', operator: remove}]}
overrideRules:
- targetCluster: {fieldSelector: {matchExpressions: [{key: planet, operator: In, values: [mars]}]}}
  overriders:
    plaintext: [{path: '/a/~2', operator: remove}]
    imageOverrider: [{component: Tag, operator: remove, predicate: {path: spec}}]
    labelsOverrider: [{operator: add, value: {'a b': ok, a: 'not ok'}}]
    annotationsOverrider: [{operator: add, value: {'a b': ok}}]
    fieldOverrider:
    - {fieldPath: data, json: [{subPath: a, operator: add}], yaml: [{subPath: /a, operator: remove, value: 1}]}
    - {fieldPath: /data/x}
",
    );
    insta::assert_snapshot!(lines(&invalid_overrides(&policy, Some("default"))), @r#"
    spec.resourceSelectors[0].apiVersion: it is empty: write for instance apps/v1
    spec.resourceSelectors[0].namespace: "other" is not the policy's own namespace "default": use the cluster-scoped kind of policy
    spec.targetCluster: it is deprecated and excludes overrideRules: move it into a rule
    spec.overriders: it is deprecated and excludes overrideRules: move it into a rule
    spec.overriders.plaintext[0].path: "spec" is not a JSON pointer: begin it with a slash
    spec.overrideRules[0].targetCluster.fieldSelector.matchExpressions[0].key: unknown cluster field "planet": use provider, region or zone
    spec.overrideRules[0].overriders.plaintext[0].path: "/a/~2" is not a JSON pointer: write ~ as ~0 and / within a key as ~1
    spec.overrideRules[0].overriders.imageOverrider[0].predicate.path: "spec" is not a JSON pointer: begin it with a slash
    spec.overrideRules[0].overriders.labelsOverrider[0].value[a]: "not ok" is not a label value: use up to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.overrideRules[0].overriders.labelsOverrider[0].value[a b]: "a b" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.overrideRules[0].overriders.annotationsOverrider[0].value[a b]: "a b" is not a label key: its name must be 1 to 63 letters, digits, '-', '_' or '.', and begin and end with a letter or digit
    spec.overrideRules[0].overriders.fieldOverrider[0].fieldPath: "data" is not a JSON pointer: begin it with a slash
    spec.overrideRules[0].overriders.fieldOverrider[0]: json and yaml exclude each other: keep the one the field holds
    spec.overrideRules[0].overriders.fieldOverrider[0].json[0].subPath: "a" is not a JSON pointer: begin it with a slash
    spec.overrideRules[0].overriders.fieldOverrider[0].json[0].value: add and replace need a value
    spec.overrideRules[0].overriders.fieldOverrider[0].yaml[0].value: remove takes no value: leave it out
    spec.overrideRules[0].overriders.fieldOverrider[1]: it changes nothing: add json or yaml operations
    "#);
}

#[test]
fn annotations_have_a_size() {
    let text = "x".repeat(256 * 1024);
    let policy = overrides(&format!(
        "overrideRules: [{{overriders: {{annotationsOverrider: [{{operator: add, value: {{a: {text}}}}}]}}}}]"
    ));
    insta::assert_snapshot!(lines(&invalid_overrides(&policy, None)), @"spec.overrideRules[0].overriders.annotationsOverrider[0].value: 262145 bytes are more than the 262144 that an object may carry");
}

/// Whatever is written into a policy: fields that exist with odd values.
fn any_placement() -> impl Strategy<Value = serde_json::Value> {
    let word = || prop::sample::select(vec!["", "a", "A B", "region", "planet", "cluster", "-", "example.com/x"]);
    let expression =
        (word(), prop::sample::select(vec!["In", "NotIn", "Exists", "is", ""]), prop::collection::vec(word(), 0..2))
            .prop_map(|(key, operator, values)| json!({"key": key, "operator": operator, "values": values}));
    let affinity = (prop::option::of(prop::collection::vec(expression, 0..2)), prop::collection::vec(word(), 0..2))
        .prop_map(|(expressions, names)| {
            json!({
                "labelSelector": {"matchExpressions": expressions.clone()},
                "fieldSelector": expressions.map(|expressions| json!({"matchExpressions": expressions})),
                "clusterNames": names,
            })
        });
    let term = (word(), affinity.clone(), any::<bool>()).prop_map(|(name, affinity, overflows)| {
        let tiers = if overflows { json!([{"affinityName": name}]) } else { json!([]) };
        let mut term = json!({"affinityName": name, "overflowAffinities": tiers});
        term.as_object_mut().unwrap().extend(affinity.as_object().unwrap().clone());
        term
    });
    let toleration = (word(), word(), prop::sample::select(vec!["", "Equal", "Exists", "Lt"]), prop::option::of(any::<i64>()))
        .prop_map(|(key, value, operator, seconds)| {
            json!({"key": key, "value": value, "operator": operator, "tolerationSeconds": seconds, "effect": "NoExecute"})
        });
    let spread = (prop::option::of(prop::sample::select(vec!["cluster", "region"])), word(), any::<i8>(), any::<i8>())
        .prop_map(|(field, label, min, max)| json!({"spreadByField": field, "spreadByLabel": label, "minGroups": min, "maxGroups": max}));
    let scheduling = (any::<bool>(), prop::option::of(any::<bool>()), any::<i64>(), any::<bool>()).prop_map(
        |(is_divided, aggregated, weight, is_dynamic)| {
            json!({
                "replicaSchedulingType": if is_divided { "Divided" } else { "Duplicated" },
                "replicaDivisionPreference": aggregated.map(|yes| if yes { "Aggregated" } else { "Weighted" }),
                "weightPreference": {
                    "staticWeightList": [{"targetCluster": {}, "weight": weight}],
                    "dynamicWeight": is_dynamic.then_some("AvailableReplicas"),
                },
            })
        },
    );
    (
        prop::option::of(affinity),
        prop::collection::vec(term, 0..3),
        prop::collection::vec(toleration, 0..3),
        prop::collection::vec(spread, 0..3),
        prop::option::of(scheduling),
    )
        .prop_map(|(affinity, terms, tolerations, spread, scheduling)| {
            json!({
                "clusterAffinity": affinity, "clusterAffinities": terms, "clusterTolerations": tolerations,
                "spreadConstraints": spread, "replicaScheduling": scheduling,
            })
        })
}

fn any_spec() -> impl Strategy<Value = PropagationSpec> {
    any_placement().prop_map(|placement| {
        let selectors = json!([{"apiVersion": "v1", "kind": "Secret"}]);
        serde_json::from_value(json!({"resourceSelectors": selectors, "placement": placement})).unwrap()
    })
}

proptest! {
    #[test]
    fn every_problem_is_one_line_that_names_a_field(spec in any_spec()) {
        for problem in invalid_propagation(&spec, Some("default")) {
            prop_assert!(problem.field.starts_with("spec."), "{problem}");
            prop_assert!(!problem.message.is_empty() && !problem.to_string().contains('\n'), "{problem}");
        }
    }

    #[test]
    fn defaults_are_filled_in_once(spec in any_spec()) {
        let filled = defaulted(&spec, Some("default"));
        prop_assert_eq!(defaulted(&filled, Some("default")), filled);
    }

    /// What holds a policy is exactly what the scheduler refuses: nothing slips between the two.
    #[test]
    fn the_scheduler_refuses_what_holds(spec in any_spec()) {
        let held = !holding(&not_built_in_propagation(&spec, Gates::default())).is_empty();
        let resource = serde_json::from_value(json!({"apiVersion": "v1", "kind": "Secret", "name": "a"})).unwrap();
        let binding = ResourceBindingSpec { resource, placement: Some(spec.placement), replicas: 1, ..Default::default() };
        let unit = Unit::from_binding(&binding, None).unwrap();
        let refused = matches!(schedule(&unit, &Snapshot::default()), Err(Unschedulable::NotBuilt { .. }));
        prop_assert_eq!(held, refused);
    }
}
