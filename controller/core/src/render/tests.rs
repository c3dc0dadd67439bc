#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod completions;
mod content;
mod namespaces;
mod replanning;

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use pando_api::{
    cluster::Cluster,
    policy::OverridePolicy,
    raw::EmbeddedObject,
    work::{AggregatedStatusItem, GracefulEvictionTask, ResourceHealth, TargetCluster},
};
use serde_json::{Value, json};

use super::*;
use crate::{conditions::Verdict, overrides};

/// A small federation: one Deployment, its binding, and the Works that are there.
#[derive(Clone, Debug)]
struct World {
    template: Value,
    binding: BindingRecord,
    clusters: BTreeMap<ClusterName, ClusterFacts>,
    overrides: Vec<OverridePolicy>,
    works: BTreeMap<ClusterName, Arc<Work>>,
    complete: bool,
    versions: u64,
}

fn name(cluster: &str) -> ClusterName {
    ClusterName::parse(cluster).unwrap()
}

fn facts(cluster: &str) -> ClusterFacts {
    let object: Cluster = serde_json::from_value(json!({
        "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": cluster}, "spec": {"syncMode": "Push"},
    }))
    .unwrap();
    ClusterFacts::of(&object).unwrap()
}

fn world() -> World {
    let binding = json!({
        "apiVersion": "work.karmada.io/v1alpha2", "kind": "ResourceBinding",
        "metadata": {"name": "web-deployment", "namespace": "prod", "labels": {"resourcebinding.karmada.io/permanent-id": "b-1"}},
        "spec": {"resource": {"apiVersion": "apps/v1", "kind": "Deployment", "namespace": "prod", "name": "web"}, "replicas": 10},
        "status": {"conditions": []},
    });
    World {
        template: json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "prod", "uid": "t-1", "generation": 3, "labels": {"app": "web"}},
            "spec": {"replicas": 10, "template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}},
        }),
        binding: serde_json::from_value(binding).unwrap(),
        clusters: ["bj", "sh", "sz"].into_iter().map(|cluster| (name(cluster), facts(cluster))).collect(),
        overrides: Vec::new(),
        works: BTreeMap::new(),
        complete: true,
        versions: 100,
    }
}

impl World {
    fn placed<const N: usize>(mut self, targets: [(&str, i32); N]) -> Self {
        let target = |(name, replicas): (&str, i32)| TargetCluster {
            name: name.to_owned(),
            replicas,
            ..TargetCluster::default()
        };
        self.binding.spec.clusters = targets.into_iter().map(target).collect();
        self
    }

    /// The Works of an earlier placement are there.
    fn before<const N: usize>(self, targets: [(&str, i32); N]) -> Self {
        let clusters = self.binding.spec.clusters.clone();
        let mut world = self.placed(targets).settled();
        world.binding.spec.clusters = clusters;
        world
    }

    fn evicting(mut self, cluster: &str, purge_mode: &str) -> Self {
        let task: GracefulEvictionTask = serde_json::from_value(json!({
            "fromCluster": cluster, "purgeMode": purge_mode, "reason": "TaintUntolerated", "producer": "TaintManager",
        }))
        .unwrap();
        self.binding.spec.graceful_eviction_tasks.push(task);
        self
    }

    fn health(mut self, cluster: &str, health: ResourceHealth) -> Self {
        self.binding.status.get_or_insert_default().aggregated_status.push(AggregatedStatusItem {
            cluster_name: cluster.to_owned(),
            health: Some(health),
            ..AggregatedStatusItem::default()
        });
        self
    }

    fn overridden(mut self, overriders: &Value, clusters: &[&str]) -> Self {
        let policy = json!({
            "apiVersion": "policy.karmada.io/v1alpha1", "kind": "OverridePolicy", "metadata": {"name": "op", "namespace": "prod"},
            "spec": {"overrideRules": [{"targetCluster": {"clusterNames": clusters}, "overriders": overriders}]},
        });
        self.overrides = vec![serde_json::from_value(policy).unwrap()];
        self
    }

