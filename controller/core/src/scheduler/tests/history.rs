//! Long histories: clusters come and go, replicas and policies change, and after each step the binding is looked at as
//! the controller would. Whatever happened, the assignment is right and at rest.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::scheduler::needs_scheduling;

/// What can happen to a federation.
#[derive(Clone, Debug)]
enum Event {
    Joins(u8),
    StartsLeaving(u8),
    IsGone(u8),
    IsTainted(u8),
    IsCleared(u8),
    Scales(i32),
    PolicyBecomes(usize),
    SomebodyAsks,
    Evicts(u8),
    EvictionEnds,
}

const DIVIDED: &str = "
replicaScheduling:
  replicaSchedulingType: Divided
  replicaDivisionPreference: Weighted
  weightPreference:
    staticWeightList:
    - {targetCluster: {clusterNames: [m0, m2]}, weight: 5}
    - {targetCluster: {clusterNames: [m1, m3]}, weight: 2}
";
const DIVIDED_EQUALLY: &str = "replicaScheduling: {replicaSchedulingType: Divided}";
const DUPLICATED: &str = "{clusterAffinity: {exclude: [m1]}, clusterTolerations: [{operator: Exists}]}";
const TERMS: &str = "
clusterAffinities: [{affinityName: near, clusterNames: [m0, m1]}, {affinityName: far, clusterNames: [m2, m3]}]
replicaScheduling: {replicaSchedulingType: Divided}
";
const POLICIES: [&str; 4] = [DIVIDED, DIVIDED_EQUALLY, DUPLICATED, TERMS];

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..5u8).prop_map(Event::Joins),
        2 => (0..5u8).prop_map(Event::StartsLeaving),
        2 => (0..5u8).prop_map(Event::IsGone),
        1 => (0..5u8).prop_map(Event::IsTainted),
        1 => (0..5u8).prop_map(Event::IsCleared),
        3 => (0..30i32).prop_map(Event::Scales),
        2 => (0..POLICIES.len()).prop_map(Event::PolicyBecomes),
        1 => Just(Event::SomebodyAsks),
        1 => (0..5u8).prop_map(Event::Evicts),
        1 => Just(Event::EvictionEnds),
    ]
}

struct Federation {
    binding: Binding,
    clusters: BTreeMap<String, ClusterFacts>,
    second: i64,
}

impl Federation {
    fn new() -> Self {
        Self { binding: web(10, DIVIDED), clusters: BTreeMap::new(), second: 0 }
    }

    fn suffer(&mut self, event: &Event) {
        let name = |index: &u8| format!("m{index}");
        let spec = &mut self.binding.spec;
        match event {
            Event::Joins(index) => drop(self.clusters.entry(name(index)).or_insert_with(|| cluster(&name(index)))),
            Event::IsGone(index) => drop(self.clusters.remove(&name(index))),
            Event::StartsLeaving(index) => self.change(index, |facts| facts.is_deleting = true),
            Event::IsTainted(index) => {
                self.change(index, |facts| facts.taints = tainted("x", &[("k", "", "NoSchedule")]).taints)
            }
            Event::IsCleared(index) => self.change(index, |facts| facts.taints.clear()),
            Event::Scales(replicas) => spec.replicas = *replicas,
            Event::PolicyBecomes(index) => spec.placement = Some(serde_yaml::from_str(POLICIES[*index]).unwrap()),
            Event::SomebodyAsks => spec.reschedule_triggered_at = Some(time(self.second)),
            Event::Evicts(index) => self.binding = self.binding.clone().evicted_from(&name(index)),
            Event::EvictionEnds => spec.graceful_eviction_tasks.clear(),
        }
        self.second += 1;
    }

    fn change(&mut self, index: &u8, change: impl FnOnce(&mut ClusterFacts)) {
        if let Some(facts) = self.clusters.get_mut(&format!("m{index}")) {
            change(facts);
        }
    }

    fn snapshot(&self) -> Snapshot {
        self.clusters.values().cloned().collect()
    }

