//! Planning twice changes nothing, from wherever one starts.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Change {
    Place(Vec<(usize, i32)>),
    Image(u8),
    Override(Option<usize>),
    Suspend(bool),
    Evict(usize, bool),
    EndEvictions,
    HandEdit(usize),
}

const CLUSTERS: [&str; 3] = ["bj", "sh", "sz"];

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        proptest::collection::vec((0..3usize, 0..9i32), 0..4).prop_map(Change::Place),
        any::<u8>().prop_map(Change::Image),
        proptest::option::of(0..3usize).prop_map(Change::Override),
        any::<bool>().prop_map(Change::Suspend),
        (0..3usize, any::<bool>()).prop_map(|(cluster, direct)| Change::Evict(cluster, direct)),
        Just(Change::EndEvictions),
        (0..3usize).prop_map(Change::HandEdit),
    ]
}

fn apply(world: World, change: Change) -> World {
    let mut world = world;
    match change {
        Change::Place(targets) => {
            let target = |(cluster, replicas): (usize, i32)| TargetCluster {
                name: CLUSTERS[cluster].to_owned(),
                replicas,
                ..TargetCluster::default()
            };
            world.binding.spec.clusters = targets.into_iter().map(target).collect();
        }
        Change::Image(tag) => {
            world.template["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("nginx:{tag}"));
        }
        Change::Override(None) => world.overrides.clear(),
        Change::Override(Some(cluster)) => {
            let overriders = json!({"labelsOverrider": [{"operator": "add", "value": {"site": "x"}}]});
            world = world.overridden(&overriders, &[CLUSTERS[cluster]]);
        }
        Change::Suspend(suspended) => world = world.suspended(&json!({"dispatching": suspended})),
        Change::Evict(cluster, direct) => {
            world.binding.spec.clusters.retain(|target| target.name != CLUSTERS[cluster]);
            world = world.evicting(CLUSTERS[cluster], if direct { "Directly" } else { "Gracefully" });
        }
        Change::EndEvictions => world.binding.spec.graceful_eviction_tasks.clear(),
        Change::HandEdit(cluster) => {
            if let Some(work) = world.works.get_mut(&name(CLUSTERS[cluster])) {
                let work = Arc::make_mut(work);
                work.metadata.annotations = None;
                work.spec.suspend_dispatching = None;
            }
        }
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn after_its_steps_a_plan_keeps_everything(changes in proptest::collection::vec(any_change(), 1..6)) {
        let mut world = world().placed([("bj", 5), ("sh", 3)]).settled();
        for change in changes {
            world = apply(world, change);
            world = world.settled();
            if world.plan().next.delay().is_some() || world.plan().steps.iter().any(|step| matches!(step.action, Action::Create(_))) {
                world = world.settled(); // a direct eviction takes a second round
            }
            let plan = world.plan();
            prop_assert!(plan.faults.is_empty(), "{plan}");
            prop_assert!(plan.steps.iter().all(|step| matches!(step.action, Action::Keep(_))), "{plan}");
        }
    }

    #[test]
    fn works_are_where_the_binding_says_and_nowhere_else(targets in proptest::collection::btree_map(0..3usize, 0..9i32, 1..4)) {
        let mut world = world().placed([("bj", 5), ("sh", 3), ("sz", 2)]).settled();
        world = apply(world, Change::Place(targets.clone().into_iter().collect()));
        world = world.settled();
        let places: Vec<_> = world.works.keys().map(ToString::to_string).collect();
        let expected: Vec<_> = targets.keys().map(|cluster| CLUSTERS[*cluster].to_owned()).collect();
        prop_assert_eq!(places, expected);
        for (cluster, replicas) in targets {
            prop_assert_eq!(&manifest(world.work(CLUSTERS[cluster]))["spec"]["replicas"], &json!(replicas));
        }
    }

    #[test]
    fn the_order_of_inputs_is_irrelevant(seed in any::<bool>()) {
        let mut world = world().placed([("bj", 5), ("sh", 3), ("sz", 2)]).before([("bj", 4), ("sh", 4)]);
        let plan = world.plan();
        if seed { world.binding.spec.clusters.reverse() } else { world.binding.spec.clusters.rotate_left(1) }
        prop_assert_eq!(plan, world.plan());
    }
}
