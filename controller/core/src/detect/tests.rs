#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeSet;

use pando_api::cluster::Cluster;
use pando_api::policy::{ClusterPropagationPolicy, PropagationPolicy};
use pando_api::work::Binding;
use pando_api::{conditions, labels};
use serde_json::{Value, json};

use super::{BindingStep, Observed, Plan, Scheduling, is_hold, plan};
use crate::aggregate;
use crate::gates::Gates;
use crate::manifest::Manifest;
use crate::policy_match::{Cause, Skipped};
use crate::scheduler::Snapshot;

/// A hub with one template; steps of a plan are carried out in memory, as an API server would.
struct World {
    template: Value,
    policies: Vec<PropagationPolicy>,
    cluster_policies: Vec<ClusterPropagationPolicy>,
    overrides: BTreeSet<String>,
    cluster_overrides: BTreeSet<String>,
    is_held: bool,
    gates: Gates,
    clusters: Vec<Cluster>,
    binding: Option<Binding>,
    cause: Cause,
}

fn policy(name: &str, spec: Value) -> PropagationPolicy {
    let mut policy: PropagationPolicy = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "labels": {labels::PROPAGATION_POLICY_PERMANENT_ID: format!("id-of-{name}")}},
        "spec": {"resourceSelectors": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}], "placement": {}},
    }))
    .unwrap();
    let mut wanted = serde_json::to_value(&policy.spec).unwrap();
    json_patch::merge(&mut wanted, &spec);
    policy.spec = serde_json::from_value(wanted).unwrap();
    policy
}

fn weighted(weights: &[(&str, i64)]) -> Value {
    let rules: Vec<_> = weights
        .iter()
        .map(|(cluster, weight)| json!({"targetCluster": {"clusterNames": [cluster]}, "weight": weight}))
        .collect();
    json!({"placement": {"replicaScheduling": {
        "replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted",
        "weightPreference": {"staticWeightList": rules},
    }}})
}

fn cluster(name: &str) -> Cluster {
    serde_json::from_value(json!({
        "metadata": {"name": name, "uid": format!("uid-of-{name}")},
        "spec": {"syncMode": "Push", "apiEndpoint": "https://member.example"},
        "status": {"apiEnablements": [
            {"groupVersion": "apps/v1", "resources": [{"name": "deployments", "kind": "Deployment"}]},
        ]},
    }))
    .unwrap()
}

impl World {
    fn new(replicas: i32) -> Self {
        Self {
            template: json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "uid": "uid-of-web", "resourceVersion": "7"},
                "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
            }),
            policies: Vec::new(),
            cluster_policies: Vec::new(),
            overrides: BTreeSet::new(),
            cluster_overrides: BTreeSet::new(),
            is_held: false,
            gates: Gates::default(),
            clusters: ["bj", "sh", "sz"].map(cluster).into(),
            binding: None,
            cause: Cause::Federation,
        }
    }

    fn with(mut self, policy: PropagationPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    fn plan(&self) -> Plan {
        let template = Manifest::from_value(self.template.clone()).unwrap();
        let meta = serde_json::from_value(self.template["metadata"].clone()).unwrap();
        let clusters = Snapshot::of_clusters(self.clusters.iter().cloned().map(std::sync::Arc::new));
        plan(&Observed {
            template: &template,
            meta: &meta,
            policies: &self.policies.iter().collect::<Vec<_>>(),
            cluster_policies: &self.cluster_policies.iter().collect::<Vec<_>>(),
            overrides: &self.overrides,
            cluster_overrides: &self.cluster_overrides,
            is_held: self.is_held,
            binding: self.binding.as_ref(),
            clusters: &clusters,
            skipped: &Skipped::default(),
            gates: self.gates,
            cause: self.cause,
            fresh_id: "binding-id",
        })
    }

    /// Plans, carries out, and reports the outcome in the binding's status.
    fn settle(&mut self) -> Plan {
        let plan = self.plan();
        if let Some(marks) = &plan.marks {
            json_patch::merge(&mut self.template, marks);
        }
        match &plan.binding {
            BindingStep::Keep => {}
            BindingStep::Create(binding) => {
                let mut binding = binding.as_ref().clone();
                binding.metadata.resource_version = Some("1".to_owned());
                self.binding = Some(binding);
            }
            BindingStep::Change(patch) => {
                let mut binding = serde_json::to_value(self.binding.as_ref().unwrap()).unwrap();
                json_patch::merge(&mut binding, patch);
                self.binding = Some(serde_json::from_str(&binding.to_string()).unwrap());
            }
        }
        if let Some(binding) = &mut self.binding {
            let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(k8s_openapi::jiff::Timestamp::UNIX_EPOCH);
            let mut status = binding.status.clone().unwrap_or_default();
            aggregate::scheduled(&mut status, binding, plan.scheduling.as_ref(), None, &now);
            binding.status = Some(status);
        }
        self.is_held = match &plan.scheduling {
            Some(outcome) => is_hold(outcome),
            None => self.is_held,
        };
        plan
    }

    fn targets(&self) -> Vec<(String, i32)> {
        let targets = self.binding.iter().flat_map(|binding| &binding.spec.clusters);
        targets.map(|target| (target.name.clone(), target.replicas)).collect()
    }
}