    fn suspended(mut self, suspension: &Value) -> Self {
        self.binding.spec.suspension = Some(serde_json::from_value(suspension.clone()).unwrap());
        self
    }

    fn work(&mut self, cluster: &str) -> &mut Work {
        Arc::make_mut(self.works.get_mut(&name(cluster)).unwrap())
    }

    fn plan(&self) -> WorksPlan {
        let template = Template::from_value(self.template.clone()).unwrap();
        let selected = overrides::select([], &self.overrides, &template.manifest);
        let works: Vec<_> = self.works.values().cloned().collect();
        plan(&RenderInput {
            federation: "fed-1",
            binding: Binding::of(&self.binding).unwrap(),
            template: &template,
            overrides: &selected,
            clusters: &self.clusters,
            works: &works,
            works_complete: self.complete,
        })
    }

    /// Takes the steps of a plan, as the hub would.
    fn take(&mut self, plan: WorksPlan) {
        for WorkStep { cluster, action, .. } in plan.steps {
            self.versions += 1;
            match action {
                Action::Create(work) => {
                    assert!(!self.works.contains_key(&cluster), "409 AlreadyExists in {cluster}");
                    let mut work = through_a_server(*work);
                    work.metadata.uid = Some(format!("work-uid-{cluster}"));
                    work.metadata.resource_version = Some(self.versions.to_string());
                    self.works.insert(cluster, Arc::new(work));
                }
                Action::Replace { from, to } => {
                    assert_eq!(from.metadata.resource_version, to.metadata.resource_version);
                    assert_eq!(from.metadata.uid, to.metadata.uid);
                    let mut work = through_a_server(*to);
                    work.metadata.resource_version = Some(self.versions.to_string());
                    self.works.insert(cluster, Arc::new(work));
                }
                Action::Release { uid, resource_version, .. } => {
                    let gone = self.works.remove(&cluster).unwrap();
                    assert_eq!(
                        (gone.metadata.uid.as_ref(), gone.metadata.resource_version.as_ref()),
                        (Some(&uid), Some(&resource_version))
                    );
                }
                Action::Keep(_) | Action::Hold => {}
            }
        }
    }

    fn settled(mut self) -> Self {
        let plan = self.plan();
        self.take(plan);
        self
    }
}

/// What a hub returns for what was sent: other bytes, the same object.
fn through_a_server(mut work: Work) -> Work {
    for manifest in &mut work.spec.workload.manifests {
        let value: Value = manifest.parse().unwrap();
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        *manifest = EmbeddedObject::from(serde_json::value::RawValue::from_string(pretty).unwrap());
    }
    work
}

fn manifest(work: &Work) -> Value {
    work.spec.workload.manifests[0].parse().unwrap()
}

mod placing {
    use super::*;

