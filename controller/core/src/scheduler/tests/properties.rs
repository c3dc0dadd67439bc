#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;

use super::*;
use crate::scheduler::Verdict;

/// A fleet of m0 … m7 with random obstacles.
fn any_fleet() -> impl Strategy<Value = Vec<ClusterFacts>> {
    let obstacles = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2), prop::bool::weighted(0.1));
    prop::collection::vec(obstacles, 0..8).prop_map(|fleet| {
        let cluster = |(index, (is_prod, is_tainted, lacks_api, is_deleting)): (usize, (bool, bool, bool, bool))| {
            let tier = if is_prod { "prod" } else { "test" };
            let mut facts = labelled(&format!("m{index}"), "tier", tier);
            if is_tainted {
                facts.taints = tainted("x", &[("k", "v", "NoSchedule")]).taints;
            }
            if lacks_api {
                facts.apis = Default::default();
            }
            facts.is_deleting = is_deleting;
            facts
        };
        fleet.into_iter().enumerate().map(cluster).collect()
    })
}

/// Placements that this release acts on.
fn any_placement() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let names = || prop::collection::vec((0..10u8).prop_map(|index| format!("m{index}")), 0..5);
    let affinity =
        (names(), prop::collection::vec((0..10u8).prop_map(|index| format!("m{index}")), 0..2), any::<bool>())
            .prop_map(|(names, exclude, only_prod)| {
                let selector = only_prod.then(|| json!({"matchLabels": {"tier": "prod"}}));
                json!({"clusterNames": names, "exclude": exclude, "labelSelector": selector})
            });
    let weights = prop::collection::vec((names(), 1..20i64), 0..5).prop_map(|rules| {
        let rules: Vec<_> =
            rules.into_iter().map(|(names, weight)| json!({"targetCluster": {"clusterNames": names}, "weight": weight})).collect();
        json!({"replicaSchedulingType": "Divided", "replicaDivisionPreference": "Weighted", "weightPreference": {"staticWeightList": rules}})
    });
    let scheduling = prop_oneof![
        1 => Just(json!(null)),
        1 => Just(json!({"replicaSchedulingType": "Duplicated"})),
        1 => Just(json!({"replicaSchedulingType": "Divided"})),
        3 => weights,
    ];
    (affinity, scheduling, any::<bool>()).prop_map(|(affinity, scheduling, tolerant)| {
        let tolerations = if tolerant { json!([{"operator": "Exists"}]) } else { json!([]) };
        json!({"clusterAffinity": affinity, "replicaScheduling": scheduling, "clusterTolerations": tolerations})
    })
}

fn any_binding() -> impl Strategy<Value = Binding> {
    let before = prop::collection::btree_map((0..10u8).prop_map(|index| format!("m{index}")), 1..9i32, 0..4);
    (any_placement(), 0..200i32, any::<bool>(), before, "[a-z]{0,6}", prop::option::of(0..8u8)).prop_map(
        |(placement, replicas, is_workload, before, uid, evicted)| {
            let placement = serde_json::to_string(&placement).unwrap();
            let binding = if is_workload { web(replicas, &placement) } else { settings(&placement) };
            let before: Vec<(&str, i32)> = before.iter().map(|(name, replicas)| (name.as_str(), *replicas)).collect();
            let binding = binding.placed(&before).with(|spec| spec.resource.uid = uid);
            match evicted {
                Some(index) => binding.evicted_from(&format!("m{index}")),
                None => binding,
            }
        },
    )
}

fn is_divided(binding: &Binding) -> bool {
    let scheduling = &binding.spec.placement.as_ref().unwrap().replica_scheduling;
    let value = serde_json::to_value(scheduling).unwrap();
    binding.spec.replica_requirements.is_some() && value["replicaSchedulingType"] != "Duplicated" && !value.is_null()
}

proptest! {
    #[test]
    fn divided_parts_add_up_and_duplicated_ones_are_all(binding in any_binding(), fleet in any_fleet()) {
        if let Ok(assignment) = binding.schedule(&fleet) {
            let replicas: Vec<i32> = assignment.targets.iter().map(|target| target.replicas).collect();
            if is_divided(&binding) {
                prop_assert_eq!(replicas.iter().sum::<i32>(), binding.spec.replicas);
                prop_assert!(replicas.iter().all(|replicas| *replicas > 0));
            } else if binding.spec.replica_requirements.is_some() {
                prop_assert!(replicas.iter().all(|replicas| *replicas == binding.spec.replicas));
            } else {
                prop_assert!(replicas.iter().all(|replicas| *replicas == 0));
            }
        }
    }

    #[test]
    fn solving_again_changes_nothing(binding in any_binding(), fleet in any_fleet()) {
        if let Ok(first) = binding.schedule(&fleet) {
            let mut again = binding;
            again.spec.clusters.clone_from(&first.targets);
            // A target that had to go may fit again only by being a target; the new targets are the old ones.
            prop_assert_eq!(again.assignment(&fleet).targets, first.targets);
        }
    }

    #[test]
    fn the_order_of_clusters_does_not_matter(binding in any_binding(), fleet in any_fleet().prop_shuffle()) {
        let mut sorted = fleet.clone();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        prop_assert_eq!(binding.schedule(&fleet), binding.schedule(&sorted));
    }

    #[test]
    fn nothing_is_placed_on_a_filtered_cluster(binding in any_binding(), fleet in any_fleet()) {
        if let Ok(assignment) = binding.schedule(&fleet) {
            prop_assert_eq!(assignment.verdicts.len(), fleet.len());
            for (name, verdict) in &assignment.verdicts {
                let target = assignment.targets.iter().find(|target| target.name == name.as_ref());
                prop_assert_eq!(matches!(verdict, Verdict::Placed { .. }), target.is_some());
            }
            for facts in fleet.iter().filter(|facts| facts.is_deleting) {
                prop_assert!(assignment.targets.iter().all(|target| target.name != facts.name.as_ref()));
            }
        }
    }

    #[test]
    fn targets_are_sorted_and_unique(binding in any_binding(), fleet in any_fleet()) {
        if let Ok(assignment) = binding.schedule(&fleet) {
            prop_assert!(assignment.targets.is_sorted_by(|a, b| a.name < b.name));
        }
    }

    #[test]
    fn more_replicas_take_from_nobody(binding in any_binding(), fleet in any_fleet(), more in 0..50i32) {
        prop_assume!(binding.spec.replica_requirements.is_some());
        if let Ok(before) = binding.schedule(&fleet) {
            let larger = binding.with(|spec| spec.replicas += more).assignment(&fleet);
            let given: BTreeMap<_, _> = larger.targets.iter().map(|target| (&target.name, target.replicas)).collect();
            prop_assert!(before.targets.iter().all(|target| given.get(&target.name).is_some_and(|now| *now >= target.replicas)));
        }
    }
}