fn split(parts: &[(&str, i32)]) -> Vec<(String, i32)> {
    parts.iter().map(|(name, replicas)| ((*name).to_owned(), *replicas)).collect()
}

fn is_placed(plan: &Plan) -> bool {
    matches!(plan.scheduling, Some(Scheduling::Placed { .. }))
}

#[test]
fn a_new_template_gets_its_marks_and_a_binding_that_is_scheduled_already() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    let plan = world.settle();
    insta::assert_snapshot!(plan, @r#"
    mark     template {"metadata":{"annotations":{"propagationpolicy.karmada.io/name":"spread","propagationpolicy.karmada.io/namespace":"shop"},"labels":{"propagationpolicy.karmada.io/permanent-id":"id-of-spread"},"resourceVersion":"7"}}
    create   binding web-deployment on [bj:5, sh:3, sz:2]
    tell     ScheduleBindingSucceed: Binding has been scheduled successfully. Result: {bj:5, sh:3, sz:2}
    tell     ApplyPolicySucceed: policy is applied to Deployment web
    "#);
    assert!(is_placed(&plan));
}

#[test]
fn planning_again_changes_nothing() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    world.settle();
    insta::assert_snapshot!(world.plan(), @"keep     binding");
}

#[test]
fn a_status_that_moves_the_templates_version_writes_nothing() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 1), ("sh", 1)])));
    world.settle();
    world.template["metadata"]["resourceVersion"] = json!("99");
    world.template["status"] = json!({"readyReplicas": 3});
    assert!(matches!(world.plan().binding, BindingStep::Keep));
}

#[test]
fn other_replicas_and_other_weights_are_divided_again() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    world.settle();
    world.template["spec"]["replicas"] = json!(13);
    world.settle();
    assert_eq!(world.targets().iter().map(|(_, replicas)| replicas).sum::<i32>(), 13);
    world.template["spec"]["replicas"] = json!(10);
    world.policies[0] = policy("spread", weighted(&[("bj", 20), ("sh", 30), ("sz", 50)]));
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 2), ("sh", 3), ("sz", 5)]));
}

#[test]
fn a_policy_without_its_permanent_id_claims_nothing_yet() {
    let mut late = policy("spread", json!({}));
    late.metadata.labels = None;
    let world = World::new(1).with(late);
    insta::assert_snapshot!(world.plan(), @"keep     binding");
}