    #[test]
    fn one_work_for_each_target() {
        insta::assert_snapshot!(world().placed([("bj", 5), ("sh", 3), ("sz", 2)]).plan(), @r"
        create  work web in bj   replicas 5
        create  work web in sh   replicas 3
        create  work web in sz   replicas 2
        ");
    }

    #[test]
    fn a_change_of_replicas_is_said_with_both_numbers() {
        insta::assert_snapshot!(world().placed([("bj", 6), ("sh", 4)]).before([("bj", 5), ("sh", 3), ("sz", 2)]).plan(), @r"
        replace work web in bj   replicas 5 → 6
        replace work web in sh   replicas 3 → 4
        release work web in sz   not a target any more
        ");
    }

    #[test]
    fn a_move_makes_before_it_breaks() {
        insta::assert_snapshot!(world().placed([("sz", 10)]).before([("bj", 10)]).plan(), @r"
        create  work web in sz   replicas 10
        release work web in bj   not a target any more
        ");
    }

    #[test]
    fn a_new_image_changes_the_manifest_everywhere() {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).settled();
        world.template["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
        world.template["metadata"]["generation"] = json!(4);
        insta::assert_snapshot!(world.plan(), @r"
        replace work web in bj   manifest changed
        replace work web in sh   manifest changed
        ");
    }

    #[test]
    fn scaling_reaches_an_unchanged_cluster_as_a_new_generation_only() {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).settled();
        world.template["spec"]["replicas"] = json!(11);
        world.template["metadata"]["generation"] = json!(4);
        insta::assert_snapshot!(world.placed([("bj", 6), ("sh", 5)]).plan(), @r"
        replace work web in bj   replicas 5 → 6
        replace work web in sh   template generation 3 → 4
        ");
    }

    #[test]
    fn an_edit_of_a_work_by_hand_is_undone() {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).settled();
        let mut edited = manifest(world.work("bj"));
        edited["spec"]["template"]["spec"]["containers"][0]["image"] = json!("evil");
        world.work("bj").spec.workload.manifests = vec![EmbeddedObject::from_value(&edited).unwrap()];
        world.work("sh").metadata.labels.as_mut().unwrap().insert("their/label".to_owned(), "1".to_owned());
        world.work("sh").metadata.finalizers = Some(vec!["their/finalizer".to_owned()]);
        let plan = world.plan();
        insta::assert_snapshot!(plan, @r"
        replace work web in bj   manifest changed
        replace work web in sh   labels, annotations or finalizer changed
        ");
        world.take(plan);
        let sh = world.work("sh").metadata.clone();
        assert_eq!(sh.finalizers.unwrap(), ["their/finalizer", "karmada.io/execution-controller"]);
        assert_eq!(sh.labels.unwrap()["their/label"], "1");
    }

    #[test]
    fn a_dependents_clusters_are_targets_too() {
        let mut world = world().placed([("bj", 5)]);
        world.binding.spec.required_by = serde_json::from_value(json!([
            {"namespace": "prod", "name": "api-deployment", "clusters": [{"name": "sh", "replicas": 2}, {"name": "bj"}]},
        ]))
        .unwrap();
        insta::assert_snapshot!(world.plan(), @r"
        create  work web in bj   replicas 5
        create  work web in sh   replicas 10
        ");
    }
}

mod leaving {
    use super::*;

    #[test]
    fn a_lost_cluster_keeps_its_work_until_the_replacement_is_healthy() {
        let world = world()
            .placed([("bj", 6), ("sh", 4)])
            .before([("bj", 5), ("sh", 3), ("sz", 2)])
            .evicting("sz", "Gracefully")
            .health("bj", ResourceHealth::Unhealthy);
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in sz   eviction waits: bj is not healthy
        replace work web in bj   replicas 5 → 6
        replace work web in sh   replicas 3 → 4
        ");
    }

    #[test]
    fn an_eviction_keeps_the_work_as_long_as_its_task_is_there() {
        let mut world = world()
            .placed([("bj", 10)])
            .before([("bj", 10), ("sz", 2)])
            .evicting("sz", "Gracefully")
            .health("bj", ResourceHealth::Healthy);
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in sz   eviction waits: the task is not finished
        keep    work web in bj   as desired
        ");
        world.binding.spec.graceful_eviction_tasks.clear();
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in bj   as desired
        release work web in sz   not a target any more
        ");
    }

    #[test]
    fn a_direct_eviction_breaks_before_it_makes() {
        let mut world = world().placed([("sh", 10)]).before([("bj", 10)]).evicting("bj", "Directly");
        let plan = world.plan();
        insta::assert_snapshot!(plan, @r"
        hold    work web in sh   direct eviction: the Work in bj goes first
        release work web in bj   evicted directly
        ");
        assert_eq!(plan.next.delay(), Some(std::time::Duration::from_secs(5)));
        world.take(plan);
        insta::assert_snapshot!(world.plan(), @"create  work web in sh   replicas 10");
    }

    #[test]
    fn an_incomplete_list_releases_nothing() {
        let mut world = world().placed([("sh", 10)]).before([("bj", 10)]);
        world.complete = false;
        insta::assert_snapshot!(world.plan(), @r"
        create  work web in sh   replicas 10
        keep    work web in bj   the list of Works is not complete: nothing is released on doubt
        ");
        let again = Some(std::time::Duration::from_secs(30));
        assert_eq!(world.plan().next.delay(), again, "nothing tells this binding when the list is complete again");
        world.binding.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        insta::assert_snapshot!(world.plan(), @"keep    work web in bj   the list of Works is not complete: nothing is released on doubt");
        assert_eq!(world.plan().next.delay(), again);
        world.works.clear();
        assert_eq!(world.plan().next.delay(), again, "a Work that cannot be read may be its own");
        world.complete = true;
        assert_eq!(world.plan().next.delay(), None);
    }

    #[test]
    fn a_binding_nobody_scheduled_releases_nothing() {
        let mut world = world().before([("bj", 10)]);
        insta::assert_snapshot!(world.plan(), @"keep    work web in bj   the binding has no clusters and is not scheduled: nothing is released on doubt");
        let scheduled = Verdict::holds("Scheduled", "Success", "").since(&Time(Timestamp::UNIX_EPOCH));
        world.binding.status.get_or_insert_default().conditions = vec![scheduled];
        insta::assert_snapshot!(world.plan(), @"release work web in bj   not a target any more");
    }

    #[test]
    fn a_deleted_binding_releases_all_it_has() {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).settled();
        world.binding.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        let plan = world.plan();
        insta::assert_snapshot!(plan, @r"
        release work web in bj   the binding is being deleted
        release work web in sh   the binding is being deleted
        ");
        world.take(plan);
        assert!(world.plan().steps.is_empty());
    }

    #[test]
    fn a_work_on_its_way_out_is_waited_for() {
        let mut world = world().placed([("bj", 5), ("sh", 5)]).before([("bj", 5), ("sz", 5)]);
        for cluster in ["bj", "sz"] {
            world.work(cluster).metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        }
        insta::assert_snapshot!(world.plan(), @r"
        hold    work web in bj   the old Work is still being deleted
        create  work web in sh   replicas 5
        keep    work web in sz   it is being deleted
        ");
    }

    #[test]
    fn a_move_breaks_nothing_while_the_new_place_cannot_be_made() {
        let world = world().placed([("nowhere", 5)]).before([("bj", 5)]);
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in bj   another cluster has to get its Work first
        fault   work web in nowhere   ClusterNotFound: there is no Cluster nowhere; join it, or remove it from the placement
        ");
    }

    #[test]
    fn a_stray_work_of_the_binding_goes() {
        let mut world = world().placed([("bj", 5)]).settled();
        let mut stray = world.work("bj").clone();
        stray.metadata.name = Some("api-xyz".to_owned());
        stray.metadata.namespace = Some("karmada-es-sh".to_owned());
        world.works.insert(name("sh"), Arc::new(stray));
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in bj   as desired
        release work web in sh   it is not the template's Work
        ");
    }

    #[test]
    fn a_binding_made_again_takes_its_works_on() {
        let mut world = world().placed([("bj", 5)]).settled();
        world
            .binding
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("resourcebinding.karmada.io/permanent-id".to_owned(), "b-2".to_owned());
        insta::assert_snapshot!(world.plan(), @"replace work web in bj   manifest changed");
    }
}

mod faults {
    use super::*;

    #[test]
    fn a_failing_override_leaves_that_cluster_alone_and_renders_the_others() {
        let world = world().placed([("bj", 6), ("sh", 4), ("sz", 1)]).before([("bj", 5), ("sh", 3)]).overridden(
            &json!({"plaintext": [{"path": "/spec/nothing", "operator": "replace", "value": 1}]}),
            &["bj", "sz"],
        );
        let plan = world.plan();
        insta::assert_snapshot!(plan, @r"
        keep    work web in bj   unchanged: ApplyOverridePolicyFailed
        replace work web in sh   replicas 3 → 4
        fault   work web in bj   ApplyOverridePolicyFailed: OverridePolicy prod/op: plaintext at /spec/nothing failed for Deployment prod/web: there is no such field; fix the overrider or the template
        fault   work web in sz   ApplyOverridePolicyFailed: OverridePolicy prod/op: plaintext at /spec/nothing failed for Deployment prod/web: there is no such field; fix the overrider or the template
        ");
    }

    #[test]
    fn an_override_that_cannot_be_applied_keeps_every_work_as_it_is() {
        let world = world()
            .placed([("bj", 6), ("sh", 4), ("sz", 1)])
            .before([("bj", 5), ("sh", 3)])
            .overridden(&json!({"plaintext": [{"path": "spec.replicas", "operator": "replace", "value": 1}]}), &["sz"]);
        insta::assert_snapshot!(world.plan(), @r#"
        keep    work web in bj   unchanged: OverrideInvalid
        keep    work web in sh   unchanged: OverrideInvalid
        fault   work web in bj   OverrideInvalid: OverridePolicy prod/op cannot be applied: spec.overrideRules[0].overriders.plaintext[0].path: "spec.replicas" is not a JSON pointer: begin it with a slash
        fault   work web in sh   OverrideInvalid: OverridePolicy prod/op cannot be applied: spec.overrideRules[0].overriders.plaintext[0].path: "spec.replicas" is not a JSON pointer: begin it with a slash
        fault   work web in sz   OverrideInvalid: OverridePolicy prod/op cannot be applied: spec.overrideRules[0].overriders.plaintext[0].path: "spec.replicas" is not a JSON pointer: begin it with a slash
        "#);
    }

    #[test]
    fn an_override_of_the_identity_is_rejected() {
        let world = world().placed([("bj", 6)]).overridden(
            &json!({"plaintext": [{"path": "/metadata/namespace", "operator": "replace", "value": "kube-system"}]}),
            &["bj"],
        );
        let plan = world.plan();
        assert!(plan.steps.is_empty());
        assert_eq!(plan.faults["bj"].reason(), "OverrideRejected");
    }

    #[test]
    fn a_cluster_that_is_gone_keeps_what_is_recorded_for_it() {
        let mut world = world().placed([("bj", 6), ("sh", 4)]).before([("bj", 5), ("sh", 4)]);
        world.clusters.remove(&name("bj"));
        insta::assert_snapshot!(world.plan(), @r"
        keep    work web in bj   unchanged: ClusterNotFound
        keep    work web in sh   as desired
        fault   work web in bj   ClusterNotFound: there is no Cluster bj; join it, or remove it from the placement
        ");
    }

    #[test]
    fn a_name_no_cluster_can_have_is_a_fault_and_no_panic() {
        insta::assert_snapshot!(world().placed([("Not_A_Cluster", 1)]).plan(), @"fault   work web in Not_A_Cluster   ClusterNotFound: there is no Cluster Not_A_Cluster; join it, or remove it from the placement");
    }

    #[test]
    fn a_work_too_large_for_etcd_is_not_written() {
        let mut world = world().placed([("bj", 1)]).settled();
        world.template["metadata"]["annotations"] = json!({"big": "x".repeat(MAX_WORK_BYTES)});
        let plan = world.plan();
        assert_eq!(plan.steps[0].action.verb(), "keep");
        assert_eq!(plan.faults["bj"].reason(), "ManifestTooLarge");
    }

    #[test]
    fn the_work_of_another_binding_is_not_taken() {
        let mut world = world().placed([("bj", 5)]).settled();
        let taken = world.work("bj");
        taken
            .metadata
            .labels
            .as_mut()
            .unwrap()
            .insert("resourcebinding.karmada.io/permanent-id".to_owned(), "theirs".to_owned());
        taken
            .metadata
            .annotations
            .as_mut()
            .unwrap()
            .insert("resourcebinding.karmada.io/name".to_owned(), "web-gizmo".to_owned());
        insta::assert_snapshot!(world.plan(), @"fault   work web in bj   NameCollision: Work karmada-es-bj/web-658978d877 belongs to another binding (prod/web-gizmo); rename one of the two templates");
    }

    #[test]
    fn without_a_permanent_id_nothing_is_rendered() {
        let mut world = world();
        world.binding.metadata.labels = None;
        insta::assert_snapshot!(Binding::of(&world.binding).unwrap_err(), @"binding prod/web-deployment has no label resourcebinding.karmada.io/permanent-id; it is set when the binding is created");
    }
}