    /// What the controller does with one look at the binding. `true` when something was decided.
    fn look(&mut self) -> bool {
        let Binding { spec, status, annotations } = &self.binding;
        let snapshot = self.snapshot();
        if needs_scheduling(spec, Some(status), annotations, &snapshot).is_none() {
            return false;
        }
        let before = spec.clusters.clone();
        match schedule(&Unit::from_binding(spec, Some(status)).unwrap(), &snapshot) {
            Ok(assignment) => {
                self.binding.spec.clusters = assignment.targets;
                self.binding.status.scheduler_observed_affinity_name = assignment.affinity.unwrap_or_default();
                self.binding.status.last_scheduled_time = Some(time(self.second));
                let applied =
                    crate::scheduler::applied_placement(self.binding.spec.placement.as_ref().unwrap()).unwrap();
                self.binding.annotations.insert(pando_api::annotations::APPLIED_PLACEMENT.to_owned(), applied);
            }
            Err(failure) if failure.clears_targets() => self.binding.spec.clusters.clear(),
            Err(_) => {}
        }
        self.binding.spec.clusters != before
    }
}

fn time(second: i64) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::Time {
    serde_json::from_value(serde_json::json!(format!(
        "2026-01-01T{:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )))
    .unwrap()
}

proptest! {
    #[test]
    fn after_every_step_the_assignment_is_right_and_at_rest(events in prop::collection::vec(any_event(), 1..40)) {
        let mut federation = Federation::new();
        for event in &events {
            federation.suffer(event);
            federation.look();
            prop_assert!(!federation.look(), "a second look changes nothing after {event:?}");

            let Binding { spec, .. } = &federation.binding;
            for target in &spec.clusters {
                let facts = federation.clusters.get(&target.name);
                prop_assert!(facts.is_some_and(|facts| !facts.is_deleting), "{} is no member after {event:?}", target.name);
                prop_assert!(target.replicas > 0);
            }
            let replicas: Vec<i32> = spec.clusters.iter().map(|target| target.replicas).collect();
            let is_duplicated = spec.placement.as_ref().unwrap().replica_scheduling.is_none();
            if is_duplicated {
                prop_assert!(replicas.iter().all(|replicas| *replicas == spec.replicas));
            } else if !replicas.is_empty() {
                prop_assert_eq!(replicas.iter().sum::<i32>(), spec.replicas);
            }
        }
    }

    /// Who has nothing to do with a division is not touched: a cluster that joins moves no divided replica.
    #[test]
    fn joining_moves_no_divided_replica(replicas in 1..50i32, newcomer in 2..5u8) {
        let mut federation = Federation::new();
        federation.suffer(&Event::Joins(0));
        federation.suffer(&Event::Joins(1));
        federation.suffer(&Event::Scales(replicas));
        federation.look();
        let before = federation.binding.spec.clusters.clone();
        federation.suffer(&Event::Joins(newcomer));
        prop_assert!(!federation.look());
        prop_assert_eq!(&federation.binding.spec.clusters, &before);
    }

    /// Losing a cluster moves replicas to others, and takes none from those that stay.
    #[test]
    fn losing_a_cluster_takes_from_nobody_else(replicas in 1..50i32, lost in 0..4u8) {
        let mut federation = Federation::new();
        for index in 0..4 {
            federation.suffer(&Event::Joins(index));
        }
        federation.suffer(&Event::Scales(replicas));
        federation.look();
        let before = federation.binding.spec.clusters.clone();
        federation.suffer(&Event::StartsLeaving(lost));
        federation.look();
        let now: BTreeMap<_, _> = federation.binding.spec.clusters.iter().map(|target| (&target.name, target.replicas)).collect();
        for target in before.iter().filter(|target| target.name != format!("m{lost}")) {
            prop_assert!(now.get(&target.name).is_some_and(|replicas| *replicas >= target.replicas), "{before:?} → {now:?}");
        }
    }
}