#[test]
fn what_this_release_does_not_do_is_held_with_a_binding_that_says_so() {
    let spread = json!({"placement": {"spreadConstraints": [{"spreadByField": "cluster", "maxGroups": 1}]}});
    let mut world = World::new(2).with(policy("spread", spread));
    let plan = world.settle();
    assert_eq!(world.targets(), split(&[]));
    let Some(Scheduling::Failed { reason, message }) = &plan.scheduling else { panic!("{plan}") };
    assert_eq!(*reason, conditions::NOT_SUPPORTED);
    assert!(message.contains("spreadConstraints"), "{message}");
    // The author removes the field: it is placed.
    world.policies[0] = policy("spread", json!({}));
    assert!(is_placed(&world.settle()));
    assert_eq!(world.targets(), split(&[("bj", 2), ("sh", 2), ("sz", 2)]));
}

#[test]
fn a_hold_leaves_what_runs_alone_and_its_end_is_reported() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    world.settle();
    let mut gap = weighted(&[("bj", 1)]);
    gap["placement"]["spreadConstraints"] = json!([{"spreadByField": "cluster", "maxGroups": 1}]);
    world.policies[0] = policy("spread", gap);
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 5), ("sh", 3), ("sz", 2)]));
    world.policies[0] = policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)]));
    assert!(is_placed(&world.settle()));
}

#[test]
fn dependent_overrides_hold_the_template_until_they_exist() {
    let mut world = World::new(1).with(policy("spread", json!({"dependentOverrides": ["mirror"]})));
    assert!(matches!(world.settle().scheduling, Some(Scheduling::Failed { .. })));
    // A ClusterOverridePolicy of that name is another thing.
    world.cluster_overrides.insert("mirror".to_owned());
    assert!(matches!(world.settle().scheduling, Some(Scheduling::Failed { .. })));
    world.overrides.insert("mirror".to_owned());
    assert!(is_placed(&world.settle()));
}

#[test]
fn of_ordered_affinities_the_one_in_use_is_remembered() {
    let terms = json!({"placement": {"clusterAffinities": [
        {"affinityName": "first", "clusterNames": ["nowhere"]},
        {"affinityName": "second", "clusterNames": ["sh"]},
    ]}});
    let mut world = World::new(2).with(policy("spread", terms));
    world.settle();
    assert_eq!(world.targets(), split(&[("sh", 2)]));
    let status = world.binding.as_ref().unwrap().status.clone().unwrap();
    assert_eq!(status.scheduler_observed_affinity_name, "second");
}

#[test]
fn a_policy_that_goes_leaves_the_binding_and_its_clusters() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    world.settle();
    world.policies.clear();
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 5), ("sh", 3), ("sz", 2)]));
    assert!(!world.template.to_string().contains("propagationpolicy"), "{}", world.template);
    let binding = serde_json::to_string(&world.binding).unwrap();
    assert!(!binding.contains("propagationpolicy.karmada.io/permanent-id"), "{binding}");
    insta::assert_snapshot!(world.plan(), @"keep     binding");
}

#[test]
fn a_policy_that_preempts_takes_template_and_binding_in_one_step_and_says_so_once() {
    let mut world = World::new(10).with(policy("owner", weighted(&[("bj", 1)])));
    world.settle();
    let mut rival = weighted(&[("sh", 1)]);
    rival["priority"] = json!(1);
    world = world.with(policy("rival", rival.clone()));
    insta::assert_snapshot!(world.settle(), @"keep     binding");
    rival["preemption"] = json!("Always");
    world.policies[1] = policy("rival", rival);
    insta::assert_snapshot!(world.settle(), @"keep     binding"); // the gate is off by default
    world.gates.policy_preemption = true;
    let plan = world.settle();
    let told = plan.notices.iter().find(|notice| notice.reason == "PreemptPolicySucceed").unwrap();
    insta::assert_snapshot!(told.message, @"PropagationPolicy shop/rival has taken it from PropagationPolicy shop/owner, which it outranks");
    assert_eq!(world.targets(), split(&[("sh", 10)]));
    let binding = serde_json::to_value(&world.binding).unwrap();
    for object in [&world.template, &binding] {
        assert_eq!(object["metadata"]["annotations"]["propagationpolicy.karmada.io/name"], "rival");
        assert_eq!(object["metadata"]["labels"][labels::PROPAGATION_POLICY_PERMANENT_ID], "id-of-rival");
    }
    insta::assert_snapshot!(world.settle(), @"keep     binding");
}

