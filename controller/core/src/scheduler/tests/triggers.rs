#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use super::*;
use crate::scheduler::{NotScheduled, Trigger, may_schedule, needs_scheduling};

const BEFORE: [(&str, i32); 3] = [("bj-prod", 5), ("sh-prod", 3), ("sz-prod", 2)];

/// The seed policy, placed and at rest.
fn placed() -> Binding {
    web(10, SEED).placed(&BEFORE)
}

impl Binding {
    fn trigger(&self, clusters: &[ClusterFacts]) -> Option<Trigger> {
        let snapshot: Snapshot = clusters.iter().cloned().collect();
        needs_scheduling(&self.spec, Some(&self.status), &self.annotations, &snapshot)
    }
}

#[test]
fn a_placed_division_is_left_alone() {
    assert_eq!(placed().trigger(&three()), None);
}

#[test]
fn a_cluster_that_joins_moves_no_division() {
    let mut clusters = three();
    clusters.push(cluster("wh-prod"));
    assert_eq!(placed().trigger(&clusters), None);
}

#[test]
fn a_new_binding_is_scheduled() {
    assert_eq!(web(10, SEED).trigger(&three()), Some(Trigger::PlacementChanged));
}

#[test]
fn another_weight_is_another_placement() {
    let other = SEED.replace("weight: 50", "weight: 51");
    let changed = placed().with(|spec| spec.placement = Some(serde_yaml::from_str(&other).unwrap()));
    assert_eq!(changed.trigger(&three()), Some(Trigger::PlacementChanged));
}

#[test]
fn an_unreadable_record_of_the_placement_counts_as_a_change() {
    let mut binding = placed();
    binding.annotations.insert(pando_api::annotations::APPLIED_PLACEMENT.to_owned(), "{".to_owned());
    assert_eq!(binding.trigger(&three()), Some(Trigger::PlacementChanged));
}

#[test]
fn a_change_of_company_moves_nothing() {
    let changed = placed().with(|spec| {
        let placement = spec.placement.as_mut().unwrap();
        placement.workload_affinity = Some(serde_yaml::from_str("affinity: {groupByLabelKey: app}").unwrap());
    });
    assert_eq!(changed.trigger(&three()), None);
}

#[test]
fn of_ordered_terms_only_the_one_in_use_matters() {
    let terms =
        "clusterAffinities: [{affinityName: a, clusterNames: [bj-prod]}, {affinityName: b, clusterNames: [sh-prod]}]
replicaScheduling: {replicaSchedulingType: Divided}";
    let changed = |observed: &str, to: &str| {
        let mut binding = web(2, terms).placed(&[("bj-prod", 2)]);
        binding.status.scheduler_observed_affinity_name = observed.to_owned();
        binding.spec.placement = Some(serde_yaml::from_str(&terms.replace("[bj-prod]", to)).unwrap());
        binding.trigger(&three())
    };
    assert_eq!(changed("a", "[bj-prod]"), None);
    assert_eq!(changed("a", "[bj-prod, sz-prod]"), Some(Trigger::PlacementChanged));
    assert_eq!(changed("b", "[bj-prod, sz-prod]"), None);
    assert_eq!(changed("", "[bj-prod, sz-prod]"), Some(Trigger::PlacementChanged));
    assert_eq!(changed("gone", "[bj-prod, sz-prod]"), Some(Trigger::PlacementChanged));
}

#[test]
fn another_replica_count_is_scheduled() {
    assert_eq!(placed().with(|spec| spec.replicas = 13).trigger(&three()), Some(Trigger::ReplicasChanged));

    let duplicated = web(3, "replicaScheduling: {replicaSchedulingType: Duplicated}");
    let placed = duplicated.placed(&[("bj-prod", 3), ("sh-prod", 2)]);
    assert_eq!(placed.trigger(&three()), Some(Trigger::ReplicasChanged));
}

#[test]
fn a_request_is_honoured_once() {
    let time = |text: &str| Some(serde_json::from_str(&format!("\"{text}\"")).unwrap());
    let mut binding = placed().with(|spec| spec.reschedule_triggered_at = time("2026-01-02T00:00:00Z"));
    assert_eq!(binding.trigger(&three()), Some(Trigger::Requested), "never scheduled");
    binding.status.last_scheduled_time = time("2026-01-01T00:00:00Z");
    assert_eq!(binding.trigger(&three()), Some(Trigger::Requested), "scheduled before");
    binding.status.last_scheduled_time = time("2026-01-02T00:00:00Z");
    assert_eq!(binding.trigger(&three()), None, "scheduled since");
}

#[test]
fn what_is_not_divided_is_scheduled_on_every_trigger() {
    for binding in [settings(SEED), web(3, "{}"), web(3, "replicaScheduling: {replicaSchedulingType: Duplicated}")] {
        let replicas = binding.spec.replicas;
        assert_eq!(binding.placed(&[("bj-prod", replicas)]).trigger(&three()), Some(Trigger::NothingDivided));
    }
}

#[test]
fn a_target_that_leaves_is_a_reason() {
    let lost = Some(Trigger::TargetLost { cluster: "sz-prod".to_owned() });
    let mut clusters = three();
    clusters[2].is_deleting = true;
    assert_eq!(placed().trigger(&clusters), lost);
    assert_eq!(placed().trigger(&three()[..2]), lost, "deleted while nobody looked");
}

#[test]
fn a_binding_is_ours_when_a_policy_made_it_and_nobody_said_otherwise() {
    let labels = |key: &str| BTreeMap::from([(key.to_owned(), "x".to_owned())]);
    let of_a_policy = labels("propagationpolicy.karmada.io/permanent-id");
    let with = |yaml: &str| {
        let mut spec = serde_json::to_value(placed().spec).unwrap();
        let more: serde_json::Value = serde_yaml::from_str(yaml).unwrap();
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<ResourceBindingSpec>(spec).unwrap()
    };

    for label in ["propagationpolicy", "clusterpropagationpolicy"].map(|kind| format!("{kind}.karmada.io/permanent-id"))
    {
        assert_eq!(may_schedule(&with("{}"), &labels(&label)), Ok(()));
    }
    assert_eq!(may_schedule(&with("{}"), &labels("binding.karmada.io/managed-by")), Ok(()));
    assert_eq!(may_schedule(&with("{}"), &labels("app")), Err(NotScheduled::NoPolicy));
    assert_eq!(may_schedule(&with("{schedulerName: default-scheduler}"), &of_a_policy), Ok(()));
    let other = NotScheduled::OtherScheduler { name: "mine".to_owned() };
    assert_eq!(may_schedule(&with("{schedulerName: mine}"), &of_a_policy), Err(other));
    assert_eq!(may_schedule(&with("{suspension: {scheduling: true}}"), &of_a_policy), Err(NotScheduled::Suspended));
    assert_eq!(may_schedule(&with("{suspension: {scheduling: false}}"), &of_a_policy), Ok(()));
    assert_eq!(may_schedule(&with("{placement: null}"), &of_a_policy), Err(NotScheduled::NoPlacement));
}