#[test]
fn a_policy_that_waits_for_its_overrides_preempts_when_they_exist() {
    let mut world = World::new(10).with(policy("owner", weighted(&[("bj", 1)])));
    world.gates.policy_preemption = true;
    world.settle();
    let mut rival = weighted(&[("sh", 1)]);
    rival["priority"] = json!(1);
    rival["preemption"] = json!("Always");
    rival["dependentOverrides"] = json!(["mirror"]);
    world = world.with(policy("rival", rival));
    insta::assert_snapshot!(world.settle(), @"keep     binding");
    world.template["spec"]["replicas"] = json!(12);
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 12)]), "edits go on shipping");
    world.overrides.insert("mirror".to_owned());
    world.settle();
    assert_eq!(world.targets(), split(&[("sh", 12)]));
}

#[test]
fn while_its_gate_is_off_preemption_is_said_to_have_no_effect() {
    let mut world = World::new(1).with(policy("greedy", json!({"preemption": "Always"})));
    let plan = world.settle();
    let said = plan.notices.iter().find(|notice| notice.reason == "FieldNotSupported").map(|notice| &*notice.message);
    insta::assert_snapshot!(said.unwrap_or_default(), @"PropagationPolicy shop/greedy: spec.preemption: Always has no effect: it needs the controller's --feature-gates=PropagationPolicyPreemption=true");
    assert!(is_placed(&plan), "it is propagated all the same");
}

#[test]
fn a_binding_whose_requests_are_written_otherwise_is_left_alone() {
    let mut world = World::new(2).with(policy("spread", json!({})));
    let container = json!({"name": "web", "resources": {"requests": {"cpu": "250m", "memory": "128M"}}});
    world.template["spec"]["template"]["spec"]["containers"] = json!([container]);
    world.settle();
    let requests = |world: &World| {
        let needs = world.binding.as_ref().unwrap().spec.replica_requirements.clone().unwrap();
        serde_json::to_value(needs.resource_request).unwrap()
    };
    for (cpu, memory) in [("250m", "128M"), ("0.25", "128000k"), ("250m", "128000000")] {
        let binding = world.binding.as_mut().unwrap();
        let needs = binding.spec.replica_requirements.as_mut().unwrap();
        needs.resource_request = serde_json::from_value(json!({"cpu": cpu, "memory": memory})).unwrap();
        assert!(matches!(world.plan().binding, BindingStep::Keep), "{cpu} {memory}: {}", world.plan());
    }
    world.template["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("300m");
    world.settle();
    assert_eq!(requests(&world)["cpu"], "300m");
}

#[test]
fn a_template_without_a_namespace_gets_a_cluster_wide_binding_and_heeds_no_namespaced_policy() {
    let mut world = World::new(0).with(policy(
        "reader",
        json!({"resourceSelectors": [
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"},
        ]}),
    ));
    world.template = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "shop:reader", "uid": "uid-of-reader", "resourceVersion": "7"}, "rules": [],
    });
    for cluster in &mut world.clusters {
        let served = json!([{"groupVersion": "rbac.authorization.k8s.io/v1", "resources": [{"name": "clusterroles", "kind": "ClusterRole"}]}]);
        cluster.status.as_mut().unwrap().api_enablements = serde_json::from_value(served).unwrap();
    }
    insta::assert_snapshot!(world.plan(), @"keep     binding");
    let wide = serde_json::from_value(json!({
        "metadata": {"name": "roles", "labels": {labels::CLUSTER_PROPAGATION_POLICY_PERMANENT_ID: "id-of-roles"}},
        "spec": {"resourceSelectors": [{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}], "placement": {}},
    }));
    world.cluster_policies.push(wide.unwrap());
    world.settle();
    let binding = world.binding.clone().unwrap();
    assert_eq!((binding.kind(), binding.permanent_id()), ("ClusterResourceBinding", Some("binding-id")));
    let written = serde_json::to_value(&binding).unwrap();
    assert_eq!(written["kind"], "ClusterResourceBinding");
    assert_eq!(written["metadata"]["name"], "shop.reader-clusterrole");
    assert_eq!(written["metadata"]["finalizers"], json!(["karmada.io/cluster-resource-binding-controller"]));
    assert_eq!(written["metadata"]["annotations"]["clusterpropagationpolicy.karmada.io/name"], "roles");
    assert_eq!(written["spec"]["resource"].get("namespace"), None);
    assert_eq!(binding.spec.clusters.len(), 3);
    insta::assert_snapshot!(world.settle(), @"keep     binding");
}

#[test]
fn a_cluster_that_leaves_gives_its_replicas_to_the_others() {
    let mut world = World::new(10).with(policy("spread", weighted(&[("bj", 50), ("sh", 30), ("sz", 20)])));
    world.settle();
    world.clusters.pop();
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 6), ("sh", 4)]));
}

#[test]
fn a_lazy_policy_waits_for_the_template_to_change() {
    let lazy = |weights: &[(&str, i64)]| {
        let mut spec = weighted(weights);
        spec["activationPreference"] = json!("Lazy");
        policy("spread", spec)
    };
    let mut world = World::new(10).with(lazy(&[("bj", 1)]));
    world.settle();
    world.policies[0] = lazy(&[("sh", 1)]);
    world.settle();
    assert_eq!(world.targets(), split(&[("bj", 10)]));
    world.cause = Cause::Template;
    world.settle();
    assert_eq!(world.targets(), split(&[("sh", 10)]));
}

#[test]
fn the_binding_of_an_earlier_template_of_the_same_name_is_left_to_garbage_collection() {
    let mut world = World::new(1).with(policy("spread", json!({})));
    world.settle();
    world.template["metadata"]["uid"] = json!("uid-of-the-next-web");
    insta::assert_snapshot!(world.plan(), @"keep     binding");
}

#[test]
fn two_templates_that_want_one_binding_name_are_named() {
    let mut world = World::new(1).with(policy("spread", json!({})));
    world.settle();
    let binding = world.binding.as_mut().unwrap();
    binding.spec.resource.name = "WEB".to_owned();
    binding.metadata.owner_references.as_mut().unwrap()[0].uid = "uid-of-WEB".to_owned();
    let plan = world.plan();
    insta::assert_snapshot!(plan.notices[0].message, @"binding web-deployment belongs to Deployment WEB of apps/v1: two templates whose kind and name differ only in spelling cannot both be propagated; rename one");
    assert!(matches!(plan.binding, BindingStep::Keep));
    let binding = world.binding.as_mut().unwrap();
    binding.spec.resource.name = "web".to_owned();
    binding.spec.resource.api_version = "shop.example.io/v1".to_owned();
    insta::assert_snapshot!(world.plan().notices[0].message, @"binding web-deployment belongs to Deployment web of shop.example.io/v1: a template of the same kind and name in apps/v1 wants the same binding, and they cannot both be propagated; rename one");
}

#[test]
fn a_suspension_of_scheduling_by_others_survives_the_policy() {
    let mut world = World::new(3).with(policy("spread", json!({"suspension": {"dispatching": true}})));
    world.settle();
    let suspension = world.binding.as_mut().unwrap().spec.suspension.as_mut().unwrap();
    suspension.scheduling = Some(true);
    world.policies[0] = policy("spread", json!({}));
    world.settle();
    let suspension = world.binding.as_ref().unwrap().spec.suspension.clone().unwrap();
    assert_eq!((suspension.scheduling, suspension.dispatching), (Some(true), None));
}

#[test]
fn a_held_binding_has_no_placement_that_anybody_could_schedule() {
    let mut world = World::new(1).with(policy("spread", json!({"dependentOverrides": ["mirror"]})));
    world.settle();
    assert_eq!(world.binding.as_ref().unwrap().spec.placement, None);
}

#[test]
fn an_invalid_policy_leaves_what_runs_alone_and_says_why() {
    let mut world = World::new(2).with(policy("spread", json!({})));
    world.settle();
    world.policies[0] = policy(
        "spread",
        json!({"placement": {"clusterAffinity": {"labelSelector": {"matchExpressions": [
            {"key": "zone", "operator": "Near", "values": ["x"]},
        ]}}}}),
    );
    let plan = world.settle();
    let Some(Scheduling::Failed { reason, .. }) = &plan.scheduling else { panic!("{plan}") };
    assert_eq!(*reason, conditions::INVALID_POLICY);
    assert_eq!(world.targets(), split(&[("bj", 2), ("sh", 2), ("sz", 2)]));
}

#[test]
fn a_binding_that_nobody_owns_is_taken_over_by_the_template_of_its_name() {
    let mut world = World::new(2).with(policy("spread", json!({})));
    world.settle();
    let meta = &mut world.binding.as_mut().unwrap().metadata;
    (meta.owner_references, meta.finalizers) = (None, None);
    world.template["metadata"]["uid"] = json!("uid-of-the-next-web");
    world.settle();
    let binding = world.binding.unwrap();
    assert_eq!(binding.spec.resource.uid, "uid-of-the-next-web");
    assert_eq!(binding.metadata.owner_references.unwrap()[0].uid, "uid-of-the-next-web");
    assert_eq!(binding.metadata.finalizers.unwrap(), ["karmada.io/binding-controller"]);
}

#[test]
fn what_was_said_is_not_said_again() {
    let spread = json!({"placement": {"spreadConstraints": [{"spreadByField": "cluster", "maxGroups": 1}]}});
    let mut held = World::new(2).with(policy("spread", spread));
    assert_eq!(held.settle().notices.len(), 1);
    assert_eq!(held.plan().notices, []);
    let missing = json!({"propagateDeps": true, "placement": {"clusterAffinity": {"clusterNames": ["bj", "nowhere"]}}});
    let mut named = World::new(2).with(policy("spread", missing));
    assert!(named.settle().notices.iter().filter(|notice| notice.is_warning).count() >= 2);
    assert_eq!(named.plan().notices, []);
    let nowhere = json!({"placement": {"clusterAffinity": {"clusterNames": ["nowhere"]}}});
    let mut unplaced = World::new(2).with(policy("spread", nowhere));
    assert!(unplaced.settle().notices.iter().any(|notice| notice.is_warning));
    assert_eq!(unplaced.plan().notices, []);
}

#[test]
fn half_a_release_is_finished() {
    let mut world = World::new(2).with(policy("spread", json!({})));
    world.settle();
    world.policies.clear();
    let marked = world.binding.clone();
    world.settle();
    world.binding = marked; // the write to the binding did not get through
    assert!(matches!(world.plan().binding, BindingStep::Change(_)));
}

#[test]
fn a_permanent_id_that_somebody_removed_is_restored() {
    let mut world = World::new(2).with(policy("spread", json!({})));
    world.settle();
    world.binding.as_mut().unwrap().metadata.labels.as_mut().unwrap().remove(labels::BINDING_PERMANENT_ID);
    world.settle();
    assert!(world.binding.unwrap().metadata.labels.unwrap().contains_key(labels::BINDING_PERMANENT_ID));
}

#[test]
fn a_template_that_is_being_deleted_is_left_alone() {
    let mut world = World::new(1).with(policy("spread", json!({})));
    world.template["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    insta::assert_snapshot!(world.plan(), @"keep     binding");
}
